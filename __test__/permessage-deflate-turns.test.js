'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { constants, deflateRawSync } = require('node:zlib');

const { isOxws, lib } = require('./support/internals');
const { PerMessageDeflate } = require('./support/package');

// ws has a turn of the loop for each job.
const skip = !isOxws && 'the package under test is ws';

function negotiated() {
  const deflate = new PerMessageDeflate();
  deflate.accept([{}]);
  return deflate;
}

/** Counts turns of the loop, at most so many. */
function countTurns(most) {
  const counter = { turn: 0 };
  const next = () => {
    if (++counter.turn < most) setImmediate(next);
  };
  setImmediate(next);
  return counter;
}

/** Compresses so many messages at once, and says in which turn each was done. */
function turnsOf(deflate, messages) {
  return new Promise((resolve) => {
    const counter = countTurns(100);
    const turns = [];
    for (let i = 0; i < messages; i++) {
      deflate.compress(`message ${i}`, true, () => {
        turns.push(counter.turn);
        if (turns.length === messages) resolve(turns);
      });
    }
  });
}

/** Waits for a result, and counts the turns of the loop meanwhile. */
async function turnsDuring(promise) {
  let turns = 0;
  let isDone = false;
  const count = () => {
    if (isDone) return;
    turns++;
    setImmediate(count);
  };
  count();
  const result = await promise;
  isDone = true;
  return { result, turns };
}

describe('PerMessageDeflate in the turns of the loop', () => {
  test('does nothing in the turn in which it is asked', async () => {
    const deflate = negotiated();
    for (let i = 0; i < 3; i++) {
      let done = false;
      const finished = new Promise((resolve) => {
        deflate.compress('data', true, () => resolve((done = true)));
      });
      await new Promise(process.nextTick);
      assert.equal(done, false);
      await finished;
    }
  });

  test('does the first job of a connection alone', { skip }, async () => {
    const [first, second, third] = await turnsOf(negotiated(), 3);
    assert.ok(first < second, 'the second one comes in a later turn');
    assert.equal(second, third);
  });

  test('lets jobs that waited for another follow it in its turn', { skip }, async () => {
    const deflate = negotiated();
    await turnsOf(deflate, 1);
    const turns = await turnsOf(deflate, 10);
    assert.deepEqual(
      turns,
      turns.map(() => turns[0])
    );
  });

  test('has others do something after some jobs', { skip }, async () => {
    const deflate = negotiated();
    await turnsOf(deflate, 1);
    const turns = await turnsOf(deflate, 100);
    for (const turn of turns) assert.ok(turns.filter((other) => other === turn).length <= 20);
  });

  test('lets ticks and microtasks run before the next job', async () => {
    const deflate = negotiated();
    await turnsOf(deflate, 1);
    const log = [];
    await new Promise((resolve) => {
      for (const name of ['one', 'two', 'three']) {
        deflate.compress(name, true, async () => {
          log.push(name);
          process.nextTick(() => log.push(`${name}: tick`));
          await undefined;
          await undefined;
          log.push(`${name}: microtask`);
          if (name === 'three') process.nextTick(resolve);
        });
      }
    });
    assert.deepEqual(
      log,
      ['one', 'two', 'three'].flatMap((name) => [name, `${name}: tick`, `${name}: microtask`])
    );
  });

  test('leaves what is large to other threads, whatever became of the message before', async () => {
    const deflate = new PerMessageDeflate({ isServer: true });
    deflate.accept([{}]);
    const decompress = (data) =>
      new Promise((resolve, reject) => {
        deflate.decompress(data, true, (error, text) => (error ? reject(error) : resolve(text)));
      });
    // Empty blocks, of which nothing comes out.
    const blocks = Buffer.alloc(8_000_001, Buffer.from([0x02, 0x08, 0x20, 0x80, 0x00]));
    blocks[blocks.length - 1] = 0;
    // What was learned from the first message of a connection is not kept.
    for (let i = 0; i < 3; i++) await decompress(blocks.subarray(-10_001));

    const { result, turns } = await turnsDuring(decompress(blocks));
    assert.strictEqual(result.length, 0);
    assert.ok(turns > 20, `${turns} turns of the loop meanwhile`);
  });

  test('leaves what ends a large message to other threads, be it small', async () => {
    const deflate = new PerMessageDeflate({ isServer: true });
    deflate.accept([{}]);
    const decompress = (data, fin) =>
      new Promise((resolve, reject) => {
        deflate.decompress(data, fin, (error, text) => (error ? reject(error) : resolve(text)));
      });
    const text = Buffer.alloc(40_000_000);
    const first = deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH });
    assert.strictEqual((await decompress(first, false)).length, text.length);
    deflate._sleep?.();

    // It stops within a block. To go on from there, the message is decompressed once more.
    const { result, turns } = await turnsDuring(decompress(Buffer.from([0x02]), true));
    assert.strictEqual(result.length, 0);
    assert.ok(turns > 20, `${turns} turns of the loop meanwhile`);
  });

  test('tells of an exception and goes on', { skip }, async (t) => {
    const deflate = negotiated();
    await turnsOf(deflate, 1);
    const native = lib('native');
    t.mock.method(native, 'deflate', () => {
      throw new Error('from the addon');
    });
    const compress = () => new Promise((resolve) => deflate.compress('x', true, resolve));
    const results = await Promise.all([compress(), compress()]);
    assert.deepEqual(results.map(String), Array(2).fill('Error: from the addon'));
    native.deflate.mock.restore();
    assert.equal(await compress(), null);
  });

  test('goes on when a callback throws', async () => {
    const deflate = negotiated();
    await turnsOf(deflate, 1);
    const thrown = new Promise((resolve) => {
      process.prependOnceListener('uncaughtException', resolve);
    });
    const listeners = process.listeners('uncaughtException').slice(1);
    for (const listener of listeners) process.off('uncaughtException', listener);
    const after = new Promise((resolve) => {
      deflate.compress('throws', true, () => {
        throw new Error('from a callback');
      });
      deflate.compress('after', true, resolve);
    });
    assert.equal((await thrown).message, 'from a callback');
    for (const listener of listeners) process.on('uncaughtException', listener);
    assert.equal(await after, null);
  });
});
