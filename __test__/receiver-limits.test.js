'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { ERRORS, assertError, rows, withDeflate } = require('./support/receiver-errors.js');
const { feed, record, singleBytes } = require('./support/receiver-feed.js');

const { OPCODE } = frames;

describe('Receiver refuses a length as soon as it is known', () => {
  const declare = (declaredLength, options) =>
    Buffer.concat([
      frames.header({ opcode: OPCODE.BINARY, declaredLength, ...options }),
      Buffer.alloc(4)
    ]);
  const parts = frames.fragmented([Buffer.alloc(6), Buffer.alloc(4), Buffer.alloc(1)]);
  const limit = { maxPayload: 10 };

  rows([
    ['at byte 2 of a 7-bit length', declare(11), 1, ERRORS.tooLong, limit],
    ['at byte 4 of a 16-bit length', declare(126), 3, ERRORS.tooLong, limit],
    ['at byte 10 of a 64-bit length', declare(65536), 9, ERRORS.tooLong, limit],
    [
      'before the masking key',
      declare(11, { mask: true }),
      1,
      ERRORS.tooLong,
      { isServer: true, maxPayload: 10 }
    ],
    [
      'before the masking key of a long frame',
      declare(70000, { mask: true }),
      9,
      ERRORS.tooLong,
      { isServer: true, maxPayload: 69999 }
    ],
    [
      'counting all fragments of the message',
      Buffer.concat(parts),
      parts[0].length + parts[1].length + 1,
      ERRORS.tooLong,
      limit
    ],
    [
      'counting compressed bytes as well',
      frames.header({ rsv1: true, declaredLength: 11 }),
      1,
      ERRORS.tooLong,
      () => withDeflate(limit)
    ],
    ['2^53', declare(2n ** 53n), 9, ERRORS.unsafeLength],
    ['2^63', declare(2n ** 63n), 9, ERRORS.unsafeLength],
    ['2^64 - 1', declare(2n ** 64n - 1n), 9, ERRORS.unsafeLength],
    [
      '2^64 - 1, masked',
      declare(2n ** 64n - 1n, { mask: true }),
      9,
      ERRORS.unsafeLength,
      { isServer: true }
    ],
    ['2^53, even above maxPayload', declare(2n ** 53n), 9, ERRORS.unsafeLength, limit],
    ['2^53 - 1 above maxPayload', declare(2n ** 53n - 1n), 9, ERRORS.tooLong, limit]
  ]);

  test('waits for the payload of 2^53 - 1 bytes when nothing limits it', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    assert.equal(await feed(receiver, singleBytes(declare(2n ** 53n - 1n))), -1);
    assert.deepEqual(log, []);
  });

  test('accepts a message of just maxPayload bytes, whole, in fragments and next to others', async () => {
    const receiver = new Receiver({ maxPayload: 10 });
    const log = record(receiver);
    const refused = await feed(receiver, [
      frames.binary(Buffer.alloc(10)),
      ...frames.fragmented([Buffer.alloc(6), '', Buffer.alloc(4), '']),
      frames.binary(Buffer.alloc(10))
    ]);
    assert.equal(refused, -1);
    assert.deepEqual(
      log.map(([, data]) => data.length),
      [10, 10, 10]
    );
  });

  test('does not count control frames', async () => {
    const receiver = new Receiver({ maxPayload: 2 });
    const log = record(receiver);
    const [first, second] = frames.fragmented(['a', 'b']);
    await feed(receiver, [
      first,
      frames.ping(Buffer.alloc(125)),
      second,
      frames.close(1000, 'long')
    ]);
    assert.deepEqual(
      log.map(([event]) => event),
      ['ping', 'message', 'conclude']
    );
  });
});

describe('Receiver maxFragments', () => {
  const limit = { maxFragments: 3 };
  const letters = ['a', 'b', 'c', 'd'];
  const four = frames.fragmented(letters, { opcode: OPCODE.BINARY });
  const open = (parts) => Buffer.concat(frames.fragmented([...parts, 'never']).slice(0, -1));

  rows([
    ['is exceeded by the payload of one more fragment', open(letters), 11, ERRORS.fragments, limit],
    ['counts empty fragments', open(['', '', '', '']), 7, ERRORS.fragments, limit],
    ['counts the last fragment', Buffer.concat(four), 11, ERRORS.fragments, limit],
    [
      'counts compressed fragments',
      Buffer.concat(
        frames.fragmented([frames.deflate('x'), '', '', ''], { rsv1: true, opcode: OPCODE.BINARY })
      ),
      2 + frames.deflate('x').length + 2 + 2 + 1,
      ERRORS.fragments,
      () => withDeflate(limit)
    ]
  ]);

  test('allows just so many in each message, control frames not counted', async () => {
    const receiver = new Receiver(limit);
    const log = record(receiver);
    for (let i = 0; i < 3; i++) {
      const [first, second, third] = frames.fragmented(['a', '', 'c']);
      await feed(receiver, [first, frames.ping(''), frames.ping(''), second, third]);
      await feed(receiver, [frames.text('whole')]);
    }
    assert.equal(log.filter(([event]) => event === 'message').length, 6);
    assert.equal(log.filter(([event]) => event === 'error').length, 0);
  });

  test('1 allows messages of one frame only', async () => {
    const receiver = new Receiver({ maxFragments: 1 });
    const log = record(receiver);
    await feed(receiver, [
      frames.text('one'),
      frames.text('one'),
      ...frames.fragmented(['a', 'b'])
    ]);
    assert.deepEqual(
      log.map(([event]) => event),
      ['message', 'message', 'error']
    );
  });
});

