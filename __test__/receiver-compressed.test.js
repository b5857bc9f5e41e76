'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');
const zlib = require('node:zlib');

const { PerMessageDeflate, Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { closeCodeOf } = require('./support/internals.js');
const { ERRORS, assertError, withDeflate } = require('./support/receiver-errors.js');
const { closed, comparable, feed, record, writeChunk } = require('./support/receiver-feed.js');

const { OPCODE, SYNC_TAIL } = frames;
const compressed = (payload, options) => frames.text(payload, { rsv1: true, ...options });

/** Text that DEFLATE makes small but not tiny. */
const prose = Array.from({ length: 20000 }, (_, i) => `line ${i * 7919}\n`).join('');

async function received(options, chunks) {
  const receiver = new Receiver(options);
  const log = record(receiver);
  await feed(receiver, chunks);
  return log;
}

describe('Receiver with permessage-deflate', () => {
  test('inflates messages with RSV1 and leaves those without alone', async () => {
    const log = await received(withDeflate(), [
      compressed(frames.deflate('deflated')),
      frames.text('plain'),
      frames.binary(frames.deflate('binary'), { rsv1: true }),
      compressed(frames.deflate(''))
    ]);
    assert.deepEqual(log, [
      ['message', Buffer.from('deflated'), false],
      ['message', Buffer.from('plain'), false],
      ['message', Buffer.from('binary'), true],
      ['message', Buffer.alloc(0), false]
    ]);
  });

  test('inflates masked messages as a server', async () => {
    const log = await received(withDeflate({ isServer: true }), [
      compressed(frames.deflate('deflated'), { mask: true }),
      frames.ping('p', { mask: true })
    ]);
    assert.deepEqual(log, [
      ['message', Buffer.from('deflated'), false],
      ['ping', Buffer.from('p')]
    ]);
  });

  test('takes a compressed message without content as an empty one', async () => {
    const nothing = Buffer.alloc(0);
    for (const chunks of [
      [compressed(Buffer.from([0]))],
      [compressed('')],
      frames.fragmented(['', '', ''], { rsv1: true }),
      frames.fragmented(['', Buffer.from([0]), ''], { rsv1: true })
    ]) {
      assert.deepEqual(await received(withDeflate(), chunks), [['message', nothing, false]]);
    }
  });

  test('inflates fragments cut anywhere, with control frames in between', async () => {
    const payload = frames.deflate('a message in several fragments, several');
    for (let cut = 0; cut <= payload.length; cut++) {
      const [first, second, third] = frames.fragmented(
        [payload.subarray(0, cut), payload.subarray(cut), ''],
        { rsv1: true }
      );
      const log = await received(withDeflate(), [first, frames.ping(''), second, third]);
      assert.deepEqual(log, [
        ['ping', Buffer.alloc(0)],
        ['message', Buffer.from('a message in several fragments, several'), false]
      ]);
    }
  });

  test('keeps the window from message to message', async () => {
    const deflater = new frames.ContextDeflater();
    const sizes = [];
    const chunks = [];
    for (let i = 0; i < 3; i++) {
      const payload = await deflater.message(prose.slice(0, 2000));
      sizes.push(payload.length);
      chunks.push(compressed(payload));
    }
    assert.ok(sizes[1] < sizes[0] / 10, 'the second message refers to the first');
    const log = await received(withDeflate(), chunks);
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      Array(3).fill(prose.slice(0, 2000))
    );
  });

  test('goes on after a message that ends its DEFLATE stream', async () => {
    const final = frames.deflate('final', { finalBlock: true });
    const log = await received(withDeflate(), [
      compressed(final),
      compressed(frames.deflate('sync')),
      ...frames.fragmented([final.subarray(0, 3), final.subarray(3)], { rsv1: true }),
      compressed(final)
    ]);
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      ['final', 'sync', 'final', 'final']
    );
  });

  test('gives each binaryType, fragments as they were inflated', async () => {
    const [left, right] = [frames.deflate('left'), frames.deflate('right')];
    const parts = frames.fragmented([Buffer.concat([left, SYNC_TAIL]), right], {
      rsv1: true,
      opcode: OPCODE.BINARY
    });
    const results = {
      nodebuffer: Buffer.from('leftright').toString('hex'),
      arraybuffer: { arrayBuffer: Buffer.from('leftright').toString('hex') },
      blob: { blob: Buffer.from('leftright').toString('hex') },
      fragments: ['left', 'right'].map((part) => Buffer.from(part).toString('hex'))
    };
    for (const [binaryType, expected] of Object.entries(results)) {
      const log = await comparable(await received({ ...withDeflate(), binaryType }, parts));
      assert.deepEqual(log, [['message', expected, true]]);
    }
  });

  test('keeps the order of everything that follows a message that is being inflated', async () => {
    const receiver = new Receiver(withDeflate());
    const log = record(receiver);
    receiver.write(
      Buffer.concat([compressed(frames.deflate(prose)), frames.ping('1'), frames.text('2')])
    );
    receiver.write(frames.pong('3'));
    receiver.write(compressed(frames.deflate('4')));
    receiver.write(frames.close(1000, '5'));
    await once(receiver, 'finish');
    assert.deepEqual(
      log.map(([event]) => event),
      ['message', 'ping', 'message', 'pong', 'message', 'conclude']
    );
    assert.equal(log[0][1].toString(), prose);
  });

  test('allowSynchronousEvents false keeps binary messages and pings apart', async () => {
    const receiver = new Receiver({ ...withDeflate(), allowSynchronousEvents: false });
    const order = [];
    for (const event of ['message', 'ping']) {
      receiver.on(event, () => {
        order.push(event);
        queueMicrotask(() => order.push('microtask'));
      });
    }
    const one = frames.binary(frames.deflate('b'), { rsv1: true });
    await writeChunk(receiver, Buffer.concat([one, frames.ping(''), one, one]));
    assert.deepEqual(order.slice(0, 7), [
      ...['message', 'microtask', 'ping', 'microtask', 'message', 'microtask', 'message']
    ]);
  });

  test('counts what it has not emitted yet, asks the writer to wait, then drains', async () => {
    const receiver = new Receiver(withDeflate());
    const log = record(receiver);
    const bytes = compressed(frames.deflate(prose));
    let written = 0;
    while (written < 50) {
      const accepted = receiver.write(bytes);
      written++;
      if (log.length < written) assert.ok(receiver.writableLength > 0);
      if (!accepted) break;
    }
    if (receiver.writableNeedDrain) await once(receiver, 'drain');
    else assert.equal(log.length, written);
    assert.equal(receiver.writableLength, 0);
    assert.equal(log.length, written);
    assert.ok(log.every(([, data]) => data.toString() === prose));
  });

  test('may get the extension later', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    await feed(receiver, [frames.text('plain')]);
    Object.assign(receiver._extensions, withDeflate().extensions);
    await feed(receiver, [compressed(frames.deflate('deflated'))]);
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      ['plain', 'deflated']
    );
  });

  test('uses a decompress() that somebody has put around the extension', async () => {
    const options = withDeflate();
    const deflate = options.extensions[PerMessageDeflate.extensionName];
    const { decompress } = deflate;
    const seen = [];
    deflate.decompress = function (data, fin, callback) {
      seen.push([Buffer.from(data), fin]);
      setImmediate(() => decompress.call(this, data, fin, callback));
    };
    const payload = frames.deflate('wrapped');
    const log = await received(options, [
      compressed(payload),
      ...frames.fragmented([payload.subarray(0, 4), payload.subarray(4)], { rsv1: true }),
      frames.text('after')
    ]);
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      ['wrapped', 'wrapped', 'after']
    );
    assert.deepEqual(seen, [
      [payload, true],
      [payload.subarray(0, 4), false],
      [payload.subarray(4), true]
    ]);
  });
});

