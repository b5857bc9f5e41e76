'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { runInNewContext } = require('node:vm');

const { PerMessageDeflate, Sender } = require('./support/package.js');
const { CapturedWire } = require('./support/captured-wire.js');
const frames = require('./support/frames.js');

const { OPCODE } = frames;
const SEND = { fin: true };

/** The options that a client's WebSocket passes to its sender. */
const MASKED = { fin: true, mask: true };

/** A sender whose first frames `read` returns. */
function sendingTo(wire = new CapturedWire(), extensions, generateMask) {
  return { sender: new Sender(wire, extensions, generateMask), wire };
}

/** The one frame that a call writes. */
async function frameOf(call) {
  const { sender, wire } = sendingTo();
  call(sender);
  const [frame] = await wire.receive(1);
  return frame;
}

const done = (call) => new Promise((resolve) => call((...args) => resolve(args)));

/** Every kind of data that a send takes, and the bytes that must be sent for it. */
function kindsOfData() {
  const memory = Buffer.from('....payload....');
  const at = [memory.buffer, memory.byteOffset + 4, 7];
  const arrayBuffer = Uint8Array.from(Buffer.from('buffer')).buffer;
  const halves = new Uint16Array([0x0102, 0xfffe]);
  const floats = new Float64Array([1.5]);
  return [
    ['a string', 'text €', Buffer.from('text €')],
    ['an empty string', '', Buffer.alloc(0)],
    ['a Buffer', Buffer.from('bytes'), Buffer.from('bytes')],
    ['an empty Buffer', Buffer.alloc(0), Buffer.alloc(0)],
    ['a part of a Buffer', memory.subarray(4, 11), Buffer.from('payload')],
    ['a Uint8Array', new Uint8Array(...at), Buffer.from('payload')],
    ['a Uint8ClampedArray', new Uint8ClampedArray(...at), Buffer.from('payload')],
    ['a DataView', new DataView(...at), Buffer.from('payload')],
    ['an ArrayBuffer', arrayBuffer, Buffer.from('buffer')],
    ['an empty ArrayBuffer', new ArrayBuffer(0), Buffer.alloc(0)],
    ['a Uint16Array', halves, Buffer.from(halves.buffer)],
    ['a Float64Array', floats, Buffer.from(floats.buffer)],
    ['an array of bytes', [1, 2, 255, 256, -1, 3.9], Buffer.from([1, 2, 255, 0, 255, 3])],
    ['an object like an array', { length: 2, 0: 7, 1: 8 }, Buffer.from([7, 8])],
    ['a String object', new String('object'), Buffer.from('object')],
    ['a primitive in an object', { [Symbol.toPrimitive]: () => 'prim' }, Buffer.from('prim')],
    ['JSON of a Buffer', { type: 'Buffer', data: [1, 2] }, Buffer.from([1, 2])],
    [
      'a view of another realm',
      runInNewContext('new Uint8Array([1, 2, 3])'),
      Buffer.from([1, 2, 3])
    ],
    [
      'a DataView of another realm',
      runInNewContext('new DataView(new ArrayBuffer(3))'),
      Buffer.alloc(3)
    ],
    ['an ArrayBuffer of another realm', runInNewContext('new ArrayBuffer(4)'), Buffer.alloc(4)],
    ['a SharedArrayBuffer', new SharedArrayBuffer(4), Buffer.alloc(4)],
    ['a Blob', new Blob(['bl', 'ob']), Buffer.from('blob')],
    ['an empty Blob', new Blob([]), Buffer.alloc(0)],
    ['a File', new File(['file'], 'name.txt'), Buffer.from('file')]
  ];
}

const UNSENDABLE = [5, -1, NaN, Infinity, true, {}, null, undefined, Symbol('s'), () => {}, 10n];

describe('Sender constructor', () => {
  test('needs only a stream', async () => {
    const { sender, wire } = sendingTo();
    assert.equal(sender._socket, wire);
    sender.send('a', SEND);
    assert.deepEqual((await wire.receive(1))[0].raw, frames.text('a'));
  });

  test('takes a function that makes the masking keys', async () => {
    const { sender, wire } = sendingTo(undefined, {}, (mask) => mask.write('abcd'));
    sender.send('data', MASKED);
    sender.ping('ping', true);
    sender.pong('pong', true);
    sender.close(1000, 'bye', true);
    const mask = Buffer.from('abcd');
    const expected = [
      frames.text('data', { mask }),
      frames.ping('ping', { mask }),
      frames.pong('pong', { mask }),
      frames.close(1000, 'bye', { mask })
    ];
    assert.deepEqual(
      (await wire.receive(4)).map(({ raw }) => raw),
      expected
    );
  });
});

