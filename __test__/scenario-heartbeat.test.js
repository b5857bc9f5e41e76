'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it, mock } = require('node:test');

const WebSocket = require('./support/package.js');
const { closeOf, openPair, openServer, startClient, urlOf } = require('./support/pair.js');

/** A server that on each `check()` drops who did not answer the ping of the check before. */
async function openCheckingServer(t) {
  const wss = await openServer(t);

  wss.on('connection', (socket) => {
    socket.isAlive = true;
    socket.on('pong', function () {
      this.isAlive = true;
    });
  });
  const check = () => {
    for (const socket of wss.clients) {
      if (!socket.isAlive) {
        socket.terminate();
        continue;
      }
      socket.isAlive = false;
      socket.ping();
    }
  };

  return { wss, check };
}

/** Both ends of a connection to that server. */
async function connect(t, wss, options) {
  const client = startClient(t, urlOf(wss), options);
  const [[peer]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

  return { client, peer };
}

describe('A heartbeat from the server', () => {
  it('drops the client that is silent and keeps the one that answers', async (t) => {
    const { wss, check } = await openCheckingServer(t);
    const lively = await connect(t, wss);
    const silent = await connect(t, wss, { autoPong: false });

    const answered = once(lively.peer, 'pong');
    const unanswered = once(silent.client, 'ping');
    check();
    await Promise.all([answered, unanswered]);
    const dropped = Promise.all([closeOf(silent.client), closeOf(silent.peer)]);
    check();
    const [[clientCode], [serverCode]] = await dropped;

    assert.strictEqual(clientCode, 1006);
    assert.strictEqual(serverCode, 1006);
    assert.deepStrictEqual([...wss.clients], [lively.peer]);
    assert.strictEqual(lively.client.readyState, WebSocket.OPEN);
  });

  it('goes on, beat after beat', async (t) => {
    const { wss, check } = await openCheckingServer(t);
    const { peer } = await connect(t, wss);

    for (let beat = 0; beat < 5; beat++) {
      const answered = once(peer, 'pong');
      check();
      await answered;
      assert.strictEqual(peer.isAlive, true);
    }
  });
});

describe('A heartbeat seen from the client', () => {
  it('makes the client give up when the pings stop', async (t) => {
    const LIMIT = 31_000;
    const { client, server } = await openPair(t);
    mock.timers.enable({ apis: ['setTimeout'] });
    t.after(() => mock.timers.reset());

    let timer;
    const heartbeat = () => {
      clearTimeout(timer);
      timer = setTimeout(() => client.terminate(), LIMIT);
    };
    client.on('ping', heartbeat);
    client.on('close', () => clearTimeout(timer));
    heartbeat();

    for (let beat = 0; beat < 3; beat++) {
      const pinged = once(client, 'ping');
      server.ping();
      await pinged;
      mock.timers.tick(LIMIT - 1);
      assert.strictEqual(client.readyState, WebSocket.OPEN);
    }
    const closed = Promise.all([closeOf(client), closeOf(server)]);
    mock.timers.tick(1);
    const [[clientCode], [serverCode]] = await closed;

    assert.strictEqual(clientCode, 1006);
    assert.strictEqual(serverCode, 1006);
  });
});
