'use strict';

/**
 * How hard this package compresses, which is not as ws does where nobody sets it, and how many jobs leave the thread at
 * once, which with ws cannot be seen from outside.
 */

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { describe, test } = require('node:test');

const { PerMessageDeflate } = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const frames = require('./support/frames.js');
const { isOxws, lib } = require('./support/internals.js');

const skip = isOxws ? false : 'the package under test is not oxws';

/** A large text with repetitions near and far. */
const text = Array.from({ length: 20_000 }, (_, i) => {
  const value = (i * 7919) % 10_007;
  return `{"id":${i},"value":${value * value},"tag":"${'abcdefgh'[value % 8].repeat(value % 5)}"}\n`;
}).join('');

/** What a compressor with these options makes of the data. */
function compressed(zlibDeflateOptions, data = text) {
  const deflate = new PerMessageDeflate({ zlibDeflateOptions });
  deflate.accept([{}]);
  return new Promise((resolve, reject) => {
    deflate.compress(data, true, (error, result) => {
      deflate.cleanup();
      if (error) reject(error);
      else resolve(result);
    });
  });
}

describe('The size of what is compressed', { skip }, () => {
  test('depends on memLevel, and on level', async () => {
    for (const name of ['memLevel', 'level']) {
      const sizes = [];
      for (const value of [1, 9]) {
        const data = await compressed({ [name]: value });
        assert.equal(frames.inflate(data).toString(), text);
        sizes.push(data.length);
      }
      assert.ok(sizes[1] < sizes[0], `${name}: ${sizes}`);
    }
  });

  test('is that of level 3 and memLevel 8 where nothing is set', async () => {
    const unset = await compressed(undefined);
    assert.equal(frames.inflate(unset).toString(), text);
    for (const same of [{}, { level: 3 }, { memLevel: 8 }, { level: 3, memLevel: 8 }]) {
      assert.ok(unset.equals(await compressed(same)), JSON.stringify(same));
    }
    for (const level of [0, 1, 2, 4, 5, 6, 9]) {
      assert.notEqual((await compressed({ level })).length, unset.length, `level ${level}`);
    }
    for (const memLevel of [1, 4]) {
      assert.notEqual((await compressed({ memLevel })).length, unset.length, `memory ${memLevel}`);
    }
  });

  test('is that of memLevel 6 at other levels, where no memLevel is set', async () => {
    const unset = await compressed({ level: 6 });
    assert.ok(unset.equals(await compressed({ level: 6, memLevel: 6 })));
    for (const memLevel of [1, 5, 7, 8, 9]) {
      const { length } = await compressed({ level: 6, memLevel });
      assert.notEqual(length, unset.length, `memory ${memLevel}`);
    }
  });

  test('of noise is that of zlib, which depends on memLevel', async () => {
    for (const length of [1, 100, 1000, 10_000]) {
      const noise = randomBytes(length);
      for (const memLevel of [1, 4, undefined, 8, 9]) {
        const options = memLevel && { memLevel };
        const wanted = frames.deflate(noise, options).length;
        assert.equal((await compressed(options, noise)).length, wanted, `${length}, ${memLevel}`);
      }
    }
  });
});