describe('Sender.send', () => {
  for (const mask of [false, true]) {
    for (const [name, data, bytes] of kindsOfData()) {
      test(`sends ${name}${mask ? ', masked' : ''}`, async () => {
        const frame = await frameOf((sender) => sender.send(data, { fin: true, mask }));
        assert.deepEqual(frame.payload, bytes);
        assert.equal(frame.masked, mask);
        assert.equal(frame.opcode, OPCODE.TEXT);
        assert.ok(frame.fin && !frame.rsv1);
      });
    }
  }

  test('throws for what is no data, as Buffer.from does', () => {
    for (const data of UNSENDABLE) {
      const { sender, wire } = sendingTo();
      assert.throws(() => sender.send(data, SEND), { name: 'TypeError' }, String(data));
      assert.equal(wire.frames.length, 0);
    }
  });

  test('sends text or binary as the binary option says, whatever the data is', async () => {
    const { sender, wire } = sendingTo();
    sender.send('text', SEND);
    sender.send('text', { fin: true, binary: true });
    sender.send(Buffer.from('bytes'), SEND);
    sender.send(Buffer.from('bytes'), { fin: true, binary: true });
    assert.deepEqual(
      (await wire.receive(4)).map(({ opcode }) => opcode),
      [OPCODE.TEXT, OPCODE.BINARY, OPCODE.TEXT, OPCODE.BINARY]
    );
  });

  test('sends fragments until one is final, and then a new message', async () => {
    const { sender, wire } = sendingTo();
    sender.send('a', { binary: true, fin: false });
    sender.send('b', { binary: false, fin: false });
    sender.ping('p', false);
    sender.send('', { fin: true });
    sender.send('next', SEND);
    const shape = ({ opcode, fin, payload }) => [opcode, fin, payload.toString()];
    assert.deepEqual((await wire.receive(5)).map(shape), [
      [OPCODE.BINARY, false, 'a'],
      [OPCODE.CONTINUATION, false, 'b'],
      [OPCODE.PING, true, 'p'],
      [OPCODE.CONTINUATION, true, ''],
      [OPCODE.TEXT, true, 'next']
    ]);
  });

  test('calls back without an error, in the order of the calls', async () => {
    const { sender } = sendingTo();
    const order = [];
    const note = (name) => (error) => order.push([name, error ?? null]);
    sender.send('a', SEND, note('send'));
    sender.ping('b', false, note('ping'));
    sender.pong('c', false, note('pong'));
    assert.deepEqual(order, [], 'not before the call returns');
    await done((cb) => sender.send('', SEND, cb));
    assert.deepEqual(order, [
      ['send', null],
      ['ping', null],
      ['pong', null]
    ]);
  });

  test('calls back only when the stream has taken the bytes', async () => {
    const { sender, wire } = sendingTo(new CapturedWire({ held: true }));
    const order = [];
    sender.send('first', SEND, () => order.push('first'));
    sender.send('second', SEND, () => order.push('second'));
    await wire.receive(1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, []);
    wire.release();
    await done((cb) => sender.send('third', SEND, cb));
    assert.deepEqual(order, ['first', 'second']);
  });

  test('does not change data of the caller when it masks', async () => {
    for (const length of [1, 10, 1000, 70000]) {
      const data = Buffer.alloc(length, 'data');
      const view = new Uint8Array(data);
      const { sender, wire } = sendingTo();
      sender.send(data, MASKED);
      sender.send(view, MASKED);
      sender.send(view.buffer, MASKED);
      for (const { payload } of await wire.receive(3)) assert.ok(payload.equals(data));
      assert.ok(data.equals(Buffer.alloc(length, 'data')));
      assert.ok(data.equals(view));
    }
  });

  test('reports to the callback when the stream is destroyed', async () => {
    for (const data of ['text', Buffer.alloc(100000), '']) {
      const { sender, wire } = sendingTo();
      wire.destroy();
      const [error] = await done((cb) => sender.send(data, SEND, cb));
      assert.equal(error.code, 'ERR_STREAM_DESTROYED');
    }
  });

  test('reports to the callback when the stream has ended', async () => {
    const { sender, wire } = sendingTo();
    wire.on('error', () => {});
    wire.end();
    const [error] = await done((cb) => sender.send('late', SEND, cb));
    assert.equal(error.code, 'ERR_STREAM_WRITE_AFTER_END');
  });
});

