'use strict';

/** What had come to a connection that was paused. Order is a part of it. */

const assert = require('node:assert');
const { AsyncLocalStorage } = require('node:async_hooks');
const { once } = require('node:events');
const { Readable } = require('node:stream');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { OPCODE, closePayload, maskedFrame } = require('./support/frames.js');
const { openPair, openServer, urlOf } = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');
const { startPausedClient, startWorker } = require('./support/worker.js');

describe('messages read while their connection was paused', () => {
  /** A paused client, and three messages that it has read, each in a chunk of its own. */
  async function openPaused(t) {
    const { client, server } = await openPair(t);
    client.pause();
    let wanted = client._socket.bytesRead;
    for (const name of ['a', 'b', 'c']) {
      server.send(name);
      wanted += 3;
      while (client._socket.bytesRead < wanted) await new Promise(setImmediate);
    }
    return client;
  }

  it('wait again from the next chunk on when a listener pauses it again', async (t) => {
    const client = await openPaused(t);
    const received = [];
    client.on('message', (data) => {
      received.push(String(data));
      if (received.length < 3) client.pause();
    });
    for (const count of [1, 2, 3]) {
      client.resume();
      for (let i = 0; i < 10; i++) await new Promise(setImmediate);
      assert.deepStrictEqual(received, ['a', 'b', 'c'].slice(0, count));
    }
  });

  it('come in one tick when it is resumed, in the context of who resumed it', async (t) => {
    const client = await openPaused(t);
    const storage = new AsyncLocalStorage();
    const log = [];
    const last = new Promise((resolve) => {
      client.on('message', (data) => {
        log.push(`${data} for ${storage.getStore()}`);
        process.nextTick(() => log.push('tick'));
        if (String(data) === 'c') setImmediate(resolve);
      });
    });
    storage.run('whoever resumes', () => client.resume());
    process.nextTick(() => log.push('tick after resuming'));
    await last;

    const messages = ['a', 'b', 'c'].map((name) => `${name} for whoever resumes`);
    assert.deepStrictEqual(log, [...messages, 'tick after resuming', 'tick', 'tick', 'tick']);
  });

  it('take time of their own, not that of who resumed it', async (t) => {
    const slow = await openPair(t, { client: { allowSynchronousEvents: false } });
    const other = await openPair(t);
    slow.client.pause();
    const wanted = slow.client._socket.bytesRead + 3;
    slow.server.send('a');
    while (slow.client._socket.bytesRead < wanted) await new Promise(setImmediate);
    const log = [];
    slow.client.on('message', (data) => log.push(String(data)));
    other.client.on('message', (data) => {
      log.push(String(data));
      slow.client.resume();
    });
    const told = once(slow.client, 'message');
    other.server.send('resume');
    await told;
    other.server.send('again');
    for (let turns = 0; turns < 10_000 && log.length < 3; turns++) {
      await new Promise(setImmediate);
    }

    assert.deepStrictEqual(log, ['resume', 'a', 'again']);
  });

  /** A paused server's end, which has read these frames, each in a chunk of its own. */
  async function openPausedToRawPeer(t, frames) {
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    server.pause();
    let wanted = server._socket.bytesRead;
    for (const bytes of frames) {
      socket.write(bytes);
      wanted += bytes.length;
      while (server._socket.bytesRead < wanted) await new Promise(setImmediate);
    }
    return server;
  }

  const text = (payload) => maskedFrame({ payload });
  const closing = maskedFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) });

  it('come nevertheless, and not before, when it is terminated before that tick', async (t) => {
    const client = await openPaused(t);
    const log = [];
    client.on('message', (data) => log.push(String(data)));
    client.resume();
    client.terminate();
    log.push('terminated');
    await once(client, 'close');

    assert.deepStrictEqual(log, ['terminated', 'a', 'b', 'c']);
  });

  it('come nevertheless when the listener of the first terminates it', async (t) => {
    const client = await openPaused(t);
    const log = [];
    client.on('message', (data) => {
      log.push(String(data));
      client.terminate();
    });
    client._socket.on('pause', () => log.push('pause'));
    client.resume();
    await once(client, 'close');

    assert.deepStrictEqual(log, ['a', 'b', 'c']);
  });

  it('come at the end when the listener that terminates it pauses it, too', async (t) => {
    const client = await openPaused(t);
    const log = [];
    client.on('message', (data) => {
      log.push(String(data));
      client.terminate();
      client.pause();
      process.nextTick(() => log.push('tick'));
    });
    client.resume();
    await once(client, 'close');

    // From Node 26 on a destroyed stream is not paused any more.
    const isPaused = new Readable({ read() {} }).destroy().pause().isPaused();
    assert.deepStrictEqual(log.slice(0, 3), isPaused ? ['a', 'tick', 'b'] : ['a', 'b', 'c']);
    assert.strictEqual(log.filter((entry) => entry === 'c').length, 1);
  });

  it('end with a close frame when it is terminated, without an error', async (t) => {
    for (const expected of [['a'], ['a', 'b']]) {
      const frames = [Buffer.concat(expected.map(text)), closing, text('c')];
      for (const isTerminatedAtOnce of [true, false]) {
        const server = await openPausedToRawPeer(t, frames);
        const log = [];
        server.on('message', (data) => {
          log.push(String(data));
          server.terminate();
        });
        server.on('error', (error) => log.push(error.message));
        server.resume();
        if (isTerminatedAtOnce) server.terminate();
        const [code] = await once(server, 'close');

        assert.strictEqual(code, 1000);
        assert.deepStrictEqual(log, expected);
      }
    }
  });

  it('come behind one event of the socket, however often it is resumed', async (t) => {
    const client = await openPaused(t);
    const log = [];
    client.on('message', (data) => log.push(String(data)));
    client._socket.on('resume', () => log.push('resume'));
    for (let times = 0; times < 3; times++) {
      client.resume();
      client.pause();
    }
    client.resume();
    for (let i = 0; i < 10; i++) await new Promise(setImmediate);

    assert.deepStrictEqual(log, ['resume', 'a', 'b', 'c']);
  });
});

