'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { OPCODE, closePayload, maskedFrame } = require('./support/frames.js');
const { closeOf, collect, logEvents, openPair, openServer } = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');

const closeFrame = (payload) => maskedFrame({ opcode: OPCODE.CLOSE, payload });

/**
 * A server's end of a connection, and its bare peer.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 * @param {object} [request] see {@link connectRaw}
 */
async function openToRawPeer(t, options, request) {
  const wss = await openServer(t, options);
  const [[server], peer] = await Promise.all([
    once(wss, 'connection'),
    connectRaw(t, wss, request)
  ]);
  return { wss, server, ...peer };
}

const skip = process.platform !== 'linux' && 'resets travel differently';

describe('close()', () => {
  for (const role of ['client', 'server']) {
    const other = role === 'client' ? 'server' : 'client';

    for (const [name, args, code, reason] of [
      ['without arguments', [], 1005, ''],
      ['with a code', [1000], 1000, ''],
      ['with a code of the application', [4999], 4999, ''],
      ['with a reason', [3000, 'bye'], 3000, 'bye'],
      ['with a reason in bytes', [1001, Buffer.from('bye')], 1001, 'bye'],
      ['with a reason in an Uint8Array', [1001, new Uint8Array([98, 121])], 1001, 'by'],
      ['with an empty reason', [1000, ''], 1000, ''],
      ['with the longest reason', [1000, 'é'.repeat(61)], 1000, 'é'.repeat(61)],
      ['without a code, whatever the reason', [undefined, 'bye'], 1005, '']
    ]) {
      it(`${name} closes both ends alike, called by the ${role}`, async (t) => {
        const pair = await openPair(t);
        const closed = Promise.all([closeOf(pair[role]), closeOf(pair[other])]);
        pair[role].close(...args);
        const expected = [code, Buffer.from(reason)];

        assert.deepStrictEqual(await closed, [expected, expected]);
        assert.strictEqual(pair.client.readyState, WebSocket.CLOSED);
        assert.strictEqual(pair.server.readyState, WebSocket.CLOSED);
      });
    }
  }

  it('takes every code that RFC 6455 lets an endpoint send', async (t) => {
    const codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000];
    for (const code of codes) {
      const { client, server } = await openPair(t);
      client.close(code);
      assert.strictEqual((await once(server, 'close'))[0], code);
    }
  });

  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, '1000', null, NaN, {}]) {
    it(`throws for the code ${JSON.stringify(code)} and leaves the connection open`, async (t) => {
      const { client, server } = await openPair(t);

      assert.throws(() => client.close(code), {
        name: 'TypeError',
        message: 'First argument must be a valid error code number'
      });
      assert.strictEqual(client.readyState, WebSocket.OPEN);
      client.send('still here');
      assert.strictEqual(String((await once(server, 'message'))[0]), 'still here');
      client.close(1000);
      assert.strictEqual((await once(client, 'close'))[0], 1000);
    });
  }

  for (const reason of ['x'.repeat(124), 'é'.repeat(62), Buffer.alloc(124)]) {
    it(`throws for a reason of ${Buffer.byteLength(reason)} bytes and leaves the connection open`, async (t) => {
      const { client } = await openPair(t);

      assert.throws(() => client.close(1000, reason), {
        name: 'RangeError',
        message: 'The message must not be greater than 123 bytes'
      });
      assert.strictEqual(client.readyState, WebSocket.OPEN);
    });
  }

  for (const [name, reason] of [
    ['a typed array of larger elements', new Float32Array(1)],
    ['an Uint8ClampedArray', new Uint8ClampedArray(2)]
  ]) {
    it(`throws for a reason that is ${name} and leaves the connection open`, async (t) => {
      const { client } = await openPair(t);

      assert.throws(() => client.close(1000, reason), {
        name: 'TypeError',
        message: 'Second argument must be a string or a Uint8Array'
      });
      assert.strictEqual(client.readyState, WebSocket.OPEN);
    });
  }

  for (const reason of [null, ['b', 'y', 'e']]) {
    it(`throws a TypeError for the reason ${JSON.stringify(reason)}`, async (t) => {
      const { client } = await openPair(t);
      assert.throws(() => client.close(1000, reason), { name: 'TypeError' });
      assert.strictEqual(client.readyState, WebSocket.OPEN);
    });
  }

  it('sends no reason for a value that has no length', async (t) => {
    for (const reason of [7, {}, true, new ArrayBuffer(2), new DataView(new ArrayBuffer(2))]) {
      const { client, server } = await openPair(t);
      client.close(1000, reason);
      assert.deepStrictEqual(await once(server, 'close'), [1000, Buffer.alloc(0)]);
    }
  });

  it('is CLOSING from the call to the event', async (t) => {
    const { client, server } = await openPair(t);
    const states = [];
    client.on('close', () => states.push(client.readyState));
    server.on('close', () => states.push(server.readyState));
    client.close();
    assert.strictEqual(client.readyState, WebSocket.CLOSING);
    await Promise.all([once(client, 'close'), once(server, 'close')]);

    assert.deepStrictEqual(states, [WebSocket.CLOSED, WebSocket.CLOSED]);
  });

  it('may be called again in any state, without effect', async (t) => {
    const { client, server } = await openPair(t);
    const log = logEvents(client, ['close', 'error']);
    client.close(4001, 'first');
    client.close(4002, 'second');
    client.close(7);
    const [here, there] = await Promise.all([once(client, 'close'), once(server, 'close')]);
    client.close(4003);
    client.close(7);

    assert.deepStrictEqual([here[0], there[0]], [4001, 4001]);
    assert.deepStrictEqual(log, ['close']);
  });

  it('may be called by both ends at once', async (t) => {
    const { client, server } = await openPair(t);
    const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
    client.close(4001, 'client');
    server.close(4002, 'server');
    const [[clientCode], [serverCode]] = await closed;

    assert.strictEqual(clientCode, 4002);
    assert.strictEqual(serverCode, 4001);
  });

  it('delivers what was sent before, and nothing that is sent after', async (t) => {
    const { client, server } = await openPair(t);
    const sizes = [];
    server.on('message', (data) => sizes.push(data.length));
    for (const size of [10, 2 * 1024 * 1024, 0, 5]) client.send(Buffer.alloc(size));
    client.close(1000);
    client.send('too late');
    await once(server, 'close');

    assert.deepStrictEqual(sizes, [10, 2 * 1024 * 1024, 0, 5]);
  });

  it('still delivers what the peer sent before it answered', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    const messages = collect(server, 'message', 2);
    server.close(1000);
    await frames.next();
    socket.write(maskedFrame({ payload: 'one' }));
    socket.write(maskedFrame({ payload: 'two' }));
    assert.deepStrictEqual(
      (await messages).map(([data]) => String(data)),
      ['one', 'two']
    );
    socket.write(closeFrame(closePayload(1000)));

    assert.strictEqual((await once(server, 'close'))[0], 1000);
  });

  it('called by a listener of message does not withhold the messages read with it', async (t) => {
    for (const method of ['close', 'terminate']) {
      const { server, socket } = await openToRawPeer(t);
      const messages = collect(server, 'message', 2);
      server.once('message', () => server[method]());
      socket.write(Buffer.concat(['one', 'two'].map((payload) => maskedFrame({ payload }))));

      assert.deepStrictEqual(
        (await messages).map(([data]) => String(data)),
        ['one', 'two']
      );
    }
  });

  it('stays OPEN if the close frame could not be handed over', async (t) => {
    const { client } = await openPair(t);
    const { close } = client._sender;
    client._sender.close = () => {
      throw new Error('not now');
    };
    assert.throws(() => client.close(1000), { message: 'not now' });
    assert.strictEqual(client.readyState, WebSocket.OPEN);

    client._sender.close = close;
    client.close(1000);
    assert.strictEqual((await once(client, 'close'))[0], 1000);
  });
});

