'use strict';

const { randomFillSync } = require('crypto');
const { isUint8Array } = require('util').types;

const native = require('./native');
const PerMessageDeflate = require('./permessage-deflate');
const { isCallersMemory, lengthOf, toBuffer } = require('./buffers');
const { EMPTY_BUFFER, NOOP, kWebSocket } = require('./constants');
const { headSize, maskBytes, numberOf } = require('./outbox');
const { isBlob, isValidStatusCode } = require('./validation');
const { nextTick } = require('./timers');

/** What a sender is busy with. While it is, further frames wait in its queue. */
const DEFAULT = 0;
const DEFLATING = 1;
const GET_BLOB_DATA = 2;

const CONTINUATION = 0x00;
const TEXT = 0x01;
const BINARY = 0x02;
const CLOSE = 0x08;
const PING = 0x09;
const PONG = 0x0a;

const FIN = 0x80;
const RSV1 = 0x40;

/** The most a control frame can carry (RFC 6455, section 5.5). */
const MAX_CONTROL_PAYLOAD = 125;

/** Random bytes for masking keys are drawn in bulk. */
const keys = Buffer.allocUnsafeSlow(8 * 1024);
let keysUsed = keys.length;

/** On the options of `Sender.frame`: the length of the data in bytes, where it was found out before. */
const kByteLength = Symbol('byte length');

/** How compressors are asked, unless somebody wants to see what they make. */
const { compress } = PerMessageDeflate.prototype;

/** The queue of a sender that never had anything to wait for. */
const NOTHING = Object.freeze([]);

/** Where a key is put when the caller keeps no buffer for it. */
const sharedKey = Buffer.alloc(4);

/**
 * Draws or generates a masking key.
 *
 * @param {Buffer} key where to put it
 * @param {(key: Buffer) => void} [generate]
 */
function makeKey(key, generate) {
  if (generate) {
    generate(key);
    return;
  }
  if (keysUsed === keys.length) {
    randomFillSync(keys);
    keysUsed = 0;
  }
  for (let i = 0; i < 4; i++) key[i] = keys[keysUsed++];
}

/**
 * @typedef {object} Frame
 * @property {boolean} fin
 * @property {boolean} rsv1
 * @property {number} opcode
 * @property {boolean} mask
 * @property {boolean} readOnly whether the data belong to the caller
 * @property {number} byteLength the length of the data
 */

/**
 * Frames what is sent and passes it to the socket, in order: while a message is being compressed or a Blob is read,
 * everything sent after it waits.
 */
class Sender {
  /**
   * @param {import('stream').Duplex} socket
   * @param {object} [extensions] the negotiated extensions, by name
   * @param {(key: Buffer) => void} [generateMask] fills the masking key of each frame; random when missing
   */
  constructor(socket, extensions, generateMask) {
    this._extensions = extensions || {};
    if (generateMask) this._generateMask = generateMask;
    this._maskBuffer = generateMask ? Buffer.alloc(4) : undefined;
    this._socket = socket;

    this._firstFragment = true;
    this._compress = false;

    this._bufferedBytes = 0;
    this._queue = NOTHING;
    this._state = DEFAULT;
    this.onerror = NOOP;
    this[kWebSocket] = undefined;

    /** Collects the frames of one turn; without one, each frame is written to the socket by itself. */
    this._outbox = null;
  }

