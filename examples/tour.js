'use strict';

// A tour of the package: one echo server after another (ws://, wss:// and a Unix socket), each beside a
// plain HTTP page on the same port, and a client that exchanges every kind of message with it.

const assert = require('node:assert');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');

const { WebSocket, WebSocketServer } = require('..');
const { makeCertificate } = require('./certificate');

const PAGE = '<!doctype html><title>oxws</title><p>A plain page, on the port of the sockets.';

/** @param {string} line */
function say(line) {
  console.log(`  ${line}`);
}

/**
 * Puts a page and a WebSocket server that echoes messages on an HTTP server.
 *
 * @param {http.Server | https.Server} server
 * @returns {WebSocketServer}
 */
function furnish(server) {
  server.on('request', (_request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(PAGE);
  });

  // A server compresses only if it is told to.
  const wss = new WebSocketServer({ server, perMessageDeflate: { threshold: 1024 } });
  wss.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  return wss;
}

/**
 * Waits for the next message.
 *
 * @param {WebSocket} client
 * @returns {Promise<{ data: Buffer, isBinary: boolean }>}
 */
async function nextMessage(client) {
  const [data, isBinary] = await once(client, 'message');
  return { data, isBinary };
}

/**
 * Fetches the page that shares the port with the sockets.
 *
 * @param {typeof http | typeof https} protocol
 * @param {http.RequestOptions} address
 */
async function readPage(protocol, address) {
  const request = protocol.get({ ...address, agent: false });
  const [response] = await once(request, 'response');
  response.setEncoding('utf8');
  const body = (await response.toArray()).join('');

  assert.strictEqual(body, PAGE);
  say(`GET / answers ${response.statusCode} with a page of ${body.length} characters`);
}

/**
 * Everything that a client and a server say to each other.
 *
 * @param {WebSocketServer} wss
 * @param {string} url
 * @param {object} options of the client
 */
async function converse(wss, url, options) {
  const connected = once(wss, 'connection');
  const client = new WebSocket(url, options);
  const [[peer]] = await Promise.all([connected, once(client, 'open')]);
  say(`connected, both sides agreed on ${client.extensions}`);

  client.send('Grüße');
  let { data, isBinary } = await nextMessage(client);
  assert.deepStrictEqual([data.toString(), isBinary], ['Grüße', false]);
  say(`text: sent 'Grüße', got '${data}' back`);

  const bytes = randomBytes(500);
  client.send(bytes);
  ({ data, isBinary } = await nextMessage(client));
  assert.deepStrictEqual([data, isBinary], [bytes, true]);
  say(`binary: sent ${bytes.length} random bytes, got the same bytes back`);

  client.send('one ', { fin: false });
  client.send('message ', { fin: false });
  client.send('in three frames');
  ({ data } = await nextMessage(client));
  assert.strictEqual(data.toString(), 'one message in three frames');
  say(`fragments: sent three frames, got '${data}' back`);

  client.ping('are you there?');
  const [pong] = await once(client, 'pong');
  assert.strictEqual(pong.toString(), 'are you there?');
  peer.ping();
  await once(peer, 'pong');
  say('pings: the server answered the client, and the client the server');

  const long = 'Say it again. '.repeat(1500);
  const before = peer._socket.bytesRead;
  client.send(long);
  ({ data } = await nextMessage(client));
  assert.strictEqual(data.toString(), long);
  const onTheWire = peer._socket.bytesRead - before;
  assert.ok(onTheWire < long.length / 10);
  say(`compression: ${long.length} bytes of text went out as ${onTheWire}, and came back whole`);

  const closed = Promise.all([once(client, 'close'), once(peer, 'close')]);
  client.close(1000, 'that is all');
  const [[code, reason], [peerCode, peerReason]] = await closed;
  assert.deepStrictEqual([code, reason.toString()], [1000, 'that is all']);
  assert.deepStrictEqual([peerCode, peerReason], [code, reason]);
  say(`closing handshake: both sides saw ${code} '${reason}'`);
}

/**
 * One stop: a server that listens, the page, the conversation, the end.
 *
 * @param {string} title
 * @param {http.Server | https.Server} server
 * @param {object} where what `listen()` takes
 * @param {(server: http.Server) => { url: string, page: object, options?: object }} reach
 */
async function visit(title, server, where, reach) {
  const wss = furnish(server);
  server.listen(where);
  await once(server, 'listening');

  const { url, page, options } = reach(server);
  console.log(`${title} (${url})`);
  await readPage(server instanceof https.Server ? https : http, page);
  await converse(wss, url, options);

  wss.close();
  server.close();
  await once(server, 'close');
  say('the server is closed');
}

async function tour() {
  await visit('A WebSocket', http.createServer(), { port: 0, host: '127.0.0.1' }, (server) => {
    const { port } = server.address();
    return { url: `ws://127.0.0.1:${port}`, page: { port, host: '127.0.0.1' } };
  });

  const certificate = makeCertificate();
  const tls = https.createServer(certificate);
  await visit('A WebSocket over TLS', tls, { port: 0, host: '127.0.0.1' }, (server) => {
    const { port } = server.address();
    const trust = { ca: certificate.cert };
    const page = { port, host: '127.0.0.1', ...trust };
    return { url: `wss://127.0.0.1:${port}`, page, options: trust };
  });

  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oxws-'));
  const isWindows = process.platform === 'win32';
  const socketPath = isWindows ? `\\\\.\\pipe\\oxws-${process.pid}` : path.join(folder, 'tour');
  const title = isWindows ? 'A WebSocket over a named pipe' : 'A WebSocket over a Unix socket';
  try {
    await visit(title, http.createServer(), { path: socketPath }, () => ({
      url: `ws+unix:${socketPath}:/`,
      page: { socketPath }
    }));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

module.exports = { tour };

if (require.main === module) tour();
