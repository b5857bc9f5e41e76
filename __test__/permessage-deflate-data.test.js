'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const zlib = require('node:zlib');

const { PerMessageDeflate } = require('./support/package.js');
const frames = require('./support/frames.js');
const { closeCodeOf } = require('./support/internals.js');
const { seededRandom } = require('./support/random.js');

const { SYNC_TAIL } = frames;

/** One side after the negotiation. `params` are parsed ones, with lists of values. */
function negotiated({ params = {}, ...options } = {}) {
  const deflate = new PerMessageDeflate(options);
  deflate.accept([structuredClone(params)]);
  return deflate;
}

/** Both sides of a negotiation. */
function bothSides(options) {
  return {
    client: negotiated({ ...options, isServer: false }),
    server: negotiated({ ...options, isServer: true })
  };
}

const call =
  (method) =>
  (deflate, data, fin = true) =>
    new Promise((resolve, reject) => {
      deflate[method](data, fin, (error, result) => (error ? reject(error) : resolve(result)));
    });
const compress = call('compress');
const decompress = call('decompress');

const lines = Array.from({ length: 3000 }, (_, i) => `line ${(i * 7919) % 1000}\n`).join('');
const SAMPLES = ['', 'a', 'hello hello hello', '€'.repeat(1000), lines, '\0'.repeat(200000)];

describe('PerMessageDeflate.compress', () => {
  test('makes what node:zlib inflates, of strings and Buffers', async () => {
    for (const sample of SAMPLES) {
      for (const data of [sample, Buffer.from(sample)]) {
        const payload = await compress(negotiated(), data);
        assert.ok(Buffer.isBuffer(payload));
        assert.equal(frames.inflate(payload).toString(), sample);
      }
    }
  });

  test('makes results that may be kept', async () => {
    const deflate = negotiated({ params: { client_no_context_takeover: [true] } });
    const samples = ['one', 'two', 'three'].map((word) => word.repeat(20));
    const payloads = await Promise.all(samples.map((sample) => compress(deflate, sample)));
    for (const [i, payload] of payloads.entries()) {
      assert.equal(frames.inflate(payload).toString(), samples[i]);
    }
  });

  test('makes repetition small', async () => {
    assert.ok((await compress(negotiated(), 'a'.repeat(100000))).length < 200);
    assert.ok((await compress(negotiated(), lines)).length < lines.length / 3);
  });

  test('gives the tail of a sync flush for every fragment but the last', async () => {
    const deflate = negotiated();
    const parts = [
      await compress(deflate, 'first ', false),
      await compress(deflate, 'second ', false),
      await compress(deflate, 'third', true)
    ];
    assert.deepEqual(parts[0].subarray(-4), SYNC_TAIL);
    assert.deepEqual(parts[1].subarray(-4), SYNC_TAIL);
    assert.equal(frames.inflate(Buffer.concat(parts)).toString(), 'first second third');
  });

  test('leaves the data as it was', async () => {
    const data = Buffer.from(lines);
    await compress(negotiated(), data);
    assert.equal(data.toString(), lines);
  });

  test('keeps the context, so that repeated messages get smaller', async () => {
    const deflate = negotiated();
    const inflater = new frames.ContextInflater();
    const sizes = [];
    for (let i = 0; i < 4; i++) {
      const payload = await compress(deflate, lines.slice(0, 3000));
      sizes.push(payload.length);
      assert.equal((await inflater.message(payload)).toString(), lines.slice(0, 3000));
    }
    assert.ok(
      sizes.slice(1).every((size) => size < sizes[0] / 5),
      sizes.join()
    );
  });

  test('calls back in the order of the calls, however many there are', async () => {
    const deflate = negotiated();
    const inflater = new frames.ContextInflater();
    const order = [];
    const payloads = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const payload = await compress(deflate, `${i} ${i % 2 ? lines : ''}`);
        order.push(i);
        return payload;
      })
    );
    assert.deepEqual(
      order,
      Array.from({ length: 50 }, (_, i) => i)
    );
    for (const [i, payload] of payloads.entries()) {
      assert.equal((await inflater.message(payload)).toString(), `${i} ${i % 2 ? lines : ''}`);
    }
  });
});

