'use strict';

const EventEmitter = require('events');
const http = require('http');

const Negotiation = require('./negotiation');
const PerMessageDeflate = require('./permessage-deflate');
const WebSocket = require('./websocket');
const native = require('./native');
const subprotocol = require('./subprotocol');
const { CLOSE_TIMEOUT, DEFAULT_LIMITS, kWebSocket } = require('./constants');
const { refuseUpgrade, requireUpgrade } = require('./http-answers');

/** The values of a server's `_state`, in the order they are passed through. */
const RUNNING = 0;
const CLOSING = 1;
const CLOSED = 2;

/** 16 bytes in base64, as RFC 6455 wants the key of an opening handshake. */
const KEY = /^[A-Za-z0-9+/]{22}==$/;

/** 8 is the last draft that still was in use when 13 became RFC 6455. */
const SUPPORTED_VERSIONS = [13, 8];

/**
 * A reason to refuse an upgrade request.
 *
 * @typedef {Object} Fault
 * @property {number} status The HTTP status of the answer
 * @property {string} message
 * @property {Object<string, string>} [headers]
 */

/** What every upgrade request has to fulfil, in the order it is checked. */
const REQUIREMENTS = [
  {
    isMet: (req) => req.method === 'GET',
    fault: { status: 405, message: 'Invalid HTTP method' }
  },
  {
    isMet: ({ headers }) =>
      headers.upgrade !== undefined && headers.upgrade.toLowerCase() === 'websocket',
    fault: { status: 400, message: 'Invalid Upgrade header' }
  },
  {
    isMet: ({ headers }) =>
      headers['sec-websocket-key'] !== undefined && KEY.test(headers['sec-websocket-key']),
    fault: { status: 400, message: 'Missing or invalid Sec-WebSocket-Key header' }
  },
  {
    isMet: (req) => SUPPORTED_VERSIONS.includes(requestedVersion(req)),
    fault: {
      status: 400,
      message: 'Missing or invalid Sec-WebSocket-Version header',
      headers: { 'Sec-WebSocket-Version': SUPPORTED_VERSIONS.join(', ') }
    }
  }
];

/** Empty lines, of which the first only ends the line before. */
const END_OF_HEADERS = ['', ''];

const INVALID_PROTOCOLS = { status: 400, message: 'Invalid Sec-WebSocket-Protocol header' };
const INVALID_EXTENSIONS = {
  status: 400,
  message: 'Invalid or unacceptable Sec-WebSocket-Extensions header'
};

/**
 * Accepts WebSocket connections from an HTTP server: its own, a given one, or whatever hands it
 * requests.
 *
 * Emits `'connection'`, `'headers'`, `'listening'`, `'error'`, `'wsClientError'` and `'close'`.
 */
