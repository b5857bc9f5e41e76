'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { getDefaultHighWaterMark } = require('node:stream');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { OPCODE, frame, maskedFrame } = require('./support/frames.js');
const { collect, logEvents, openPair, startClient } = require('./support/pair.js');
const { openToRawPeer, serveRaw } = require('./support/raw-peer.js');

/** The frames of one message, its payload in pieces. */
const fragmented = (pieces, opcode = OPCODE.BINARY) =>
  pieces.map((payload, index) =>
    maskedFrame({
      opcode: index === 0 ? opcode : OPCODE.CONTINUATION,
      payload,
      fin: index === pieces.length - 1
    })
  );

describe('binaryType', () => {
  const whole = Buffer.from('one two');
  const forms = {
    nodebuffer: (data) => assert.deepStrictEqual(data, whole),
    arraybuffer: (data) =>
      assert.deepStrictEqual(data, new Uint8Array(Buffer.from(whole)).buffer.slice(0)),
    fragments: (data) => assert.deepStrictEqual(data, [Buffer.from('one '), Buffer.from('two')]),
    blob: async (data) => {
      assert.ok(data instanceof Blob);
      assert.strictEqual(data.size, whole.length);
      assert.strictEqual(await data.text(), 'one two');
    }
  };

  for (const [type, check] of Object.entries(forms)) {
    it(`${type} decides what a binary message is, and not what text is`, async (t) => {
      const { server, socket } = await openToRawPeer(t);
      server.binaryType = type;
      const received = collect(server, 'message', 2);
      socket.write(
        Buffer.concat([...fragmented(['one ', 'two']), ...fragmented(['one ', 'two'], OPCODE.TEXT)])
      );
      const [[binary, isBinary], [text, textIsBinary]] = await received;

      await check(binary);
      assert.strictEqual(isBinary, true);
      assert.deepStrictEqual(text, whole);
      assert.strictEqual(textIsBinary, false);
    });

    it(`${type} has a form for an empty message`, async (t) => {
      const { client, server } = await openPair(t);
      server.binaryType = type;
      client.send(Buffer.alloc(0));
      const [data] = await once(server, 'message');

      assert.strictEqual(data.length ?? data.byteLength ?? data.size, 0);
    });
  }

  it('can be changed from message to message, by the listener of the one before', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const types = ['arraybuffer', 'fragments', 'blob', 'nodebuffer'];
    const received = collect(server, 'message', 5);
    server.on('message', () => {
      server.binaryType = types.shift() ?? server.binaryType;
    });
    socket.write(
      Buffer.concat(Array(5).fill(maskedFrame({ opcode: OPCODE.BINARY, payload: 'x' })))
    );

    assert.deepStrictEqual(
      (await received).map(([data]) => data.constructor.name),
      ['Buffer', 'ArrayBuffer', 'Array', 'Blob', 'Buffer']
    );
  });

  it('can be set before the connection opens', async (t) => {
    const { url } = await serveRaw(t, {
      follow: frame({ opcode: OPCODE.BINARY, payload: 'early' })
    });
    const client = startClient(t, url);
    client.binaryType = 'arraybuffer';
    const [data] = await once(client, 'message');

    assert.ok(data instanceof ArrayBuffer);
    assert.strictEqual(data.byteLength, 5);
  });
});

describe('the memory of a message', () => {
  it('stays as it was, however much is received afterwards', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const count = 300;
    const payload = (index) => `${index} `.repeat(1 + ((index * 37) % 300));
    const received = collect(server, 'message', count);

    for (let i = 0; i < count; i++) {
      socket.write(maskedFrame({ opcode: OPCODE.BINARY, payload: payload(i) }));
    }
    const kept = (await received).map(([data]) => data);
    const more = collect(server, 'message', 20);
    for (let i = 0; i < 20; i++) {
      socket.write(maskedFrame({ opcode: OPCODE.BINARY, payload: Buffer.alloc(100_000, 0xff) }));
    }
    await more;

    for (const [index, data] of kept.entries()) assert.strictEqual(String(data), payload(index));
  });

  it('may be written to, without an effect on other messages', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const texts = ['aaaa', 'bbbb', 'cccc', 'dddd'];
    const seen = [];
    const done = new Promise((resolve) => {
      server.on('message', (data) => {
        seen.push(String(data));
        data.fill(0);
        if (seen.length === texts.length) resolve();
      });
    });
    socket.write(Buffer.concat(texts.map((payload) => maskedFrame({ payload }))));
    await done;

    assert.deepStrictEqual(seen, texts);
  });

  it('is an ArrayBuffer of the length of the message, which may be transferred', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    server.binaryType = 'arraybuffer';
    const received = collect(server, 'message', 2);
    const frames = ['first', 'other'].map((payload) =>
      maskedFrame({ opcode: OPCODE.BINARY, payload })
    );
    socket.write(Buffer.concat(frames));
    const [[first], [other]] = await received;
    assert.strictEqual(first.byteLength, 5);
    const moved = structuredClone(first, { transfer: [first] });

    assert.strictEqual(first.byteLength, 0);
    assert.strictEqual(Buffer.from(moved).toString(), 'first');
    assert.strictEqual(Buffer.from(other).toString(), 'other');
  });
});

