'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { Sender } = require('./support/package.js');
const frames = require('./support/frames.js');
const { seededRandom } = require('./support/random.js');

const { OPCODE } = frames;

/** Bytes that differ from place to place. */
const patterned = (length) =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

/** A generateMask that always makes this key. */
const keyed = (key) => (mask) => Buffer.from(key).copy(mask);

/** Every combination of the values of some options. */
function product(values) {
  return Object.entries(values).reduce(
    (rows, [name, list]) => rows.flatMap((row) => list.map((value) => ({ ...row, [name]: value }))),
    [{}]
  );
}

const onWire = (list) => Buffer.concat(list.map((part) => Buffer.from(part)));

describe('Sender.frame', () => {
  test('is a function of its own, that needs no Sender', () => {
    const { frame } = Sender;
    assert.deepEqual(
      onWire(frame(Buffer.from('hi'), { fin: true, opcode: OPCODE.TEXT })),
      frames.text('hi')
    );
  });

  test('writes the header for every combination of flags, opcode, mask and length', () => {
    const key = Buffer.from([1, 2, 3, 4]);
    const combinations = product({
      fin: [true, false, undefined],
      rsv1: [true, false, undefined],
      opcode: Object.values(OPCODE),
      mask: [true, false],
      readOnly: [true, false]
    });
    for (const length of [0, 125, 126, 65535, 65536]) {
      const payload = patterned(length);
      const masked = frames.applyMask(payload, key);
      for (const options of combinations) {
        const { fin, rsv1, opcode, mask } = options;
        const list = Sender.frame(Buffer.from(payload), { ...options, generateMask: keyed(key) });
        const wire = onWire(list);
        const header = frames.header({
          fin: !!fin,
          rsv1,
          opcode,
          mask: mask && key,
          declaredLength: length
        });
        const what = JSON.stringify({ length, ...options });
        assert.deepEqual(wire.subarray(0, header.length), header, what);
        assert.ok(wire.subarray(header.length).equals(mask ? masked : payload), what);
      }
    }
  });

  test('returns the header alone when there is no payload', () => {
    for (const data of ['', Buffer.alloc(0)]) {
      for (const mask of [true, false]) {
        for (const readOnly of [true, false]) {
          const list = Sender.frame(data, { fin: true, opcode: OPCODE.PONG, mask, readOnly });
          assert.equal(list.length, 1);
          assert.equal(list[0].length, mask ? 6 : 2);
        }
      }
    }
  });

  test('returns header and payload, the payload being the very data, when nothing is masked', () => {
    for (const length of [1, 126, 65536]) {
      for (const readOnly of [true, false]) {
        const data = patterned(length);
        const list = Sender.frame(data, { fin: true, opcode: OPCODE.BINARY, readOnly });
        assert.equal(list.length, 2);
        assert.equal(list[1], data);
        assert.deepEqual(data, patterned(length));
      }
    }
  });

  test('returns one buffer and leaves the data alone when it masks data that is read-only', () => {
    for (const length of [1, 126, 65536]) {
      const data = patterned(length);
      const list = Sender.frame(data, {
        fin: true,
        mask: true,
        opcode: OPCODE.BINARY,
        readOnly: true
      });
      assert.equal(list.length, 1);
      assert.deepEqual(frames.parse(list[0]).frames[0].payload, data);
      assert.deepEqual(data, patterned(length));
    }
  });

  test('masks data that may be modified where it lies', () => {
    for (const length of [1, 126, 65536]) {
      const data = patterned(length);
      const list = Sender.frame(data, {
        fin: true,
        mask: true,
        opcode: OPCODE.BINARY,
        readOnly: false
      });
      assert.equal(list.length, 2);
      assert.equal(list[1], data);
      assert.deepEqual(frames.parse(onWire(list)).frames[0].payload, patterned(length));
    }
  });

  test('takes strings, and counts their bytes', () => {
    for (const text of ['a', 'ü'.repeat(63), '€'.repeat(21846)]) {
      for (const mask of [true, false]) {
        const list = Sender.frame(text, { fin: true, mask, opcode: OPCODE.TEXT });
        const [frame] = frames.parse(onWire(list)).frames;
        assert.equal(frame.payload.toString(), text);
        assert.equal(frame.masked, mask);
      }
    }
  });

  test('takes a Buffer that is part of a larger one', () => {
    const whole = Buffer.from('before-data-after');
    const data = whole.subarray(7, 11);
    for (const mask of [true, false]) {
      const list = Sender.frame(data, { fin: true, mask, opcode: OPCODE.TEXT, readOnly: true });
      assert.equal(frames.parse(onWire(list)).frames[0].payload.toString(), 'data');
    }
    assert.equal(whole.toString(), 'before-data-after');
  });

  test('gives the same frame again for the same data, so that it can be sent to many', () => {
    const options = { fin: true, mask: false, opcode: OPCODE.TEXT, readOnly: false, rsv1: false };
    const data = Buffer.from('broadcast');
    const first = Sender.frame(data, options);
    const second = Sender.frame(data, options);
    assert.deepEqual(first, second);
    assert.deepEqual(options, {
      fin: true,
      mask: false,
      opcode: OPCODE.TEXT,
      readOnly: false,
      rsv1: false
    });
  });
});