class WebSocketServer extends EventEmitter {
  /**
   * @param {Object} options Exactly one of `port`, `server` and `noServer` is required
   * @param {boolean} [options.allowSynchronousEvents=true] Whether several messages, pings or pongs
   *   may be emitted in one tick
   * @param {boolean} [options.autoPong=true] Whether to answer pings
   * @param {number} [options.backlog] How many connections may wait to be accepted
   * @param {boolean} [options.clientTracking=true] Whether to keep the set `clients`
   * @param {number} [options.closeTimeout=30000] How long a closing handshake may take, in
   *   milliseconds
   * @param {Function} [options.handleProtocols] Chooses among the subprotocols a client offers
   * @param {string} [options.host] Where to listen
   * @param {number} [options.maxBufferedChunks=262144] How many chunks of an incomplete frame to
   *   hold
   * @param {number} [options.maxFragments=16384] How many fragments a message may have
   * @param {number} [options.maxPayload=104857600] How many bytes a message may have
   * @param {number} [options.maxPendingAutoPongs=60] How many answers to pings may wait to be sent
   * @param {boolean} [options.noServer=false] Whether requests come only through `handleUpgrade()`
   * @param {string} [options.path] The only path to accept
   * @param {boolean|Object} [options.perMessageDeflate=false] Whether, and how, to compress
   * @param {number} [options.port] Where to listen
   * @param {http.Server|import('https').Server} [options.server] The server to accept connections
   *   from
   * @param {boolean} [options.skipUTF8Validation=false] Whether to trust text to be valid UTF-8
   * @param {Function} [options.verifyClient] Decides whether to accept a request
   * @param {Function} [options.WebSocket] The class of the connections, `WebSocket` or a subclass
   * @param {Function} [callback] Called when the server's own HTTP server listens
   */
  constructor(options, callback) {
    super();

    options = {
      allowSynchronousEvents: true,
      autoPong: true,
      ...DEFAULT_LIMITS,
      skipUTF8Validation: false,
      perMessageDeflate: false,
      handleProtocols: null,
      clientTracking: true,
      closeTimeout: CLOSE_TIMEOUT,
      verifyClient: null,
      noServer: false,
      backlog: null,
      server: null,
      host: null,
      path: null,
      port: null,
      WebSocket,
      ...options
    };

    const sources = [options.port != null, options.server, options.noServer].filter(Boolean);
    if (sources.length !== 1) {
      throw new TypeError(
        'One and only one of the "port", "server", or "noServer" options must be specified'
      );
    }

    if (options.port != null) {
      this._server = http.createServer(requireUpgrade);
      this._server.listen(options.port, options.host, options.backlog, callback);
    } else if (options.server) {
      this._server = options.server;
    }

    if (this._server) {
      const emitConnection = this.emit.bind(this, 'connection');

      this._removeListeners = addListeners(this._server, {
        listening: this.emit.bind(this, 'listening'),
        error: this.emit.bind(this, 'error'),
        upgrade: (req, socket, head) => this.handleUpgrade(req, socket, head, emitConnection)
      });
    }

    if (options.perMessageDeflate === true) options.perMessageDeflate = {};

    if (options.clientTracking) {
      this.clients = new Set();
      this._shouldEmitClose = false;
      this._onClientClose = null;
    }

    this.options = options;
    this._negotiation = new Negotiation();
    this._state = RUNNING;
  }

  /**
   * Where the HTTP server listens, as `server.address()` of `node:net` tells it.
   *
   * @returns {Object|string|null} `null` once closed
   * @throws {Error} If there is no HTTP server
   */
  address() {
    if (this.options.noServer) throw new Error('The server is operating in "noServer" mode');

    return this._server ? this._server.address() : null;
  }

  /**
   * Stops accepting connections. `'close'` is emitted once there are none left; they are not closed
   * by this.
   *
   * @param {Function} [cb] Called when closed; with an error if the server already was
   */
  close(cb) {
    if (this._state === CLOSED) {
      if (cb) this.once('close', () => cb(new Error('The server is not running')));
      process.nextTick(emitClose, this);
      return;
    }

    if (cb) this.once('close', cb);
    if (this._state === CLOSING) return;

    this._state = CLOSING;

    const server = this._server;
    if (server) {
      this._removeListeners();
      this._removeListeners = this._server = null;
    }

    if (!this.options.noServer && !this.options.server) {
      // An HTTP server of our own knows itself when the last connection is gone.
      server.close(() => emitClose(this));
    } else if (this.clients && this.clients.size > 0) {
      this._shouldEmitClose = true;
    } else {
      process.nextTick(emitClose, this);
    }
  }

  /**
   * Whether a request is meant for this server. May be overridden.
   *
   * @param {http.IncomingMessage} req
   * @returns {boolean}
   */
  shouldHandle(req) {
    const { path } = this.options;
    if (!path) return true;

    const queryStart = req.url.indexOf('?');
    return path === (queryStart < 0 ? req.url : req.url.slice(0, queryStart));
  }