describe('PerMessageDeflate.decompress', () => {
  test('inflates what node:zlib made', async () => {
    for (const sample of SAMPLES) {
      for (const options of [
        {},
        { level: 0 },
        { level: 1 },
        { level: 9 },
        { strategy: zlib.constants.Z_FIXED }
      ]) {
        const data = await decompress(negotiated(), frames.deflate(sample, options));
        assert.ok(Buffer.isBuffer(data));
        assert.equal(data.toString(), sample);
      }
    }
  });

  test('keeps the context from message to message', async () => {
    const deflater = new frames.ContextDeflater();
    const deflate = negotiated();
    for (let i = 0; i < 5; i++) {
      const payload = await deflater.message(lines.slice(0, 2000));
      assert.equal((await decompress(deflate, payload)).toString(), lines.slice(0, 2000));
    }
  });

  test('gives what the fragments of a message contain so far', async () => {
    const payload = frames.deflate(lines);
    for (const step of [1, 7, 1000]) {
      const deflate = negotiated();
      const parts = [];
      const slice = payload.subarray(0, 3000);
      for (let from = 0; from < slice.length; from += step) {
        parts.push(await decompress(deflate, slice.subarray(from, from + step), false));
      }
      parts.push(await decompress(deflate, payload.subarray(3000), true));
      assert.equal(Buffer.concat(parts).toString(), lines);
    }
  });

  test('takes empty fragments', async () => {
    const deflate = negotiated();
    assert.equal((await decompress(deflate, Buffer.alloc(0), false)).length, 0);
    assert.equal((await decompress(deflate, frames.deflate('data'), false)).toString(), 'data');
    assert.equal((await decompress(deflate, Buffer.alloc(0), true)).length, 0);
  });

  test('takes several blocks of all kinds in one message', async () => {
    const block = (data, options) => Buffer.concat([frames.deflate(data, options), SYNC_TAIL]);
    const payload = Buffer.concat([
      block('stored ', { level: 0 }),
      block('fixed ', { strategy: zlib.constants.Z_FIXED }),
      block('', {}),
      block('dynamic '.repeat(100), {}),
      frames.deflate('last')
    ]);
    const text = (await decompress(negotiated(), payload)).toString();
    assert.equal(text, `stored fixed ${'dynamic '.repeat(100)}last`);
  });

  test('starts anew after a message whose last block is final', async () => {
    const deflate = negotiated();
    for (const message of ['one', 'two', 'three']) {
      const payload = frames.deflate(message, { finalBlock: true });
      assert.equal((await decompress(deflate, payload)).toString(), message);
    }
    assert.equal((await decompress(deflate, frames.deflate('four'))).toString(), 'four');
  });

  test('ignores what follows a final block in the same message', async () => {
    const final = frames.deflate('kept', { finalBlock: true });
    for (const rest of [Buffer.from([0]), frames.deflate('more'), Buffer.from([0xff, 0xff])]) {
      const deflate = negotiated();
      const data = await decompress(deflate, Buffer.concat([final, rest]));
      assert.equal(data.toString(), 'kept');
      assert.equal((await decompress(deflate, frames.deflate('next'))).toString(), 'next');
    }
  });

  test('leaves the data as it was', async () => {
    const payload = frames.deflate(lines);
    const copy = Buffer.from(payload);
    await decompress(negotiated(), payload);
    assert.deepEqual(payload, copy);
  });

  test('serves many at the same time, each in order', async () => {
    const sides = Array.from({ length: 20 }, () => negotiated());
    const results = await Promise.all(
      sides.flatMap((deflate, side) =>
        Array.from({ length: 5 }, (_, i) => decompress(deflate, frames.deflate(`${side} ${i}`)))
      )
    );
    assert.deepEqual(
      results.map(String),
      sides.flatMap((_, side) => Array.from({ length: 5 }, (__, i) => `${side} ${i}`))
    );
  });
});

