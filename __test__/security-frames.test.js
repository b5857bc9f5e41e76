'use strict';

/**
 * What a hostile peer can do after the handshake: each attack ends with the right error and close
 * code, in bounded memory, and the process lives on.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');
const zlib = require('node:zlib');

const { Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { failureOf, openPair } = require('./support/pair.js');
const { feed, record, singleBytes } = require('./support/receiver-feed.js');
const { openVictim } = require('./support/victim.js');

const { OPCODE } = frames;
const MIB = 2 ** 20;

/** The next frame of that kind; earlier ones of other kinds are dropped. */
async function nextFrame(peer, opcode) {
  for (;;) {
    const frame = await peer.frames.next();
    if (frame === null || frame.opcode === opcode) return frame;
  }
}

/**
 * Sends the bytes of an attack and sees the WebSocket refuse it: an error with `code`, a close
 * frame with `closeCode`, the end of the connection.
 */
async function assertRefused({ ws, peer }, bytes, { code, closeCode }) {
  const failed = failureOf(ws);
  peer.socket.write(bytes);
  const frame = await nextFrame(peer, OPCODE.CLOSE);
  assert.deepEqual(frame.payload, frames.closePayload(closeCode));
  peer.socket.end();
  const { error, code: closedWith, order } = await failed;
  assert.equal(error.code, code);
  assert.equal(closedWith, 1006);
  assert.deepEqual(order, ['error', 'close']);
}

/** By how much the memory of the process grows. */
async function growthDuring(work) {
  const before = process.memoryUsage().rss;
  await work();
  return process.memoryUsage().rss - before;
}

