'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { PerMessageDeflate, Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { seededRandom } = require('./support/random.js');
const { comparable, feed, record, singleBytes } = require('./support/receiver-feed.js');

const { OPCODE } = frames;

/** What the bytes say, whatever their chunks: the comparable log of a receiver fed with them. */
async function logOf(chunks, options, compressed) {
  const extensions = {};
  if (compressed) {
    const deflate = new PerMessageDeflate({ isServer: options.isServer });
    deflate.accept([{}]);
    extensions[PerMessageDeflate.extensionName] = deflate;
  }
  const receiver = new Receiver({ ...options, extensions });
  const log = record(receiver);
  await feed(receiver, chunks);
  extensions[PerMessageDeflate.extensionName]?.cleanup();
  return comparable(log);
}

/** Cuts bytes into the given number of parts, some of which may be empty. */
function cut(random, bytes, parts) {
  const marks = Array.from({ length: parts - 1 }, () => random.int(bytes.length + 1));
  marks.sort((a, b) => a - b);
  return [0, ...marks].map((from, i) => bytes.subarray(from, marks[i]));
}

/** One message in one to four frames, with control frames in between. */
function randomMessage(random, { isServer, compressed }) {
  const mask = isServer ? random.bytes(4) : false;
  const isText = random.int(2) === 0;
  const length = random.pick([0, 1, 3, 20, 126, 200]);
  let payload = isText
    ? Buffer.from('aé€😀'.repeat(length)).subarray(0, length - (length % 10))
    : random.bytes(length);
  const rsv1 = compressed && random.int(3) > 0;
  if (rsv1) payload = frames.deflate(payload, { finalBlock: random.int(4) === 0 });
  const parts = frames.fragmented(cut(random, payload, 1 + random.int(4)), {
    opcode: isText ? OPCODE.TEXT : OPCODE.BINARY,
    rsv1,
    mask
  });
  return parts.flatMap((part) => {
    if (random.int(3) > 0) return [part];
    const control = random.pick([frames.ping, frames.pong]);
    return [control(random.bytes(random.int(5)), { mask }), part];
  });
}

/** Something that ends the conversation: a close, a fault, or nothing. */
function randomEnd(random, { isServer }) {
  const mask = isServer ? random.bytes(4) : false;
  return random.pick([
    Buffer.alloc(0),
    frames.close(undefined, '', { mask }),
    frames.close(1000, 'reason', { mask }),
    frames.close(1005, '', { mask }),
    frames.text(Buffer.from([0x61, 0xc3, 0x28]), { mask }),
    frames.text('rsv', { mask, rsv2: true }),
    frames.continuation('alone', { mask }),
    frames.header({ opcode: OPCODE.BINARY, declaredLength: 2n ** 63n, mask })
  ]);
}

describe('Receiver reads the same from any chunks', () => {
  for (const isServer of [false, true]) {
    for (const compressed of [false, true]) {
      const kind = `${compressed ? 'compressed' : 'plain'} frames as a ${isServer ? 'server' : 'client'}`;

      test(`${kind}: cut in two at every byte, in single bytes, at random`, async (t) => {
        const random = seededRandom(t);
        const options = { isServer, binaryType: random.pick(['nodebuffer', 'arraybuffer']) };
        const bytes = Buffer.concat([
          ...randomMessage(random, { isServer, compressed }),
          ...randomMessage(random, { isServer, compressed }),
          ...randomMessage(random, { isServer, compressed }),
          randomEnd(random, { isServer })
        ]);
        const copy = () => Buffer.from(bytes);
        const whole = await logOf([copy()], options, compressed);

        for (let i = 0; i <= bytes.length; i++) {
          const chunks = [copy().subarray(0, i), copy().subarray(i)];
          assert.deepEqual(await logOf(chunks, options, compressed), whole, `cut at byte ${i}`);
        }
        assert.deepEqual(
          await logOf(singleBytes(bytes), options, compressed),
          whole,
          'single bytes'
        );

        for (let i = 0; i < 20; i++) {
          const chunks = cut(random, copy(), 2 + random.int(20)).map((part) => Buffer.from(part));
          const eventual = { ...options, allowSynchronousEvents: random.int(2) === 0 };
          const marks = chunks.map((chunk) => chunk.length).join();
          assert.deepEqual(await logOf(chunks, eventual, compressed), whole, `chunks of ${marks}`);
        }
      });
    }
  }

  test('fragments keep the bounds of the frames, not of the chunks', async (t) => {
    const random = seededRandom(t);
    const options = { isServer: true, binaryType: 'fragments' };
    const bytes = Buffer.concat(
      frames.fragmented([random.bytes(5), random.bytes(130), '', random.bytes(1)], {
        opcode: OPCODE.BINARY,
        mask: random.bytes(4)
      })
    );
    const whole = await logOf([Buffer.from(bytes)], options, false);
    assert.deepEqual(
      whole[0][1].map((part) => part.length / 2),
      [5, 130, 1]
    );
    for (let i = 0; i <= bytes.length; i++) {
      const chunks = [Buffer.from(bytes.subarray(0, i)), Buffer.from(bytes.subarray(i))];
      assert.deepEqual(await logOf(chunks, options, false), whole);
    }
  });

  test('a large masked message in chunks of the size a socket delivers', async (t) => {
    const random = seededRandom(t);
    const block = random.bytes(997);
    const payload = Buffer.alloc(1_000_003, block);
    const bytes = frames.binary(payload, { mask: random.bytes(4) });
    for (const size of [65536, 1460, 65535]) {
      const chunks = [];
      for (let from = 0; from < bytes.length; from += size) {
        chunks.push(Buffer.from(bytes.subarray(from, from + size)));
      }
      const receiver = new Receiver({ isServer: true });
      const log = record(receiver);
      await feed(receiver, chunks);
      assert.equal(log.length, 1);
      assert.ok(log[0][1].equals(payload));
    }
  });

  test('many small frames in one large chunk', async () => {
    const count = 5000;
    const bytes = Buffer.concat(
      Array.from({ length: count }, (_, i) => frames.text(`${i}`, { mask: true }))
    );
    const receiver = new Receiver({ isServer: true });
    const log = record(receiver);
    await feed(receiver, [bytes]);
    assert.equal(log.length, count);
    assert.ok(log.every(([, data], i) => data.toString() === `${i}`));
  });
});
