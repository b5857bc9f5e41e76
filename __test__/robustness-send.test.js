'use strict';

/**
 * Data that changes hands or content right after send(): what arrives is what was sent.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { collect, openPair } = require('./support/pair.js');
const { openToRawPeer } = require('./support/raw-peer.js');

const LIMIT = { timeout: 30000 };

/** Both directions of a connection: the frames of one are masked, those of the other are not. */
async function bothWays(t, options) {
  const { client, server } = await openPair(t, options);
  return [
    { from: client, to: server, name: 'client to server' },
    { from: server, to: client, name: 'server to client' }
  ];
}

/** Each kind of view over a memory of its own, filled with one byte. */
const VIEWS = {
  ArrayBuffer: (memory) => memory,
  Buffer: (memory) => Buffer.from(memory),
  DataView: (memory) => new DataView(memory),
  Float64Array: (memory) => new Float64Array(memory),
  Uint8Array: (memory) => new Uint8Array(memory)
};

const filled = (size, byte) => new Uint8Array(size).fill(byte).buffer;

describe('Data that is changed right after it was sent', () => {
  for (const [name, view] of Object.entries(VIEWS)) {
    test(`arrives as it was, as ${name}`, async (t) => {
      for (const { from, to, name: way } of await bothWays(t)) {
        for (const size of [8, 128, 4096, 65536]) {
          const memory = filled(size, 0x61);
          const message = once(to, 'message');
          from.send(view(memory));
          new Uint8Array(memory).fill(0x7a);
          const [data] = await message;
          assert.equal(data.length, size);
          assert.ok(data.equals(Buffer.alloc(size, 'a')), `${size} bytes, ${way}`);
        }
      }
    });
  }

  test('arrives as it was when one Buffer is used for many messages of a turn', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const received = collect(to, 'message', 1000);
      const scratch = Buffer.alloc(200);
      for (let i = 0; i < 1000; i++) {
        scratch.writeUInt32BE(i);
        from.send(scratch.subarray(0, 4 + (i % 190)));
      }
      for (const [i, [data]] of (await received).entries()) {
        assert.equal(data.readUInt32BE(0), i);
        assert.equal(data.length, 4 + (i % 190));
      }
    }
  });

  test('arrives as it was when it is changed by the callback of the send', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const received = collect(to, 'message', 50);
      const scratch = Buffer.alloc(1000);
      for (let i = 0; i < 50; i++) {
        scratch.fill(i);
        await new Promise((resolve) => from.send(scratch, resolve));
      }
      for (const [i, [data]] of (await received).entries()) {
        assert.ok(data.equals(Buffer.alloc(1000, i)));
      }
    }
  });

  test('arrives as it was in fragments', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const message = once(to, 'message');
      const scratch = Buffer.alloc(100);
      for (let i = 1; i <= 5; i++) {
        scratch.fill(i);
        from.send(scratch, { fin: i === 5 });
      }
      const expected = Buffer.concat([1, 2, 3, 4, 5].map((i) => Buffer.alloc(100, i)));
      assert.ok((await message)[0].equals(expected));
    }
  });

  test('arrives as it was in pings and pongs', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      for (const event of ['ping', 'pong']) {
        const received = once(to, event);
        const scratch = Buffer.from('before');
        from[event](scratch);
        scratch.write('after!');
        assert.equal((await received)[0].toString(), 'before');
      }
    }
  });

  test('arrives as it was in the reason of a close', async (t) => {
    const { client, server } = await openPair(t);
    const closed = once(server, 'close');
    const reason = Buffer.from('before');
    client.close(1000, reason);
    reason.write('after!');
    assert.deepEqual(await closed, [1000, Buffer.from('before')]);
  });

  test('of a client arrives as it was at any size, because it is masked at once', async (t) => {
    const [{ from, to }] = await bothWays(t);
    const size = 5_000_000;
    const memory = filled(size, 0x61);
    const message = once(to, 'message');
    from.send(memory);
    new Uint8Array(memory).fill(0x7a);
    assert.ok((await message)[0].equals(Buffer.alloc(size, 'a')));
  });

  test('keeps the frames in order, whatever its size', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const received = collect(to, 'message', 2);
      const large = Buffer.alloc(8_000_000, 'a');
      from.send(large);
      large.fill('z');
      from.send('marker');
      const [[first], [second]] = await received;
      assert.equal(first.length, large.length);
      assert.equal(second.toString(), 'marker');
    }
  });
});

