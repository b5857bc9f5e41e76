'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { PerMessageDeflate, Sender } = require('./support/package.js');
const { CapturedWire } = require('./support/captured-wire.js');
const frames = require('./support/frames.js');

const { OPCODE } = frames;
const PLAIN = { fin: true };
const COMPRESS = { compress: true, fin: true };

/**
 * A sender whose compressor waits for `release()`, put around the extension as tests of dependents
 * do it.
 */
function heldSender() {
  const wire = new CapturedWire();
  const deflate = new PerMessageDeflate();
  deflate.accept([{}]);
  const { compress } = deflate;
  const waiting = [];
  deflate.compress = function (...args) {
    waiting.push(() => compress.apply(this, args));
  };
  const release = () => {
    deflate.compress = compress;
    for (const start of waiting.splice(0)) start();
  };
  return {
    release,
    sender: new Sender(wire, { [PerMessageDeflate.extensionName]: deflate }),
    wire
  };
}

/** A Blob whose content comes when `release()` or `fail()` is called. */
function heldBlob(content) {
  const blob = new Blob([content]);
  const bytes = Buffer.from(content);
  let settle;
  const promise = new Promise((resolve, reject) => {
    settle = { resolve, reject };
  });
  blob.arrayBuffer = () => promise;
  return {
    blob,
    fail: (error) => settle.reject(error),
    release: () => settle.resolve(Uint8Array.from(bytes).buffer)
  };
}

/** Collects what the callbacks of several sends get. */
function callbacks() {
  const calls = [];
  const waiting = [];
  const note = (name) => (error) => {
    calls.push([name, error ?? null]);
    for (const check of waiting) check();
  };
  const called = (count) =>
    new Promise((resolve) => {
      const check = () => calls.length >= count && resolve(calls);
      waiting.push(check);
      check();
    });
  return { called, note };
}

const contents = (list) => list.map(({ opcode, payload }) => [opcode, payload.toString()]);

/** Queues one of everything behind a send that waits. */
function queueAll(sender, note) {
  sender.send('text', PLAIN, note('text'));
  sender.send(Buffer.from('binary'), { ...PLAIN, binary: true, mask: true }, note('binary'));
  sender.ping('ping', false, note('ping'));
  sender.pong('pong', true, note('pong'));
  sender.send(new Blob(['blob']), { ...PLAIN, binary: true }, note('blob'));
  sender.ping(new Blob(['ping blob']), false, note('ping blob'));
  sender.pong(new Blob(['pong blob']), false, note('pong blob'));
  sender.close(1000, 'close', false, note('close'));
}

const QUEUED = ['text', 'binary', 'ping', 'pong', 'blob', 'ping blob', 'pong blob', 'close'];
const QUEUED_BYTES = 4 + 6 + 4 + 4 + 4 + 9 + 9 + 7;
const QUEUED_FRAMES = [
  [OPCODE.TEXT, 'text'],
  [OPCODE.BINARY, 'binary'],
  [OPCODE.PING, 'ping'],
  [OPCODE.PONG, 'pong'],
  [OPCODE.BINARY, 'blob'],
  [OPCODE.PING, 'ping blob'],
  [OPCODE.PONG, 'pong blob'],
  [OPCODE.CLOSE, frames.closePayload(1000, 'close').toString()]
];

describe('Sender while it compresses', () => {
  test('queues everything else and sends it in the order of the calls', async () => {
    const { release, sender, wire } = heldSender();
    const { called, note } = callbacks();
    sender.send('compressed', COMPRESS, note('compressed'));
    queueAll(sender, note);
    assert.equal(wire.frames.length, 0);
    release();
    const list = await wire.receive(9);
    assert.ok(list[0].rsv1);
    assert.equal(frames.inflate(list[0].payload).toString(), 'compressed');
    assert.deepEqual(contents(list.slice(1)), QUEUED_FRAMES);
    assert.deepEqual(
      await called(9),
      ['compressed', ...QUEUED].map((name) => [name, null])
    );
  });

  test('counts the bytes that wait, for bufferedAmount', async () => {
    const { release, sender, wire } = heldSender();
    assert.equal(sender._bufferedBytes, 0);
    assert.equal(sender._state, 0);
    sender.send('0123456789', COMPRESS);
    assert.equal(sender._bufferedBytes, 10);
    assert.notEqual(sender._state, 0);
    queueAll(sender, () => undefined);
    assert.equal(sender._bufferedBytes, 10 + QUEUED_BYTES);
    release();
    await wire.receive(9);
    assert.equal(sender._bufferedBytes, 0);
    assert.equal(sender._state, 0);
  });

  test('compresses what was queued, in order, in one context', async () => {
    const { release, sender, wire } = heldSender();
    const messages = Array.from({ length: 20 }, (_, i) => `message ${i}`);
    for (const message of messages) sender.send(message, COMPRESS);
    release();
    const inflater = new frames.ContextInflater();
    for (const [i, frame] of (await wire.receive(20)).entries()) {
      assert.equal((await inflater.message(frame.payload)).toString(), messages[i]);
    }
  });

  test('keeps fragments of a message together with what comes between them', async () => {
    const { release, sender, wire } = heldSender();
    sender.send('a', { compress: true, fin: false });
    sender.ping('p', false);
    sender.send('b', { compress: true, fin: true });
    sender.send('plain', PLAIN);
    release();
    const list = await wire.receive(4);
    assert.deepEqual(
      list.map(({ fin, opcode }) => [opcode, fin]),
      [
        [OPCODE.TEXT, false],
        [OPCODE.PING, true],
        [OPCODE.CONTINUATION, true],
        [OPCODE.TEXT, true]
      ]
    );
    const payload = Buffer.concat([list[0].payload, list[2].payload]);
    assert.equal(frames.inflate(payload).toString(), 'ab');
  });

  test('throws at once for arguments that are wrong', () => {
    const { sender } = heldSender();
    sender.send('compressed', COMPRESS);
    assert.throws(() => sender.ping(Buffer.alloc(126), false), RangeError);
    assert.throws(() => sender.close(1005), TypeError);
    assert.throws(() => sender.send({}, PLAIN), TypeError);
    assert.equal(sender._bufferedBytes, 10);
  });

  test('fails that send and all that are queued when the stream is destroyed', async () => {
    const { release, sender, wire } = heldSender();
    const { called, note } = callbacks();
    sender.send('compressed', COMPRESS, note('compressed'));
    queueAll(sender, note);
    sender.send('without a callback', PLAIN);
    wire.destroy();
    release();
    const calls = await called(9);
    assert.deepEqual(
      calls.map(([name]) => name),
      ['compressed', ...QUEUED]
    );
    for (const [, error] of calls) {
      assert.ok(error instanceof Error);
      assert.equal(error.message, 'The socket was closed while data was being compressed');
    }
    assert.equal(wire.frames.length, 0);
  });
});