  /**
   * Builds a frame.
   *
   * @param {Buffer|string} data
   * @param {object} options
   * @param {boolean} [options.fin=false]
   * @param {(key: Buffer) => void} [options.generateMask]
   * @param {boolean} [options.mask=false]
   * @param {Buffer} [options.maskBuffer] where the masking key is put
   * @param {number} options.opcode
   * @param {boolean} [options.readOnly=false] whether masking must leave `data` as they are
   * @param {boolean} [options.rsv1=false]
   * @returns {(Buffer|string)[]} the header and the payload, or both in one, or a header alone
   */
  static frame(data, options) {
    // A string whose length in bytes is known already is left for the socket to encode.
    const keepsString = typeof data === 'string' && !options.mask && options[kByteLength] > 0;
    let payload = typeof data === 'string' && !keepsString ? Buffer.from(data) : data;
    const length = keepsString ? options[kByteLength] : payload.length;
    const first = (options.fin ? FIN : 0) | (options.rsv1 ? RSV1 : 0) | options.opcode;

    if (!options.mask) {
      const head = Buffer.allocUnsafe(headSize(length, null));
      native.writeHead(head, first, length, false, 0);
      return length === 0 ? [head] : [head, payload];
    }

    const key = options.maskBuffer || sharedKey;
    makeKey(key, options.generateMask);
    const isPlain = (key[0] | key[1] | key[2] | key[3]) === 0;
    const size = headSize(length, key);
    const merge = options.readOnly && !isPlain && typeof data !== 'string';
    const head = Buffer.allocUnsafe(merge ? size + length : size);
    native.writeHead(head, first, length, true, numberOf(key));

    if (length === 0) return [head];
    if (isPlain) return [head, payload];
    if (merge) {
      head.set(payload, size);
      payload = head;
    }
    maskBytes(payload, merge ? size : 0, length, key);
    return merge ? [head] : [head, payload];
  }

  /**
   * Sends a close frame.
   *
   * @param {number} [code]
   * @param {string|Uint8Array} [data] the reason, at most 123 bytes
   * @param {boolean} [mask=false]
   * @param {Function} [callback]
   */
  close(code, data, mask, callback) {
    const payload = closePayload(code, data);
    this._control(CLOSE, payload, payload.length, false, mask, callback);
  }

  /**
   * Sends a ping.
   *
   * @param {*} data at most 125 bytes
   * @param {boolean} [mask=false]
   * @param {Function} [callback]
   */
  ping(data, mask, callback) {
    this._controlMessage(PING, data, mask, callback);
  }

  /**
   * Sends a pong.
   *
   * @param {*} data at most 125 bytes
   * @param {boolean} [mask=false]
   * @param {Function} [callback]
   */
  pong(data, mask, callback) {
    this._controlMessage(PONG, data, mask, callback);
  }

  _controlMessage(opcode, data, mask, callback) {
    const readOnly = isCallersMemory(data);
    const payload = typeof data === 'string' || isBlob(data) ? data : toBuffer(data);
    const byteLength = byteLengthOf(payload);
    if (byteLength > MAX_CONTROL_PAYLOAD) {
      throw new RangeError('The data size must not be greater than 125 bytes');
    }
    this._control(opcode, payload, byteLength, readOnly, mask, callback);
  }

  _control(opcode, payload, byteLength, readOnly, mask, callback) {
    const frame = { fin: true, rsv1: false, opcode, mask, readOnly, byteLength };
    this._submit(payload, false, frame, callback);
  }

  /**
   * Sends a message or a fragment of one.
   *
   * @param {*} data
   * @param {object} options
   * @param {boolean} [options.binary=false]
   * @param {boolean} [options.compress=false]
   * @param {boolean} [options.fin=false] whether it is the last fragment
   * @param {boolean} [options.mask=false]
   * @param {Function} [callback]
   */
  send(data, options, callback) {
    let payload = data;
    let blob = null;
    let byteLength;
    let readOnly = false;
    if (typeof data === 'string') {
      byteLength = Buffer.byteLength(data);
    } else if (!ArrayBuffer.isView(data) && isBlob(data)) {
      blob = data;
      byteLength = data.size;
    } else {
      readOnly = isCallersMemory(data);
      payload = toBuffer(data);
      byteLength = lengthOf(payload);
    }

    let opcode = CONTINUATION;
    let rsv1 = false;
    if (this._firstFragment) {
      this._firstFragment = false;
      opcode = options.binary ? BINARY : TEXT;
      rsv1 = options.compress && this._isWorthCompressing(byteLength);
      this._compress = rsv1;
    }
    if (options.fin) this._firstFragment = true;

    const { fin, mask } = options;
    const isSimple = this._state === DEFAULT && !this._compress && payload !== blob;
    if (isSimple && collects(this)) {
      // By far the most frequent case.
      this._collect(payload, byteLength, (fin ? FIN : 0) | opcode, mask, readOnly, callback);
      return;
    }
    const frame = { fin, rsv1, opcode, mask, readOnly, byteLength };
    this._submit(payload, this._compress, frame, callback);
  }

