'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { runInChild } = require('./support/child');
const { takeUncaughtExceptions } = require('./support/exceptions');
const frames = require('./support/frames');
const { byThread } = require('./support/internals');
const { openPair, openServer, startClient } = require('./support/pair');
const { connectRaw, floodRaw, serveRaw } = require('./support/raw-peer');

const EXTENSION = 'permessage-deflate; client_no_context_takeover; server_no_context_takeover';

/** Frames of every kind, as one side sends them. */
function mixedStream(mask) {
  const masked = { mask };
  return Buffer.concat([
    frames.text('short', masked),
    frames.binary(Buffer.alloc(130, 'b'), masked),
    frames.ping('between', masked),
    frames.text('first ', { ...masked, fin: false }),
    frames.pong('inside', masked),
    frames.frame({ opcode: 0, payload: 'second', fin: true, mask }),
    frames.text('', masked),
    frames.text(frames.deflate('compressed, compressed'), { ...masked, rsv1: true }),
    frames.text('last', masked)
  ]);
}

const LARGE = Buffer.alloc(300_000);
for (let i = 0; i < LARGE.length; i++) LARGE[i] = i * 7 + (i >> 8);

/** Some turns of the loop, in which what has arrived is read. */
async function turns() {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
}

/** A few small messages around one that is read into memory of its own. */
function largeStream(mask) {
  const masked = { mask };
  return Buffer.concat([
    frames.text('before', masked),
    frames.binary(LARGE, masked),
    frames.text('last', masked)
  ]);
}

/** Connects a WebSocket to a peer made by hand. */
const ROLES = {
  async server(t) {
    const wss = await openServer(t, { perMessageDeflate: true });
    return async () => {
      const connected = once(wss, 'connection');
      const headers = { 'Sec-WebSocket-Extensions': EXTENSION };
      const { socket } = await connectRaw(t, wss, { headers });
      return { ws: (await connected)[0], socket };
    };
  },

  async client(t) {
    const { url, peer } = await serveRaw(t, { headers: { 'Sec-WebSocket-Extensions': EXTENSION } });
    return async () => {
      const ws = startClient(t, url, { perMessageDeflate: true });
      const [{ socket }] = await Promise.all([peer(), once(ws, 'open')]);
      return { ws, socket };
    };
  }
};

/** What a WebSocket makes of `stream` when somebody looks at its socket after `cut` bytes. */
async function received(connect, stream, cut, prepare) {
  const { ws, socket } = await connect();
  await prepare?.(ws, socket);
  const log = [];
  for (const event of ['message', 'ping', 'pong']) {
    ws.on(event, (data) => log.push([event, data]));
  }
  const before = ws._socket.bytesRead;
  socket.write(stream.subarray(0, cut));
  while (ws._socket.bytesRead < before + cut) await new Promise(setImmediate);
  ws._socket.on('data', () => {});
  ws.send('sent in between');
  socket.write(stream.subarray(cut));
  while (String(log.at(-1)?.[1]) !== 'last') await new Promise(setImmediate);
  ws.terminate();
  socket.destroy();
  return log;
}

for (const [role, open] of Object.entries(ROLES)) {
  describe(`The socket of a ${role} that somebody looks at`, () => {
    test('loses and repeats nothing, wherever in the stream that happens', async (t) => {
      const connect = await open(t);
      const stream = mixedStream(role === 'server');
      const undisturbed = await received(connect, stream, stream.length);
      assert.equal(undisturbed.length, 8);
      for (let cut = 0; cut < stream.length; cut++) {
        assert.deepEqual(await received(connect, stream, cut), undisturbed, `after ${cut} bytes`);
      }
    });

    test('does so within a large message', async (t) => {
      const connect = await open(t);
      const stream = largeStream(role === 'server');
      for (const cut of [20, 1000, 65_536, 100_000, 200_000, 300_010, stream.length - 3]) {
        const log = await received(connect, stream, cut, (ws, socket) =>
          floodRaw(ws, socket, role === 'server')
        );
        assert.deepEqual(
          log.map(([, data]) => data.length),
          [6, LARGE.length, 4],
          `after ${cut} bytes`
        );
        assert.ok(log[1][1].equals(LARGE), `after ${cut} bytes`);
      }
    });
  });
}

/** What is sent, one step after the other; each is a message or a part of one. */
const SENT = [
  ['short', {}],
  [Buffer.alloc(130, 'b'), {}],
  ['first ', { fin: false }],
  ['second', { fin: true }],
  ['', {}],
  ['compressed, compressed', { compress: true }],
  [LARGE, {}],
  ['compressed again, again', { compress: true }],
  [Buffer.alloc(5000, 'c'), {}],
  ['last', {}]
];
const ARRIVES = [
  'short',
  'b'.repeat(130),
  'first second',
  '',
  'compressed, compressed',
  LARGE.toString('latin1'),
  'compressed again, again',
  'c'.repeat(5000),
  'last'
];