for (const [method, opcode] of [
  ['ping', OPCODE.PING],
  ['pong', OPCODE.PONG]
]) {
  describe(`Sender.${method}`, () => {
    for (const mask of [false, true]) {
      test(`sends every kind of data${mask ? ', masked' : ''}`, async () => {
        for (const [name, data, bytes] of kindsOfData()) {
          const frame = await frameOf((sender) => sender[method](data, mask));
          assert.deepEqual(frame.payload, bytes, name);
          assert.equal(frame.opcode, opcode);
          assert.equal(frame.masked, mask);
          assert.ok(frame.fin && !frame.rsv1);
        }
      });
    }

    test('throws for what is no data', () => {
      for (const data of UNSENDABLE) {
        const { sender } = sendingTo();
        assert.throws(() => sender[method](data, false), { name: 'TypeError' }, String(data));
      }
    });

    test('sends 125 bytes and throws for 126', async () => {
      const make = [
        (length) => 'x'.repeat(length),
        (length) => Buffer.alloc(length),
        (length) => new ArrayBuffer(length),
        (length) => Array(length).fill(1),
        (length) => new Blob(['x'.repeat(length)])
      ];
      for (const kind of make) {
        const frame = await frameOf((sender) => sender[method](kind(125), true));
        assert.equal(frame.payload.length, 125);
        const { sender, wire } = sendingTo();
        assert.throws(() => sender[method](kind(126), true), {
          name: 'RangeError',
          message: 'The data size must not be greater than 125 bytes'
        });
        assert.equal(wire.frames.length, 0);
      }
    });

    test('counts the bytes of a string, not its characters', () => {
      const { sender } = sendingTo();
      assert.throws(() => sender[method]('€'.repeat(42), false), RangeError);
      sender[method]('€'.repeat(41), false);
    });

    test('calls back', async () => {
      const { sender } = sendingTo();
      const [error] = await done((cb) => sender[method]('x', false, cb));
      assert.equal(error ?? null, null);
    });

    test('does not change data of the caller when it masks', async () => {
      const data = Buffer.from('untouched');
      await frameOf((sender) => sender[method](data, true));
      assert.equal(data.toString(), 'untouched');
    });
  });
}

describe('Sender.close', () => {
  test('sends an empty frame without a code', async () => {
    const frame = await frameOf((sender) => sender.close());
    assert.deepEqual(frame.raw, frames.close());
  });

  test('ignores the reason without a code', async () => {
    const frame = await frameOf((sender) => sender.close(undefined, 'reason', true));
    assert.equal(frame.payload.length, 0);
    assert.ok(frame.masked);
  });

  test('sends each code that may be sent', async () => {
    const codes = [
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999
    ];
    for (const code of codes) {
      const frame = await frameOf((sender) => sender.close(code));
      assert.deepEqual(frame.raw, frames.close(code));
    }
  });

  test('throws for any other code', () => {
    const codes = [
      0,
      999,
      1004,
      1005,
      1006,
      1015,
      2999,
      5000,
      -1,
      NaN,
      '1000',
      null,
      {},
      true,
      1000n
    ];
    for (const code of codes) {
      const { sender, wire } = sendingTo();
      assert.throws(() => sender.close(code, 'reason'), {
        name: 'TypeError',
        message: 'First argument must be a valid error code number'
      });
      assert.equal(wire.frames.length, 0);
    }
  });

  test('sends a reason that is a string or a Uint8Array', async () => {
    const memory = Buffer.from('..reason..');
    const reasons = ['réason', '', memory.subarray(2, 8), new Uint8Array(memory).subarray(2, 8)];
    const expected = ['réason', '', 'reason', 'reason'];
    for (const [i, reason] of reasons.entries()) {
      for (const mask of [false, true]) {
        const frame = await frameOf((sender) => sender.close(1000, reason, mask));
        assert.deepEqual(frame.payload, frames.closePayload(1000, expected[i]));
        assert.equal(frame.masked, mask);
      }
    }
    assert.equal(memory.toString(), '..reason..');
  });

  test('throws for a reason of more than 123 bytes', async () => {
    const frame = await frameOf((sender) => sender.close(1000, 'x'.repeat(123)));
    assert.equal(frame.payload.length, 125);
    for (const reason of ['x'.repeat(124), '€'.repeat(42), Buffer.alloc(124)]) {
      const { sender } = sendingTo();
      assert.throws(() => sender.close(1000, reason), {
        name: 'RangeError',
        message: 'The message must not be greater than 123 bytes'
      });
    }
  });

  test('throws for typed arrays whose elements are not bytes', () => {
    const reasons = [
      new Float32Array(4),
      new Int8Array(4),
      new Uint16Array(2),
      new Uint8ClampedArray(2),
      new BigInt64Array(1)
    ];
    for (const reason of reasons) {
      const { sender, wire } = sendingTo();
      assert.throws(() => sender.close(1000, reason), {
        name: 'TypeError',
        message: 'Second argument must be a string or a Uint8Array'
      });
      assert.equal(wire.frames.length, 0);
    }
  });

  test('throws for an array, null and other objects', () => {
    for (const reason of [[1, 2], { length: 2 }, null]) {
      const { sender } = sendingTo();
      assert.throws(() => sender.close(1000, reason), TypeError);
    }
  });

  test('calls back', async () => {
    const { sender } = sendingTo();
    const [error] = await done((cb) => sender.close(1000, 'x', false, cb));
    assert.equal(error ?? null, null);
  });
});

