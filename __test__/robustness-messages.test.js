'use strict';

/**
 * Messages that wait while their listeners do what takes time, or what one would not expect of them: none is lost, and
 * none comes before another.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const frames = require('./support/frames.js');
const { takeUncaughtExceptions } = require('./support/exceptions.js');
const { isOxws } = require('./support/internals.js');
const { collect, openPair } = require('./support/pair.js');

const LIMIT = { timeout: 30_000 };

// After a listener has thrown, ws loses them and never reads again.
const skip = !isOxws && 'the package under test is ws';

const deflate = { perMessageDeflate: { threshold: 0 } };

/** What `send` sends arrives in one chunk. */
function sendTogether(client, send) {
  client._socket.cork();
  send();
  client._socket.uncork();
}

const texts = (messages) => messages.map(([data]) => data.toString().slice(0, 20).trim());

const names = (count) => Array.from({ length: count }, (_, i) => `message ${i}`);

describe('A connection that is paused and resumed', () => {
  for (const isCompressed of [true, false]) {
    const what = isCompressed ? 'compressed ones' : 'plain ones';

    test(
      `while a message is inflated has those delivered that follow, ${what}`,
      LIMIT,
      async (t) => {
        const { client, server } = await openPair(t, { client: deflate, server: deflate });
        const all = collect(server, 'message', 11);
        server.on('ping', () => {
          const pauseAndResume = (times) => {
            server.pause();
            server.resume();
            if (times > 0) setImmediate(pauseAndResume, times - 1);
          };
          setImmediate(pauseAndResume, 5);
        });
        sendTogether(client, () => {
          client.ping();
          client.send('large '.padEnd(500_000));
          for (const name of names(10)) client.send(name, { compress: isCompressed });
        });
        assert.deepEqual(texts(await all), ['large', ...names(10)]);
      }
    );
  }
});

describe('A listener that throws', { skip }, () => {
  takeUncaughtExceptions();

  const WAYS = {
    'and resumes its connection before': (ws) => {
      ws.pause();
      ws.resume();
    },
    'and has its connection resumed a little later': (ws) => {
      ws.pause();
      setTimeout(() => ws.resume(), 1);
    },
    'and terminates its connection': (ws) => ws.terminate()
  };
  for (const [how, act] of Object.entries(WAYS)) {
    test(`${how} loses no messages`, LIMIT, async (t) => {
      const { client, server } = await openPair(t);
      const all = collect(server, 'message', 40);
      const thrown = once(process, 'uncaughtException');
      let count = 0;
      server.on('message', () => {
        if (++count !== 3) return;
        act(server);
        throw new Error('thrown by a listener');
      });
      sendTogether(client, () => {
        for (const name of names(40)) client.send(name.padEnd(1000));
      });
      assert.equal((await thrown)[0].message, 'thrown by a listener');
      assert.deepEqual(texts(await all), names(40));
    });
  }
});

describe('A connection with unread messages that is resumed and terminated', { skip }, () => {
  test('is closed though one of their listeners throws', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 5);
    server.pause();
    sendTogether(client, () => {
      for (const name of names(5)) client.send(name);
    });
    // Node reads what it can in each turn of the loop.
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    const uncaught = t.mock.fn();
    process.setUncaughtExceptionCaptureCallback(uncaught);
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
    server.once('message', () => {
      throw new Error('thrown by a listener');
    });
    const closed = Promise.all([once(server, 'close'), once(client, 'close')]);
    server.resume();
    server.terminate();
    await closed;
    if (uncaught.mock.callCount() === 0) return; // Nothing was read of it.
    assert.equal(uncaught.mock.calls[0].arguments[0].message, 'thrown by a listener');
    assert.deepEqual(texts(await received), names(5));
  });
});

describe('A listener that is told one of thousands of messages', () => {
  test('may have those of another connection delivered by terminating it', LIMIT, async (t) => {
    const [flooded, other] = [await openPair(t), await openPair(t)];
    const received = [];
    other.server.pause();
    other.server.on('message', (data) => received.push(data.toString()));
    for (const name of names(5)) other.client.send(name);
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);

    const all = collect(flooded.server, 'message', 9000);
    const closed = once(other.server, 'close');
    flooded.server.once('message', () => {
      other.server.resume();
      other.server.terminate();
    });
    const frame = frames.text('x', { mask: true });
    flooded.client._socket.write(Buffer.concat(Array(9000).fill(frame)));
    await all;
    await closed;
    assert.deepEqual(received, names(5).slice(0, received.length));
  });
});

describe('A listener that terminates its connection', () => {
  for (const size of [10, 1000, 5000]) {
    const what = `messages of ${size} bytes that came in several chunks`;
    test(`gets what it still gets in order: ${what}`, LIMIT, async (t) => {
      const { client, server } = await openPair(t);
      const received = collect(server, 'message', 2);
      const all = [];
      server.pause();
      for (let chunk = 0; chunk < 6; chunk++) {
        sendTogether(client, () => {
          for (let i = 0; i < 3; i++) client.send(`message ${3 * chunk + i}`.padEnd(size));
        });
        // Node reads what it can in each turn of the loop.
        for (let i = 0; i < 10; i++) await new Promise(setImmediate);
      }
      const closed = once(server, 'close');
      server.on('message', (data) => {
        if (all.push([data]) === 4) server.terminate();
      });
      server.resume();
      await received;
      await closed;
      assert.deepEqual(texts(all), names(all.length));
    });
  }

  test('still gets what had arrived, in order, with pings among it', LIMIT, async (t) => {
    const { client, server } = await openPair(t);
    const all = collect(server, 'message', 40);
    server.on('message', () => server.terminate());
    sendTogether(client, () => {
      for (const name of names(40)) {
        client.send(name.padEnd(1000));
        client.ping();
      }
    });
    assert.deepEqual(texts(await all), names(40));
  });
});
