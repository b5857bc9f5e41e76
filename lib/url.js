'use strict';

const querystring = require('querystring');
const { URL } = require('url');

const INSECURE = 'ws:';
const SECURE = 'wss:';
const IPC = 'ws+unix:';

/** The schemes of HTTP stand for those of WebSocket. */
const WEBSOCKET_SCHEMES = new Map([
  ['http:', INSECURE],
  ['https:', SECURE]
]);

/**
 * Where a client connects to.
 *
 * @typedef {Object} Target
 * @property {boolean} isSecure Whether to use TLS
 * @property {boolean} isIpc Whether to connect to a Unix-domain socket or a named pipe
 * @property {string} host
 * @property {string|number} port
 * @property {number} defaultPort
 * @property {string} path
 * @property {string} [socketPath] The Unix-domain socket or named pipe
 * @property {string} [auth] User name and password
 * @property {string} server What tells one server from another: host and port, or the socket path
 */

/**
 * @param {string|URL} address
 * @returns {URL} With a WebSocket scheme where `address` has one of HTTP
 * @throws {SyntaxError}
 */
function parseAddress(address) {
  let url = address;

  if (!(address instanceof URL)) {
    try {
      url = new URL(address);
    } catch {
      throw new SyntaxError(`Invalid URL: ${address}`);
    }
  }

  const scheme = WEBSOCKET_SCHEMES.get(url.protocol);
  if (scheme === undefined) return url;

  // The caller's URL stays as it is.
  url = new URL(url);
  url.protocol = scheme;
  return url;
}

/**
 * Tells why a URL cannot be connected to.
 *
 * @param {URL} url
 * @returns {string|undefined} `undefined` if it can
 */
function findProblem(url) {
  if (![INSECURE, SECURE, IPC].includes(url.protocol)) {
    return 'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"';
  }

  if (url.protocol === IPC && !url.pathname) return "The URL's pathname is empty";
  if (url.hash) return 'The URL contains a fragment identifier';
  return undefined;
}

/**
 * @param {URL} url One without a problem
 * @returns {Target}
 */
function describeTarget(url) {
  const isSecure = url.protocol === SECURE;
  const isIpc = url.protocol === IPC;
  const defaultPort = isSecure ? 443 : 80;
  const [path, socketPath] = isIpc
    ? splitIpcPath(url.pathname + url.search)
    : [url.pathname + url.search, undefined];

  return {
    isSecure,
    isIpc,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port || defaultPort,
    defaultPort,
    path,
    socketPath,
    auth: credentials(url),
    server: isIpc ? socketPath : url.host
  };
}

/**
 * Splits `/socket/path:/request/path` at the first colon.
 *
 * @param {string} path
 * @returns {[string, string]} The path to request, which may be empty, and the path of the socket
 */
function splitIpcPath(path) {
  const colon = path.indexOf(':');
  return colon < 0 ? ['', path] : [path.slice(colon + 1), path.slice(0, colon)];
}

/**
 * @param {URL} url
 * @returns {string|undefined} User name and password as Basic authentication joins them
 */
function credentials({ username, password }) {
  if (!username && !password) return undefined;

  // Unlike `decodeURIComponent()`, this takes a stray `%` for what it is.
  return [username, password].map((part) => querystring.unescape(part)).join(':');
}

module.exports = { describeTarget, findProblem, parseAddress };