describe('Receiver maxBufferedChunks', () => {
  const limit = { maxBufferedChunks: 3 };

  /** Chunks of a frame whose header comes whole and whose payload comes in single bytes. */
  const trickle = (length) => {
    const bytes = frames.binary(Buffer.alloc(length));
    return [bytes.subarray(0, 2), ...singleBytes(bytes.subarray(2))];
  };

  test('is exceeded by one more chunk, even when that completes the frame', async () => {
    const receiver = new Receiver(limit);
    const log = record(receiver);
    assert.equal(await feed(receiver, trickle(4)), 4);
    assert.equal(log.length, 1);
    assertError(log[0][1], ERRORS.chunks);
  });

  test('allows just so many, and counts anew for the next frame', async () => {
    const receiver = new Receiver(limit);
    const log = record(receiver);
    for (let i = 0; i < 3; i++) assert.equal(await feed(receiver, trickle(3)), -1);
    assert.equal(log.length, 3);
  });

  test('counts the chunks of an incomplete header', async () => {
    const bytes = frames.header({ opcode: OPCODE.BINARY, declaredLength: 70000 });
    const receiver = new Receiver(limit);
    const log = record(receiver);
    assert.equal(
      await feed(receiver, [bytes.subarray(0, 2), ...singleBytes(bytes.subarray(2))]),
      4
    );
    assertError(log[0][1], ERRORS.chunks);
  });

  test('counts the chunk that brought a header together with payload', async () => {
    const bytes = frames.binary(Buffer.alloc(10));
    const receiver = new Receiver(limit);
    record(receiver);
    const chunks = [bytes.subarray(0, 3), ...singleBytes(bytes.subarray(3))];
    assert.equal(await feed(receiver, chunks), 3);
  });
});

describe('Receiver limits', () => {
  test('are 32-bit integers, and 0, negative or absurd values set none', async () => {
    for (const value of [undefined, null, 0, -1, NaN, 2 ** 32, 'none', {}]) {
      const receiver = new Receiver({
        maxPayload: value,
        maxFragments: value,
        maxBufferedChunks: value
      });
      const log = record(receiver);
      const bytes = Buffer.concat(frames.fragmented(['some', 'more', 'text']));
      assert.equal(await feed(receiver, singleBytes(bytes)), -1, String(value));
      assert.equal(log.length, 1);
    }

    for (const value of [5, '5', 5.9, 2 ** 32 + 5]) {
      const receiver = new Receiver({ maxPayload: value });
      const log = record(receiver);
      await feed(receiver, [frames.text('12345'), frames.text('123456')]);
      assert.deepEqual(
        log.map(([event]) => event),
        ['message', 'error'],
        String(value)
      );
    }
  });

  test('_maxPayload can be raised and lowered while frames arrive', async () => {
    const receiver = new Receiver({ maxPayload: 2 });
    const log = record(receiver);
    const [first, second, third] = frames.fragmented(['ab', 'cd', 'ef']);
    await feed(receiver, [frames.text('ok'), first]);
    receiver._maxPayload = 4;
    await feed(receiver, [second]);
    receiver._maxPayload = 0;
    await feed(receiver, [third, frames.text('long enough')]);
    receiver._maxPayload = 1;
    await feed(receiver, [frames.text('2!')]);
    assert.deepEqual(
      log.slice(0, -1).map(([, data]) => data.toString()),
      ['ok', 'abcdef', 'long enough']
    );
    assertError(log.at(-1)[1], ERRORS.tooLong);
  });

  test('_maxPayload can be changed by a listener for what follows in the same chunk', async () => {
    const receiver = new Receiver({ maxPayload: 4 });
    const log = record(receiver);
    receiver.once('message', () => {
      receiver._maxPayload = 100;
    });
    const long = 'more than four bytes';
    await feed(receiver, [Buffer.concat([frames.text('auth'), frames.text(long)])]);
    assert.equal(log[1][1].toString(), long);
  });

  test('_maxFragments can be changed in the midst of a message', async () => {
    const receiver = new Receiver({ maxFragments: 2 });
    const log = record(receiver);
    const parts = frames.fragmented(['a', 'b', 'c', 'd', 'e']);
    await feed(receiver, parts.slice(0, 2));
    receiver._maxFragments = 4;
    await feed(receiver, parts.slice(2, 4));
    assert.deepEqual(log, []);
    await feed(receiver, parts.slice(4));
    assertError(log[0][1], ERRORS.fragments);
  });

  test('_maxBufferedChunks can be changed in the midst of a frame', async () => {
    const receiver = new Receiver({ maxBufferedChunks: 2 });
    const log = record(receiver);
    const bytes = frames.text('abcdef');
    await feed(receiver, [bytes.subarray(0, 2), ...singleBytes(bytes.subarray(2, 4))]);
    receiver._maxBufferedChunks = 4;
    await feed(receiver, singleBytes(bytes.subarray(4, 6)));
    assert.deepEqual(log, []);
    await feed(receiver, singleBytes(bytes.subarray(6)));
    assertError(log[0][1], ERRORS.chunks);
  });
});

describe('A limit of one receiver that is changed', () => {
  test('leaves those alone that were made with the same options', () => {
    const [one, other] = [new Receiver({ maxPayload: 10 }), new Receiver({ maxPayload: 10 })];
    one._maxPayload = 20;
    const third = new Receiver({ maxPayload: 10 });
    assert.deepEqual(
      [one, other, third].map((receiver) => receiver._maxPayload),
      [20, 10, 10]
    );
  });
});
