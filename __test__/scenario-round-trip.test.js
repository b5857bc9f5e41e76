'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const { performance } = require('node:perf_hooks');

const { collect, openPair, openServer, startClient, urlOf } = require('./support/pair.js');

describe('The round-trip time', () => {
  it('can be measured with an echo', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (socket) => {
      socket.on('error', assert.fail);
      socket.on('message', (data) => socket.send(data));
    });
    const client = startClient(t, urlOf(wss));
    await once(client, 'open');

    for (let round = 0; round < 3; round++) {
      const start = performance.now();
      client.send(start);
      const [data] = await once(client, 'message');

      assert.strictEqual(Number(data), start);
      assert.ok(performance.now() >= start);
    }
  });

  for (const side of ['client', 'server']) {
    it(`can be measured with a ping that carries its time, from the ${side}`, async (t) => {
      const pair = await openPair(t);

      for (let round = 0; round < 3; round++) {
        const start = performance.now();
        const answered = once(pair[side], 'pong');
        pair[side].ping(String(start));
        const [data] = await answered;

        assert.strictEqual(Number(data.toString()), start);
      }
    });
  }

  it('can be measured for several questions at once, which are answered in order', async (t) => {
    const { client, server } = await openPair(t);
    server.on('message', (data) => server.send(data));
    const answers = [];
    const complete = new Promise((resolve) => {
      client.on('message', (data) => {
        if (answers.push(JSON.parse(data)) === 20) resolve();
      });
    });

    for (let id = 0; id < 20; id++) client.send(JSON.stringify({ id }));
    await complete;

    assert.deepStrictEqual(
      answers.map(({ id }) => id),
      Array.from({ length: 20 }, (_, id) => id)
    );
  });
});

describe('Large answers to many', () => {
  it('arrive whole and in order, while other connections are terminated', async (t) => {
    const COUNT = 12;
    const ROUNDS = 5;
    const wss = await openServer(t);
    const served = [];
    wss.on('connection', (socket) => {
      socket.on('message', (data, binary) => {
        socket.send(data, { binary });
        // What the last one is answered may be on its way already, or not.
        if (socket === served[0]) served[COUNT - 1].terminate();
      });
      served.push(socket);
    });
    const clients = [];
    for (let i = 0; i < COUNT; i++) {
      clients.push(startClient(t, urlOf(wss)));
      await once(clients[i], 'open');
    }
    const message = (i, round) => Buffer.alloc(16 * 1024 + i, 16 * round + i);
    const arrivals = clients.map((client) => collect(client, 'message', ROUNDS));
    const gone = once(clients[COUNT - 1], 'close');

    for (let round = 0; round < ROUNDS; round++) {
      clients.forEach((client, i) => client.send(message(i, round)));
    }

    assert.strictEqual((await gone)[0], 1006);
    for (let i = 0; i < COUNT - 1; i++) {
      for (const [round, [data]] of (await arrivals[i]).entries()) {
        assert.ok(data.equals(message(i, round)), `client ${i}, round ${round}`);
      }
    }
  });
});