describe('PerMessageDeflate both ways', () => {
  test('each side understands the other, in one context each way', async () => {
    const { client, server } = bothSides();
    for (const sample of SAMPLES) {
      const there = await decompress(server, await compress(client, sample));
      assert.equal(there.toString(), sample);
      const back = await decompress(client, await compress(server, sample));
      assert.equal(back.toString(), sample);
    }
  });

  test('with random data, cut into fragments at random', async (t) => {
    const random = seededRandom(t);
    const { client, server } = bothSides();
    for (let i = 0; i < 30; i++) {
      const data = Buffer.concat([
        random.bytes(random.int(3000)),
        Buffer.from(lines.slice(0, random.int(5000)))
      ]);
      const cut = random.int(data.length + 1);
      const parts = [
        await decompress(server, await compress(client, data.subarray(0, cut), false), false),
        await decompress(server, await compress(client, data.subarray(cut), true), true)
      ];
      assert.ok(Buffer.concat(parts).equals(data));
    }
  });

  for (let bits = 8; bits <= 15; bits++) {
    test(`with windows of ${bits} bits`, async () => {
      const params = { client_max_window_bits: [bits], server_max_window_bits: [bits] };
      const { client, server } = bothSides({ params });
      // zlib knows no window of 8 bits for raw DEFLATE and takes 9, whose distances fit into 8.
      const inflater = new frames.ContextInflater({ windowBits: Math.max(bits, 9) });
      for (const sample of [...SAMPLES, lines]) {
        const payload = await compress(client, sample);
        assert.equal((await decompress(server, payload)).toString(), sample);
        assert.equal((await inflater.message(payload)).toString(), sample);
        assert.equal((await decompress(client, await compress(server, sample))).toString(), sample);
      }
    });
  }

  test('a side keeps to its own window only', async () => {
    const far = `${lines.slice(0, 500)}${'x'.repeat(3000)}${lines.slice(0, 500)}`;
    const sizes = {};
    for (const side of ['client', 'server']) {
      const { client, server } = bothSides({ params: { [`${side}_max_window_bits`]: [9] } });
      const length = async (deflate) => (await compress(deflate, far)).length;
      sizes[side] = [await length(client), await length(server)];
    }
    assert.ok(sizes.client[0] > sizes.client[1], 'the client cannot refer back as far');
    assert.ok(sizes.server[1] > sizes.server[0], 'the server cannot refer back as far');
  });

  for (const side of ['client', 'server']) {
    test(`${side}_no_context_takeover makes each message of the ${side} stand alone`, async () => {
      const { client, server } = bothSides({ params: { [`${side}_no_context_takeover`]: [true] } });
      const [own, other] = side === 'client' ? [client, server] : [server, client];
      const text = lines.slice(0, 1000);
      const payloads = [];
      for (let i = 0; i < 3; i++) {
        payloads.push(await compress(own, text));
        assert.equal(frames.inflate(payloads[i]).toString(), text);
        assert.equal((await decompress(other, payloads[i])).toString(), text);
      }
      assert.deepEqual(payloads[1], payloads[0]);
      assert.deepEqual(payloads[2], payloads[0]);

      const first = await compress(other, text);
      const second = await compress(other, text);
      assert.ok(second.length < first.length / 5, 'the other side keeps its context');
      assert.equal((await decompress(own, first)).toString(), text);
      assert.equal((await decompress(own, second)).toString(), text);
    });
  }

  test('without context takeover, the fragments of a message still share a context', async () => {
    const params = { client_no_context_takeover: [true] };
    const { client, server } = bothSides({ params });
    for (let i = 0; i < 2; i++) {
      const first = await compress(client, lines.slice(0, 1000), false);
      const second = await compress(client, lines.slice(0, 1000), true);
      assert.ok(second.length < first.length / 5);
      const parts = [
        await decompress(server, first, false),
        await decompress(server, second, true)
      ];
      assert.equal(Buffer.concat(parts).toString(), lines.slice(0, 1000).repeat(2));
    }
  });
});

