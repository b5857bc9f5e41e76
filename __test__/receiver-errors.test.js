'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { ERRORS, assertError, rows, withDeflate } = require('./support/receiver-errors.js');
const { closed, feed, record } = require('./support/receiver-feed.js');

const { OPCODE } = frames;

describe('Receiver refuses at the second byte of a header', () => {
  const start = frames.text('start', { fin: false });
  const deflating = () => withDeflate();

  rows([
    ['RSV2', frames.text('a', { rsv2: true }), 1, ERRORS.rsv23],
    ['RSV3', frames.text('a', { rsv3: true }), 1, ERRORS.rsv23],
    ['RSV2 on a control frame', frames.ping('a', { rsv2: true }), 1, ERRORS.rsv23],
    [
      'RSV3 also with permessage-deflate',
      frames.text('', { rsv3: true }),
      1,
      ERRORS.rsv23,
      deflating
    ],
    ['RSV1 without an extension', frames.text('a', { rsv1: true }), 1, ERRORS.rsv1],
    ['RSV1 on a ping', frames.ping('a', { rsv1: true }), 1, ERRORS.rsv1, deflating],
    ['RSV1 on a pong', frames.pong('a', { rsv1: true }), 1, ERRORS.rsv1, deflating],
    ['RSV1 on a close', frames.close(1000, '', { rsv1: true }), 1, ERRORS.rsv1, deflating],
    [
      'RSV1 on a continuation',
      Buffer.concat([start, frames.continuation('a', { rsv1: true })]),
      start.length + 1,
      ERRORS.rsv1,
      deflating
    ],
    ['a continuation of nothing', frames.continuation('a'), 1, ERRORS.opcode(0)],
    [
      'a continuation of a finished message',
      Buffer.concat([...frames.fragmented(['a', 'b']), frames.continuation('c')]),
      7,
      ERRORS.opcode(0)
    ],
    [
      'text inside a fragmented message',
      Buffer.concat([start, frames.text('a')]),
      start.length + 1,
      ERRORS.opcode(1)
    ],
    [
      'binary inside a fragmented message',
      Buffer.concat([start, frames.ping('p'), frames.binary('a')]),
      start.length + 4,
      ERRORS.opcode(2)
    ],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [
      `the reserved opcode ${opcode}`,
      frames.frame({ opcode, payload: 'a' }),
      1,
      ERRORS.opcode(opcode)
    ]),
    ['a ping without FIN', frames.ping('a', { fin: false }), 1, ERRORS.fin],
    ['a pong without FIN', frames.pong('a', { fin: false }), 1, ERRORS.fin],
    ['a close without FIN', frames.close(1000, '', { fin: false }), 1, ERRORS.fin],
    ['a ping of 126 bytes', frames.ping(Buffer.alloc(126)), 1, ERRORS.controlLength(126)],
    ['a pong of 126 bytes', frames.pong(Buffer.alloc(126)), 1, ERRORS.controlLength(126)],
    [
      'a close of 65536 bytes',
      frames.header({ opcode: OPCODE.CLOSE, declaredLength: 65536 }),
      1,
      ERRORS.controlLength(127)
    ],
    [
      'a ping of 5 bytes in a long length field',
      frames.ping('short', { lengthBits: 16 }),
      1,
      ERRORS.controlLength(126)
    ],
    [
      'a close of one byte',
      frames.frame({ opcode: OPCODE.CLOSE, payload: 'a' }),
      1,
      ERRORS.controlLength(1)
    ],
    ['as a server, an unmasked frame', frames.text('a'), 1, ERRORS.maskSet, { isServer: true }],
    ['as a server, an unmasked close', frames.close(), 1, ERRORS.maskSet, { isServer: true }],
    ['as a client, a masked frame', frames.text('a', { mask: true }), 1, ERRORS.maskClear],
    ['as a client, a masked pong', frames.pong('a', { mask: true }), 1, ERRORS.maskClear]
  ]);
});

describe('Receiver names the first fault of a frame that has several, in this order', () => {
  const faulty = (options) => frames.frame({ opcode: 11, mask: true, ...options });

  rows([
    ['RSV2 and RSV3', faulty({ rsv1: true, rsv2: true, fin: false }), 1, ERRORS.rsv23],
    ['RSV1', faulty({ rsv1: true }), 1, ERRORS.rsv1],
    ['the opcode', faulty({}), 1, ERRORS.opcode(11)],
    [
      'FIN of a control frame, before its RSV1',
      frames.header({ opcode: OPCODE.PING, fin: false, rsv1: true, declaredLength: 126 }),
      1,
      ERRORS.fin,
      () => withDeflate()
    ],
    [
      'RSV1 of a control frame, before its length',
      frames.header({ opcode: OPCODE.PING, rsv1: true, declaredLength: 126 }),
      1,
      ERRORS.rsv1,
      () => withDeflate()
    ],
    [
      'the length of a control frame, before MASK',
      frames.header({ opcode: OPCODE.PING, declaredLength: 126, mask: true }),
      1,
      ERRORS.controlLength(126)
    ],
    [
      'RSV1 of a continuation, before that there is nothing to continue',
      frames.continuation('', { rsv1: true }),
      1,
      ERRORS.rsv1,
      () => withDeflate()
    ],
    [
      'MASK, before a length that is too large',
      frames.header({ opcode: OPCODE.TEXT, declaredLength: 100, mask: true }),
      1,
      ERRORS.maskClear,
      { maxPayload: 10 }
    ]
  ]);
});

