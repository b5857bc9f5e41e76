'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const {
  closeOf,
  collect,
  openPair,
  openServer,
  startClient,
  turn,
  urlOf
} = require('./support/pair.js');
const { isCancelledByNode } = require('./support/cancelled.js');
const { connectRaw } = require('./support/raw-peer.js');

/**
 * A server's end of a connection whose peer does not read.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 */
async function openToSilentPeer(t, options) {
  const wss = await openServer(t, options);
  const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
  peer.socket.pause();
  return { server, peer };
}

describe('the callback of send', () => {
  it('may be the second or the third argument', async (t) => {
    const { client } = await openPair(t);
    const calls = [
      (callback) => client.send('a', callback),
      (callback) => client.send('a', {}, callback),
      (callback) => client.send('a', undefined, callback),
      (callback) => client.send(new Blob(['a']), callback)
    ];

    for (const call of calls) assert.ok(!(await new Promise(call)));
  });

  it('is called later, once per message and in order', async (t) => {
    const { client } = await openPair(t);
    const order = [];
    await new Promise((resolve) => {
      client.send('a', () => order.push('a'));
      client.send(Buffer.alloc(100_000), () => order.push('large'));
      client.send(new Blob(['b']), () => order.push('blob'));
      client.send('', () => order.push('empty'));
      client.ping('', undefined, () => order.push('ping'));
      client.send('z', () => resolve(order.push('z')));
      order.push('returned');
    });
    await turn();

    assert.deepStrictEqual(order, ['returned', 'a', 'large', 'blob', 'empty', 'ping', 'z']);
  });

  it('keeps its order among messages that are enough for the socket', async (t) => {
    const { client } = await openPair(t);
    // So many that frames are gathered from now on.
    for (let i = 0; i < 300; i++) client.send('');
    client._socket.on('drain', () => order.push('drain'));
    const large = Buffer.alloc(100 * 1024);
    const order = [];
    await new Promise((resolve) => {
      for (let i = 0; i < 3; i++) {
        client.send('small', () => order.push(i) === 4 && resolve());
        client.send(large, { mask: false });
      }
    });

    assert.deepStrictEqual(order, ['drain', 0, 1, 2]);
  });

  it('comes before any answer to the message can', async (t) => {
    const { client, server } = await openPair(t);
    server.on('message', (data) => server.send(data));
    const order = [];
    client.on('message', (data) => order.push(`answer ${data}`));

    for (let i = 0; i < 20; i++) {
      client.send(String(i), () => order.push(`sent ${i}`));
      await once(client, 'message');
    }

    const expected = Array.from({ length: 20 }, (_, i) => [`sent ${i}`, `answer ${i}`]);
    assert.deepStrictEqual(order, expected.flat());
  });

  it('comes before close when the message was sent just before', async (t) => {
    const { client } = await openPair(t);
    const order = [];
    client.send('last', () => order.push('sent'));
    client.close();
    client.on('close', () => order.push('closed'));
    await once(client, 'close');

    assert.deepStrictEqual(order, ['sent', 'closed']);
  });

  it('waits for a peer that does not read', async (t) => {
    const { server, peer } = await openToSilentPeer(t);
    let sent = 0;
    const last = new Promise((resolve) => {
      for (let i = 0; i < 64; i++) {
        server.send(Buffer.alloc(256 * 1024), () => {
          sent++;
          if (sent === 64) resolve();
        });
      }
    });
    for (let i = 0; i < 10; i++) await turn();
    assert.ok(sent < 64);

    peer.socket.resume();
    await last;
  });

  it('gets an error when the connection is lost before the message is written', async (t) => {
    const { server } = await openToSilentPeer(t);
    const results = [];
    const all = new Promise((resolve) => {
      for (let i = 0; i < 64; i++) {
        server.send(Buffer.alloc(256 * 1024), (error) => {
          if (results.push(error) === 64) resolve();
        });
      }
    });
    server.terminate();
    await Promise.all([all, once(server, 'close')]);

    assert.ok(results.at(-1) instanceof Error);
    assert.strictEqual(server.readyState, WebSocket.CLOSED);
  });

  it('gets the error of the write that failed, which is that of the socket', async (t) => {
    const { client, server } = await openPair(t);
    const events = [];
    client._socket.on('error', (error) => events.push(['socket', error]));
    server.terminate();
    // One message after the other, without a turn of the loop in which the end could be read.
    await new Promise((resolve) => {
      const sendOn = () => {
        client.send('x', (error) => {
          if (!error) return sendOn();
          events.push(['callback', error]);
          resolve();
        });
      };
      sendOn();
    });
    const [code] = await closeOf(client);

    const [[first, error], ...rest] = events;
    assert.strictEqual(first, 'callback');
    assert.deepStrictEqual(rest, [['socket', error]]);
    assert.ok(['ECONNRESET', 'EPIPE'].includes(error.code), error.code);
    assert.strictEqual(error.message, `write ${error.code}`);
    assert.strictEqual(error.syscall, 'write');
    assert.ok(error.errno < 0);
    assert.strictEqual(code, 1006);
  });

  it('gets the error with which the socket is destroyed', async (t) => {
    const { server } = await openToSilentPeer(t);
    const results = [];
    const all = new Promise((resolve) => {
      for (let i = 0; i < 64; i++) {
        server.send(Buffer.alloc(256 * 1024), (error) => {
          if (results.push(error) === 64) resolve();
        });
      }
    });
    for (let i = 0; i < 10; i++) await turn();
    const reason = new Error('destroyed');
    server._socket.destroy(reason);
    await all;

    assert.strictEqual(results.at(-1), reason);
    // What the kernel was to take next passes for written; newer versions of Node call it cancelled.
    const others = results.filter((error) => error !== null && error !== reason);
    assert.ok(others.length <= 1);
    for (const error of others) assert.strictEqual(error.message, 'write ECANCELED');
    assert.strictEqual(others.length === 1, await isCancelledByNode(t));
  });

  for (const isDestroyed of [false, true]) {
    const name = isDestroyed ? 'its socket is destroyed with an error' : 'it is terminated';

    it(`waits, and so does bufferedAmount, until ${name} and the loop closes handles`, async (t) => {
      const { server } = await openToSilentPeer(t);
      const log = [];
      /** Logs what has happened, and how much waits then. */
      const note = (what) => log.push(`${what}: ${waits() ? 'as before' : server.bufferedAmount}`);
      let before = 0;
      const waits = () => server.bufferedAmount === before;
      const noteResult = (what) => (error) => {
        note(error === null || error.code === 'ECANCELED' ? what : `${what}, ${error.code}`);
      };
      server.send(Buffer.alloc(16 * 1024 * 1024), noteResult('large'));
      for (let i = 0; i < 10; i++) await turn();
      server.send('1', noteResult('1'));
      server.send('without a callback');
      server.send('2', (error) => {
        noteResult('2')(error);
        process.nextTick(note, 'tick of 2');
      });
      server.send('without a callback');
      do {
        before = server.bufferedAmount;
        for (let i = 0; i < 10; i++) await turn();
      } while (!waits());
      const { _socket: socket } = server;
      const reason = Object.assign(new Error('destroyed'), { code: 'REASON' });
      // The error with which Node cancels what is on its way is also that of what comes behind it.
      const isCancelled = !isDestroyed && (await isCancelledByNode(t));
      const { code } = isDestroyed ? reason : { code: 'ERR_STREAM_DESTROYED' };
      const lost = isCancelled ? '' : `, ${code}`;
      socket.on('error', () => note('error of the socket'));
      socket.on('close', () => note('close of the socket'));
      const closed = closeOf(server);
      // The loop closes handles behind the immediates of the same turn.
      await turn();
      if (isDestroyed) socket.destroy(reason);
      else server.terminate();
      assert.strictEqual(socket.writableLength, before);
      note('at once');
      process.nextTick(note, 'tick');
      setImmediate(note, 'next turn');
      await closed;
      note('close');
      await turn();

      const rest = 2 * (2 + 'without a callback'.length) + 3;
      assert.deepStrictEqual(log, [
        'at once: as before',
        ...(isDestroyed ? ['error of the socket: as before'] : []),
        'tick: as before',
        `large: ${rest + 3}`,
        `1${lost}: ${rest}`,
        `2${lost}: ${2 + 'without a callback'.length}`,
        'tick of 2: 0',
        'close of the socket: 0',
        'close: 0',
        'next turn: 0'
      ]);
    });
  }

  for (const size of [10, 20_000, 100_000]) {
    it(`comes in the first tick when ${size} bytes are written at once`, async (t) => {
      const { server } = await openPair(t);
      const log = [];
      await new Promise((resolve) => {
        server.send(Buffer.alloc(size), () => log.push('callback'));
        process.nextTick(() => resolve(log.push('tick')));
      });
      assert.deepStrictEqual(log, ['callback', 'tick']);
    });
  }

  it('may send again', async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 3);
    client.send('1', () => client.send('2', () => client.send('3')));

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['1', '2', '3']
    );
  });

  it('may close or terminate', async (t) => {
    for (const method of ['close', 'terminate']) {
      const { client } = await openPair(t);
      client.send('last', () => client[method]());
      await once(client, 'close');
    }
  });
});

