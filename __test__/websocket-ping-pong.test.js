'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { OPCODE, closePayload, maskedFrame } = require('./support/frames.js');
const {
  closeOf,
  collect,
  logEvents,
  openPair,
  openServer,
  startClient,
  urlOf
} = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');

/**
 * A server's end of a connection, and its bare peer.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 */
async function openToRawPeer(t, options) {
  const wss = await openServer(t, options);
  const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
  return { server, ...peer };
}

const pingFrame = maskedFrame({ opcode: OPCODE.PING, payload: 'hi' });

for (const [method, opcode] of [
  ['ping', OPCODE.PING],
  ['pong', OPCODE.PONG]
]) {
  describe(`${method}()`, () => {
    it(`makes the peer emit '${method}' with the data as a Buffer`, async (t) => {
      const { client, server } = await openPair(t);

      for (const [from, to] of [
        [client, server],
        [server, client]
      ]) {
        from[method]('are you there?');
        assert.deepStrictEqual(await once(to, method), [Buffer.from('are you there?')]);
      }
    });

    for (const [name, data, payload] of [
      ['nothing', undefined, ''],
      ['an empty string', '', ''],
      ['a number', 42, '42'],
      ['zero', 0, '0'],
      ['a Buffer', Buffer.from('bytes'), 'bytes'],
      ['an ArrayBuffer', new Uint8Array([65, 66]).buffer, 'AB'],
      ['a typed array', new Uint16Array([0x4141]), 'AA'],
      ['a DataView', new DataView(new Uint8Array([64, 65, 66]).buffer, 1), 'AB'],
      ['a Blob', new Blob(['blob']), 'blob'],
      ['as much as fits', 'x'.repeat(125), 'x'.repeat(125)]
    ]) {
      it(`may carry ${name}`, async (t) => {
        const { client, server } = await openPair(t);
        client[method](data);
        assert.deepStrictEqual(await once(server, method), [Buffer.from(payload)]);
      });
    }

    it('throws for more than 125 bytes, and sends nothing', async (t) => {
      const { client, server } = await openPair(t);
      const log = logEvents(server, [method, 'message']);
      for (const data of [
        'x'.repeat(126),
        'é'.repeat(63),
        Buffer.alloc(126),
        new Blob(['x'.repeat(126)])
      ]) {
        assert.throws(() => client[method](data), {
          name: 'RangeError',
          message: 'The data size must not be greater than 125 bytes'
        });
      }
      client.send('after');
      await once(server, 'message');

      assert.deepStrictEqual(log, ['message']);
    });

    it('throws for what cannot be sent', async (t) => {
      const { client } = await openPair(t);
      for (const data of [{}, true, Symbol('s')]) {
        assert.throws(() => client[method](data), TypeError);
      }
    });

    it('throws before the connection is open', async (t) => {
      const wss = await openServer(t);
      const client = startClient(t, urlOf(wss));
      for (const args of [[], ['data'], [() => {}]]) {
        assert.throws(() => client[method](...args), {
          name: 'Error',
          message: 'WebSocket is not open: readyState 0 (CONNECTING)'
        });
      }
    });

    it('calls its callback, wherever that stands among the arguments', async (t) => {
      const { client } = await openPair(t);
      for (const call of [
        (callback) => client[method](callback),
        (callback) => client[method]('data', callback),
        (callback) => client[method]('data', true, callback),
        (callback) => client[method](undefined, undefined, callback),
        (callback) => client[method](new Blob(['data']), true, callback)
      ]) {
        assert.ok(!(await new Promise(call)));
      }
    });

    it('masks as the role demands unless told otherwise', async (t) => {
      const { server, frames } = await openToRawPeer(t);
      server[method]('clear');
      server[method]('masked', true);
      const [clear, masked] = await frames.take(2);

      assert.strictEqual(clear.opcode, opcode);
      assert.strictEqual(clear.key, null);
      assert.notStrictEqual(masked.key, null);
      assert.strictEqual(masked.payload.toString(), 'masked');

      const { client, server: strict } = await openPair(t);
      client[method]('clear', false);
      const [error] = await once(strict, 'error').catch((reason) => [reason]);
      assert.strictEqual(error.code, 'WS_ERR_EXPECTED_MASK');
      client.on('error', () => {});
    });

    it('does not disturb a message in fragments', async (t) => {
      const { client, server } = await openPair(t);
      const log = logEvents(server, [method, 'message'], (event, data) => `${event} ${data}`);
      client.send('one ', { fin: false });
      client[method]('between');
      client.send('two');
      await once(server, 'message');

      assert.deepStrictEqual(log, [`${method} between`, 'message one two']);
    });
  });
}