describe('a close frame from the peer', () => {
  for (const [name, payload, code, reason] of [
    ['without a code', '', 1005, ''],
    ['with a code', closePayload(1001), 1001, ''],
    ['with a code and a reason', closePayload(4000, 'bye €'), 4000, 'bye €']
  ]) {
    it(`${name} is answered with the same, and ends the connection`, async (t) => {
      const { server, socket, frames } = await openToRawPeer(t);
      const closed = once(server, 'close');
      socket.write(closeFrame(payload));
      const answer = await frames.next();

      assert.strictEqual(answer.opcode, OPCODE.CLOSE);
      assert.deepStrictEqual(answer.payload, Buffer.from(payload));
      assert.strictEqual(await frames.next(), null);
      assert.deepStrictEqual(await closed, [code, Buffer.from(reason)]);
    });
  }

  it('makes the state CLOSING before the close event', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    socket.write(Buffer.concat([maskedFrame({ payload: 'a' }), closeFrame('')]));
    await once(server, 'message');
    const states = [server.readyState];
    server.on('close', () => states.push(server.readyState));
    await once(server, 'close');

    assert.deepStrictEqual(states, [WebSocket.CLOSING, WebSocket.CLOSED]);
  });

  it('is the last thing that is read: what follows is ignored', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const log = logEvents(server, ['message', 'ping', 'error']);
    socket.write(
      Buffer.concat([
        maskedFrame({ payload: 'before' }),
        closeFrame(closePayload(1000)),
        maskedFrame({ payload: 'after' }),
        Buffer.from('and garbage')
      ])
    );
    await once(server, 'close');

    assert.deepStrictEqual(log, ['message']);
  });

  it('is not answered cleanly if what goes before the answer is refused', { skip }, async (t) => {
    const { client, server } = await openPair(t);
    const closed = new Promise((resolve) => client.addEventListener('close', resolve));
    // The pong meets a socket that is gone; the close frame comes after the reset that says so.
    server.ping();
    server.close();
    server.terminate();
    const { code, wasClean } = await closed;

    assert.deepStrictEqual([code, wasClean], [1005, false]);
  });

  it('does not stop what was sent before from arriving', async (t) => {
    const { client, server } = await openPair(t);
    const received = once(client, 'message');
    server.send(Buffer.alloc(4 * 1024 * 1024));
    client.close();

    assert.strictEqual((await received)[0].length, 4 * 1024 * 1024);
    await once(server, 'close');
  });
});