describe('Sender while it reads a Blob', () => {
  for (const method of ['send', 'ping', 'pong']) {
    /** Calls the method with a Blob. */
    const start = (sender, blob, cb) =>
      method === 'send'
        ? sender.send(blob, { ...PLAIN, binary: true }, cb)
        : sender[method](blob, false, cb);

    test(`to ${method} it, queues everything else and sends it in order`, async () => {
      const wire = new CapturedWire();
      const sender = new Sender(wire);
      const { called, note } = callbacks();
      const { blob, release } = heldBlob('held');
      start(sender, blob, note('held'));
      assert.equal(sender._bufferedBytes, 4);
      assert.notEqual(sender._state, 0);
      queueAll(sender, note);
      assert.equal(sender._bufferedBytes, 4 + QUEUED_BYTES);
      assert.equal(wire.frames.length, 0);
      release();
      const list = await wire.receive(9);
      assert.equal(list[0].payload.toString(), 'held');
      assert.deepEqual(contents(list.slice(1)), QUEUED_FRAMES);
      assert.deepEqual(
        await called(9),
        ['held', ...QUEUED].map((name) => [name, null])
      );
      assert.equal(sender._bufferedBytes, 0);
      assert.equal(sender._state, 0);
    });

    test(`to ${method} it, fails that and the queued ones when the stream is destroyed`, async () => {
      const wire = new CapturedWire();
      const sender = new Sender(wire);
      const { called, note } = callbacks();
      const { blob, release } = heldBlob('held');
      start(sender, blob, note('held'));
      queueAll(sender, note);
      wire.destroy();
      release();
      const calls = await called(9);
      assert.deepEqual(
        calls.map(([name]) => name),
        ['held', ...QUEUED]
      );
      for (const [, error] of calls) {
        assert.equal(error.message, 'The socket was closed while the blob was being read');
      }
    });

    test(`to ${method} it, reports to onerror and to all callbacks when that fails`, async () => {
      const wire = new CapturedWire();
      const sender = new Sender(wire);
      const { called, note } = callbacks();
      const { blob, fail } = heldBlob('held');
      const failure = new Error('unreadable');
      const reported = new Promise((resolve) => {
        sender.onerror = resolve;
      });
      start(sender, blob, note('held'));
      queueAll(sender, note);
      fail(failure);
      assert.equal(await reported, failure);
      assert.deepEqual(
        await called(9),
        ['held', ...QUEUED].map((name) => [name, failure])
      );
      assert.equal(wire.frames.length, 0);
    });
  }

  test('to compress it, sends it compressed and in order', async () => {
    const { release, sender, wire } = heldSender();
    const held = heldBlob('from a blob');
    sender.send(held.blob, { ...COMPRESS, binary: true });
    sender.send('next', PLAIN);
    held.release();
    release();
    const [first, second] = await wire.receive(2);
    assert.ok(first.rsv1);
    assert.equal(frames.inflate(first.payload).toString(), 'from a blob');
    assert.deepEqual(contents([second]), [[OPCODE.TEXT, 'next']]);
  });

  test('sends fragments that are Blobs as one message', async () => {
    const wire = new CapturedWire();
    const sender = new Sender(wire);
    sender.send(new Blob(['one ']), { binary: true, fin: false, mask: true });
    sender.send('two ', { binary: true, fin: false });
    sender.send(new Blob(['three']), { binary: true, fin: true });
    const list = await wire.receive(3);
    assert.deepEqual(
      list.map(({ fin, opcode, payload }) => [opcode, fin, payload.toString()]),
      [
        [OPCODE.BINARY, false, 'one '],
        [OPCODE.CONTINUATION, false, 'two '],
        [OPCODE.CONTINUATION, true, 'three']
      ]
    );
  });

  test('accepts anything that looks like a Blob, also of another implementation', async () => {
    const wire = new CapturedWire();
    const sender = new Sender(wire);
    const foreign = {
      arrayBuffer: async () => Uint8Array.from(Buffer.from('foreign')).buffer,
      get [Symbol.toStringTag]() {
        return 'Blob';
      },
      size: 7,
      stream() {},
      type: ''
    };
    sender.send(foreign, PLAIN);
    assert.equal((await wire.receive(1))[0].payload.toString(), 'foreign');
  });
});