describe('The options for zlib', () => {
  const frame = frames.deflate('some text');

  /** Has an instance with these options compress, or decompress. */
  function use(method, options) {
    const deflate = new PerMessageDeflate(options);
    deflate.accept([{}]);
    return new Promise((resolve, reject) => {
      deflate[method](frame, true, (error, data) => {
        deflate.cleanup();
        if (error) reject(error);
        else resolve(data);
      });
    });
  }

  test('may be null', async () => {
    const options = { zlibDeflateOptions: null, zlibInflateOptions: null };
    assert.deepEqual(frames.inflate(await use('compress', options)), frame);
    assert.equal(String(await use('decompress', options)), 'some text');
  });

  test('of one direction are no matter for the other, even if they are useless', async () => {
    for (const zlibDeflateOptions of [{ level: 10 }, { memLevel: '8' }, { dictionary: 'text' }]) {
      assert.equal(String(await use('decompress', { zlibDeflateOptions })), 'some text');
      await assert.rejects(use('compress', { zlibDeflateOptions }));
    }
    const zlibInflateOptions = { dictionary: 'text' };
    assert.deepEqual(frames.inflate(await use('compress', { zlibInflateOptions })), frame);
    await assert.rejects(use('decompress', { zlibInflateOptions }));
  });

  test('are refused if a dictionary is no memory, in the words of node:zlib', () => {
    for (const dictionary of ['text', [1, 2], null]) {
      for (const [method, name] of [
        ['compress', 'zlibDeflateOptions'],
        ['decompress', 'zlibInflateOptions']
      ]) {
        const deflate = new PerMessageDeflate({ [name]: { dictionary } });
        deflate.accept([{}]);
        assert.throws(() => deflate[method](frame, true, () => {}), {
          name: 'TypeError',
          code: 'ERR_INVALID_ARG_TYPE',
          message: /^The "options\.dictionary" property must be/
        });
      }
    }
  });
});

describe('A limiter', () => {
  const Limiter = lib('limiter');

  test('runs so many jobs at once, and the others in order as each ends', () => {
    const limiter = new Limiter(2);
    const log = [];
    const ends = {};
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      limiter.add((end) => {
        log.push(name);
        ends[name] = end;
      });
    }
    assert.deepEqual(log, ['a', 'b']);
    ends.b();
    assert.deepEqual(log, ['a', 'b', 'c']);
    ends.c();
    ends.a();
    assert.deepEqual(log, ['a', 'b', 'c', 'd', 'e']);
    limiter.add(() => log.push('f'));
    assert.equal(log.length, 5);
    ends.e();
    assert.equal(log.at(-1), 'f');
  });

  test('runs all at once when it has no limit', () => {
    for (const limiter of [new Limiter(), new Limiter(0)]) {
      let running = 0;
      for (let i = 0; i < 100; i++) limiter.add(() => running++);
      assert.equal(running, 100);
    }
  });
});

describe('concurrencyLimit', { skip }, () => {
  /**
   * Compresses and decompresses much with many instances, whose limits are LIMITS, and prints how many jobs were under
   * way at most.
   */
  function main({ PerMessageDeflate: Deflate }) {
    const { deflateRawSync } = require('node:zlib');
    const native = require(process.env.INTERNALS).lib('native');
    let running = 0;
    let most = 0;
    for (const name of ['deflateOnRuntime', 'inflateBytesOnRuntime']) {
      const original = native[name];
      native[name] = (...args) => {
        const done = args.pop();
        most = Math.max(most, ++running);
        original(...args, (...results) => {
          running--;
          done(...results);
        });
      };
    }
    const limits = JSON.parse(process.env.LIMITS);
    const data = Buffer.alloc(100_000, 'much');
    const payload = deflateRawSync(data, { level: 0 });
    let finished = 0;
    process.on('exit', () => process.stdout.write(`${finished} done, ${most} at once`));
    for (let i = 0; i < 20; i++) {
      const concurrencyLimit = limits[i % limits.length] ?? undefined;
      const deflate = new Deflate(concurrencyLimit === undefined ? {} : { concurrencyLimit });
      deflate.accept([{}]);
      for (const [method, input] of [
        ['compress', data],
        ['decompress', payload]
      ]) {
        deflate[method](input, true, (error) => {
          if (error) throw error;
          finished++;
        });
      }
    }
  }

  for (const [name, limits, most] of [
    ['is how many jobs leave the thread at once', [3], 3],
    ['counts as the first one has it', [2, 7], 2],
    ['is 10 if the first one has none', [null, 3], 10]
  ]) {
    test(name, async (t) => {
      const INTERNALS = require.resolve('./support/internals.js');
      const env = { INTERNALS, LIMITS: JSON.stringify(limits) };
      const { stdout, stderr } = await runInChild(t, main, { env });
      assert.equal(stdout, `40 done, ${most} at once`, stderr);
    });
  }
});