describe('Memory that is given away right after it was sent', () => {
  /** Takes the memory from its views, fills it, and keeps it from being freed. */
  const giveAway = (memory) => {
    const moved = structuredClone(memory, { transfer: [memory] });
    new Uint8Array(moved).fill(0x7a);
    return moved;
  };

  for (const [name, view] of Object.entries(VIEWS)) {
    test(`arrives as it was, as ${name}`, async (t) => {
      for (const { from, to } of await bothWays(t)) {
        for (const size of [8, 128, 4096, 65536]) {
          const memory = filled(size, 0x61);
          const message = once(to, 'message');
          from.send(view(memory));
          const moved = giveAway(memory);
          assert.equal(memory.byteLength, 0);
          assert.ok((await message)[0].equals(Buffer.alloc(size, 'a')));
          assert.equal(moved.byteLength, size);
        }
      }
    });
  }

  test('does no harm when it is large', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const received = collect(to, 'message', 2);
      const memory = filled(8_000_000, 0x61);
      from.send(new Uint8Array(memory));
      const moved = giveAway(memory);
      from.send('marker');
      const [[first], [second]] = await received;
      assert.equal(first.length, moved.byteLength);
      assert.equal(second.toString(), 'marker');
    }
  });

  test('does no harm when it waits for compression', async (t) => {
    const options = { client: { perMessageDeflate: true }, server: { perMessageDeflate: true } };
    for (const { from, to } of await bothWays(t, options)) {
      const received = collect(to, 'message', 3);
      from.send('compressed '.repeat(100_000));
      const memory = filled(1_000_000, 0x61);
      from.send(new Uint8Array(memory));
      const moved = giveAway(memory);
      from.send('marker');
      const messages = await received;
      assert.equal(messages[2][0].toString(), 'marker');
      assert.equal(moved.byteLength, 1_000_000);
    }
  });

  test('counts as empty when it waited behind what is compressed', async (t) => {
    const options = {
      client: { perMessageDeflate: { threshold: 0 } },
      server: { perMessageDeflate: { threshold: 0 } }
    };
    for (const { from, to } of await bothWays(t, options)) {
      for (const size of [100, 100_000]) {
        const received = collect(to, 'message', 3);
        from.send('compressed');
        const memory = filled(size, 0x61);
        from.send(Buffer.from(memory), { compress: false });
        giveAway(memory);
        from.send('marker');
        const messages = await received;
        assert.deepEqual(
          messages.map(([data]) => data.toString()),
          ['compressed', '', 'marker']
        );
      }
    }
  });

  test('cannot be sent any more, and the connection stays usable', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const memory = filled(100, 0x61);
      const view = new Uint8Array(memory);
      giveAway(memory);
      const message = once(to, 'message');
      assert.throws(() => from.send(memory), TypeError);
      assert.throws(() => from.send(view), TypeError);
      from.send('marker');
      assert.equal((await message)[0].toString(), 'marker');
    }
  });

  test('as a Buffer counts as empty', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const memory = filled(100, 0x61);
      const buffer = Buffer.from(memory);
      giveAway(memory);
      const message = once(to, 'message');
      from.send(buffer);
      assert.equal((await message)[0].length, 0);
    }
  });
});

