'use strict';

const { BATCH, HIGH_WATER_MARK, pushLoop } = require('./push.js');
const { perMessageDeflate, pushed, ready, role } = require('./task.js');

// `ws`, or the path of a package with ws's interface. Under Bun, `ws` is Bun's own.
const { WebSocketServer } = require(process.env.BENCH_PACKAGE || 'ws');

const roles = {
  echo(ws) {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  },

  broadcast(ws) {
    clients.add(ws);
    ws.on('message', (data, isBinary) => {
      for (const client of clients) client.send(data, { binary: isBinary });
    });
  },

  push(ws) {
    ws.on('message', () => supply(ws));
  }
};

const clients = new Set();

const supply = pushLoop((ws) => {
  let sent = 0;
  while (sent < BATCH && ws.bufferedAmount < HIGH_WATER_MARK) {
    ws.send(pushed);
    sent++;
  }
  return sent;
});

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate }, () => {
  ready(server.address().port);
});

server.on('connection', (ws) => {
  ws.on('error', () => ws.terminate());
  ws.on('close', () => clients.delete(ws));
  roles[role](ws);
});
