'use strict';

const EventEmitter = require('events');

const PerMessageDeflate = require('./permessage-deflate');
const { attach, startCloseTimer } = require('./lifecycle');
const { isBlob } = require('./validation');
const { mixInEventTarget } = require('./event-target');
const { toBuffer } = require('./buffers');
const { BINARY_TYPES, EMPTY_BUFFER, READY_STATES } = require('./constants');

const NO_OPTIONS = Object.freeze({});

const [CONNECTING, OPEN, CLOSING, CLOSED] = READY_STATES.keys();

const CLOSED_TOO_EARLY = 'WebSocket was closed before the connection was established';

/**
 * A WebSocket: the client end of a connection when it is constructed with an address, the server end when a
 * `WebSocketServer` made it.
 *
 * Emits `'open'`, `'message'` (data, isBinary), `'ping'`, `'pong'` (data), `'close'` (code, reason), `'error'`, and on
 * the client `'upgrade'` (response), `'redirect'` (url, request) and `'unexpected-response'` (request, response).
 */
class WebSocket extends EventEmitter {
  /**
   * @param {string|URL|null} address where to connect; `null` makes the server end, to be given a socket later
   * @param {string|string[]|object} [protocols] subprotocols to ask for; may be left out
   * @param {object} [options]
   */
  constructor(address, protocols, options) {
    super();

    // V8 has a hash table for Node's own `{ __proto__: null }`, which takes four times the memory.
    if (this._eventsCount === 0) this._events = Object.setPrototypeOf({}, null);
    this._binaryType = BINARY_TYPES[0];
    this._closeCode = 1006;
    this._closeFrameReceived = false;
    this._closeFrameSent = false;
    this._closeMessage = EMPTY_BUFFER;
    this._closeTimer = null;
    this._errorEmitted = false;
    this._extensions = {};
    this._paused = false;
    this._protocol = '';
    this._readyState = CONNECTING;
    this._receiver = null;
    this._sender = null;
    this._socket = null;

    if (address === null) {
      this._isServer = true;
    } else {
      this._bufferedAmount = 0;
      this._isServer = false;
      this._redirects = 0;
      options = connect(this, address, protocols, options);
    }

    if (options.autoPong) {
      this._autoPong = true;
      this._pendingAutoPongs = 0;
      this._maxPendingAutoPongs = options.maxPendingAutoPongs | 0;
      /** Made with the first ping. */
      this._autoPongComplete = null;
    }
    this._closeTimeout = options.closeTimeout;
  }

  /** What binary messages are delivered as: `'nodebuffer'`, `'arraybuffer'`, `'fragments'` or `'blob'`. */
  get binaryType() {
    return this._binaryType;
  }

  set binaryType(type) {
    if (!BINARY_TYPES.includes(type)) return;
    this._binaryType = type;
    if (this._receiver) this._receiver._binaryType = type;
  }

  /** How many bytes were given to `send()` and not yet to the network. */
  get bufferedAmount() {
    const { _sender: sender, _socket: socket } = this;
    if (!socket) return this._bufferedAmount;
    // First, for it may have the socket's state show what waits behind it.
    const waiting = sender._outbox === null ? 0 : sender._outbox.waiting;
    return socket._writableState.length + sender._bufferedBytes + waiting;
  }

  /** The names of the negotiated extensions. */
  get extensions() {
    return Object.keys(this._extensions).join();
  }

  get isPaused() {
    return this._paused;
  }

  /** The subprotocol that the server chose. */
  get protocol() {
    return this._protocol;
  }

  get readyState() {
    return this._readyState;
  }

  /** The address of the server; `undefined` on the server. */
  get url() {
    return this._url;
  }

  /**
   * Starts to use a socket on which the opening handshake is over.
   *
   * @param {import('stream').Duplex} socket
   * @param {Buffer} head what the socket delivered beyond the handshake
   * @param {object} options what the receiver and the sender need to know
   */
  setSocket(socket, head, options) {
    attach(this, socket, head, options);
    this._readyState = OPEN;
    this.emit('open');
  }

  /** Ends the life of this WebSocket with its `'close'` event. */
  emitClose() {
    try {
      const deflate = this._extensions[PerMessageDeflate.extensionName];
      if (this._socket && deflate) deflate.cleanup();
    } finally {
      // What a callback throws must not keep anybody from being told.
      if (this._socket) this._receiver.removeAllListeners();
      this._readyState = CLOSED;
      this.emit('close', this._closeCode, this._closeMessage);
    }
  }

  /**
   * Starts the closing handshake, or goes on with it.
   *
   * @param {number} [code]
   * @param {string|Uint8Array} [data] the reason
   */
  close(code, data) {
    if (this.readyState === CLOSED) return;
    if (this.readyState === CONNECTING) {
      abortHandshake(this, this._req, CLOSED_TOO_EARLY);
      return;
    }
    if (this.readyState === CLOSING) {
      if (this._closeFrameSent) this._endIfAgreed();
      return;
    }

    this._sender.close(code, data, !this._isServer, (error) => {
      // The socket's own `'error'` event says the same.
      if (error) return;
      this._closeFrameSent = true;
      this._endIfAgreed();
    });
    this._readyState = CLOSING;
    startCloseTimer(this);
  }

  /** Ends the socket when the other side has sent its close frame or will not be understood any more. */
  _endIfAgreed() {
    if (this._closeFrameReceived || this._receiver._writableState.errorEmitted) this._socket.end();
  }

  /** Stops reading. */
  pause() {
    if (this.readyState === CONNECTING || this.readyState === CLOSED) return;
    this._paused = true;
    this._socket.pause();
  }