describe('a connection that ends without a close frame', () => {
  it('closes with 1006 if the peer ends its side', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const log = logEvents(server, ['error']);
    socket.end();

    assert.deepStrictEqual(await once(server, 'close'), [1006, Buffer.alloc(0)]);
    assert.deepStrictEqual(log, []);
  });

  it('closes with 1006 if the peer resets it, without an error', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const log = logEvents(server, ['error']);
    socket.resetAndDestroy();

    assert.deepStrictEqual(await once(server, 'close'), [1006, Buffer.alloc(0)]);
    assert.deepStrictEqual(log, []);
  });

  it('delivers the messages that came before, and not half a message', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const messages = [];
    server.on('message', (data) => messages.push(String(data)));
    socket.end(
      Buffer.concat([
        maskedFrame({ payload: 'whole' }),
        maskedFrame({ payload: 'half' }).subarray(0, 8)
      ])
    );
    await once(server, 'close');

    assert.deepStrictEqual(messages, ['whole']);
  });

  it('emits close once and then nothing', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const events = ['message', 'ping', 'pong', 'error', 'close', 'open'];
    const log = logEvents(server, events);
    socket.write(maskedFrame({ payload: 'a' }));
    await once(server, 'message');
    server.terminate();
    await once(server, 'close');
    socket.write(maskedFrame({ payload: 'b' }));
    if (!socket.closed) await once(socket, 'close');

    assert.deepStrictEqual(log, ['message', 'close']);
  });
});

