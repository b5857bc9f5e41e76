'use strict';

const { createServer } = require('node:http');

const eiows = require('eiows');

const { BATCH, pushLoop } = require('./push.js');
const { perMessageDeflate, pushed, ready, role } = require('./task.js');

// eiows takes the type of what it sends from the type of the data, and gives texts as strings.
const roles = {
  echo(ws) {
    ws.on('message', (data) => ws.send(data));
  },

  broadcast(ws) {
    clients.add(ws);
    ws.on('message', (data) => {
      for (const client of clients) client.send(data);
    });
  },

  push(ws) {
    ws.on('message', () => supply(ws));
  }
};

const clients = new Set();
const full = new Set();

// There is no `bufferedAmount`: the next batch waits until the last message of this one is written.
const supply = pushLoop((ws) => {
  if (full.has(ws)) return 0;
  full.add(ws);
  for (let sent = 1; sent < BATCH; sent++) ws.send(pushed);
  ws.send(pushed, () => full.delete(ws));
  return BATCH;
});

const websockets = new eiows.Server({ perMessageDeflate });
const server = createServer();

server.on('upgrade', (request, socket, head) => {
  websockets.handleUpgrade(request, socket, head, (ws) => {
    ws.on('close', () => clients.delete(ws));
    roles[role](ws);
  });
});

server.listen(0, '127.0.0.1', () => ready(server.address().port));