  /** Goes on reading. */
  resume() {
    if (this.readyState === CONNECTING || this.readyState === CLOSED) return;
    this._paused = false;
    if (!this._receiver._writableState.needDrain) this._socket.resume();
  }

  /**
   * Sends a ping.
   *
   * @param {*} [data] at most 125 bytes
   * @param {boolean} [mask] whether to mask it; by default what the role demands
   * @param {Function} [callback] called when it was written
   */
  ping(data, mask, callback) {
    this._sendControl('ping', data, mask, callback);
  }

  /**
   * Sends a pong.
   *
   * @param {*} [data] at most 125 bytes
   * @param {boolean} [mask] whether to mask it; by default what the role demands
   * @param {Function} [callback] called when it was written
   */
  pong(data, mask, callback) {
    this._sendControl('pong', data, mask, callback);
  }

  _sendControl(method, data, mask, callback) {
    this._refuseWhileConnecting();
    if (typeof data === 'function') {
      callback = data;
      data = mask = undefined;
    } else if (typeof mask === 'function') {
      callback = mask;
      mask = undefined;
    }
    if (typeof data === 'number') data = data.toString();

    if (this.readyState !== OPEN) {
      this._refuseAfterClose(data, callback);
      return;
    }
    this._sender[method](
      data || EMPTY_BUFFER,
      mask === undefined ? !this._isServer : mask,
      callback
    );
  }

  /**
   * Sends a message.
   *
   * @param {*} data
   * @param {object} [options]
   * @param {boolean} [options.binary] by default whether `data` is no string
   * @param {boolean} [options.compress=true] whether to use permessage-deflate where it was negotiated
   * @param {boolean} [options.fin=true] whether this is the last fragment
   * @param {boolean} [options.mask] by default what the role demands
   * @param {Function} [callback] called when it was written
   */
  send(data, options, callback) {
    this._refuseWhileConnecting();
    if (typeof options === 'function') {
      callback = options;
      options = {};
    }
    if (typeof data === 'number') data = data.toString();

    if (this.readyState !== OPEN) {
      this._refuseAfterClose(data, callback);
      return;
    }

    const deflates = this._extensions['permessage-deflate'] !== undefined;
    const resolved = {
      binary: typeof data !== 'string',
      mask: !this._isServer,
      compress: deflates,
      fin: true
    };
    if (options) overrule(resolved, options, deflates);
    this._sender.send(data || EMPTY_BUFFER, resolved, callback);
  }

  _refuseWhileConnecting() {
    if (this.readyState === CONNECTING) {
      throw new Error('WebSocket is not open: readyState 0 (CONNECTING)');
    }
  }

  /** What is sent too late only counts, as in browsers, and its callback gets an error. */
  _refuseAfterClose(data, callback) {
    if (data) {
      const length = isBlob(data) ? data.size : toBuffer(data).length;
      if (this._socket) this._sender._bufferedBytes += length;
      else this._bufferedAmount += length;
    }
    if (callback) {
      const state = this.readyState;
      const message = `WebSocket is not open: readyState ${state} (${READY_STATES[state]})`;
      process.nextTick(callback, new Error(message));
    }
  }

  /** Ends the connection without a closing handshake. */
  terminate() {
    if (this.readyState === CLOSED) return;
    if (this.readyState === CONNECTING) {
      abortHandshake(this, this._req, CLOSED_TOO_EARLY);
      return;
    }
    if (this._socket) {
      this._readyState = CLOSING;
      this._socket.destroy();
    }
  }
}

/**
 * Whether an object inherits nothing but what all objects do. The property is looked at for speed: V8 then knows the shape
 * of the object, and need not call `getPrototypeOf`.
 */
function isPlain(object) {
  return object.constructor === Object && Object.getPrototypeOf(object) === Object.prototype;
}

/** Puts what a caller of `send()` asks for, be it `undefined`, in the place of the defaults. */
function overrule(resolved, options, deflates) {
  // What other objects inherit does not count.
  if (typeof options === 'object' && !isPlain(options)) {
    options = { ...options };
  }
  const { binary, compress, fin, mask } = options;
  // `in`, with a name that is written out, costs next to nothing; `hasOwn` is a call.
  const has = typeof options === 'object' ? options : NO_OPTIONS;
  if (binary !== undefined || ('binary' in has && Object.hasOwn(has, 'binary'))) {
    resolved.binary = binary;
  }
  if (mask !== undefined || ('mask' in has && Object.hasOwn(has, 'mask'))) resolved.mask = mask;
  if (fin !== undefined || ('fin' in has && Object.hasOwn(has, 'fin'))) resolved.fin = fin;
  if (
    deflates &&
    (compress !== undefined || ('compress' in has && Object.hasOwn(has, 'compress')))
  ) {
    resolved.compress = compress;
  }
}

for (const [value, name] of READY_STATES.entries()) {
  const constant = { enumerable: true, value };
  Object.defineProperty(WebSocket, name, constant);
  Object.defineProperty(WebSocket.prototype, name, constant);
}

// Seen by for...in, as the attributes of the DOM's interface are.
for (const attribute of [
  'binaryType',
  'bufferedAmount',
  'extensions',
  'isPaused',
  'protocol',
  'readyState',
  'url'
]) {
  Object.defineProperty(WebSocket.prototype, attribute, { enumerable: true });
}

mixInEventTarget(WebSocket.prototype);

module.exports = WebSocket;

const { abortHandshake, connect } = require('./handshake');