  /** A message whose context would be forgotten anyway is only compressed from a certain size on. */
  _isWorthCompressing(byteLength) {
    const deflate = this._extensions[PerMessageDeflate.extensionName];
    if (!deflate) return true;
    const forgets = deflate._isServer ? 'server_no_context_takeover' : 'client_no_context_takeover';
    return !deflate.params[forgets] || byteLength >= deflate._threshold;
  }

  /**
   * Does what a frame needs now, or later when its turn comes.
   *
   * @param {Buffer|string|Blob} payload
   * @param {boolean} compress
   * @param {Frame} frame
   * @param {Function} [callback]
   */
  _submit(payload, compress, frame, callback) {
    if (this._state !== DEFAULT) {
      this._bufferedBytes += frame.byteLength;
      if (this._queue === NOTHING) this._queue = [];
      this._queue.push({ payload, compress, frame, callback });
    } else {
      this._perform(payload, compress, frame, callback);
    }
  }

  _perform(payload, compress, frame, callback) {
    if (typeof payload !== 'string' && !ArrayBuffer.isView(payload)) {
      this._readBlob(payload, compress, frame, callback);
    } else if (compress) {
      this._deflate(payload, frame, callback);
    } else {
      this._write(payload, frame, callback);
    }
  }

  /** Goes on with what waited, until something takes time again. */
  _dequeue() {
    while (this._state === DEFAULT && this._queue.length > 0) {
      const { payload, compress, frame, callback } = this._queue.shift();
      this._bufferedBytes -= frame.byteLength;
      this._perform(payload, compress, frame, callback);
    }
  }

  /** Writes a frame whose payload is final. */
  _write(payload, frame, callback) {
    // Whether the close frame was sent decides on `wasClean`: it must not share the fate of what goes before it.
    if (frame.opcode === CLOSE) this._outbox?.flush();
    if (!collects(this)) {
      const options = {
        ...frame,
        generateMask: this._generateMask,
        maskBuffer: this._maskBuffer,
        [kByteLength]: frame.byteLength
      };
      this.sendFrame(Sender.frame(payload, options), callback);
      return;
    }

    const first = (frame.fin ? FIN : 0) | (frame.rsv1 ? RSV1 : 0) | frame.opcode;
    // Memory that was given away or shrunk while the frame waited holds less than it did.
    const length = typeof payload === 'string' ? frame.byteLength : lengthOf(payload);
    this._collect(payload, length, first, frame.mask, frame.readOnly, callback);
  }

  /**
   * Puts a frame into the outbox.
   *
   * @param {Buffer|string} payload
   * @param {number} byteLength
   * @param {number} first the first byte of the header
   * @param {boolean} mask
   * @param {boolean} readOnly
   * @param {Function} [callback]
   */
  _collect(payload, byteLength, first, mask, readOnly, callback) {
    let key = null;
    if (mask) {
      key = this._maskBuffer || sharedKey;
      makeKey(key, this._generateMask);
      // Whoever makes it may have given the memory away, shrunk it, or destroyed the socket.
      if (this._generateMask && typeof payload !== 'string') byteLength = lengthOf(payload);
      if (outboxOf(this) === null) {
        const [fin, rsv1, opcode] = [(first & FIN) !== 0, (first & RSV1) !== 0, first & 0x0f];
        this._write(payload, { fin, rsv1, opcode, mask, readOnly, byteLength }, callback);
        return;
      }
    }
    this._outbox.frame(first, payload, byteLength, key, readOnly, callback);
  }

  _deflate(payload, frame, callback) {
    const deflate = this._extensions[PerMessageDeflate.extensionName];
    this._bufferedBytes += frame.byteLength;
    this._state = DEFLATING;
    // An outbox takes a copy.
    const inPassing = collects(this) && deflate.compress === compress;
    const done = (defect, compressed) => {
      if (this._socket.destroyed) {
        const error = new Error('The socket was closed while data was being compressed');
        this._abandon(error, callback);
        return;
      }
      if (defect) {
        this._abandon(defect, callback);
        this.onerror(defect);
        return;
      }
      this._bufferedBytes -= frame.byteLength;
      this._state = DEFAULT;
      const payload = inPassing && !collects(this) ? Buffer.from(compressed) : compressed;
      this._write(payload, ownFrame(frame, payload.length), callback);
      this._dequeue();
    };
    if (inPassing) {
      deflate._compressInPassing(payload, frame.fin, done);
    } else {
      deflate.compress(payload, frame.fin, done);
    }
  }

