'use strict';

const net = require('net');
const tls = require('tls');
const { randomBytes } = require('crypto');

const PerMessageDeflate = require('./permessage-deflate');
const extension = require('./extension');
const { CLOSE_TIMEOUT, DEFAULT_LIMITS } = require('./constants');
const { isToken } = require('./validation');

/** 8 is the last draft that still was in use when 13 became RFC 6455. */
const PROTOCOL_VERSIONS = [8, 13];

/**
 * The options of `http.request()` that follow from the URL or from WebSocket itself. Whatever a
 * caller passes under these names has no effect.
 */
const RESERVED_OPTIONS = {
  socketPath: undefined,
  hostname: undefined,
  protocol: undefined,
  protocols: undefined,
  timeout: undefined,
  method: 'GET',
  host: undefined,
  path: undefined,
  port: undefined
};

/**
 * Completes a client's options. The result is also what `http.request()` is called with.
 *
 * @param {Object} [options] What the caller passed
 * @returns {Object}
 * @throws {RangeError}
 */
function resolveOptions(options) {
  const resolved = {
    allowSynchronousEvents: true,
    autoPong: true,
    closeTimeout: CLOSE_TIMEOUT,
    protocolVersion: 13,
    ...DEFAULT_LIMITS,
    skipUTF8Validation: false,
    perMessageDeflate: true,
    followRedirects: false,
    maxRedirects: 10,
    ...options,
    ...RESERVED_OPTIONS
  };

  if (!PROTOCOL_VERSIONS.includes(resolved.protocolVersion)) {
    throw new RangeError(
      `Unsupported protocol version: ${resolved.protocolVersion} ` +
        `(supported versions: ${PROTOCOL_VERSIONS.join(', ')})`
    );
  }

  return resolved;
}

/**
 * What a client offers with its request and the response has to fit.
 *
 * @typedef {Object} Offer
 * @property {string} key The `Sec-WebSocket-Key`
 * @property {Set<string>} protocols The subprotocols
 * @property {PerMessageDeflate} [perMessageDeflate]
 */

/**
 * Directs a request at its target and writes its headers.
 *
 * @param {Object} options The resolved options, which are completed
 * @param {import('./url').Target} target
 * @param {string[]} protocols
 * @returns {Offer}
 * @throws {SyntaxError} If a subprotocol is invalid or given twice
 */
function prepareRequest(options, target, protocols) {
  const offer = { key: randomBytes(16).toString('base64'), protocols: new Set() };

  options.createConnection ||= target.isSecure ? connectTls : connectPlain;
  options.defaultPort ||= target.defaultPort;
  options.host = target.host;
  options.port = target.port;
  options.path = target.path;
  options.socketPath = target.socketPath;
  options.timeout = options.handshakeTimeout;
  if (target.auth !== undefined) options.auth = target.auth;

  options.headers = {
    ...options.headers,
    'Sec-WebSocket-Version': options.protocolVersion,
    'Sec-WebSocket-Key': offer.key,
    Connection: 'Upgrade',
    Upgrade: 'websocket'
  };

  if (options.perMessageDeflate) offer.perMessageDeflate = offerCompression(options);
  if (protocols.length > 0) offer.protocols = offerProtocols(options, protocols);

  if (options.origin) {
    const name = options.protocolVersion < 13 ? 'Sec-WebSocket-Origin' : 'Origin';
    options.headers[name] = options.origin;
  }

  return offer;
}

/**
 * @param {Object} options
 * @returns {PerMessageDeflate}
 */
function offerCompression({ headers, maxPayload, perMessageDeflate: settings }) {
  const perMessageDeflate = new PerMessageDeflate({ ...settings, isServer: false, maxPayload });

  headers['Sec-WebSocket-Extensions'] = extension.format({
    [PerMessageDeflate.extensionName]: perMessageDeflate.offer()
  });

  return perMessageDeflate;
}

/**
 * @param {Object} options
 * @param {string[]} protocols
 * @returns {Set<string>}
 */
function offerProtocols({ headers }, protocols) {
  const offered = new Set();

  for (const protocol of protocols) {
    if (typeof protocol !== 'string' || !isToken(protocol) || offered.has(protocol)) {
      throw new SyntaxError('An invalid or duplicated subprotocol was specified');
    }

    offered.add(protocol);
  }

  headers['Sec-WebSocket-Protocol'] = protocols.join(',');
  return offered;
}

/**
 * Opens the connection of a `ws:` or `ws+unix:` URL.
 *
 * @param {Object} options The options of the request
 * @returns {net.Socket}
 */
function connectPlain(options) {
  // To `http.request()` the path is that of the request, to `net.connect()` that of a socket.
  options.path = options.socketPath;
  return net.connect(options);
}

/**
 * Opens the connection of a `wss:` URL.
 *
 * @param {Object} options The options of the request
 * @returns {tls.TLSSocket}
 */
function connectTls(options) {
  options.path = undefined;

  // An explicitly empty name asks for none to be sent, and an IP address is not a name (RFC 6066,
  // section 3).
  if (!options.servername && options.servername !== '') {
    options.servername = net.isIP(options.host) ? '' : options.host;
  }

  return tls.connect(options);
}

module.exports = { prepareRequest, resolveOptions };