describe('PerMessageDeflate zlib options', () => {
  const sizeWith = async (zlibDeflateOptions, data = lines) => {
    const payload = await compress(negotiated({ zlibDeflateOptions }), data);
    assert.equal(frames.inflate(payload).toString(), data);
    return payload.length;
  };

  test('level is that of zlib', async () => {
    const prose = JSON.stringify(
      Array.from({ length: 1000 }, (_, i) => ({ id: (i * 7919) % 1000, name: `user ${i % 37}`, i }))
    );
    const sizes = [
      await sizeWith({ level: 0 }, prose),
      await sizeWith({ level: 1 }, prose),
      await sizeWith({ level: 9 }, prose)
    ];
    assert.ok(sizes[0] > prose.length);
    assert.ok(sizes[0] > sizes[1] && sizes[1] > sizes[2], sizes.join());
    assert.equal(await sizeWith({ level: -1 }), await sizeWith({}));
  });

  test('strategy and memLevel are those of zlib', async () => {
    const { Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED, Z_FILTERED } = zlib.constants;
    const usual = await sizeWith({});
    assert.ok((await sizeWith({ strategy: Z_HUFFMAN_ONLY })) > 2 * usual);
    const run = 'a'.repeat(5000);
    assert.ok(
      (await sizeWith({ strategy: Z_RLE }, run)) <
        (await sizeWith({ strategy: Z_HUFFMAN_ONLY }, run))
    );
    for (const strategy of [Z_FIXED, Z_FILTERED]) await sizeWith({ strategy });
    for (let memLevel = 1; memLevel <= 9; memLevel++) await sizeWith({ memLevel });
  });

  test('chunkSize and flush options change nothing that can be seen', async () => {
    const { Z_FULL_FLUSH } = zlib.constants;
    const options = { chunkSize: 64, flush: Z_FULL_FLUSH };
    await sizeWith(options);
    const deflate = negotiated({ zlibInflateOptions: { chunkSize: 64 } });
    assert.equal((await decompress(deflate, frames.deflate(lines))).toString(), lines);
  });

  test('windowBits gives way to what was negotiated', async () => {
    const options = {
      zlibDeflateOptions: { windowBits: 9 },
      zlibInflateOptions: { windowBits: 9 }
    };
    const { client, server } = bothSides(options);
    const far = `${lines.slice(0, 500)}${'x'.repeat(20000)}${lines.slice(0, 500)}`;
    const payload = await compress(client, far);
    assert.equal(payload.length, (await compress(negotiated(), far)).length);
    assert.equal((await decompress(server, payload)).toString(), far);
  });

  test('dictionary is known to both sides from the start', async () => {
    const dictionary = Buffer.from(lines.slice(0, 1000));
    const options = { zlibDeflateOptions: { dictionary }, zlibInflateOptions: { dictionary } };
    const { client, server } = bothSides(options);
    const payload = await compress(client, lines.slice(0, 1000));
    assert.ok(payload.length < 50);
    assert.equal((await decompress(server, payload)).toString(), lines.slice(0, 1000));
  });

  test('an option that zlib does not take is refused in the words of node:zlib', () => {
    let expected;
    try {
      zlib.createDeflateRaw({ level: 99 });
    } catch (error) {
      expected = error;
    }
    const deflate = negotiated({ zlibDeflateOptions: { level: 99 } });
    assert.throws(() => deflate.compress('data', true, () => undefined), {
      name: expected.name,
      code: expected.code,
      message: expected.message
    });
  });
});