  _readBlob(blob, compress, frame, callback) {
    this._bufferedBytes += frame.byteLength;
    this._state = GET_BLOB_DATA;

    // What goes wrong on the way to the wire, here or with what waited, counts as a failure to read it. What a callback
    // throws must not end up in the promise chain, hence the ticks.
    blob
      .arrayBuffer()
      .then((bytes) => this._blobRead(bytes, compress, frame, callback))
      .catch((error) =>
        process.nextTick(() => {
          this._abandon(error, callback);
          this.onerror(error);
        })
      );
  }

  _blobRead(bytes, compress, frame, callback) {
    if (this._socket.destroyed) {
      const error = new Error('The socket was closed while the blob was being read');
      process.nextTick(() => this._abandon(error, callback));
      return;
    }
    this._bufferedBytes -= frame.byteLength;
    const payload = toBuffer(bytes);
    this._state = DEFAULT;
    this._perform(payload, compress, ownFrame(frame, payload.length), callback);
    this._dequeue();
  }

  /** Tells everybody who waits for a frame that it will not be sent, also when one of them throws. */
  _abandon(error, callback, from = 0) {
    try {
      if (typeof callback === 'function') callback(error);
      while (from < this._queue.length) {
        const { callback: waiting } = this._queue[from++];
        if (typeof waiting === 'function') waiting(error);
      }
    } catch (thrown) {
      nextTick(() => this._abandon(error, undefined, from));
      throw thrown;
    }
  }

  /**
   * Sends a frame that was built with `Sender.frame`. The list may be used for other sockets too.
   *
   * @param {(Buffer|string)[]} list
   * @param {Function} [callback]
   */
  sendFrame(list, callback) {
    const outbox = outboxOf(this);
    if (outbox !== null) {
      outbox.list(list.length === 2 ? list : list.slice(0, 1), callback);
      return;
    }
    const socket = this._socket;
    if (list.length === 2) {
      socket.cork();
      socket.write(list[0]);
      socket.write(list[1], callback);
      socket.uncork();
    } else {
      socket.write(list[0], callback);
    }
  }
}

/** How frames are made and handed on, unless somebody wants to see them. */
const { frame: FRAME } = Sender;
const { sendFrame: SEND_FRAME } = Sender.prototype;

/** The outbox that frames go into, if there is one and nobody wants to see what the socket is given. */
function outboxOf(sender) {
  const { _outbox: outbox } = sender;
  if (outbox !== null && outbox.givesWay()) outbox.giveWay(sender);
  return sender._outbox;
}

/** Whether frames can go there right away. */
function collects(sender) {
  const isAsUsual = sender.sendFrame === SEND_FRAME && Sender.frame === FRAME;
  return isAsUsual && outboxOf(sender) !== null;
}

function byteLengthOf(payload) {
  if (typeof payload === 'string') return Buffer.byteLength(payload);
  return isBlob(payload) ? payload.size : lengthOf(payload);
}

/** Makes a frame one for data that are our own. */
function ownFrame(frame, byteLength) {
  frame.readOnly = false;
  frame.byteLength = byteLength;
  return frame;
}

/**
 * The payload of a close frame: its code and its reason.
 *
 * @returns {Buffer}
 */
function closePayload(code, data) {
  if (code === undefined) return EMPTY_BUFFER;
  if (typeof code !== 'number' || !isValidStatusCode(code)) {
    throw new TypeError('First argument must be a valid error code number');
  }

  const length = data === undefined || !data.length ? 0 : Buffer.byteLength(data);
  if (length > MAX_CONTROL_PAYLOAD - 2) {
    throw new RangeError('The message must not be greater than 123 bytes');
  }
  const payload = Buffer.alloc(2 + length);
  payload.writeUInt16BE(code, 0);
  if (length > 0) {
    if (typeof data === 'string') payload.write(data, 2);
    else if (isUint8Array(data)) payload.set(data, 2);
    else throw new TypeError('Second argument must be a string or a Uint8Array');
  }
  return payload;
}

module.exports = Sender;