describe('The callback of a send', () => {
  for (const perMessageDeflate of [false, true]) {
    const how = perMessageDeflate ? 'with' : 'without';

    test(`is called once when the connection is terminated meanwhile, ${how} compression`, async (t) => {
      const options = { client: { perMessageDeflate }, server: { perMessageDeflate } };
      for (const index of [0, 1]) {
        const { from } = (await bothWays(t, options))[index];
        const calls = Array(20).fill(0);
        const closed = once(from, 'close');
        await new Promise((resolve) => {
          let open = calls.length;
          for (const i of calls.keys()) {
            const data = i % 3 === 2 ? new Blob(['blob'.repeat(1000)]) : Buffer.alloc(500_000, i);
            from.send(data, () => {
              calls[i]++;
              if (--open === 0) resolve();
            });
          }
          from.terminate();
        });
        await closed;
        assert.deepEqual(calls, Array(20).fill(1));
      }
    });
  }
});

describe('Memory that is resized right after it was sent', () => {
  test('arrives as it was', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      for (const size of [0, 10, 4096]) {
        const memory = new ArrayBuffer(1000, { maxByteLength: 8192 });
        const view = new Uint8Array(memory);
        view.fill(0x61);
        const message = once(to, 'message');
        from.send(view);
        memory.resize(size);
        assert.ok((await message)[0].equals(Buffer.alloc(1000, 'a')));
      }
    }
  });

  test('arrives as it is when it waited behind what is compressed', async (t) => {
    const options = {
      client: { perMessageDeflate: { threshold: 0 } },
      server: { perMessageDeflate: { threshold: 0 } }
    };
    for (const { from, to } of await bothWays(t, options)) {
      for (const [size, left] of [
        [300, 20],
        [300, 600],
        [100_000, 20]
      ]) {
        const received = collect(to, 'message', 3);
        const memory = new ArrayBuffer(size, { maxByteLength: size * 2 });
        const tracking = Buffer.from(memory).fill(0x61);
        from.send('compressed');
        from.send(tracking, { compress: false });
        memory.resize(left);
        const expected = Buffer.from(tracking);
        from.send('marker');
        const messages = await received;
        assert.ok(messages[1][0].equals(expected));
        assert.equal(messages[2][0].toString(), 'marker');
      }
    }
  });

  test('arrives as it was when it is shared and grows', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const memory = new SharedArrayBuffer(1000, { maxByteLength: 8192 });
      const view = new Uint8Array(memory);
      view.fill(0x61);
      const message = once(to, 'message');
      from.send(view);
      memory.grow(8192);
      view.fill(0x7a);
      assert.ok((await message)[0].equals(Buffer.alloc(1000, 'a')));
    }
  });
});