describe('What was read of a paused WebSocket', () => {
  takeUncaughtExceptions();

  /** A paused WebSocket that has read three chunks. */
  async function openWithChunks(t) {
    const { ws, socket } = await (await ROLES.server(t))();
    ws.pause();
    for (const payload of ['first', 'second', 'third']) {
      const { bytesRead } = ws._socket;
      const bytes = frames.text(payload, { mask: true });
      socket.write(bytes);
      while (ws._socket.bytesRead < bytesRead + bytes.length) await new Promise(setImmediate);
    }
    return { ws, socket };
  }

  /** The lengths of frames with these payloads. */
  const lengthsOf = (...payloads) =>
    payloads.map((payload) => frames.text(payload, { mask: true }).length);

  test('goes to its socket in the chunks in which it came', async (t) => {
    const { ws } = await openWithChunks(t);
    const lengths = [];
    ws._socket.on('data', (chunk) => lengths.push(chunk.length));
    ws.resume();
    const [text] = await once(ws, 'message');
    while (lengths.length < 3) await new Promise(setImmediate);
    assert.equal(String(text), 'first');
    assert.deepEqual(lengths, lengthsOf('first', 'second', 'third'));
  });

  test('does so also when the peer has ended meanwhile', async (t) => {
    const { ws, socket } = await openWithChunks(t);
    socket.end();
    while (!ws._socket._readableState.ended) await new Promise(setImmediate);
    const lengths = [];
    ws._socket.on('data', (chunk) => lengths.push(chunk.length));
    ws.resume();
    await once(ws, 'close');
    assert.deepEqual(lengths, lengthsOf('first', 'second', 'third'));
  });

  test('waits there, in order, when a listener has enough', async (t) => {
    const { ws } = await openWithChunks(t);
    const { _socket: socket } = ws;
    const lengths = [];
    socket.on('data', (chunk) => {
      lengths.push(chunk.length);
      socket.pause();
    });
    ws.resume();
    while (lengths.length < 1) await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.deepEqual(lengths, lengthsOf('first'));
    while (lengths.length < 3) {
      socket.resume();
      await new Promise(setImmediate);
    }
    assert.deepEqual(lengths, lengthsOf('first', 'second', 'third'));
  });

  const takers = {
    'listens to its bytes': (ws) => {
      ws._socket.on('data', () => {});
      ws.terminate();
    },
    'asks for its listeners': (ws) => {
      ws._socket.listeners('data');
      ws.terminate();
    },
    'ends its socket with some bytes': (ws) => {
      ws._socket.end(Buffer.from([0x89, 0]));
      ws.terminate();
    },
    'sends when its socket was ended': (ws) => {
      ws.on('error', () => {});
      ws._socket.end();
      ws.send('too late');
    }
  };
  for (const [what, take] of Object.entries(takers)) {
    test(`is delivered if somebody ${what}, which destroys it in that tick`, async (t) => {
      const { ws, socket } = await openWithChunks(t);
      socket.on('error', () => {});
      const seen = [];
      ws.on('message', (data) => seen.push(String(data)));
      const closed = once(ws, 'close');
      take(ws);
      await closed;
      assert.deepEqual(seen, ['first', 'second', 'third']);
    });
  }

  test('is delivered although a listener of its socket throws', async (t) => {
    const { ws } = await openWithChunks(t);
    const seen = [];
    ws.on('message', (data) => seen.push(String(data)));
    ws._socket.once('data', () => {
      throw new Error('of a listener');
    });
    const [[error]] = await Promise.all([once(process, 'uncaughtException'), ws.resume()]);
    assert.equal(error.message, 'of a listener');
    while (seen.length < 3) {
      ws._socket.pause();
      ws._socket.resume();
      await new Promise(setImmediate);
    }
    assert.deepEqual(seen, ['first', 'second', 'third']);
  });
});

describe('Whoever uses the socket of a WebSocket that has something to deliver', () => {
  const USES = {
    'calls cork()': (socket) => {
      socket.cork();
      socket.uncork();
    },
    'calls unpipe()': (socket) => socket.unpipe(),
    'calls write()': (socket, mask) => socket.write(frames.pong('', { mask })),
    'replaces write()': (socket) => {
      const { write } = socket;
      socket.write = (...args) => write.apply(socket, args);
    }
  };

  for (const [what, use] of Object.entries(USES)) {
    test(`and ${what}, is told of it later: what came with the handshake`, async (t) => {
      const wss = await openServer(t);
      const received = new Promise((resolve) => {
        wss.on('connection', (ws) => {
          use(ws._socket, false);
          ws.on('message', resolve);
        });
      });
      await connectRaw(t, wss, { follow: frames.text('early', { mask: true }) });
      assert.equal(String(await received), 'early');
    });

    test(`and ${what}, is told of it later: what came while it was paused`, async (t) => {
      const { client, server } = await openPair(t);
      const { bytesRead } = client._socket;
      client.pause();
      server.send('early');
      // What a thread has read of a paused connection is not counted yet.
      if (byThread) await turns();
      else while (client._socket.bytesRead === bytesRead) await new Promise(setImmediate);
      client.resume();
      use(client._socket, true);
      const [message] = await once(client, 'message');
      assert.equal(String(message), 'early');
    });
  }
});

