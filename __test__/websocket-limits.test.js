'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { duplexPair } = require('./support/duplex-pair.js');
const { FrameReader } = require('./support/frame-reader.js');
const { OPCODE, frame, maskedFrame } = require('./support/frames.js');
const { closeOf, collect, failureOf, openPair, startClient, turn } = require('./support/pair.js');
const { openToRawPeer, serveRaw } = require('./support/raw-peer.js');

const DEFAULTS = {
  maxBufferedChunks: 262_144,
  maxFragments: 16_384,
  maxPayload: 104_857_600,
  maxPendingAutoPongs: 60
};

/** Asserts that the connection failed as it does when a limit is exceeded. */
async function assertExceeded(ws, frames, { code, closeCode, message }) {
  const { error, code: closedWith, order, states } = await failureOf(ws);
  const frame = await frames.next();

  assert.ok(error instanceof RangeError);
  assert.strictEqual(error.code, code);
  assert.strictEqual(error.message, message);
  assert.deepStrictEqual(order, ['error', 'close']);
  assert.deepStrictEqual(states, [WebSocket.CLOSING, WebSocket.CLOSED]);
  assert.strictEqual(closedWith, 1006);
  assert.strictEqual(frame.opcode, OPCODE.CLOSE);
  assert.strictEqual(frame.payload.readUInt16BE(), closeCode);
}

const tooLarge = {
  code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
  closeCode: 1009,
  message: 'Max payload size exceeded'
};
const tooManyFragments = {
  code: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
  closeCode: 1008,
  message: 'Too many message fragments'
};
const tooManyChunks = { ...tooManyFragments, message: 'Too many buffered chunks' };

/** The frames of a message in `count` fragments. */
const fragments = (count, payload = 'x') =>
  Buffer.concat(
    Array.from({ length: count }, (_, index) =>
      maskedFrame({
        opcode: index === 0 ? OPCODE.BINARY : OPCODE.CONTINUATION,
        payload,
        fin: index === count - 1
      })
    )
  );

describe('the limits', () => {
  it('have their defaults at both ends', async (t) => {
    const { wss, client, server } = await openPair(t);

    for (const [name, value] of Object.entries(DEFAULTS)) {
      assert.strictEqual(wss.options[name], value, name);
      for (const ws of [client, server]) {
        const holder = name === 'maxPendingAutoPongs' ? ws : ws._receiver;
        assert.strictEqual(holder[`_${name}`], value, name);
      }
    }
  });

  it('are what the options of either end say, as 32-bit integers', async (t) => {
    const options = {
      maxBufferedChunks: 2.5,
      maxFragments: '3',
      maxPayload: 2 ** 32 + 4,
      maxPendingAutoPongs: 5.9
    };
    const expected = {
      maxBufferedChunks: 2,
      maxFragments: 3,
      maxPayload: 4,
      maxPendingAutoPongs: 5
    };
    const { client, server } = await openPair(t, { server: options, client: options });

    for (const [name, value] of Object.entries(expected)) {
      for (const ws of [client, server]) {
        const holder = name === 'maxPendingAutoPongs' ? ws : ws._receiver;
        assert.strictEqual(holder[`_${name}`], value, name);
      }
    }
  });
});

