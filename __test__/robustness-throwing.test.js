'use strict';

/**
 * Listeners that throw, in a process that survives it: what follows is delivered all the same, a little later, and the
 * connection ends as any other. What ws does then is lose it, and never read again; that remains so where the exception
 * is an error of a `createWebSocketStream()` that nobody hears (`stream.test.js`).
 */

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { createWebSocketStream } = require('./support/package.js');
const { takeUncaughtExceptions } = require('./support/exceptions.js');
const { isOxws } = require('./support/internals.js');
const { collect, openPair } = require('./support/pair.js');

const skip = isOxws ? false : 'the package under test is not oxws';

const LIMIT = { timeout: 30_000 };

const DEFLATE = { perMessageDeflate: { threshold: 0 } };

const names = (count, from = 0) => Array.from({ length: count }, (_, i) => `message ${from + i}`);

const texts = (messages) => messages.map(([data]) => data.toString().slice(0, 20).trim());

/** What is sent arrives in one chunk. */
function sendTogether(client, names, size) {
  client._socket.cork();
  for (const name of names) client.send(name.padEnd(size));
  client._socket.uncork();
}

const turns = async (count) => {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
};

/** The first message's listener throws. */
function throwOnce(ws) {
  ws.once('message', () => {
    throw new Error('thrown by a listener');
  });
}

describe('After an exception of a listener', { skip }, () => {
  takeUncaughtExceptions();

  test('what arrives while the connection is paused follows', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(client, 'message', 6);
    client.once('message', () => {
      client.pause();
      // From here on the loop does not wait.
      setImmediate(turns, 200);
      for (const name of names(3, 3)) server.send(name);
      assert.ok(server._socket.bytesWritten > 0);
      // They have left. I/O threads read them now, if there are any.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      throw new Error('thrown by a listener');
    });
    const thrown = once(process, 'uncaughtException');
    // Until here it does, so that I/O threads have the connection.
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const name of names(3)) server.send(name);
    await thrown;
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.resume();
    assert.deepEqual(texts(await received), names(6));
  });

  test('chunks that had gathered while the connection was paused follow', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 5);
    throwOnce(server);
    server.pause();
    for (const name of names(5)) {
      client.send(name);
      await turns(5);
    }
    const thrown = once(process, 'uncaughtException');
    server.resume();
    await thrown;
    assert.deepEqual(texts(await received), names(5));
  });

  test('a connection that was destroyed with unread messages is closed', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 5);
    throwOnce(server);
    server.pause();
    sendTogether(client, names(5), 10);
    // Node reads what it can in each turn of the loop.
    await turns(20);
    const thrown = once(process, 'uncaughtException');
    const closed = once(server, 'close');
    server.terminate();
    await Promise.all([thrown, closed]);
    assert.deepEqual(texts(await received), names(5));
  });

  test('that listens to a stream, it gets what follows and is closed', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const stream = createWebSocketStream(server);
    const received = collect(stream, 'data', 3);
    stream.once('data', () => {
      throw new Error('thrown by a listener');
    });
    const thrown = once(process, 'uncaughtException');
    sendTogether(client, names(3), 10);
    await thrown;
    assert.deepEqual(texts(await received), names(3));
    const closed = once(stream, 'close');
    stream.destroy();
    await closed;
  });

  // The third of these messages finds no room where small ones lie, and waits.
  const LARGE = 3000;

  test('nothing is lost when the connection is terminated then', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 12);
    throwOnce(server);
    process.once('uncaughtException', () => server.terminate());
    sendTogether(client, names(12), LARGE);
    assert.deepEqual(texts(await received), names(12));
  });

  test('nothing is lost when others receive before it is terminated', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const other = await openPair(t);
    const [received, receivedByOther] = [
      collect(server, 'message', 12),
      collect(other.server, 'message', 2)
    ];
    throwOnce(server);
    process.once('uncaughtException', () => sendTogether(other.client, names(2), LARGE));
    sendTogether(client, names(12), LARGE);
    await receivedByOther;
    server.terminate();
    assert.deepEqual(texts(await received), names(12));
  });

  test(
    'nothing is lost when one of the listeners that come then terminates it',
    LIMIT,
    async (t) => {
      const { client, server } = await openPair(t);
      const received = collect(server, 'message', 12);
      throwOnce(server);
      process.once('uncaughtException', () => server.once('message', () => server.terminate()));
      sendTogether(client, names(12), LARGE);
      assert.deepEqual(texts(await received), names(12));
    }
  );

  test('that came in the tick behind a message, the connection goes on', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const thrown = once(process, 'uncaughtException');
    server.once('message', () => {
      process.nextTick(() => {
        throw new Error('thrown in the next tick');
      });
    });
    client.send('first');
    await thrown;
    const received = collect(server, 'message', 3);
    for (const name of names(3)) client.send(name);
    assert.deepEqual(texts(await received), names(3));
  });

  test(
    'that is a callback, all others are called, and the connection is closed',
    LIMIT,
    async (t) => {
      const { client } = await openPair(t, { server: DEFLATE, client: DEFLATE });
      const uncaught = t.mock.fn();
      process.on('uncaughtException', uncaught);
      const closed = once(client, 'close');
      const told = [];
      const allTold = new Promise((resolve) => {
        for (let i = 0; i < 3; i++) {
          // The first takes longer than it takes to close the connection.
          client.send(i === 0 ? randomBytes(8_000_000) : 'waits', (error) => {
            told.push(`${i} ${error.message}`);
            if (i === 2) resolve();
            throw new Error('thrown by a callback');
          });
        }
      });
      client.terminate();
      await Promise.all([allTold, closed]);
      await turns(2);
      const message = 'The socket was closed while data was being compressed';
      assert.deepEqual(told, [`0 ${message}`, `1 ${message}`, `2 ${message}`]);
      assert.equal(uncaught.mock.callCount(), 3);
    }
  );
});