for (const role of ['server', 'client']) {
  describe(`As a ${role}, a connection`, () => {
    for (const length of [2n ** 31n, 2n ** 53n - 1n]) {
      test(`ends with 1009 when a frame announces ${length} bytes`, async (t) => {
        const victim = await openVictim(t, role);
        const bytes = frames.header({ declaredLength: length, mask: victim.mask });
        await assertRefused(victim, bytes, {
          code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
          closeCode: 1009
        });
      });
    }

    for (const length of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
      test(`ends with 1009 when a frame announces ${length} bytes, whatever maxPayload is`, async (t) => {
        for (const maxPayload of [0, 100]) {
          const victim = await openVictim(t, role, { maxPayload });
          const bytes = frames.header({ declaredLength: length, mask: victim.mask });
          await assertRefused(victim, bytes, {
            code: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
            closeCode: 1009
          });
        }
      });
    }

    test('takes no memory for bytes that are announced and do not come', async (t) => {
      const growth = await growthDuring(async () => {
        for (let i = 0; i < 40; i++) {
          const { mask, peer, ws } = await openVictim(t, role);
          ws.on('error', assert.ifError);
          const header = frames.header({ declaredLength: 100 * MIB, mask });
          const bytes = [frames.ping('', { mask }), header, Buffer.alloc(10)];
          peer.socket.write(Buffer.concat(bytes));
          assert.equal((await peer.frames.next()).opcode, OPCODE.PONG);
        }
      });
      assert.ok(growth < 150 * MIB, `4000 MiB were announced, memory grew by ${growth} bytes`);
    });

    test('ends with 1008 when a message comes in more than 16384 fragments', async (t) => {
      const victim = await openVictim(t, role);
      const { mask } = victim;
      const start = frames.text('a', { fin: false, mask });
      const more = frames.continuation('b', { fin: false, mask });
      const growth = await growthDuring(() =>
        assertRefused(victim, Buffer.concat([start, ...Array(16384).fill(more)]), {
          code: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
          closeCode: 1008
        })
      );
      assert.ok(growth < 100 * MIB);
    });

    test('ends with 1008 when the fragments are empty', async (t) => {
      const victim = await openVictim(t, role);
      const { mask } = victim;
      const start = frames.binary('', { fin: false, mask });
      const more = frames.continuation('', { fin: false, mask });
      await assertRefused(victim, Buffer.concat([start, ...Array(16384).fill(more)]), {
        code: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
        closeCode: 1008
      });
    });

    test('ends with 1008 when the fragments are compressed and empty', async (t) => {
      const victim = await openVictim(t, role, { maxFragments: 50, perMessageDeflate: true });
      const { mask } = victim;
      const start = frames.text('', { fin: false, mask, rsv1: true });
      const more = frames.continuation('', { fin: false, mask });
      await assertRefused(victim, Buffer.concat([start, ...Array(50).fill(more)]), {
        code: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
        closeCode: 1008
      });
    });

    test('still takes a message of 16384 fragments', async (t) => {
      const { ws, peer, mask } = await openVictim(t, role);
      const message = once(ws, 'message');
      const parts = Array(16384).fill('x');
      peer.socket.write(Buffer.concat(frames.fragmented(parts, { mask })));
      assert.equal((await message)[0].length, 16384);
    });

    test('ends with 1009 when fragments exceed maxPayload together', async (t) => {
      const victim = await openVictim(t, role, { maxPayload: 1000 });
      const { mask } = victim;
      const [first, second] = frames.fragmented([Buffer.alloc(600), Buffer.alloc(401)], { mask });
      await assertRefused(victim, Buffer.concat([first, second]), {
        code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
        closeCode: 1009
      });
    });

    test('ends with 1009 in the midst of a bomb', async (t) => {
      const victim = await openVictim(t, role, { maxPayload: 4 * MIB, perMessageDeflate: true });
      const megabyte = zlib.deflateRawSync(Buffer.alloc(MIB), {
        finishFlush: zlib.constants.Z_FULL_FLUSH
      });
      const bomb = Buffer.concat(Array(2048).fill(megabyte));
      const bytes = frames.text(bomb, { mask: victim.mask, rsv1: true });
      const growth = await growthDuring(() =>
        assertRefused(victim, bytes, {
          code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
          closeCode: 1009
        })
      );
      assert.ok(growth < 300 * MIB, `2 GiB were announced, memory grew by ${growth} bytes`);
    });

    test('ends with 1007 when compressed bytes are corrupt', async (t) => {
      const victim = await openVictim(t, role, { perMessageDeflate: true });
      const bytes = frames.text(Buffer.from([0x06]), { mask: victim.mask, rsv1: true });
      await assertRefused(victim, bytes, { code: 'Z_DATA_ERROR', closeCode: 1007 });
    });

    test('is terminated when the peer floods it with pings and reads nothing', async (t) => {
      const { ws, peer, mask } = await openVictim(t, role);
      ws.on('error', assert.ifError);
      peer.socket.on('error', () => {});
      peer.socket.pause();
      const closed = once(ws, 'close');
      const pings = Buffer.concat(Array(2000).fill(frames.ping(Buffer.alloc(125), { mask })));
      const growth = await growthDuring(async () => {
        let open = true;
        closed.then(() => {
          open = false;
        });
        while (open) {
          if (!peer.socket.destroyed) peer.socket.write(pings);
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
      assert.equal((await closed)[0], 1006);
      assert.ok(growth < 150 * MIB);
    });

    test('delivers text as bytes, and makes no string of it', async (t) => {
      const { ws, peer, mask } = await openVictim(t, role, { perMessageDeflate: true });
      const payload = 'text '.repeat(50000);
      const message = once(ws, 'message');
      const strings = [];
      for (const name of ['toString', 'utf8Slice', 'latin1Slice', 'asciiSlice']) {
        const original = Buffer.prototype[name];
        t.mock.method(Buffer.prototype, name, function (...args) {
          const result = original.apply(this, args);
          if (result.length > 1000) strings.push(name);
          return result;
        });
      }
      const bytes = frames.text(frames.deflate(payload), { mask, rsv1: true });
      peer.socket.write(bytes);
      const [data, isBinary] = await message;
      assert.deepEqual(strings, []);
      assert.ok(Buffer.isBuffer(data) && !isBinary);
      assert.equal(data.length, payload.length);
    });

    test('tells how much a peer that does not read makes it hold, and frees it', async (t) => {
      const { ws, peer } = await openVictim(t, role);
      peer.socket.on('error', () => {});
      peer.socket.pause();
      const closed = once(ws, 'close');
      const results = [];
      const count = 24;
      const all = new Promise((resolve) => {
        for (let i = 0; i < count; i++) {
          ws.send(Buffer.alloc(MIB), (error) => {
            if (results.push(error) === count) resolve();
          });
        }
      });
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(ws.bufferedAmount > MIB);
      assert.ok(ws.bufferedAmount <= count * (MIB + 14));
      ws.terminate();
      await Promise.all([all, closed]);
      const failed = results.findIndex((result) => result instanceof Error);
      assert.notEqual(failed, -1);
      assert.ok(results.slice(failed).every((result) => result instanceof Error));
    });
  });
}

describe('A receiver', () => {
  test('takes no memory for bytes that are announced and do not come', async () => {
    const growth = await growthDuring(async () => {
      const header = frames.header({ declaredLength: 100 * MIB, mask: true });
      for (let i = 0; i < 2000; i++) {
        const receiver = new Receiver({ isServer: true, maxPayload: 100 * MIB });
        await feed(receiver, [Buffer.concat([header, Buffer.alloc(10)])]);
        assert.ok(!receiver.destroyed);
      }
    });
    assert.ok(growth < 150 * MIB, `memory grew by ${growth} bytes`);
  });

  test('holds a payload that trickles in by single bytes in bounded memory', async () => {
    const count = 262144;
    const bytes = frames.binary(Buffer.alloc(count + 1));
    const receiver = new Receiver({ maxBufferedChunks: count });
    const log = record(receiver);
    const growth = await growthDuring(async () => {
      await feed(receiver, [bytes.subarray(0, 10)]);
      for (const byte of singleBytes(bytes.subarray(10, -1))) receiver.write(byte);
    });
    assert.deepEqual(log, []);
    assert.ok(growth < 400 * MIB, `memory grew by ${growth} bytes`);
    await feed(receiver, [bytes.subarray(-1)]);
    assert.equal(log[0][1].code, 'WS_ERR_TOO_MANY_BUFFERED_PARTS');
  });
});

describe('What is sent holds no bytes of uninitialised memory', () => {
  const numbers = [0, 1, 5, 125, 1000, -1, 1.5, NaN, Infinity];

  test('numbers are sent, pinged and ponged as their digits', async (t) => {
    const { client, server } = await openPair(t);
    for (const [from, to] of [
      [client, server],
      [server, client]
    ]) {
      for (const number of numbers) {
        for (const [method, event] of [
          ['send', 'message'],
          ['ping', 'ping'],
          ['pong', 'pong']
        ]) {
          const received = once(to, event);
          from[method](number);
          const [data, isBinary] = await received;
          assert.equal(data.toString(), String(number));
          assert.ok(!isBinary);
        }
      }
    }
  });

  test('a reason in elements of more than a byte is refused, and the connection stays open', async (t) => {
    const { client, server } = await openPair(t);
    for (const ws of [client, server]) {
      for (const reason of [new Float32Array(20), new Uint16Array(3), new Float64Array(1)]) {
        assert.throws(() => ws.close(1000, reason), {
          name: 'TypeError',
          message: 'Second argument must be a string or a Uint8Array'
        });
        assert.equal(ws.readyState, ws.OPEN);
      }
    }
    const closed = once(server, 'close');
    client.close(1000, new Uint8Array([0x6f, 0x6b]));
    assert.deepEqual(await closed, [1000, Buffer.from('ok')]);
  });
});