describe('messages that arrive one by one while their connection is paused', () => {
  it('are told one by one to a listener that pauses for each', async (t) => {
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const sent = ['a', 'b', 'c', 'd'];
    server.pause();
    for (const payload of sent) {
      socket.write(maskedFrame({ payload }));
      // Not a turn of the loop, for the loop is to wait: then I/O threads read, if there are any.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const received = [];
    server.on('message', (data) => {
      received.push(String(data));
      server.pause();
    });
    for (let count = 1; count <= sent.length; count++) {
      const told = once(server, 'message');
      server.resume();
      await told;
      for (let turns = 0; turns < 5; turns++) await new Promise(setImmediate);
      assert.deepStrictEqual(received, sent.slice(0, count));
    }
  });
});

describe('messages that have arrived while their connection was paused', () => {
  /** What happens when a client does something to which messages have come. */
  async function logOf(t, act) {
    const { client, server } = await openPair(t);
    client.pause();
    for (const name of ['a', 'b', 'c']) await new Promise((resolve) => server.send(name, resolve));
    for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    const log = [];
    client.on('message', (data) => log.push(String(data)));
    act(client);
    log.push('done');
    process.nextTick(() => log.push('tick'));
    const isTerminated = client.readyState === WebSocket.CLOSING;
    if (isTerminated) await once(client, 'close');
    else for (let i = 0; i < 5; i++) await new Promise(setImmediate);
    return log;
  }

  it('come in the tick in which it is resumed', async (t) => {
    const log = await logOf(t, (client) => client.resume());
    assert.deepStrictEqual(log, ['done', 'a', 'b', 'c', 'tick']);
  });

  it('come then also when it is terminated right after that', async (t) => {
    const log = await logOf(t, (client) => {
      client.resume();
      client.terminate();
    });
    assert.deepStrictEqual(log, ['done', 'a', 'b', 'c', 'tick']);
  });

  it('come when it closes if it is paused again in between', async (t) => {
    const log = await logOf(t, (client) => {
      client.resume();
      client.pause();
      client.terminate();
    });
    assert.deepStrictEqual(log, ['done', 'tick', 'a', 'b', 'c']);
  });
});

describe('a connection that is paused and resumed again and again', () => {
  it('gets everything in order while its peer never stops', { timeout: 60000 }, async (t) => {
    const COUNT = 100_000;
    const wss = await openServer(t, { perMessageDeflate: false });
    const worker = startWorker(
      (_, { url, count }) => {
        const net = require('node:net');
        const { port, hostname } = new URL(url);
        const socket = net.connect(port, hostname);
        socket.on('error', () => undefined);
        socket.setNoDelay();
        socket.write(
          'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
        );
        const frame = Buffer.alloc(14);
        frame.set([0x82, 0x88]);
        socket.once('data', function sendSome() {
          const from = frame.readUInt32LE(6);
          for (let i = from; i < Math.min(from + 50, count); i++) {
            socket.write(Buffer.from(frame));
            frame.writeUInt32LE(i + 1, 6);
          }
          if (frame.readUInt32LE(6) < count) setImmediate(sendSome);
        });
      },
      { url: urlOf(wss), count: COUNT }
    );
    t.after(() => worker.terminate());
    const [ws] = await once(wss, 'connection');
    let expected = 0;
    await new Promise((resolve, reject) => {
      ws.on('error', reject);
      ws.on('message', (data) => {
        const number = data.readUInt32LE(0);
        if (number !== expected) reject(new Error(`${number} in the place of ${expected}`));
        expected = number + 1;
        if (expected === COUNT) resolve();
        if (ws.isPaused) return;
        ws.pause();
        setImmediate(() => ws.resume());
      });
    });
  });
});

describe('a connection that a listener pauses when what it had sent is written', () => {
  it('delivers nothing that has arrived meanwhile before it is resumed', async (t) => {
    const wss = await openServer(t);
    const { isPaused, letGo } = startPausedClient(t, urlOf(wss));
    const [server] = await once(wss, 'connection');
    const log = [];
    server.on('message', (data) => log.push(String(data)));
    server._socket.on('drain', () => {
      log.push('pause');
      server.pause();
    });
    server.send(Buffer.alloc(20_000_000));
    const drained = once(server._socket, 'drain');
    await isPaused;

    // Meanwhile I/O threads, if there are any, write and read.
    letGo(500);
    await drained;
    for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
    log.push('resume');
    server.resume();
    if (!log.includes('answer')) await once(server, 'message');

    assert.notDeepEqual(log, ['pause', 'answer', 'resume']);
  });
});
