'use strict';

const { once } = require('node:events');
const http = require('node:http');

const WebSocket = require('./package.js');

/**
 * @typedef {import('node:test').TestContext} TestContext
 */

/**
 * Terminates a connection when the test ends, in whatever state it is then.
 *
 * @param {TestContext} t
 * @param {WebSocket} ws
 */
function terminateAfter(t, ws) {
  t.after(() => {
    ws.on('error', () => {});
    ws.terminate();
  });
}

/**
 * A WebSocketServer that listens on a free port of 127.0.0.1 until the test ends.
 *
 * @param {TestContext} t
 * @param {object} [options]
 * @returns {Promise<WebSocket.Server>}
 */
async function openServer(t, options) {
  const wss = new WebSocket.WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  const opened = [];

  wss.on('connection', (ws) => opened.push(ws));
  t.after(() => {
    for (const ws of opened) ws.terminate();
    wss.close();
  });
  await once(wss, 'listening');

  return wss;
}

/**
 * An http.Server that listens on a free port of 127.0.0.1 until the test ends.
 *
 * @param {TestContext} t
 * @param {http.Server} [server]
 * @returns {Promise<http.Server>}
 */
async function openHttpServer(t, server = http.createServer()) {
  const sockets = new Set();

  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return server;
}

/**
 * @param {{address(): {port: number}}} server
 * @param {string} [path]
 * @returns {string}
 */
const urlOf = (server, path = '') => `ws://127.0.0.1:${server.address().port}${path}`;

/**
 * A client that is terminated when the test ends. It is still connecting when this returns.
 *
 * @param {TestContext} t
 * @param {ConstructorParameters<typeof WebSocket>} args
 * @returns {WebSocket}
 */
function startClient(t, ...args) {
  const client = new WebSocket(...args);
  terminateAfter(t, client);
  return client;
}

/**
 * Both ends of an open connection.
 *
 * @param {TestContext} t
 * @param {object} [setup]
 * @param {object} [setup.server] options of the server
 * @param {object} [setup.client] options of the client
 * @param {string | string[]} [setup.protocols]
 */
async function openPair(t, { server: serverOptions, client: options, protocols } = {}) {
  const wss = await openServer(t, serverOptions);
  const client = startClient(t, urlOf(wss), protocols, options);
  const [[server, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

  return { wss, server, client, request };
}

/**
 * The arguments of the next `count` events of that name.
 *
 * @param {import('node:events').EventEmitter} emitter
 * @param {string} event
 * @param {number} count
 * @returns {Promise<any[][]>}
 */
function collect(emitter, event, count) {
  return new Promise((resolve) => {
    const collected = [];

    emitter.on(event, function listener(...args) {
      if (collected.push(args) < count) return;
      emitter.removeListener(event, listener);
      resolve(collected);
    });
  });
}

/**
 * Starts a log of the named events, to compare an order of events with.
 *
 * @param {import('node:events').EventEmitter} emitter
 * @param {string[]} events
 * @param {(event: string, ...args: any[]) => any} [describe] what to note of an event
 * @returns {any[]} the log, which grows
 */
function logEvents(emitter, events, describe = (event) => event) {
  const log = [];
  for (const event of events) emitter.on(event, (...args) => log.push(describe(event, ...args)));
  return log;
}

/**
 * The error and the close of a connection that fails, and the state it was in at both.
 *
 * @param {WebSocket} ws
 */
async function failureOf(ws) {
  const order = [];
  const states = [];
  const [[error], [code, reason]] = await Promise.all(
    ['error', 'close'].map(
      (event) =>
        new Promise((resolve) => {
          ws.once(event, (...args) => {
            order.push(event);
            states.push(ws.readyState);
            resolve(args);
          });
        })
    )
  );

  return { error, code, reason, order, states };
}

/**
 * The code and reason of the close event, whether or not an error comes first.
 *
 * @param {WebSocket} ws
 * @returns {Promise<[number, Buffer]>}
 */
const closeOf = (ws) => new Promise((resolve) => ws.once('close', (...args) => resolve(args)));

/** One turn of the event loop. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

module.exports = {
  closeOf,
  collect,
  failureOf,
  logEvents,
  openHttpServer,
  openPair,
  openServer,
  startClient,
  terminateAfter,
  turn,
  urlOf
};
