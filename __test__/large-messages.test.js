'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const frames = require('./support/frames');
const { failureOf, openPair, openServer } = require('./support/pair');
const { connectRaw, floodRaw } = require('./support/raw-peer');
const { seededRandom } = require('./support/random');

const MASKED = { mask: true };

async function openToPeer(t, options) {
  const wss = await openServer(t, options);
  const connected = once(wss, 'connection');
  const { socket } = await connectRaw(t, wss);
  const [ws] = await connected;
  await floodRaw(ws, socket, true);
  return { ws, socket };
}

/** Writes `bytes` in pieces and sees to it that each is read by itself. */
async function dribble(ws, socket, bytes, lengths) {
  const before = ws._socket.bytesRead;
  let end = 0;
  for (const length of [...lengths, bytes.length]) {
    socket.write(bytes.subarray(end, end + length));
    end = Math.min(end + length, bytes.length);
    while (ws._socket.bytesRead < before + end) await new Promise(setImmediate);
  }
}

describe('A large message', () => {
  test('arrives as it was sent, in whatever pieces it comes', async (t) => {
    const random = seededRandom(t);
    const { ws, socket } = await openToPeer(t);
    for (let round = 0; round < 20; round++) {
      const payload = Buffer.alloc(65_000 + random.int(500_000));
      for (let i = 0; i < payload.length; i += 97) payload[i] = random.int(256);
      const stream = Buffer.concat([
        frames.text('before', MASKED),
        frames.binary(payload, MASKED),
        frames.text('after', MASKED)
      ]);
      const received = [];
      ws.removeAllListeners('message').on('message', (data) => received.push(data));
      const lengths = Array.from({ length: random.int(5) }, () => random.int(stream.length));
      await dribble(ws, socket, stream, lengths);
      while (received.length < 3) await new Promise(setImmediate);

      assert.equal(String(received[0]), 'before');
      assert.ok(received[1].equals(payload));
      assert.equal(String(received[2]), 'after');
    }
  });

  test('has memory of its own, which can be moved to a worker', async (t) => {
    const { client, server } = await openPair(t);
    const payload = Buffer.alloc(1_000_000, 'x');
    client.send(payload);
    const [data] = await once(server, 'message');

    const moved = structuredClone(data.buffer, { transfer: [data.buffer] });
    assert.equal(data.length, 0);
    assert.equal(moved.byteLength, payload.length);
    client.send(payload);
    assert.ok((await once(server, 'message'))[0].equals(payload));
  });

  test('is checked to be UTF-8 when it is text', async (t) => {
    const { ws, socket } = await openToPeer(t);
    const failed = failureOf(ws);
    const text = Buffer.alloc(400_000, 'é');
    text[399_999] = 0x61;
    await dribble(ws, socket, frames.text(text, MASKED), [150_001, 150_001]);

    assert.equal((await failed).error.code, 'WS_ERR_INVALID_UTF8');
  });

  test('waits while the connection is paused', async (t) => {
    const { client, server } = await openPair(t);
    const payload = Buffer.alloc(3_000_000, 'p');
    let count = 0;
    server.on('message', () => count++);
    client.send(payload);
    while (server._socket.bytesRead < 200_000) await new Promise(setImmediate);
    server.pause();
    const counted = count;
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    assert.equal(count, counted);

    server.resume();
    while (count === 0) await new Promise(setImmediate);
    client.send('next');
    assert.equal(String((await once(server, 'message'))[0]), 'next');
  });

  test('that never comes to its end takes the connection with it and nothing else', async (t) => {
    const { ws, socket } = await openToPeer(t);
    const stream = frames.binary(Buffer.alloc(500_000), MASKED);
    ws.on('message', assert.fail);
    const closed = once(ws, 'close');
    await dribble(ws, socket, stream.subarray(0, 400_000), [200_000]);
    socket.destroy();

    assert.equal((await closed)[0], 1006);
  });

  test('of which only the header came costs no memory for what it declares', async (t) => {
    const { ws, socket } = await openToPeer(t);
    const before = process.memoryUsage().arrayBuffers;
    const stream = frames.binary(Buffer.alloc(70_000), { ...MASKED, declaredLength: 90_000_000 });
    await dribble(ws, socket, stream, [10]);

    assert.ok(process.memoryUsage().arrayBuffers - before < 10_000_000);
  });
});

describe('A large message that peers do not take', () => {
  test('is kept once, however many they are', async (t) => {
    const wss = await openServer(t);
    const peers = [];
    for (let i = 0; i < 30; i++) {
      const connected = once(wss, 'connection');
      const { socket } = await connectRaw(t, wss);
      socket.pause();
      peers.push((await connected)[0]);
    }
    const message = Buffer.alloc(16_000_000, 'm');
    const before = process.memoryUsage.rss();
    for (const peer of peers) peer.send(message);
    const growth = process.memoryUsage.rss() - before;
    const waiting = peers.reduce((sum, peer) => sum + peer.bufferedAmount, 0);
    assert.ok(waiting > 10 * message.length, `${waiting} bytes wait`);
    assert.ok(growth < waiting / 4, `${growth} bytes more for ${waiting} that wait`);
  });
});