describe('a message in fragments', () => {
  it('is one message, of the type of its first frame', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const received = collect(server, 'message', 2);
    for (const opcode of [OPCODE.TEXT, OPCODE.BINARY]) {
      for (const frame of fragmented(['a', '', 'bc', ''], opcode)) socket.write(frame);
    }

    assert.deepStrictEqual(await received, [
      [Buffer.from('abc'), false],
      [Buffer.from('abc'), true]
    ]);
  });

  it('may have pings and pongs between its frames, which are reported at once', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const events = ['ping', 'pong', 'message'];
    const log = logEvents(server, events, (event, data) => `${event} ${data}`);
    const received = once(server, 'message');
    const [first, second] = fragmented(['one ', 'two']);
    socket.write(first);
    socket.write(maskedFrame({ opcode: OPCODE.PING, payload: 'p' }));
    socket.write(maskedFrame({ opcode: OPCODE.PONG, payload: 'q' }));
    socket.write(second);
    await received;

    assert.deepStrictEqual(log, ['ping p', 'pong q', 'message one two']);
  });

  it('may cut a character of UTF-8 in two', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const received = once(server, 'message');
    const euro = Buffer.from('€');
    for (const frame of fragmented([euro.subarray(0, 1), euro.subarray(1)], OPCODE.TEXT)) {
      socket.write(frame);
    }

    assert.strictEqual(String((await received)[0]), '€');
  });
});

describe('the pieces in which TCP delivers', () => {
  it('do not matter: each byte may come by itself', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    const log = logEvents(server, ['ping', 'message'], (event, data) => `${event} ${data}`);
    const bytes = Buffer.concat([
      maskedFrame({ payload: 'tëxt' }),
      maskedFrame({ opcode: OPCODE.PING, payload: 'ping' }),
      maskedFrame({ opcode: OPCODE.BINARY, payload: 'x'.repeat(130) }),
      maskedFrame({ payload: '' })
    ]);
    const received = collect(server, 'message', 3);
    for (const byte of bytes) {
      await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
    }
    await Promise.all([received, frames.next()]);

    assert.deepStrictEqual(log, [
      'message tëxt',
      'ping ping',
      `message ${'x'.repeat(130)}`,
      'message '
    ]);
  });

  it('do not matter: many messages may come in one', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const count = 5000;
    const received = collect(server, 'message', count);
    const frames = Array.from({ length: count }, (_, i) => maskedFrame({ payload: String(i) }));
    socket.write(Buffer.concat(frames));

    assert.ok((await received).every(([data], index) => String(data) === String(index)));
  });

  it('do not matter: a message may be larger than any of them', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const payload = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251));
    const received = collect(server, 'message', 2);
    socket.write(maskedFrame({ opcode: OPCODE.BINARY, payload }));
    socket.write(maskedFrame({ payload: 'next' }));
    const [[large], [next]] = await received;

    assert.ok(large.equals(payload));
    assert.strictEqual(String(next), 'next');
  });
});

describe('a message of which the end was not read when the connection was terminated', () => {
  it('is not delivered, though much of it came with the handshake', async (t) => {
    // The receiver has the first 64 KiB, or as much again if that is not enough for it, and the socket the next.
    const chunks = getDefaultHighWaterMark(false) < 64 * 1024 ? 2 : 3;
    const follow = Buffer.concat([
      frame({ opcode: OPCODE.PING }),
      frame({ opcode: OPCODE.PONG }),
      frame({ opcode: OPCODE.BINARY, payload: Buffer.alloc(chunks * 64 * 1024) })
    ]);
    const { url } = await serveRaw(t, { follow });
    const ws = new WebSocket(url, { allowSynchronousEvents: false });
    const received = [];
    ws.on('message', () => received.push('message'));
    ws.on('ping', () => {
      received.push('ping');
      ws.terminate();
    });
    ws.on('pong', () => received.push('pong'));
    await once(ws, 'close');
    assert.deepEqual(received, ['ping', 'pong']);
  });
});
