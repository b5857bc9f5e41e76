'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const WebSocket = require('./support/package.js');
const { duplexPair } = require('./support/duplex-pair.js');
const frames = require('./support/frames.js');
const { isCollected } = require('./support/gc.js');
const { writeChunk } = require('./support/receiver-feed.js');

const { Receiver } = WebSocket;
const CHUNK = 65536;

/** The frames at the end of a chunk of memory as large as a socket's. */
function chunkWith(...parts) {
  const bytes = Buffer.concat(parts);
  const chunk = Buffer.from(new ArrayBuffer(CHUNK), CHUNK - bytes.length);
  bytes.copy(chunk);
  return chunk;
}

/** Writes a chunk that nobody here keeps. */
async function writeAndForget(receiver, ...parts) {
  const chunk = chunkWith(...parts);
  await writeChunk(receiver, chunk);
  return new WeakRef(chunk.buffer);
}

describe('A receiver that waits for the next frame holds no chunk', () => {
  const situations = {
    'a message': { parts: [frames.text('hello')] },
    'a masked message': { isServer: true, parts: [frames.text('hello', { mask: true })] },
    'an empty masked message': { isServer: true, parts: [frames.text('', { mask: true })] },
    'a ping and a pong': { parts: [frames.ping('ping'), frames.pong('pong')] },
    'many messages': { parts: Array(500).fill(frames.binary('message')) }
  };

  for (const [name, { isServer = false, parts }] of Object.entries(situations)) {
    test(`after ${name}`, async () => {
      const receiver = new Receiver({ isServer });
      let events = 0;
      for (const event of ['message', 'ping', 'pong']) receiver.on(event, () => events++);
      const reference = await writeAndForget(receiver, ...parts);
      assert.equal(events, parts.length);
      assert.ok(await isCollected(reference));
      assert.ok(!receiver.destroyed);
    });
  }

  test('after a message that came in several chunks', async () => {
    const receiver = new Receiver({ isServer: true });
    const message = once(receiver, 'message');
    const bytes = frames.binary(Buffer.alloc(300), { mask: true });
    const references = [];
    for (let from = 0; from < bytes.length; from += 50) {
      references.push(await writeAndForget(receiver, bytes.subarray(from, from + 50)));
    }
    await message;
    for (const reference of references) assert.ok(await isCollected(reference));
  });
});

describe('A WebSocket that is kept after its end holds no chunk', () => {
  /** Ends a client by a frame of the server; returns the client and what it received. */
  async function endedBy(frame) {
    const [socket, peer] = duplexPair();
    const ws = new WebSocket(null, undefined, {});
    ws._isServer = false;
    ws.setSocket(socket, Buffer.alloc(0), { maxPayload: 0 });
    ws.on('error', () => {});
    peer.on('end', () => peer.end());
    peer.resume();
    const closed = once(ws, 'close');
    const reference = pushAndForget(socket, frame);
    const [code, reason] = await closed;
    return { code, reason, reference, ws };
  }

  function pushAndForget(socket, frame) {
    const chunk = chunkWith(frame);
    socket.push(chunk);
    return new WeakRef(chunk.buffer);
  }

  test('though it keeps the reason of the close', async () => {
    const { code, reason, reference, ws } = await endedBy(frames.close(4001, 'because'));
    assert.equal(code, 4001);
    assert.equal(reason.toString(), 'because');
    assert.ok(await isCollected(reference));
    assert.equal(ws._closeMessage.toString(), 'because');
  });

  test('though a listener keeps the reason too', async () => {
    const { reason, reference } = await endedBy(frames.close(1000, 'kept'));
    assert.ok(await isCollected(reference));
    assert.equal(reason.toString(), 'kept');
    assert.ok(reason.buffer.byteLength < CHUNK);
  });
});

describe('A receiver that is dropped without having been ended', () => {
  test('gives back what it holds of a message', async () => {
    const part = Buffer.alloc(256 * 1024);
    const header = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    const dropMany = async () => {
      let last;
      for (let i = 0; i < 100; i++) {
        last = new Receiver();
        last.write(header);
        last.write(part);
      }
      return new WeakRef(last);
    };
    for (let round = 0; round < 40; round++) assert.ok(await isCollected(await dropMany()));
    // It would be 1 GB.
    assert.ok(process.memoryUsage().rss < 600 * 1024 * 1024);
  });
});