describe('maxPayload', () => {
  it('lets a message of that size pass, at both ends', async (t) => {
    const options = { maxPayload: 1000 };
    const { client, server } = await openPair(t, { server: options, client: options });
    for (const [from, to] of [
      [client, server],
      [server, client]
    ]) {
      from.send(Buffer.alloc(1000));
      assert.strictEqual((await once(to, 'message'))[0].length, 1000);
    }
  });

  it('ends a connection whose client announces more, before that arrives', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t, { maxPayload: 1000 });
    socket.write(maskedFrame({ declaredLength: 1001, payload: '' }).subarray(0, 4));
    await assertExceeded(server, frames, tooLarge);
  });

  it('ends a connection whose server announces more', async (t) => {
    const { url, peer } = await serveRaw(t);
    const client = startClient(t, url, { maxPayload: 1000 });
    const [{ socket, frames }] = await Promise.all([peer(), once(client, 'open')]);
    socket.write(frame({ declaredLength: 2n ** 40n, payload: '' }));
    await assertExceeded(client, frames, tooLarge);
  });

  it('counts the fragments of a message together', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t, { maxPayload: 10 });
    socket.write(fragments(3, 'four'));
    await assertExceeded(server, frames, tooLarge);
  });

  it('counts what a compressed message inflates to', async (t) => {
    const { client, server } = await openPair(t, {
      server: { maxPayload: 1000, perMessageDeflate: true }
    });
    client.send(Buffer.alloc(1000));
    assert.strictEqual((await once(server, 'message'))[0].length, 1000);

    const closed = once(client, 'close');
    const failure = failureOf(server);
    client.send(Buffer.alloc(1_000_000));
    const { error } = await failure;
    assert.strictEqual(error.code, tooLarge.code);
    assert.strictEqual(error.message, tooLarge.message);
    assert.strictEqual((await closed)[0], 1009);
  });

  it('does not count control frames', async (t) => {
    const { client, server } = await openPair(t, { server: { maxPayload: 4 } });
    client.ping('more than four');
    await once(server, 'ping');
    client.send('four');
    await once(server, 'message');
  });

  it('is no limit when it is 0', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t, { maxPayload: 0 });
    socket.write(maskedFrame({ declaredLength: 2n ** 52n, payload: 'x' }));
    socket.write('much more to come');
    server.ping();

    assert.strictEqual((await frames.next()).opcode, OPCODE.PING);
    assert.strictEqual(server.readyState, WebSocket.OPEN);
  });
});

describe('maxFragments', () => {
  it('lets a message of that many fragments pass, empty or not', async (t) => {
    for (const payload of ['x', '']) {
      const { server, socket } = await openToRawPeer(t);
      const received = once(server, 'message');
      socket.write(fragments(DEFAULTS.maxFragments, payload));
      assert.strictEqual((await received)[0].length, payload.length * DEFAULTS.maxFragments);
    }
  });

  it('ends the connection at one more, empty or not', async (t) => {
    for (const payload of ['x', '']) {
      const { server, socket, frames } = await openToRawPeer(t);
      socket.write(fragments(DEFAULTS.maxFragments + 1, payload));
      await assertExceeded(server, frames, tooManyFragments);
    }
  });

  it('counts anew for each message, and not the control frames between', async (t) => {
    const { server, socket } = await openToRawPeer(t, { maxFragments: 2 });
    const received = collect(server, 'message', 3);
    const first = maskedFrame({ payload: 'a', fin: false });
    const ping = maskedFrame({ opcode: OPCODE.PING });
    const last = maskedFrame({ opcode: OPCODE.CONTINUATION, payload: 'b' });
    socket.write(Buffer.concat([fragments(2), fragments(2), first, ping, ping, last]));

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['xx', 'xx', 'ab']
    );
  });

  it('can be set for clients', async (t) => {
    const { url, peer } = await serveRaw(t);
    const client = startClient(t, url, { maxFragments: 2 });
    const [{ socket, frames }] = await Promise.all([peer(), once(client, 'open')]);
    const piece = (opcode) => frame({ opcode, fin: false });
    socket.write(
      Buffer.concat([piece(OPCODE.TEXT), piece(OPCODE.CONTINUATION), piece(OPCODE.CONTINUATION)])
    );
    await assertExceeded(client, frames, tooManyFragments);
  });

  it('is no limit when it is 0', async (t) => {
    const { server, socket } = await openToRawPeer(t, { maxFragments: 0 });
    const received = once(server, 'message');
    socket.write(fragments(DEFAULTS.maxFragments + 1));
    assert.strictEqual((await received)[0].length, DEFAULTS.maxFragments + 1);
  });
});