describe('the automatic pong', () => {
  it('answers each ping with its data, at both ends', async (t) => {
    const { client, server } = await openPair(t);
    for (const ws of [client, server]) {
      const pongs = collect(ws, 'pong', 3);
      for (const data of ['a', '', 'b']) ws.ping(data);
      assert.deepStrictEqual(await pongs, [
        [Buffer.from('a')],
        [Buffer.alloc(0)],
        [Buffer.from('b')]
      ]);
    }
  });

  it('is sent before the listeners of ping run', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    server.on('ping', (data) => server.send(`from the listener of ${data}`));
    socket.write(pingFrame);
    const [first, second] = await frames.take(2);

    assert.strictEqual(first.opcode, OPCODE.PONG);
    assert.strictEqual(first.payload.toString(), 'hi');
    assert.strictEqual(second.payload.toString(), 'from the listener of hi');
  });

  it('can be switched off for clients and for servers', async (t) => {
    const setup = { client: { autoPong: false }, server: { autoPong: false } };
    const { client, server } = await openPair(t, setup);

    for (const [from, to] of [
      [client, server],
      [server, client]
    ]) {
      const log = logEvents(from, ['pong', 'message']);
      to.once('ping', () => to.send('no pong'));
      from.ping();
      await once(from, 'message');
      assert.deepStrictEqual(log, ['message']);
    }
  });

  it('is not sent once the connection is closing', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    server.close(1000);
    const waiting = server.bufferedAmount;
    const pinged = once(server, 'ping');
    socket.write(pingFrame);
    await pinged;
    assert.ok(server.bufferedAmount <= waiting);
    socket.end(maskedFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) }));
    const opcodes = (await frames.rest()).map((frame) => frame.opcode);

    assert.deepStrictEqual(opcodes, [OPCODE.CLOSE]);
  });

  it('is not counted among what the user sent', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    for (let i = 0; i < 500; i++) {
      socket.write(pingFrame);
      await frames.next();
    }

    assert.strictEqual(server.readyState, WebSocket.OPEN);
    assert.strictEqual(server.bufferedAmount, 0);
  });
});

describe('maxPendingAutoPongs', () => {
  /** Many pings in one chunk: none of the pongs is written before the last ping is read. */
  const burst = (count) => Buffer.concat(Array(count).fill(pingFrame));

  it('is 60, in one go', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    socket.write(burst(60));
    const pongs = await frames.take(60);

    assert.ok(pongs.every(({ opcode }) => opcode === OPCODE.PONG));
    assert.strictEqual(server.readyState, WebSocket.OPEN);
  });

  it('terminates the connection when one more is due, without an error', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const log = logEvents(server, ['error']);
    const closed = once(server, 'close');
    socket.write(burst(61));

    assert.deepStrictEqual(await closed, [1006, Buffer.alloc(0)]);
    assert.deepStrictEqual(log, []);
  });

  it('still reports the ping that was one too many', async (t) => {
    const { server, socket } = await openToRawPeer(t, { maxPendingAutoPongs: 2 });
    const pings = collect(server, 'ping', 3);
    socket.write(burst(3));

    assert.strictEqual((await pings).length, 3);
    assert.strictEqual(server.readyState, WebSocket.CLOSING);
  });

  it('bounds what a peer that pings and does not read can make us hold', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    socket.pause();
    while (server.bufferedAmount < 256 * 1024) server.send(Buffer.alloc(256 * 1024));
    const closed = closeOf(server);
    const pinging = setInterval(() => socket.write(pingFrame), 1);
    t.after(() => clearInterval(pinging));

    assert.strictEqual((await closed)[0], 1006);
  });

  it('can be set for a server and for a client, and 0 lifts the limit', async (t) => {
    for (const [limit, count, open] of [
      [3, 3, true],
      [3, 4, false],
      [0, 200, true]
    ]) {
      const { server, socket, frames } = await openToRawPeer(t, { maxPendingAutoPongs: limit });
      const closed = closeOf(server);
      socket.write(burst(count));
      if (open) await frames.take(count);
      else await closed;
      assert.strictEqual(server.readyState === WebSocket.OPEN, open);
    }

    const { client } = await openPair(t, { client: { maxPendingAutoPongs: 7 } });
    assert.strictEqual(client._maxPendingAutoPongs, 7);
  });

  it('does not limit pongs that the user sends', async (t) => {
    const { client, server } = await openPair(t);
    const pongs = collect(client, 'pong', 200);
    for (let i = 0; i < 200; i++) server.pong();
    await pongs;

    assert.strictEqual(server.readyState, WebSocket.OPEN);
  });
});