describe('Sender.frame masks', () => {
  const options = { fin: true, mask: true, opcode: OPCODE.BINARY, readOnly: true };

  test('with four unpredictable bytes, anew for each frame', () => {
    const keys = new Set();
    const bytes = new Set();
    for (let i = 0; i < 5000; i++) {
      const [{ key }] = frames.parse(Sender.frame(Buffer.from('x'), options)[0]).frames;
      keys.add(key.toString('hex'));
      for (const byte of key) bytes.add(byte);
    }
    assert.ok(keys.size > 4990, `${keys.size} different keys in 5000 frames`);
    assert.equal(bytes.size, 256);
  });

  test('with the key that generateMask puts into the buffer it gets', () => {
    const given = [];
    const generateMask = (mask) => {
      given.push(mask);
      mask.fill(given.length);
    };
    for (let i = 1; i <= 3; i++) {
      const list = Sender.frame(Buffer.from('abc'), { ...options, generateMask });
      assert.deepEqual(onWire(list), frames.binary('abc', { mask: Buffer.alloc(4, i) }));
    }
    assert.equal(given.length, 3);
    assert.ok(given.every((mask) => Buffer.isBuffer(mask) && mask.length === 4));
  });

  test('with a key made in maskBuffer, when there is one', () => {
    const maskBuffer = Buffer.alloc(4);
    const generateMask = (mask) => {
      assert.equal(mask, maskBuffer);
      mask.write('abcd');
    };
    for (const more of [{}, { generateMask }]) {
      const list = Sender.frame(Buffer.from('data'), { ...options, ...more, maskBuffer });
      const [frame] = frames.parse(onWire(list)).frames;
      assert.deepEqual(frame.key, maskBuffer);
      assert.equal(frame.payload.toString(), 'data');
    }
  });

  test('nothing when the key is 0, though MASK is set and the key is there', () => {
    for (const readOnly of [true, false]) {
      const data = Buffer.from('untouched');
      const list = Sender.frame(data, { ...options, generateMask: keyed([0, 0, 0, 0]), readOnly });
      assert.equal(list.length, 2);
      assert.equal(list[1], data);
      assert.deepEqual(onWire(list), frames.binary('untouched', { mask: Buffer.alloc(4) }));
    }
    const text = Sender.frame('text', { ...options, generateMask: keyed([0, 0, 0, 0]) });
    assert.deepEqual(onWire(text), frames.binary('text', { mask: Buffer.alloc(4) }));
  });

  test('with keys that have zeros in them', () => {
    for (const key of [
      [0, 0, 0, 1],
      [1, 0, 0, 0],
      [0, 255, 0, 255]
    ]) {
      const list = Sender.frame(Buffer.from('payload'), { ...options, generateMask: keyed(key) });
      assert.deepEqual(onWire(list), frames.binary('payload', { mask: Buffer.from(key) }));
    }
  });

  test('payloads of any length, at any place in memory', (t) => {
    const random = seededRandom(t);
    for (let i = 0; i < 300; i++) {
      const memory = random.bytes(random.int(600));
      const data = memory.subarray(random.int(9));
      const key = random.bytes(4);
      const readOnly = random.int(2) === 0;
      const expected = frames.binary(Buffer.from(data), { mask: key });
      const list = Sender.frame(data, { ...options, generateMask: keyed(key), readOnly });
      assert.ok(onWire(list).equals(expected));
    }
  });

  test('nothing without the mask option, even with a generateMask', () => {
    const generateMask = () => assert.fail('there is nothing to mask');
    const list = Sender.frame(Buffer.from('a'), { ...options, generateMask, mask: false });
    assert.deepEqual(onWire(list), frames.binary('a'));
  });

  test('and passes on what generateMask throws', () => {
    const generateMask = () => {
      throw new Error('no entropy');
    };
    assert.throws(() => Sender.frame(Buffer.from('a'), { ...options, generateMask }), /no entropy/);
  });
});