describe('Sender.sendFrame', () => {
  const FRAME = { fin: true, mask: false, opcode: OPCODE.TEXT, readOnly: false, rsv1: false };

  test('writes the list of Sender.frame, to many streams, and does not change it', async () => {
    for (const data of ['', 'broadcast', Buffer.alloc(70000, 'x')]) {
      const list = Sender.frame(Buffer.from(data), FRAME);
      const before = list.map((part) => Buffer.from(part));
      for (let i = 0; i < 3; i++) {
        const { sender, wire } = sendingTo();
        sender.sendFrame(list);
        assert.deepEqual((await wire.receive(1))[0].payload, Buffer.from(data));
      }
      assert.deepEqual(list, before);
    }
  });

  test('keeps its place among the other calls', async () => {
    const { sender, wire } = sendingTo();
    sender.send('1', SEND);
    sender.sendFrame(Sender.frame(Buffer.from('2'), FRAME));
    sender.ping('3', false);
    sender.sendFrame(Sender.frame(Buffer.from(''), FRAME));
    sender.send('5', SEND);
    assert.deepEqual(
      (await wire.receive(5)).map(({ payload }) => payload.toString()),
      ['1', '2', '3', '', '5']
    );
  });

  test('calls back once, for lists of one and of two parts', async () => {
    for (const data of ['', 'abc']) {
      const { sender } = sendingTo();
      let calls = 0;
      const list = Sender.frame(Buffer.from(data), FRAME);
      await done((cb) =>
        sender.sendFrame(list, (error) => {
          calls++;
          cb(error);
        })
      );
      await done((cb) => sender.send('', SEND, cb));
      assert.equal(calls, 1);
    }
  });

  test('takes a string as the payload', async () => {
    const { sender, wire } = sendingTo();
    const bytes = frames.text('grüße');
    sender.sendFrame([bytes.subarray(0, 2), 'grüße']);
    assert.deepEqual((await wire.receive(1))[0].raw, bytes);
  });

  test('reports to the callback when the stream is destroyed', async () => {
    const { sender, wire } = sendingTo();
    wire.destroy();
    const [error] = await done((cb) => sender.sendFrame(Sender.frame('abc', FRAME), cb));
    assert.equal(error.code, 'ERR_STREAM_DESTROYED');
  });
});

describe('Sender without permessage-deflate', () => {
  test('does not compress when compress is false', async () => {
    const frame = await frameOf((sender) =>
      sender.send('a'.repeat(5000), { ...SEND, compress: false })
    );
    assert.equal(frame.payload.length, 5000);
    assert.equal(frame.rsv1, false);
  });

  test('does not mark control frames as compressed', async () => {
    const deflate = new PerMessageDeflate({ threshold: 0 });
    deflate.accept([{}]);
    const { sender, wire } = sendingTo(undefined, { [PerMessageDeflate.extensionName]: deflate });
    sender.ping('ping', false);
    sender.pong('pong', false);
    sender.close(1000, 'bye', false);
    const list = await wire.receive(3);
    assert.deepEqual(
      list.map(({ raw }) => raw),
      [frames.ping('ping'), frames.pong('pong'), frames.close(1000, 'bye')]
    );
  });
});