describe('Receiver refuses the close code', () => {
  for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535]) {
    const bytes = frames.close(code, 'why');
    rows([[`${code}, with the last byte of the frame`, bytes, 6, ERRORS.closeCode(code)]]);
  }

  rows([
    [
      'before a reason that is no UTF-8',
      frames.close(1005, Buffer.from([0xff])),
      4,
      ERRORS.closeCode(1005)
    ],
    [
      'as a server',
      frames.close(1006, '', { mask: true }),
      7,
      ERRORS.closeCode(1006),
      { isServer: true }
    ]
  ]);

  test('accepts every other code', async () => {
    const codes = [
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999
    ];
    for (const code of codes) {
      const receiver = new Receiver();
      const log = record(receiver);
      await feed(receiver, [frames.close(code)]);
      assert.deepEqual(log, [['conclude', code, Buffer.alloc(0)]]);
    }
  });
});

describe('Receiver refuses text that is no UTF-8', () => {
  const sequences = {
    'a continuation byte alone': [0x80],
    'a byte that UTF-8 never has': [0xff],
    'an overlong slash': [0xc0, 0xaf],
    'an overlong euro sign': [0xf0, 0x82, 0x82, 0xac],
    'a surrogate': [0xed, 0xa0, 0x80],
    'a code point above U+10FFFF': [0xf4, 0x90, 0x80, 0x80],
    'a five-byte sequence': [0xf8, 0x88, 0x80, 0x80, 0x80],
    'a character cut short': [0x61, 0xe2, 0x82]
  };

  for (const [name, bytes] of Object.entries(sequences)) {
    const payload = Buffer.from(bytes);
    const end = 2 + payload.length - 1;
    rows([
      [`${name}, with the last byte of the message`, frames.text(payload), end, ERRORS.utf8],
      [
        `${name}, with the last byte of the close frame`,
        frames.close(1000, payload),
        end + 2,
        ERRORS.utf8
      ]
    ]);

    for (const padding of [0, 30, 300]) {
      test(`${name}, behind ${padding} good bytes`, async () => {
        const receiver = new Receiver();
        const log = record(receiver);
        await feed(receiver, [frames.text(Buffer.concat([Buffer.alloc(padding, 'é'), payload]))]);
        assertError(log[0][1], ERRORS.utf8);
      });
    }
  }

  const parts = frames.fragmented([Buffer.from([0xff]), 'good', '']);
  const all = Buffer.concat(parts);
  rows([
    ['only when the message is complete', all, all.length - 1, ERRORS.utf8],
    [
      'as a server',
      frames.text(Buffer.from([0xff]), { mask: true }),
      6,
      ERRORS.utf8,
      { isServer: true }
    ]
  ]);

  test('but not in binary messages, pings and pongs', async () => {
    const bad = Buffer.from([0xff]);
    const receiver = new Receiver();
    const log = record(receiver);
    assert.equal(
      await feed(receiver, [frames.binary(bad), frames.ping(bad), frames.pong(bad)]),
      -1
    );
    assert.deepEqual(
      log.map(([, data]) => data),
      [bad, bad, bad]
    );
  });
});

describe('Receiver after an error', () => {
  test('emits error once, then close, and nothing else', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    for (const event of ['finish', 'close']) receiver.on(event, () => log.push([event]));
    receiver.write(frames.text('good'));
    receiver.write(Buffer.concat([frames.text('bad', { rsv2: true }), frames.text('after')]));
    receiver.write(frames.text('later'), () => {});
    await closed(receiver);
    assert.deepEqual(
      log.map(([event]) => event),
      ['message', 'error', 'close']
    );
  });

  test('gives the error to the callback of the write that raised it', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    const error = await new Promise((resolve) => {
      receiver.write(frames.frame({ opcode: 3 }), resolve);
    });
    assertError(error, ERRORS.opcode(3));
    await closed(receiver);
    assert.equal(log[0][1], error);
  });

  test('raises it after write() has returned', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    receiver.write(frames.frame({ opcode: 3 }));
    assert.deepEqual(log, []);
    await closed(receiver);
    assert.equal(log.length, 1);
  });
});