  /**
   * Answers an upgrade request: with a `WebSocket` for `cb`, or with an HTTP error.
   *
   * @param {http.IncomingMessage} req
   * @param {import('stream').Duplex} socket
   * @param {Buffer} head What arrived after the request
   * @param {function(WebSocket, http.IncomingMessage): void} cb
   */
  handleUpgrade(req, socket, head, cb) {
    socket.on('error', destroySocket);

    const fault = faultOf(req);
    if (fault) {
      rejectClient(this, req, socket, fault);
      return;
    }

    if (!this.shouldHandle(req)) {
      refuseUpgrade(socket, 400);
      return;
    }

    let protocols;
    try {
      protocols = requestedProtocols(req);
    } catch {
      rejectClient(this, req, socket, INVALID_PROTOCOLS);
      return;
    }

    const key = req.headers['sec-websocket-key'];
    const extensions = {};
    const offers = req.headers['sec-websocket-extensions'];

    if (this.options.perMessageDeflate && offers !== undefined) {
      const perMessageDeflate = this._negotiation.begin(this.options);

      try {
        if (this._negotiation.agree(perMessageDeflate, offers)) {
          extensions[PerMessageDeflate.extensionName] = perMessageDeflate;
        }
      } catch {
        rejectClient(this, req, socket, INVALID_EXTENSIONS);
        return;
      }
    }

    if (this.options.verifyClient) {
      verifyClient(this, extensions, key, protocols, req, socket, head, cb);
    } else {
      this.completeUpgrade(extensions, key, protocols, req, socket, head, cb);
    }
  }