describe('terminate()', () => {
  it('closes both ends with 1006 and without an error', async (t) => {
    for (const role of ['client', 'server']) {
      const pair = await openPair(t);
      const logs = [logEvents(pair.client, ['error']), logEvents(pair.server, ['error'])];
      const closed = Promise.all([once(pair.client, 'close'), once(pair.server, 'close')]);
      pair[role].terminate();
      assert.strictEqual(pair[role].readyState, WebSocket.CLOSING);
      const [[clientCode], [serverCode]] = await closed;

      assert.deepStrictEqual([clientCode, serverCode], [1006, 1006]);
      assert.deepStrictEqual(logs, [[], []]);
    }
  });

  it('right after pause() leaves unread what was sent just before', async (t) => {
    const { client, server } = await openPair(t);
    const log = logEvents(server, ['message', 'ping']);
    client.send('unread');
    client.ping();
    client.close(1000);
    server.pause();
    server.terminate();
    const [code] = await once(server, 'close');

    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(log, []);
  });

  it('may be called in any state', async (t) => {
    const { client } = await openPair(t);
    client.close();
    client.terminate();
    client.terminate();
    const [code] = await once(client, 'close');
    client.terminate();

    assert.strictEqual(code, 1006);
    assert.strictEqual(client.readyState, WebSocket.CLOSED);
  });

  it('closes later, not while it is called', async (t) => {
    const { client } = await openPair(t);
    const log = logEvents(client, ['close']);
    client.terminate();
    assert.deepStrictEqual(log, []);
    await once(client, 'close');
  });
});

describe('closeTimeout', () => {
  it('ends the wait of a server for a client that does not answer', async (t) => {
    const { server, frames } = await openToRawPeer(t, { closeTimeout: 20 });
    server.close(1000, 'bye');

    assert.deepStrictEqual(await once(server, 'close'), [1006, Buffer.alloc(0)]);
    const [close] = await frames.rest();
    assert.strictEqual(close.opcode, OPCODE.CLOSE);
  });

  for (const [what, bytes, code, reason] of [
    ['a bad frame', maskedFrame({ rsv2: true }), 1006, ''],
    ['a close frame', closeFrame(closePayload(1000, 'bye')), 1000, 'bye']
  ]) {
    it(`ends the wait for a peer that sends ${what} and does not end its side`, async (t) => {
      const peer = { allowHalfOpen: true };
      const { server, socket, frames } = await openToRawPeer(t, { closeTimeout: 20 }, peer);
      server.on('error', () => {});
      const closed = closeOf(server);
      socket.write(bytes);

      assert.deepStrictEqual(await closed, [code, Buffer.from(reason)]);
      assert.deepStrictEqual(
        (await frames.rest()).map(({ opcode }) => opcode),
        [OPCODE.CLOSE]
      );
      assert.strictEqual(socket.writableEnded, false);
    });
  }

  it('ends the wait of a client for a server that does not answer', async (t) => {
    const { client, server } = await openPair(t, { client: { closeTimeout: 20 } });
    server._socket.pause();
    client.close(1000);

    assert.deepStrictEqual(await once(client, 'close'), [1006, Buffer.alloc(0)]);
  });

  it('is 30 seconds', async (t) => {
    const { client, server } = await openPair(t);
    server._socket.pause();
    const log = logEvents(client, ['close']);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    client.close();
    t.mock.timers.tick(29_999);
    assert.strictEqual(client._socket.destroyed, false);
    t.mock.timers.tick(1);
    assert.strictEqual(client._socket.destroyed, true);
    assert.deepStrictEqual(log, []);
    await once(client, 'close');
  });

  it('does not hold a connection that closes in time', async (t) => {
    const { client, server } = await openPair(t);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
    client.close(1000);
    await closed;
    t.mock.timers.tick(30_000);

    assert.strictEqual(client.readyState, WebSocket.CLOSED);
  });

  it('is set on the server for its connections and on the client for itself', async (t) => {
    const setup = { server: { closeTimeout: 1234 }, client: { closeTimeout: 4321 } };
    const { wss, client, server } = await openPair(t, setup);

    assert.strictEqual(wss.options.closeTimeout, 1234);
    assert.strictEqual(server._closeTimeout, 1234);
    assert.strictEqual(client._closeTimeout, 4321);
  });
});
