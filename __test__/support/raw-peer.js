'use strict';

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const net = require('node:net');

const { frame } = require('./frames.js');
const { FrameReader } = require('./frame-reader.js');
const { openHttpServer, openServer, urlOf } = require('./pair.js');

/** The Sec-WebSocket-Key of all handshakes made here (it is RFC 6455's example). */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/**
 * The Sec-WebSocket-Accept that answers a key.
 *
 * @param {string} key
 * @returns {string}
 */
const acceptOf = (key) =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/**
 * The text of a handshake request.
 *
 * @param {object} [request]
 * @param {string} [request.method]
 * @param {string} [request.path]
 * @param {Record<string, string | null>} [request.headers] replace the usual ones; null leaves one out
 * @returns {string}
 */
function handshakeRequest({ method = 'GET', path = '/', headers = {} } = {}) {
  const fields = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    ...headers
  };

  return message(`${method} ${path} HTTP/1.1`, fields);
}

/**
 * @param {string} firstLine
 * @param {Record<string, string | null>} fields
 * @returns {string}
 */
function message(firstLine, fields) {
  const lines = Object.entries(fields)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}`);

  return [firstLine, ...lines, '', ''].join('\r\n');
}

/**
 * A bare TCP connection to a server, destroyed when the test ends.
 *
 * @param {import('node:test').TestContext} t
 * @param {{address(): {port: number}}} server
 * @param {net.SocketConstructorOpts} [options]
 * @returns {net.Socket}
 */
function dial(t, server, options) {
  const socket = net.connect({ port: server.address().port, host: '127.0.0.1', ...options });

  socket.on('error', () => {});
  socket.setNoDelay();
  t.after(() => socket.destroy());

  return socket;
}

/**
 * Sends a request and returns all that the server answers until it closes the connection.
 *
 * @param {import('node:test').TestContext} t
 * @param {{address(): {port: number}}} server
 * @param {string} request
 * @returns {Promise<string>}
 */
async function refusalTo(t, server, request) {
  const socket = dial(t, server);
  const chunks = [];

  socket.on('data', (chunk) => chunks.push(chunk));
  socket.write(request);
  await once(socket, 'close');

  return Buffer.concat(chunks).toString();
}

/**
 * Performs the client's opening handshake by hand, to then send whatever bytes a test wants.
 *
 * @param {import('node:test').TestContext} t
 * @param {{address(): {port: number}}} server
 * @param {object} [request] see {@link handshakeRequest}
 * @param {Buffer} [request.follow] bytes that follow the request in the same write
 * @param {boolean} [request.allowHalfOpen] whether its side stays open when the server has ended its own
 * @returns {Promise<{socket: net.Socket, response: string, frames: FrameReader}>}
 */
async function connectRaw(
  t,
  server,
  { follow = Buffer.alloc(0), allowHalfOpen = false, ...request } = {}
) {
  const socket = dial(t, server, { allowHalfOpen });
  let answer = Buffer.alloc(0);

  socket.write(Buffer.concat([Buffer.from(handshakeRequest(request)), follow]));

  return new Promise((resolve, reject) => {
    socket.once('close', () => reject(new Error(`the server closed after: ${answer}`)));
    socket.on('data', function onData(chunk) {
      answer = Buffer.concat([answer, chunk]);
      const end = answer.indexOf('\r\n\r\n');
      if (end === -1) return;

      const response = answer.toString('latin1', 0, end + 4);
      if (!response.startsWith('HTTP/1.1 101 ')) return;

      socket.removeListener('data', onData);
      resolve({
        socket,
        response,
        frames: new FrameReader(socket, answer.subarray(end + 4))
      });
    });
  });
}

/**
 * A server that answers opening handshakes by hand, to then send a client whatever bytes a test wants.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [answer]
 * @param {string} [answer.status] the status line
 * @param {Record<string, string | null>} [answer.headers] replace the usual ones; null leaves one out
 * @param {Buffer} [answer.follow] bytes that follow the answer in the same write
 * @returns {Promise<{url: string, server: import('node:http').Server, peer(): Promise<{socket: net.Socket, request: import('node:http').IncomingMessage, frames: FrameReader}>}>}
 */
async function serveRaw(t, { status, headers, follow = Buffer.alloc(0) } = {}) {
  const server = await openHttpServer(t);
  const peers = [];
  const waiting = [];

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.setNoDelay();

    const answer = message(status ?? 'HTTP/1.1 101 Switching Protocols', {
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Accept': acceptOf(request.headers['sec-websocket-key']),
      ...headers
    });
    const peer = { socket, request, frames: new FrameReader(socket, head) };

    socket.write(Buffer.concat([Buffer.from(answer), follow]));
    if (waiting.length > 0) waiting.shift()(peer);
    else peers.push(peer);
  });

  return {
    url: urlOf(server),
    server,
    peer: async () =>
      peers.length > 0 ? peers.shift() : new Promise((resolve) => waiting.push(resolve))
  };
}

/**
 * Sends so much over a connection that it is read as one on which throughput counts: then large messages are read into
 * the memory in which they are delivered.
 *
 * @param {import('../../index')} ws
 * @param {net.Socket} socket the peer's
 * @param {boolean} mask whether the peer is a client
 */
async function floodRaw(ws, socket, mask) {
  const done = once(ws, 'message');
  socket.write(frame({ opcode: 2, payload: Buffer.alloc(6_000_000), mask }));
  await done;
}

/**
 * A server's end of a connection, and its bare peer.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 */
async function openToRawPeer(t, options) {
  const wss = await openServer(t, options);
  const [[server, request], peer] = await Promise.all([
    once(wss, 'connection'),
    connectRaw(t, wss)
  ]);
  return { server, request, ...peer };
}

module.exports = {
  KEY,
  acceptOf,
  connectRaw,
  dial,
  floodRaw,
  handshakeRequest,
  openToRawPeer,
  refusalTo,
  serveRaw
};
