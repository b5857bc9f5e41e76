'use strict';

const { BATCH, HIGH_WATER_MARK, pushLoop } = require('./push.js');
const { deflate, pushed, ready, role } = require('./task.js');

const compress = deflate !== 'off';
// Bun's own way to broadcast is told apart from the loop that all other servers here run.
const publishes = process.env.BENCH_BROADCAST === 'publish';
const TOPIC = 'all';
const clients = new Set();

const roles = {
  echo(ws, message) {
    ws.send(message, compress);
  },

  broadcast(ws, message) {
    if (publishes) server.publish(TOPIC, message, compress);
    else for (const client of clients) client.send(message, compress);
  },

  push(ws) {
    supply(ws);
  }
};

const supply = pushLoop((ws) => {
  let sent = 0;
  while (sent < BATCH && ws.getBufferedAmount() < HIGH_WATER_MARK) {
    ws.send(pushed);
    sent++;
  }
  return sent;
});

const server = globalThis.Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    if (server.upgrade(request)) return undefined;
    return new Response('This server speaks WebSocket.', { status: 426 });
  },
  websocket: {
    open(ws) {
      if (role !== 'broadcast') return;
      if (publishes) ws.subscribe(TOPIC);
      else clients.add(ws);
    },
    close(ws) {
      clients.delete(ws);
    },
    message: roles[role],
    // `dedicated` keeps a window per connection, `shared` is without context takeover.
    perMessageDeflate: compress && {
      compress: deflate === 'takeover' ? 'dedicated' : 'shared',
      decompress: deflate === 'takeover' ? 'dedicated' : 'shared'
    },
    sendPings: false,
    idleTimeout: 0,
    maxPayloadLength: 16 * 1024 * 1024,
    backpressureLimit: 64 * 1024 * 1024
  }
});

ready(server.port);