describe('PerMessageDeflate.decompress reports', () => {
  const failure = (deflate, payload, fin) =>
    decompress(deflate, payload, fin).then(
      () => assert.fail('it was inflated'),
      (error) => error
    );

  const corrupt = {
    'a stored block of the wrong length': [0x00, 0x01, 0x00, 0x00, 0x00],
    'an invalid block type': [0x06],
    'an invalid distance': [0x4b, 0x04, 0x12, 0x00],
    'invalid code lengths': [0x04, 0x00, 0xfe, 0xff],
    'too many symbols': [0xfc, 0x00, 0x00],
    'an invalid literal or length': [0x1b, 0xc7, 0xff, 0xff, 0xff, 0xff]
  };

  for (const [name, bytes] of Object.entries(corrupt)) {
    test(`${name} as node:zlib does, with close code 1007`, async (t) => {
      const payload = Buffer.from(bytes);
      let expected;
      try {
        frames.inflate(payload);
      } catch (error) {
        expected = error;
      }
      if (!expected) return t.skip('this zlib takes it');
      const error = await failure(negotiated(), payload);
      assert.ok(error instanceof Error);
      assert.equal(error.message, expected.message);
      assert.equal(error.code, expected.code);
      assert.equal(error.errno, expected.errno);
      assert.equal(closeCodeOf(error), 1007);
    });
  }

  test('a distance larger than the window, when what it refers to has left the window', async () => {
    const far = `${lines.slice(0, 500)}${'x'.repeat(60000)}`;
    const deflater = new frames.ContextDeflater();
    const deflate = negotiated({ params: { client_max_window_bits: [9] }, isServer: true });
    await decompress(deflate, await deflater.message('unique text, only here'));
    await decompress(deflate, await deflater.message(far.slice(0, 20000)));
    const error = await failure(deflate, await deflater.message('unique text, only here'));
    assert.equal(error.code, 'Z_DATA_ERROR');
    assert.equal(error.message, 'invalid distance too far back');
  });

  test('a distance larger than the window, within one message, and in its next frame', async (t) => {
    // A compressor with the largest window refers to the start of the text.
    const text = seededRandom(t).bytes(20000);
    const deflater = new frames.ContextDeflater();
    const first = Buffer.concat([await deflater.message(text), SYNC_TAIL]);
    const second = await deflater.message(text.subarray(0, 100));
    assert.ok(second.length < 20);
    for (const [bits, isTaken] of [
      [9, false],
      [12, false],
      [15, true]
    ]) {
      const receiver = () =>
        negotiated({ params: { client_max_window_bits: [bits] }, isServer: true });
      const cut = receiver();
      assert.deepEqual(await decompress(cut, first, false), text);
      for (const [deflate, payload] of [
        [receiver(), Buffer.concat([first, second])],
        [cut, second]
      ]) {
        if (isTaken) {
          await decompress(deflate, payload);
        } else {
          const error = await failure(deflate, payload);
          assert.equal(error.message, 'invalid distance too far back');
          assert.equal(closeCodeOf(error), 1007);
        }
      }
    }
  });

  test('only the bytes that are corrupt: a new context works after an error', async () => {
    const deflate = negotiated();
    await failure(deflate, Buffer.from(corrupt['an invalid block type']));
    assert.equal((await decompress(deflate, frames.deflate('works'))).toString(), 'works');
  });

  test('more than maxPayload bytes, with close code 1009', async () => {
    for (const isServer of [true, false]) {
      const deflate = negotiated({ isServer, maxPayload: 100 });
      assert.equal((await decompress(deflate, frames.deflate('x'.repeat(100)))).length, 100);
      const error = await failure(deflate, frames.deflate('x'.repeat(101)));
      assert.equal(error.constructor, RangeError);
      assert.equal(error.message, 'Max payload size exceeded');
      assert.equal(error.code, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
      assert.equal(closeCodeOf(error), 1009);
    }
  });

  test('no limit when maxPayload is 0 or absent', async () => {
    for (const maxPayload of [0, undefined]) {
      const data = await decompress(negotiated({ maxPayload }), frames.deflate('x'.repeat(500000)));
      assert.equal(data.length, 500000);
    }
  });
});

describe('PerMessageDeflate.cleanup', () => {
  test('can be called at any time, and again', async () => {
    const deflate = negotiated();
    deflate.cleanup();
    await compress(deflate, 'data');
    await decompress(deflate, frames.deflate('data'));
    deflate.cleanup();
    deflate.cleanup();
  });

  test('forgets the contexts', async () => {
    const deflate = negotiated();
    const first = await compress(deflate, lines.slice(0, 1000));
    deflate.cleanup();
    assert.deepEqual(await compress(deflate, lines.slice(0, 1000)), first);
  });

  for (const [what, data] of [
    ['little', 'data'],
    ['much', Buffer.alloc(2 ** 20, lines)]
  ]) {
    test(`tells a compress() of ${what} that is under way, at once and once`, async () => {
      const deflate = negotiated();
      const calls = [];
      deflate.compress(data, true, (...args) => calls.push(args));
      deflate.cleanup();
      assert.equal(calls.length, 1);
      const [[error, result]] = calls;
      assert.equal(error.constructor, Error);
      assert.equal(error.message, 'The deflate stream was closed while data was being processed');
      assert.equal(result, undefined);

      await compress(negotiated(), data);
      assert.equal(calls.length, 1);
      deflate.cleanup();
      assert.equal(calls.length, 1);
    });
  }
});

describe('PerMessageDeflate concurrencyLimit', () => {
  test('of one still lets everything through', async () => {
    const sides = Array.from({ length: 5 }, () => negotiated({ concurrencyLimit: 1 }));
    const payloads = await Promise.all(
      sides.map((deflate, i) => compress(deflate, `${i}${lines}`))
    );
    assert.deepEqual(
      payloads.map((payload) => frames.inflate(payload).toString()),
      sides.map((_, i) => `${i}${lines}`)
    );
  });
});
