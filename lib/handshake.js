'use strict';

const http = require('http');
const https = require('https');
const { URL } = require('url');

const PerMessageDeflate = require('./permessage-deflate');
const extension = require('./extension');
const native = require('./native');
const { READY_STATES } = require('./constants');
const { prepareRequest, resolveOptions } = require('./handshake-request');
const { describeTarget, findProblem, parseAddress } = require('./url');

const CONNECTING = READY_STATES.indexOf('CONNECTING');
const CLOSING = READY_STATES.indexOf('CLOSING');

/** Requests that were given up on: whatever still happens to them has been reported already. */
const abortedRequests = new WeakSet();

/**
 * Steps from a response to an accepted connection; each returns what is wrong with the response, if
 * anything.
 */
const ACCEPTANCE_STEPS = [checkUpgrade, checkKey, acceptProtocol, acceptExtensions];

/**
 * One request of a client's opening handshake. Following a redirect takes another one.
 */
class Attempt {
  /**
   * @param {import('./websocket')} websocket
   * @param {string|URL} address
   * @param {string[]} protocols
   * @param {Object} [callerOptions] The options as they were passed to the `WebSocket`
   */
  constructor(websocket, address, protocols, callerOptions) {
    this.websocket = websocket;
    this.address = address;
    this.protocols = protocols;
    this.callerOptions = callerOptions;
    this.options = resolveOptions(callerOptions);

    /** The request while the outcome is open. */
    this.request = null;

    /** @type {import('./handshake-request').Offer} */
    this.offer = null;
  }

  /**
   * Sends the request.
   *
   * @returns {Object|undefined} The resolved options, `undefined` if a redirect led to an unusable
   *   URL
   * @throws {SyntaxError} If the URL or a subprotocol is invalid
   */
  start() {
    const { websocket, options } = this;
    const url = parseAddress(this.address);
    const problem = findProblem(url);

    websocket._url = url.href;

    if (problem !== undefined) {
      const err = new SyntaxError(problem);
      if (websocket._redirects === 0) throw err;

      emitErrorAndClose(websocket, err);
      return undefined;
    }

    const target = describeTarget(url);

    this.offer = prepareRequest(options, target, this.protocols);
    if (options.followRedirects) this.limitCredentials(target);
    this.send(target.isSecure ? https : http);

    return options;
  }

  /**
   * Keeps the caller's credentials from being sent to whomever a redirect leads to.
   *
   * @param {import('./url').Target} target
   */
  limitCredentials(target) {
    const { websocket, options } = this;

    if (websocket._redirects === 0) {
      rememberOrigin(websocket, target);
      this.callerOptions = withLowercaseHeaders(this.callerOptions);
    } else if (websocket.listenerCount('redirect') === 0) {
      // A listener of `'redirect'` sees the request before it is sent and decides by itself.
      dropCredentials(websocket, target, options);
    }

    // Further requests carry the first credentials seen, even if their own URL has other ones, as
    // with curl.
    const { headers } = this.callerOptions;
    if (options.auth && !headers.authorization) {
      headers.authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
    }
  }

  /**
   * @param {http|https} client
   */
  send(client) {
    const { websocket, options } = this;
    const request = client.request(options);

    this.request = websocket._req = request;

    // There is no check afterwards of whether a listener closed the websocket: it may have
    // destroyed the request with an error as well, which has to find the listeners added below.
    if (websocket._redirects > 0) websocket.emit('redirect', websocket.url, request);

    if (options.timeout) request.on('timeout', () => this.abort('Opening handshake has timed out'));
    request.on('error', (err) => this.onError(err));
    request.on('response', (response) => this.onResponse(response));
    request.on('upgrade', (response, socket, head) => this.onUpgrade(response, socket, head));

    if (options.finishRequest) options.finishRequest(request, websocket);
    else request.end();
  }

  /** Forgets the request, so that closing the websocket has nothing to abort any more. */
  settle() {
    this.request = this.websocket._req = null;
  }