  /**
   * Sends the answer that makes a connection a WebSocket connection.
   *
   * @param {Object<string, PerMessageDeflate>} extensions The accepted extensions
   * @param {string} key The request's `Sec-WebSocket-Key` header
   * @param {Set<string>} protocols The subprotocols the client offers
   * @param {http.IncomingMessage} req
   * @param {import('stream').Duplex} socket
   * @param {Buffer} head What arrived after the request
   * @param {function(WebSocket, http.IncomingMessage): void} cb
   * @throws {Error} If the socket already is a WebSocket's
   */
  completeUpgrade(extensions, key, protocols, req, socket, head, cb) {
    // The client left while it was verified.
    if (!socket.readable || !socket.writable) return socket.destroy();

    if (socket[kWebSocket]) {
      throw new Error(
        'server.handleUpgrade() was called more than once with the same socket, ' +
          'possibly due to a misconfiguration'
      );
    }

    if (this._state > RUNNING) return refuseUpgrade(socket, 503);

    const websocket = new this.options.WebSocket(null, undefined, this.options);
    // What is pushed leaves room for more, which nothing will come to fill: these lines are concatenated.
    let headers = [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${native.acceptKey(key)}`
    ];

    const protocol = chooseProtocol(this.options, protocols, req);
    if (protocol) {
      headers = headers.concat([`Sec-WebSocket-Protocol: ${protocol}`]);
      websocket._protocol = protocol;
    }

    const perMessageDeflate = extensions[PerMessageDeflate.extensionName];
    if (perMessageDeflate) {
      const answer = this._negotiation.answerWith(perMessageDeflate.params);
      headers = headers.concat([`Sec-WebSocket-Extensions: ${answer}`]);
      websocket._extensions = extensions;
    }

    this.emit('headers', headers, req);

    socket.write(headers.concat(END_OF_HEADERS).join('\r\n'));
    socket.removeListener('error', destroySocket);

    websocket.setSocket(socket, head, {
      allowSynchronousEvents: this.options.allowSynchronousEvents,
      maxBufferedChunks: this.options.maxBufferedChunks,
      maxFragments: this.options.maxFragments,
      maxPayload: this.options.maxPayload,
      skipUTF8Validation: this.options.skipUTF8Validation
    });

    if (this.clients) trackClient(this, websocket);

    cb(websocket, req);
  }
}

/**
 * Adds listeners to an emitter.
 *
 * @param {EventEmitter} emitter
 * @param {Object<string, Function>} listeners The listener of each event
 * @returns {Function} Removes them again
 */
function addListeners(emitter, listeners) {
  const entries = Object.entries(listeners);

  for (const [event, listener] of entries) emitter.on(event, listener);

  return () => {
    for (const [event, listener] of entries) emitter.removeListener(event, listener);
  };
}

/**
 * @param {WebSocketServer} server
 */
function emitClose(server) {
  server._state = CLOSED;
  server.emit('close');
}

/**
 * Keeps a connection among `server.clients` for as long as it lasts.
 *
 * @param {WebSocketServer} server
 * @param {WebSocket} websocket
 */
function trackClient(server, websocket) {
  server.clients.add(websocket);
  // One listener for all connections.
  server._onClientClose ??= function () {
    server.clients.delete(this);
    if (server._shouldEmitClose && server.clients.size === 0) process.nextTick(emitClose, server);
  };
  websocket.on('close', server._onClientClose);
}

/**
 * The listener of a socket's `'error'` event until the socket is a WebSocket's.
 *
 * @this {import('stream').Duplex}
 */
function destroySocket() {
  this.destroy();
}

/**
 * Refuses a faulty request, or leaves that to the listeners of `'wsClientError'`.
 *
 * @param {WebSocketServer} server
 * @param {http.IncomingMessage} req
 * @param {import('stream').Duplex} socket
 * @param {Fault} fault
 */
function rejectClient(server, req, socket, { status, message, headers }) {
  if (server.listenerCount('wsClientError') === 0) {
    refuseUpgrade(socket, status, message, headers);
    return;
  }

  const err = new Error(message);
  Error.captureStackTrace(err, rejectClient);
  server.emit('wsClientError', err, socket, req);
}

/**
 * @param {http.IncomingMessage} req
 * @returns {Fault|undefined} What is wrong with an upgrade request
 */
function faultOf(req) {
  for (const { isMet, fault } of REQUIREMENTS) {
    if (!isMet(req)) return fault;
  }
  return undefined;
}

/**
 * @param {http.IncomingMessage} req
 * @returns {number} `NaN` if the header is missing or no number
 */
function requestedVersion(req) {
  return Number(req.headers['sec-websocket-version']);
}

/**
 * @param {http.IncomingMessage} req
 * @returns {Set<string>}
 * @throws {SyntaxError}
 */
function requestedProtocols(req) {
  const header = req.headers['sec-websocket-protocol'];
  return header === undefined ? new Set() : subprotocol.parse(header);
}

/**
 * Lets the `verifyClient` option decide whether an upgrade is completed: by calling back if it has
 * two parameters, else by what it returns.
 *
 * @param {WebSocketServer} server
 * @param {Object<string, PerMessageDeflate>} extensions
 * @param {string} key
 * @param {Set<string>} protocols
 * @param {http.IncomingMessage} req
 * @param {import('stream').Duplex} socket
 * @param {Buffer} head
 * @param {function(WebSocket, http.IncomingMessage): void} cb
 */
function verifyClient(server, extensions, key, protocols, req, socket, head, cb) {
  const { options } = server;
  const decide = (verified, code, message, headers) => {
    if (verified) server.completeUpgrade(extensions, key, protocols, req, socket, head, cb);
    else refuseUpgrade(socket, code || 401, message, headers);
  };
  const originHeader = requestedVersion(req) === 8 ? 'sec-websocket-origin' : 'origin';
  const info = {
    origin: req.headers[originHeader],
    secure: Boolean(req.socket.authorized || req.socket.encrypted),
    req
  };

  if (options.verifyClient.length === 2) options.verifyClient(info, decide);
  else decide(options.verifyClient(info));
}

/**
 * Chooses the subprotocol of a connection: the first one offered, unless the `handleProtocols`
 * option decides.
 *
 * @param {Object} options The server's
 * @param {Set<string>} protocols
 * @param {http.IncomingMessage} req
 * @returns {string|false|undefined}
 */
function chooseProtocol(options, protocols, req) {
  if (protocols.size === 0) return undefined;
  if (options.handleProtocols) return options.handleProtocols(protocols, req);

  const [first] = protocols;
  return first;
}

module.exports = WebSocketServer;