describe('sending when the connection is closing or closed', () => {
  const calls = {
    send: (ws, data, callback) => ws.send(data, callback),
    ping: (ws, data, callback) => ws.ping(data, undefined, callback),
    pong: (ws, data, callback) => ws.pong(data, undefined, callback)
  };

  for (const [method, call] of Object.entries(calls)) {
    it(`${method} reports an error to its callback, later, and throws nothing`, async (t) => {
      const { client } = await openPair(t);
      const results = [];
      const note = (error) => results.push(error.message);

      client.close();
      call(client, 'late', note);
      assert.deepStrictEqual(results, []);
      call(client, 'late');
      await once(client, 'close');
      call(client, 'later', note);
      await turn();

      assert.deepStrictEqual(results, [
        'WebSocket is not open: readyState 2 (CLOSING)',
        'WebSocket is not open: readyState 3 (CLOSED)'
      ]);
    });

    it(`${method} counts what it could not send in bufferedAmount`, async (t) => {
      const { client } = await openPair(t);
      client.terminate();
      await once(client, 'close');
      const before = client.bufferedAmount;

      call(client, 'äb');
      assert.strictEqual(client.bufferedAmount - before, 3);
      call(client);
      call(client, '');
      assert.strictEqual(client.bufferedAmount - before, 3);
      call(client, 12);
      assert.strictEqual(client.bufferedAmount - before, 5);
      call(client, new Uint16Array(4));
      assert.strictEqual(client.bufferedAmount - before, 13);
      call(client, new Blob(['abc']));
      assert.strictEqual(client.bufferedAmount - before, 16);
    });

    it(`${method} counts likewise when the connection never was open`, async (t) => {
      const wss = await openServer(t);
      const client = startClient(t, urlOf(wss));
      client.on('error', () => {});
      client.close();
      assert.strictEqual(client.bufferedAmount, 0);
      call(client, 'abc');
      assert.strictEqual(client.bufferedAmount, 3);
      await closeOf(client);
      call(client, 'abc');

      assert.strictEqual(client.bufferedAmount, 6);
    });
  }
});

