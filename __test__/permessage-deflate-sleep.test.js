'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { isCollected } = require('./support/gc');
const { isOxws } = require('./support/internals');
const { PerMessageDeflate } = require('./support/package');

const skip = !isOxws && 'the package under test is ws';

const NO_TAKEOVER = { server_no_context_takeover: [true], client_no_context_takeover: [true] };

function negotiated(isServer, parameters = {}) {
  const deflate = new PerMessageDeflate({ isServer });
  deflate.accept([parameters]);
  return deflate;
}

function run(deflate, method, data, fin = true) {
  return new Promise((resolve, reject) => {
    deflate[method](data, fin, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

/** Waits until an instance has given back what it can; another one that is used all the time is not idle. */
async function fallenAsleep(instance) {
  const other = negotiated(true);
  for (let i = 0; i < 2; i++) await run(other, 'compress', 'here');
  while (instance._isAwake) {
    await run(other, 'compress', 'still here');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(other._isAwake, true);
  other.cleanup();
}

describe('An idle PerMessageDeflate', () => {
  test('keeps neither frames nor their callbacks', async () => {
    const deflate = negotiated(true);
    const references = await (async () => {
      const data = Buffer.alloc(20000, 'some text');
      let callback;
      const done = new Promise((resolve) => {
        callback = () => resolve();
        deflate.compress(data, true, callback);
      });
      await done;
      return [new WeakRef(data), new WeakRef(callback)];
    })();
    for (const reference of references) assert.equal(await isCollected(reference), true);
    deflate.cleanup();
  });

  test(
    'has nothing in Rust without takeover, and works when it is used again',
    { skip },
    async () => {
      const [server, client] = [negotiated(true, NO_TAKEOVER), negotiated(false, NO_TAKEOVER)];
      const exchange = async () => {
        const compressed = await run(server, 'compress', 'hello hello hello');
        assert.equal((await run(client, 'decompress', compressed)).toString(), 'hello hello hello');
      };
      await exchange();
      for (let i = 0; i < 2; i++) {
        await exchange();
        assert.notEqual(server._id, -1);
        await fallenAsleep(server);
        assert.equal(server._id, -1);
        assert.notEqual(server._deflate, null);
      }
    }
  );

  test('goes on in the middle of a message without takeover', { skip }, async () => {
    const [server, client] = [negotiated(true, NO_TAKEOVER), negotiated(false, NO_TAKEOVER)];
    let text = '';
    for (const fin of [false, false, true]) {
      const compressed = await run(server, 'compress', 'a piece of text; ', fin);
      text += await run(client, 'decompress', compressed, fin);
      await Promise.all([fallenAsleep(server), fallenAsleep(client)]);
    }
    assert.equal(text, 'a piece of text; '.repeat(3));
  });
});

describe('A PerMessageDeflate that is greeted and answers', { skip }, () => {
  test('falls asleep at once, and goes on where it was', async () => {
    const [server, client] = [negotiated(true), negotiated(false)];
    const text = '{"user":"somebody","text":"hello"}';
    const exchange = async (from, to) => {
      const compressed = await run(from, 'compress', text);
      assert.equal((await run(to, 'decompress', compressed)).toString(), text);
      return compressed.length;
    };
    const lengths = [await exchange(client, server), await exchange(server, client)];
    assert.deepEqual([server._isAwake, client._isAwake], [false, false]);
    lengths.push(await exchange(client, server), await exchange(server, client));
    assert.deepEqual([server._isAwake, client._isAwake], [true, true]);
    assert.ok(lengths[2] < lengths[0] / 2 && lengths[3] < lengths[1] / 2, `lengths ${lengths}`);
    for (const deflate of [server, client]) deflate.cleanup();
  });

  test('has nothing in Rust then without takeover', async () => {
    const server = negotiated(true, NO_TAKEOVER);
    await run(server, 'compress', 'hello hello hello');
    assert.equal(server._id, -1);
  });

  test('stays awake when more is waiting', async () => {
    const server = negotiated(true);
    await Promise.all([run(server, 'compress', 'one'), run(server, 'compress', 'two')]);
    assert.equal(server._isAwake, true);
    server.cleanup();
  });
});

describe('Contexts of more connections than keep their states', () => {
  test('go on where they were, message after message', async () => {
    const pairs = Array.from({ length: 150 }, () => [negotiated(true), negotiated(false)]);
    const messages = Array.from(
      { length: 6 },
      (_, i) => `{"user":"somebody","text":"message ${i}"}`
    );
    for (const [i, message] of messages.entries()) {
      for (const [server, client] of pairs) {
        const compressed = await run(server, 'compress', message);
        if (i > 0) assert.ok(compressed.length < message.length / 2, 'the context is used');
        assert.equal((await run(client, 'decompress', compressed)).toString(), message);
      }
    }
    for (const pair of pairs) for (const deflate of pair) deflate.cleanup();
  });
});