  /**
   * @param {string} message
   */
  abort(message) {
    abortHandshake(this.websocket, this.request, message);
  }

  onError(err) {
    if (this.request === null || abortedRequests.has(this.request)) return;

    this.settle();
    emitErrorAndClose(this.websocket, err);
  }

  /**
   * The server answered without upgrading.
   *
   * @param {http.IncomingMessage} response
   */
  onResponse(response) {
    const { statusCode } = response;
    const { location } = response.headers;
    const isRedirect = location && statusCode >= 300 && statusCode < 400;

    if (isRedirect && this.options.followRedirects) {
      this.followRedirect(location);
    } else if (!this.websocket.emit('unexpected-response', this.request, response)) {
      this.abort(`Unexpected server response: ${statusCode}`);
    }
  }

  /**
   * @param {string} location
   */
  followRedirect(location) {
    const { websocket } = this;

    if (++websocket._redirects > this.options.maxRedirects) {
      this.abort('Maximum redirects exceeded');
      return;
    }

    this.request.abort();

    let address;
    try {
      address = new URL(location, this.address);
    } catch {
      emitErrorAndClose(websocket, new SyntaxError(`Invalid URL: ${location}`));
      return;
    }

    new Attempt(websocket, address, this.protocols, this.callerOptions).start();
  }

  /**
   * @param {http.IncomingMessage} response
   * @param {import('stream').Duplex} socket
   * @param {Buffer} head What arrived after the response
   */
  onUpgrade(response, socket, head) {
    const { websocket, options } = this;

    websocket.emit('upgrade', response);

    // A listener may have closed the websocket, and with it the request.
    if (websocket.readyState !== CONNECTING) return;

    this.settle();

    for (const step of ACCEPTANCE_STEPS) {
      const problem = step(response.headers, this.offer, websocket);

      if (problem !== undefined) {
        abortHandshake(websocket, socket, problem);
        return;
      }
    }

    websocket.setSocket(socket, head, {
      allowSynchronousEvents: options.allowSynchronousEvents,
      generateMask: options.generateMask,
      maxBufferedChunks: options.maxBufferedChunks,
      maxFragments: options.maxFragments,
      maxPayload: options.maxPayload,
      skipUTF8Validation: options.skipUTF8Validation
    });
  }
}

function checkUpgrade({ upgrade }) {
  const isWebSocket = upgrade !== undefined && upgrade.toLowerCase() === 'websocket';
  return isWebSocket ? undefined : 'Invalid Upgrade header';
}

function checkKey(headers, { key }) {
  const isExpected = headers['sec-websocket-accept'] === native.acceptKey(key);
  return isExpected ? undefined : 'Invalid Sec-WebSocket-Accept header';
}

function acceptProtocol(headers, { protocols }, websocket) {
  const protocol = headers['sec-websocket-protocol'];

  if (protocol === undefined) {
    return protocols.size > 0 ? 'Server sent no subprotocol' : undefined;
  }

  if (protocols.size === 0) return 'Server sent a subprotocol but none was requested';
  if (!protocols.has(protocol)) return 'Server sent an invalid subprotocol';

  websocket._protocol = protocol;
  return undefined;
}

function acceptExtensions(headers, { perMessageDeflate }, websocket) {
  const header = headers['sec-websocket-extensions'];

  if (header === undefined) return undefined;
  if (!perMessageDeflate) {
    return 'Server sent a Sec-WebSocket-Extensions header but no extension was requested';
  }

  const name = PerMessageDeflate.extensionName;

  try {
    const accepted = extension.parse(header);

    if (Object.keys(accepted).join() !== name) {
      return 'Server indicated an extension that was not requested';
    }

    perMessageDeflate.accept(accepted[name]);
  } catch {
    return 'Invalid Sec-WebSocket-Extensions header';
  }

  websocket._extensions[name] = perMessageDeflate;
  return undefined;
}

