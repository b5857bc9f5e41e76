'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { collect, logEvents, openServer, startClient, urlOf } = require('./support/pair.js');

/** A server with clients that are all connected. */
async function openRoom(t, count, options) {
  const wss = await openServer(t, options);
  const connected = collect(wss, 'connection', count);
  const clients = Array.from({ length: count }, () => startClient(t, urlOf(wss)));

  await Promise.all([connected, ...clients.map((client) => once(client, 'open'))]);
  return { wss, clients };
}

/** Sends to everybody who is open, but for one. */
function broadcast(wss, data, { except, binary = false } = {}) {
  for (const client of wss.clients) {
    if (client !== except && client.readyState === WebSocket.OPEN) client.send(data, { binary });
  }
}

for (const perMessageDeflate of [false, { threshold: 0 }]) {
  const how = perMessageDeflate ? 'compressed' : 'as it is';

  describe(`A broadcast that goes out ${how}`, () => {
    it('reaches every client, the sender too', async (t) => {
      const { wss, clients } = await openRoom(t, 5, { perMessageDeflate });
      for (const socket of wss.clients) {
        socket.on('message', (data, binary) => broadcast(wss, data, { binary }));
      }
      const arrivals = clients.map((client) => collect(client, 'message', 2));

      clients[0].send('to all');
      clients[0].send(Buffer.from([1, 2, 3]));

      for (const messages of await Promise.all(arrivals)) {
        assert.deepStrictEqual(messages, [
          [Buffer.from('to all'), false],
          [Buffer.from([1, 2, 3]), true]
        ]);
      }
    });

    it('can leave out the sender', async (t) => {
      const { wss, clients } = await openRoom(t, 4, { perMessageDeflate });
      for (const socket of wss.clients) {
        socket.on('message', (data) => broadcast(wss, data, { except: socket }));
      }
      const [sender, ...others] = clients;
      const arrivals = others.map((client) => once(client, 'message'));
      // What the sender gets first must be what another one says later.
      const firstOfSender = once(sender, 'message');

      sender.send('from the sender');
      for (const [data] of await Promise.all(arrivals)) {
        assert.strictEqual(data.toString(), 'from the sender');
      }
      others[0].send('from another');
      const [data] = await firstOfSender;

      assert.strictEqual(data.toString(), 'from another');
    });
  });
}

describe('A broadcast', () => {
  it('keeps its order at every client, whatever the sizes', async (t) => {
    const { wss, clients } = await openRoom(t, 3);
    const messages = [1, 70_000, 125, 126, 0, 300_000, 65_536].map((size, index) =>
      Buffer.alloc(size, index)
    );
    const arrivals = clients.map((client) => collect(client, 'message', messages.length));

    for (const message of messages) broadcast(wss, message, { binary: true });

    for (const received of await Promise.all(arrivals)) {
      for (const [index, [data]] of received.entries()) {
        assert.ok(data.equals(messages[index]), `message ${index}`);
      }
    }
  });

  it('keeps its order at each of many clients, while others leave', async (t) => {
    const { wss, clients } = await openRoom(t, 300);
    const staying = clients.slice(30);
    const rounds = 40;
    const arrivals = staying.map((client) => collect(client, 'message', rounds));

    for (let round = 0; round < rounds; round++) {
      broadcast(wss, Buffer.alloc((round % 5) * 3000 + 1, round), { binary: true });
      if (round < 30) clients[round].terminate();
      // What is sent in one turn leaves together.
      if (round % 3 === 0) await new Promise(setImmediate);
    }

    for (const received of await Promise.all(arrivals)) {
      for (const [round, [data]] of received.entries()) {
        assert.ok(data.equals(Buffer.alloc((round % 5) * 3000 + 1, round)), `message ${round}`);
      }
    }
  });

  it('passes over a client that has begun to close', async (t) => {
    const { wss, clients } = await openRoom(t, 2);
    const [leaving, staying] = wss.clients;
    const log = clients.map((client) => logEvents(client, ['message', 'close']));
    const ended = Promise.all([once(leaving, 'close'), ...clients.map((c) => once(c, 'close'))]);

    leaving.close(1000);
    assert.strictEqual(leaving.readyState, WebSocket.CLOSING);
    broadcast(wss, 'still here');
    staying.close(1000);
    await ended;

    assert.deepStrictEqual(log.sort(), [['close'], ['message', 'close']]);
  });
});