describe('Data that was received', () => {
  test('stays as it is, whatever arrives later', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      const received = collect(to, 'message', 300);
      for (let i = 0; i < 300; i++) from.send(Buffer.alloc(1 + ((i * 37) % 3000), i));
      for (const [i, [data]] of (await received).entries()) {
        assert.ok(data.equals(Buffer.alloc(1 + ((i * 37) % 3000), i)));
      }
    }
  });

  test('may be changed by the listener, without harm to other messages', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      to.on('message', (data) => data.fill(0xff));
      const received = [];
      to.prependListener('message', (data) => received.push(data.toString()));
      const all = collect(to, 'message', 100);
      for (let i = 0; i < 100; i++) from.send(`message ${i}`);
      await all;
      assert.deepEqual(
        received,
        Array.from({ length: 100 }, (_, i) => `message ${i}`)
      );
    }
  });

  test('may be sent back at once, to all, and as a ping', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      to.on('message', (data) => {
        to.send(data);
        to.ping(data.subarray(0, 100));
        data.fill(0);
      });
      const echoes = collect(from, 'message', 50);
      const pings = collect(from, 'ping', 50);
      for (let i = 0; i < 50; i++) from.send(`message ${i}`);
      for (const list of [await echoes, await pings]) {
        for (const [i, [data]] of list.entries()) assert.equal(data.toString(), `message ${i}`);
      }
      to.removeAllListeners('message');
    }
  });

  test('may be given away, as an ArrayBuffer of its own', async (t) => {
    for (const { from, to } of await bothWays(t)) {
      to.binaryType = 'arraybuffer';
      const received = collect(to, 'message', 20);
      const moved = [];
      to.on('message', (data) => {
        const text = Buffer.from(data).toString();
        moved.push([text, structuredClone(data, { transfer: [data] })]);
      });
      for (let i = 0; i < 20; i++) from.send(Buffer.from(`message ${i}`));
      await received;
      for (const [i, [text, memory]] of moved.entries()) {
        assert.equal(text, `message ${i}`);
        assert.equal(Buffer.from(memory).toString(), text);
      }
    }
  });

  const WAYS = {
    'with structuredClone()': (memory) => structuredClone(memory, { transfer: [memory] }),
    'into a stream of bytes': async (memory) => {
      const start = (controller) => controller.enqueue(new Uint8Array(memory));
      const { value } = await new ReadableStream({ type: 'bytes', start }).getReader().read();
      return value.buffer;
    }
  };
  for (const [how, giveAway] of Object.entries(WAYS)) {
    test(`may be given away ${how}, with the memory it lies in`, async (t) => {
      for (const { from, to } of await bothWays(t)) {
        const moved = [];
        for (let i = 0; i < 20; i++) {
          const message = once(to, 'message');
          from.send(`message ${i}`);
          const [data] = await message;
          assert.equal(data.toString(), `message ${i}`);
          const memory = await giveAway(data.buffer);
          assert.equal(data.length, 0);
          moved.push([memory, Buffer.from(memory.slice())]);
        }
        // The new owner shares it with nobody.
        for (const [memory, before] of moved) assert.ok(Buffer.from(memory).equals(before));
      }
    });
  }

  test('stays with its listener though others give theirs away', async (t) => {
    const [generous] = await bothWays(t);
    const [other] = await bothWays(t);
    const giveAway = async () => {
      const message = once(generous.to, 'message');
      generous.from.send('away');
      const [{ buffer }] = await message;
      structuredClone(buffer, { transfer: [buffer] });
    };
    await giveAway();
    const kept = [];
    for (let i = 0; i < 20; i++) {
      const message = once(other.to, 'message');
      other.from.send(`message ${i}`);
      kept.push((await message)[0]);
      await giveAway();
    }
    for (const [i, data] of kept.entries()) assert.equal(data.toString(), `message ${i}`);
  });
});

describe('A listener of the error of one socket', () => {
  test('may send to others, of which one is broken too', LIMIT, async (t) => {
    const [intact, first, second] = [
      await openToRawPeer(t),
      await openToRawPeer(t),
      await openToRawPeer(t)
    ];
    // So much that frames are gathered from here on.
    const fillers = 500;
    for (let i = 0; i < fillers; i++) intact.server.send('filler');
    const called = new Promise((resolve) => {
      first.server._socket.on('error', () => {
        intact.server.send('once');
        second.server.send('to the second', resolve);
      });
    });
    first.socket.resetAndDestroy();
    second.socket.resetAndDestroy();
    first.server.send('to the first');
    const error = await called;
    assert.ok(error instanceof Error);
    intact.server.send('last');
    const texts = (await intact.frames.take(fillers + 2)).map(({ payload }) => String(payload));
    assert.deepEqual(texts.slice(fillers - 1), ['filler', 'once', 'last']);
  });
});

describe('A function that makes masking keys', () => {
  const ways = {
    shrink: (buffer) => buffer.resize(10),
    'give away': (buffer) => structuredClone(buffer, { transfer: [buffer] })
  };
  for (const [how, change] of Object.entries(ways)) {
    test(`may ${how} what is being sent: nothing else goes out in its place`, LIMIT, async (t) => {
      let buffer = null;
      const generateMask = (key) => {
        key.fill(1);
        if (buffer !== null) change(buffer);
        buffer = null;
      };
      const { client, server } = await openPair(t, { client: { generateMask } });
      client.send('a secret of somebody else '.repeat(100));
      await once(server, 'message');
      const received = once(server, 'message');
      const memory = new ArrayBuffer(1000, { maxByteLength: 1000 });
      // A Buffer that follows what it lies in.
      const data = Object.setPrototypeOf(new Uint8Array(memory), Buffer.prototype);
      buffer = memory;
      client.send(data);
      const [message] = await received;
      assert.deepEqual(message, Buffer.alloc(data.length));
    });
  }
});