/**
 * Notes which server the caller meant to talk to.
 *
 * @param {import('./websocket')} websocket
 * @param {import('./url').Target} target
 */
function rememberOrigin(websocket, target) {
  websocket._originalIpc = target.isIpc;
  websocket._originalSecure = target.isSecure;
  websocket._originalHostOrSocketPath = target.server;
}

/**
 * Copies options, with the names of the headers in lower case so that they can be told apart.
 *
 * @param {Object} [options]
 * @returns {Object}
 */
function withLowercaseHeaders(options) {
  const headers = Object.entries((options && options.headers) || {});

  return {
    ...options,
    headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]))
  };
}

/**
 * Removes the caller's credentials from a redirected request that leaves the original server or
 * gives up TLS, as curl does.
 *
 * @param {import('./websocket')} websocket
 * @param {import('./url').Target} target
 * @param {Object} options The options of the request
 */
function dropCredentials(websocket, target, options) {
  const isSameServer =
    target.isIpc === websocket._originalIpc &&
    target.server === websocket._originalHostOrSocketPath;

  if (isSameServer && (target.isSecure || !websocket._originalSecure)) return;

  delete options.headers.authorization;
  delete options.headers.cookie;
  if (!isSameServer) delete options.headers.host;

  options.auth = undefined;
}

/**
 * Reports why there will be no connection.
 *
 * @param {import('./websocket')} websocket
 * @param {Error} err
 */
function emitErrorAndClose(websocket, err) {
  websocket._readyState = CLOSING;
  websocket._errorEmitted = true;
  websocket.emit('error', err);
  websocket.emitClose();
}

/**
 * Gives up on an opening handshake.
 *
 * @param {import('./websocket')} websocket
 * @param {http.ClientRequest|import('stream').Duplex} stream The request, or the socket once there
 *   is one
 * @param {string} message Why
 */
function abortHandshake(websocket, stream, message) {
  const err = new Error(message);

  Error.captureStackTrace(err, abortHandshake);
  websocket._readyState = CLOSING;

  if (stream.setHeader) {
    abortRequest(stream);
    process.nextTick(emitErrorAndClose, websocket, err);
  } else {
    stream.destroy(err);
    stream.once('error', (error) => websocket.emit('error', error));
    stream.once('close', () => websocket.emitClose());
  }
}

/**
 * @param {http.ClientRequest} request
 */
function abortRequest(request) {
  abortedRequests.add(request);
  request.abort();

  // Once a request is complete, aborting it leaves its socket alone.
  if (request.socket && !request.socket.destroyed) request.socket.destroy();
}

/**
 * Sorts the arguments of `new WebSocket(address[, protocols][, options])`.
 *
 * @param {string|string[]|Object} [protocols] The subprotocols, or the options
 * @param {Object} [options]
 * @returns {{protocols: string[], options: Object|undefined}}
 */
function sortArguments(protocols, options) {
  if (Array.isArray(protocols)) return { protocols, options };

  if (typeof protocols === 'object' && protocols !== null) {
    options = protocols;
    protocols = undefined;
  }

  if (protocols === undefined && options) protocols = options.protocols;
  if (protocols === undefined) return { protocols: [], options };

  return { protocols: Array.isArray(protocols) ? protocols : [protocols], options };
}

/**
 * Starts the opening handshake of a client. When it succeeds, `websocket.setSocket()` is called;
 * when it fails, `'error'` and `'close'` are emitted.
 *
 * @param {import('./websocket')} websocket
 * @param {string|URL} address
 * @param {string|string[]|Object} [protocols] The subprotocols, or the options
 * @param {Object} [options]
 * @returns {Object} The resolved options
 * @throws {RangeError|SyntaxError} If an argument is invalid
 */
function connect(websocket, address, protocols, options) {
  const sorted = sortArguments(protocols, options);
  return new Attempt(websocket, address, sorted.protocols, sorted.options).start();
}

module.exports = { abortHandshake, connect };