describe('maxBufferedChunks', () => {
  /** A server's end of a connection over a stream, which delivers in chunks exactly as written. */
  function openToStream(options) {
    const wss = new WebSocket.Server({ noServer: true, ...options });
    const [near, far] = duplexPair();
    let server;
    wss.handleUpgrade(
      {
        method: 'GET',
        url: '/',
        headers: {
          upgrade: 'websocket',
          'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
          'sec-websocket-version': 13
        }
      },
      near,
      Buffer.alloc(0),
      (ws) => (server = ws)
    );
    return { server, near, far };
  }

  /** Waits for the 101, then reads frames. */
  async function framesOf(far) {
    const [answer] = await once(far, 'data');
    assert.match(String(answer), /^HTTP\/1\.1 101 /);
    return new FrameReader(far);
  }

  it('ends the connection when a frame comes in more chunks', async () => {
    const { server, far } = openToStream({ maxBufferedChunks: 3 });
    const frames = await framesOf(far);
    const failed = assertExceeded(server, frames, tooManyChunks);
    const frame = maskedFrame({ payload: 'payload' });
    for (const end of [7, 8, 9, 10]) far.write(frame.subarray(end === 7 ? 0 : end - 1, end));
    far.on('end', () => far.end());
    await failed;
  });

  it('counts only chunks that wait for more', async () => {
    const { server, far } = openToStream({ maxBufferedChunks: 3 });
    await framesOf(far);
    const messages = [];
    const done = new Promise((resolve) => {
      server.on('message', (data) => messages.push(String(data)) === 50 && resolve());
    });
    for (let i = 0; i < 50; i++) {
      // Frames are unmasked where they lie, so each needs memory of its own.
      const frame = maskedFrame({ payload: 'payload' });
      far.write(frame.subarray(0, 7));
      far.write(frame.subarray(7, 10));
      far.write(frame.subarray(10));
    }
    await done;

    assert.ok(messages.every((message) => message === 'payload'));
    server.terminate();
  });

  it('counts chunks one by one that come while messages wait', async (t) => {
    const { server, socket } = await openToRawPeer(t, {
      allowSynchronousEvents: false,
      maxBufferedChunks: 3
    });
    const waiting = Array.from({ length: 200 }, () => maskedFrame({ payload: 'waits' }));
    const frame = maskedFrame({ payload: 'payload' });
    const errors = [];
    let messages = 0;
    server.on('error', (error) => errors.push(error.message));
    server.on('message', () => {
      messages++;
      if (messages > waiting.length) server.terminate();
    });
    const closed = closeOf(server);

    let sent = server._socket.bytesRead;
    for (const chunk of [Buffer.concat(waiting), ...Array.from(frame, (byte) => [byte])]) {
      socket.write(Buffer.from(chunk));
      sent += chunk.length;
      while (server._socket.bytesRead < sent) await turn();
    }
    assert.ok(messages < waiting.length);
    await closed;

    assert.strictEqual(messages, waiting.length);
    assert.deepStrictEqual(errors, [tooManyChunks.message]);
  });

  it('ends a connection by default at one chunk more than 262144', async () => {
    const { server, near, far } = openToStream();
    const frames = await framesOf(far);
    const failed = assertExceeded(server, frames, tooManyChunks);
    const byte = Buffer.alloc(1);

    near.push(maskedFrame({ declaredLength: 1_000_000 }).subarray(0, 14));
    for (let i = 0; i < DEFAULTS.maxBufferedChunks + 1; i++) near.push(byte);
    far.on('end', () => far.end());
    await failed;
  });

  it('is no limit when it is 0', async () => {
    const { server, far } = openToStream({ maxBufferedChunks: 0 });
    await framesOf(far);
    const received = once(server, 'message');
    for (const byte of maskedFrame({ payload: 'x'.repeat(100) })) far.write(Buffer.from([byte]));

    assert.strictEqual((await received)[0].length, 100);
    server.terminate();
  });
});
