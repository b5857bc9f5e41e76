'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { PerMessageDeflate, Sender } = require('./support/package.js');
const { CapturedWire } = require('./support/captured-wire.js');
const frames = require('./support/frames.js');

const { OPCODE } = frames;
const COMPRESS = { compress: true, fin: true };

/** A sender that negotiated permessage-deflate. */
function compressingSender({ options = {}, params = {} } = {}) {
  const wire = new CapturedWire();
  const deflate = new PerMessageDeflate(options);
  deflate.accept([structuredClone(params)]);
  const extensions = { [PerMessageDeflate.extensionName]: deflate };
  return { deflate, sender: new Sender(wire, extensions), wire };
}

/** RSV1 of the frames that `send` writes. */
async function rsv1Of(sends, setup) {
  const { sender, wire } = compressingSender(setup);
  for (const [data, options] of sends) sender.send(data, { ...COMPRESS, ...options });
  return (await wire.receive(sends.length)).map(({ rsv1 }) => rsv1);
}

describe('Sender with permessage-deflate', () => {
  test('compresses, in one context, what is to be compressed', async () => {
    const { sender, wire } = compressingSender();
    const inflater = new frames.ContextInflater();
    const messages = ['first message', '', 'first message', 'x'.repeat(100000), 'last'];
    for (const message of messages) sender.send(message, COMPRESS);
    for (const [i, frame] of (await wire.receive(messages.length)).entries()) {
      assert.ok(frame.rsv1 && frame.fin);
      assert.equal((await inflater.message(frame.payload)).toString(), messages[i]);
    }
    assert.ok(wire.frames[2].payload.length < wire.frames[0].payload.length);
    assert.ok(wire.frames[3].payload.length < 1000);
  });

  test('does not compress what is not to be compressed', async () => {
    const { sender, wire } = compressingSender();
    sender.send('a'.repeat(2000), { compress: false, fin: true });
    sender.send('a'.repeat(2000), { fin: true });
    for (const frame of await wire.receive(2)) {
      assert.equal(frame.rsv1, false);
      assert.equal(frame.payload.length, 2000);
    }
  });

  test('masks what it compressed, and leaves data of the caller as it was', async () => {
    const { sender, wire } = compressingSender();
    const data = Buffer.alloc(3000, 'data ');
    for (const kind of [data, new Uint8Array(data), data.toString(), new Blob([data])]) {
      sender.send(kind, { ...COMPRESS, mask: true, binary: true });
    }
    const inflater = new frames.ContextInflater();
    for (const frame of await wire.receive(4)) {
      assert.ok(frame.masked && frame.rsv1);
      assert.equal(frame.opcode, OPCODE.BINARY);
      assert.ok((await inflater.message(frame.payload)).equals(data));
    }
    assert.ok(data.equals(Buffer.alloc(3000, 'data ')));
  });

  test('compresses all fragments of a message and marks the first', async () => {
    const { sender, wire } = compressingSender();
    sender.send('one ', { compress: true, fin: false });
    sender.send('', { compress: true, fin: false });
    sender.send('two ', { compress: false, fin: false });
    sender.send('three', { compress: true, fin: true });
    const list = await wire.receive(4);
    assert.deepEqual(
      list.map(({ rsv1, opcode, fin }) => [rsv1, opcode, fin]),
      [
        [true, OPCODE.TEXT, false],
        [false, OPCODE.CONTINUATION, false],
        [false, OPCODE.CONTINUATION, false],
        [false, OPCODE.CONTINUATION, true]
      ]
    );
    const payload = Buffer.concat(list.map((frame) => frame.payload));
    assert.equal(frames.inflate(payload).toString(), 'one two three');
  });

  test('compresses no fragment of a message whose first was not to be compressed', async () => {
    const { sender, wire } = compressingSender();
    sender.send('one ', { compress: false, fin: false });
    sender.send('two', { compress: true, fin: true });
    assert.deepEqual(
      (await wire.receive(2)).map(({ rsv1, payload }) => [rsv1, payload.toString()]),
      [
        [false, 'one '],
        [false, 'two']
      ]
    );
  });

  test('forgets the context after each message when that was agreed', async () => {
    for (const isServer of [false, true]) {
      const side = isServer ? 'server' : 'client';
      const { sender, wire } = compressingSender({
        options: { isServer, threshold: 0 },
        params: { [`${side}_no_context_takeover`]: [true] }
      });
      for (let i = 0; i < 3; i++) sender.send('the same message', COMPRESS);
      for (const frame of await wire.receive(3)) {
        assert.equal(frames.inflate(frame.payload).toString(), 'the same message');
      }
    }
  });
});

describe('Sender threshold', () => {
  const small = 'a'.repeat(1023);
  const large = 'a'.repeat(1024);
  const noTakeover = (side) => ({
    options: { isServer: side === 'server' },
    params: { [`${side}_no_context_takeover`]: [true] }
  });

  test('does not count while the context is kept: everything is compressed', async () => {
    const other = { options: { isServer: true }, params: { client_no_context_takeover: [true] } };
    for (const setup of [{}, { options: { threshold: 1e6 } }, other]) {
      assert.deepEqual(await rsv1Of([[''], ['a'], [small], [large]], setup), [
        true,
        true,
        true,
        true
      ]);
    }
  });

  test('is 1024 bytes by default, once the own context is not kept', async () => {
    for (const side of ['client', 'server']) {
      assert.deepEqual(await rsv1Of([[''], [small], [large]], noTakeover(side)), [
        false,
        false,
        true
      ]);
    }
  });

  test('can be set, also to 0', async () => {
    const setup = noTakeover('client');
    const sends = [[''], ['1234'], ['12345']];
    setup.options.threshold = 5;
    assert.deepEqual(await rsv1Of(sends, setup), [false, false, true]);
    setup.options.threshold = 0;
    assert.deepEqual(await rsv1Of(sends, setup), [true, true, true]);
  });

  test('is compared with the bytes of the data, whatever its kind', async () => {
    const data = ['é'.repeat(512), new Uint16Array(512), new ArrayBuffer(1024), new Blob([large])];
    const less = ['é'.repeat(511), new Uint16Array(511), new ArrayBuffer(1023), new Blob([small])];
    const sends = [...data, ...less].map((one) => [one]);
    const expected = [...Array(4).fill(true), ...Array(4).fill(false)];
    assert.deepEqual(await rsv1Of(sends, noTakeover('client')), expected);
  });

  test('is compared with the first fragment, which decides for the whole message', async () => {
    const setup = noTakeover('client');
    const { sender, wire } = compressingSender(setup);
    sender.send(large, { compress: true, fin: false });
    sender.send('b', { compress: true, fin: true });
    sender.send(small, { compress: true, fin: false });
    sender.send(large, { compress: true, fin: true });
    const list = await wire.receive(4);
    assert.deepEqual(
      list.map(({ rsv1 }) => rsv1),
      [true, false, false, false]
    );
    const first = Buffer.concat([list[0].payload, list[1].payload]);
    assert.equal(frames.inflate(first).toString(), `${large}b`);
    assert.equal(list[2].payload.toString(), small);
    assert.equal(list[3].payload.toString(), large);
  });
});