describe('Receiver with permessage-deflate refuses', () => {
  /** How node's zlib words the fault. */
  function zlibError(payload) {
    try {
      frames.inflate(payload);
    } catch (error) {
      return error;
    }
    throw new Error('the payload is good');
  }

  const corrupt = {
    'a stored block of the wrong length': Buffer.from([0x00, 0x01, 0x00, 0x00, 0x00]),
    'a block of a type that does not exist': Buffer.from([0x06]),
    'a distance before the start': Buffer.from([0x4b, 0x04, 0x12, 0x00]),
    'bytes that are no DEFLATE': Buffer.from('this is not compressed at all')
  };

  for (const [name, payload] of Object.entries(corrupt)) {
    test(`${name}, in the words of node:zlib, with close code 1007`, async () => {
      const expected = zlibError(payload);
      for (const isServer of [false, true]) {
        const log = await received(withDeflate({ isServer }), [
          frames.text('good', { mask: isServer }),
          compressed(payload, { mask: isServer }),
          frames.text('after', { mask: isServer })
        ]);
        assert.deepEqual(
          log.map(([event]) => event),
          ['message', 'error']
        );
        const error = log[1][1];
        assert.ok(error instanceof Error);
        assert.equal(error.message, expected.message);
        assert.equal(error.code, expected.code);
        assert.equal(error.errno, expected.errno);
        assert.equal(closeCodeOf(error), 1007);
      }
    });
  }

  test('corrupt bytes in a later fragment, when that fragment is complete', async () => {
    const parts = frames.fragmented(
      [frames.deflate('good'), corrupt['bytes that are no DEFLATE'], ''],
      {
        rsv1: true
      }
    );
    const log = await received(withDeflate(), parts);
    assert.equal(log.length, 1);
    assert.equal(log[0][1].code, 'Z_DATA_ERROR');
  });

  test('text that inflates to invalid UTF-8', async () => {
    const log = await received(withDeflate(), [compressed(frames.deflate(Buffer.from([0xff])))]);
    assertError(log[0][1], ERRORS.utf8);
  });

  test('a message that inflates to more than maxPayload, not one of just maxPayload', async () => {
    for (const [length, event] of [
      [1000, 'message'],
      [1001, 'error']
    ]) {
      const log = await received(withDeflate({ maxPayload: 1000 }), [
        compressed(frames.deflate('x'.repeat(length)))
      ]);
      assert.equal(log.length, 1);
      assert.equal(log[0][0], event);
      if (event === 'error') assertError(log[0][1], ERRORS.tooLong);
    }
  });

  test('fragments that inflate to more than maxPayload together', async () => {
    const flushed = (data) => Buffer.concat([frames.deflate(data), SYNC_TAIL]);
    const parts = (length) => [flushed('x'.repeat(600)), frames.deflate('x'.repeat(length))];
    const log = await received(withDeflate({ maxPayload: 1000 }), [
      ...frames.fragmented(parts(400), { rsv1: true }),
      ...frames.fragmented(parts(401), { rsv1: true })
    ]);
    assert.deepEqual(
      log.map(([event]) => event),
      ['message', 'error']
    );
    assertError(log[1][1], ERRORS.tooLong);
  });

  test('by its own _maxPayload as well as by that of the extension', async () => {
    const receiver = new Receiver(withDeflate());
    const log = record(receiver);
    const bytes = compressed(frames.deflate('x'.repeat(1000)));
    await feed(receiver, [bytes]);
    receiver._maxPayload = 999;
    await feed(receiver, [bytes]);
    assert.equal(log[0][1].length, 1000);
    assertError(log[1][1], ERRORS.tooLong);
  });

  test('a bomb long before it is inflated', async () => {
    const megabyte = zlib.deflateRawSync(Buffer.alloc(2 ** 20), {
      finishFlush: zlib.constants.Z_FULL_FLUSH
    });
    const bomb = Buffer.concat(Array(4096).fill(megabyte));
    const before = process.memoryUsage().rss;
    const receiver = new Receiver(withDeflate({ maxPayload: 8 * 2 ** 20 }));
    const log = record(receiver);
    await feed(receiver, [compressed(bomb)]);
    assert.equal(log.length, 1);
    assertError(log[0][1], ERRORS.tooLong);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 300 * 2 ** 20, `4 GiB were announced, memory grew by ${grown} bytes`);
  });

  test('emits nothing when it is destroyed while it inflates', async () => {
    const receiver = new Receiver(withDeflate());
    const log = record(receiver);
    receiver.write(compressed(frames.deflate(prose)), () => {});
    const emitted = log.length;
    receiver.destroy();
    await closed(receiver);
    assert.equal(log.length, emitted);
  });
});