describe('A WebSocket that fails after its socket was handed back', () => {
  test('keeps nothing alive', async (t) => {
    const { code, stdout, stderr } = await runInChild(t, (WebSocket) => {
      const perMessageDeflate = { threshold: 0 };
      const options = { host: '127.0.0.1', perMessageDeflate, port: 0 };
      const wss = new WebSocket.Server(options, () => {
        const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { perMessageDeflate });
        client.on('error', () => {});
        client.on('open', () => {
          client.send('first');
          for (let i = 0; i < 3; i++) client.send('x'.repeat(10));
          client.send('last', () => client._socket.write(Buffer.from([255, 255, 255])));
        });
      });
      wss.on('connection', (ws) => {
        ws.on('error', () => {
          wss.close();
          setImmediate(() => ws.terminate());
        });
        ws.once('message', () => setImmediate(() => ws._socket?.cork()));
        ws.on('close', () => console.log('closed'));
      });
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'closed\n');
  });
});

describe('A paused WebSocket that has read enough', () => {
  const MOMENTS = {
    'before the turn in which': [(ws) => ws._socket.uncork(), turns, (ws) => ws.resume()],
    'in the turn in which': [(ws) => ws._socket.uncork(), (ws) => ws.resume()],
    'right after': [(ws) => ws.resume(), (ws) => ws._socket.uncork()]
  };

  for (const [when, steps] of Object.entries(MOMENTS)) {
    test(`gets the rest if its socket is handed back ${when} it is resumed`, async (t) => {
      const { client, server } = await openPair(t);
      client.pause();
      server.send('x'.repeat(300_000));
      server.send('last');
      await turns();
      const received = [];
      client.on('message', (data) => received.push(data.length));
      for (const step of steps) {
        if (step === turns) await turns();
        else step(client);
      }
      while (received.length < 2) await new Promise(setImmediate);
      server.close();
      await once(client, 'close');
      assert.deepEqual(received, [300_000, 4]);
    });
  }

  test('reads no more when its socket is handed back', { skip: byThread }, async (t) => {
    const { client, server } = await openPair(t);
    client.pause();
    const before = client._socket.bytesRead;
    server.send('x'.repeat(200_000));
    while (client._socket.bytesRead < before + 65536) await new Promise(setImmediate);
    await turns();
    const { bytesRead } = client._socket;
    client._socket.uncork();
    await turns();
    assert.equal(client._socket.bytesRead, bytesRead);
  });
});

/** Far more than the kernel takes. */
const FLOOD = 16_000_000;

describe('Sending while the socket is handed back', () => {
  test('fails for each message that could not be written before', async (t) => {
    const { client, server } = await openPair(t);
    client.on('error', () => {});
    await new Promise(setImmediate);
    server.terminate();
    const results = [];
    for (let i = 0; i < 4; i++) {
      results.push(new Promise((resolve) => client.send('x', resolve)));
    }
    client._socket.on('data', () => {});
    const [, ...errors] = await Promise.all(results);
    for (const error of errors) assert.ok(error instanceof Error);
  });

  for (const role of ['server', 'client']) {
    for (const peerIsSlow of [false, true]) {
      const name = `a ${role} to a ${peerIsSlow ? 'slow' : 'fast'} peer`;

      test(`${name}: every message arrives once and in order, whenever that happens`, async (t) => {
        for (let step = 0; step <= SENT.length; step++) {
          for (const inSameTurn of [true, false]) {
            const pair = await openPair(t, {
              server: { perMessageDeflate: { threshold: 0 } },
              client: { perMessageDeflate: { threshold: 0 } }
            });
            const [from, to] =
              role === 'server' ? [pair.server, pair.client] : [pair.client, pair.server];
            const arrived = [];
            const done = new Promise((resolve) => {
              to.on('message', (data) => {
                if (data.length !== FLOOD) arrived.push(data.toString('latin1'));
                if (arrived.length === ARRIVES.length) resolve();
              });
            });
            if (peerIsSlow) {
              // The hand-back finds a backlog.
              to.pause();
              from.send(Buffer.alloc(FLOOD), { compress: false });
            }
            for (const [index, [data, options]] of SENT.entries()) {
              if (index === step) from._socket.on('data', () => {});
              from.send(data, { compress: false, ...options });
              if (!inSameTurn) await new Promise(setImmediate);
            }
            if (step === SENT.length) from._socket.on('data', () => {});
            to.resume();
            await done;
            assert.deepEqual(arrived, ARRIVES, `before step ${step}`);
            from.terminate();
            to.terminate();
          }
        }
      });
    }
  }
});