describe('bufferedAmount', () => {
  it('is 0 when a connection opens, at both ends', async (t) => {
    const { client, server } = await openPair(t);
    assert.strictEqual(client.bufferedAmount, 0);
    assert.strictEqual(server.bufferedAmount, 0);
  });

  it('is 0 again when the callback of the last message is called', async (t) => {
    const { client } = await openPair(t);
    for (const size of [1, 1000, 100_000]) {
      await new Promise((resolve) => client.send(Buffer.alloc(size), resolve));
      assert.strictEqual(client.bufferedAmount, 0);
    }
  });

  it('grows while the peer does not read, by payloads and headers', async (t) => {
    const { server } = await openToSilentPeer(t);
    const payload = Buffer.alloc(64 * 1024);

    while (server.bufferedAmount < 1024 * 1024) server.send(payload);
    const before = server.bufferedAmount;
    server.send(payload);
    assert.strictEqual(server.bufferedAmount - before, payload.length + 10);
    server.send('x'.repeat(200));
    assert.strictEqual(server.bufferedAmount - before, payload.length + 10 + 204);
    server.ping();
    assert.strictEqual(server.bufferedAmount - before, payload.length + 10 + 204 + 2);
  });

  it('shrinks to 0 when the peer reads again', async (t) => {
    const { server, peer } = await openToSilentPeer(t);
    const payload = Buffer.alloc(64 * 1024);
    while (server.bufferedAmount < 1024 * 1024) server.send(payload);
    peer.socket.resume();
    await new Promise((resolve) => server.send('last', resolve));

    assert.strictEqual(server.bufferedAmount, 0);
  });

  it('lets a sender notice within one turn of the loop that the peer does not keep up', async (t) => {
    const { server } = await openToSilentPeer(t);
    const payload = Buffer.alloc(64 * 1024);
    let sent = 0;

    while (server.bufferedAmount === 0 && sent < 1024) {
      server.send(payload);
      sent++;
    }
    assert.ok(server.bufferedAmount > 0);
  });

  it('counts a Blob that is being read, and what waits behind it', async (t) => {
    const { client } = await openPair(t);
    const done = new Promise((resolve) => {
      client.send(new Blob(['abc']));
      assert.strictEqual(client.bufferedAmount, 3);
      client.send('defg', resolve);
    });
    assert.strictEqual(client.bufferedAmount, 7);
    await done;

    assert.strictEqual(client.bufferedAmount, 0);
  });
});
