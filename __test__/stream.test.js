'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { Duplex } = require('node:stream');
const { describe, test } = require('node:test');

const WebSocket = require('./support/package.js');
const { CapturedWire } = require('./support/captured-wire.js');
const { runInChild } = require('./support/child.js');
const frames = require('./support/frames.js');
const {
  collect,
  failureOf,
  logEvents,
  openPair,
  openServer,
  startClient,
  urlOf
} = require('./support/pair.js');
const { connectRaw, serveRaw } = require('./support/raw-peer.js');

const { createWebSocketStream } = WebSocket;

/** A connection whose client is wrapped in a stream. */
async function streamPair(t, options) {
  const pair = await openPair(t);
  const stream = createWebSocketStream(pair.client, options);
  t.after(() => stream.on('error', () => {}).destroy());
  return { ...pair, stream };
}

const written = (stream, chunk) =>
  new Promise((resolve) => stream.write(chunk, (error) => resolve(error ?? null)));

describe('createWebSocketStream', () => {
  test('returns a Duplex', async (t) => {
    const { stream } = await streamPair(t);
    assert.ok(stream instanceof Duplex);
    assert.ok(stream.readable && stream.writable);
  });

  test('passes options to the Duplex, except those that would break it', async (t) => {
    const { stream } = await streamPair(t, {
      autoDestroy: true,
      emitClose: true,
      encoding: 'latin1',
      highWaterMark: 7,
      objectMode: true,
      writableObjectMode: true
    });
    assert.equal(stream.readableHighWaterMark, 7);
    assert.equal(stream.writableHighWaterMark, 7);
    assert.equal(stream.readableEncoding, 'latin1');
    assert.equal(stream.readableObjectMode, false);
    assert.equal(stream.writableObjectMode, false);
  });

  test('leaves the options object alone', async (t) => {
    await streamPair(t, Object.freeze({ readableObjectMode: true }));
  });
});

describe('createWebSocketStream reading', () => {
  test('gives messages as chunks of bytes', async (t) => {
    const { server, stream } = await streamPair(t);
    const chunks = collect(stream, 'data', 3);
    server.send('text');
    server.send(Buffer.from('binary'));
    server.send(new Uint8Array([1, 2]));
    assert.deepEqual(await chunks, [
      [Buffer.from('text')],
      [Buffer.from('binary')],
      [Buffer.from([1, 2])]
    ]);
  });

  test('gives text as strings in readableObjectMode', async (t) => {
    const { server, stream } = await streamPair(t, { readableObjectMode: true });
    const chunks = collect(stream, 'data', 2);
    server.send('grüße');
    server.send(Buffer.from('binary'));
    assert.deepEqual(await chunks, [['grüße'], [Buffer.from('binary')]]);
  });

  test('gives strings when an encoding is set', async (t) => {
    const { server, stream } = await streamPair(t);
    stream.setEncoding('utf8');
    const euro = Buffer.from('€');
    const chunks = collect(stream, 'data', 1);
    server.send(euro.subarray(0, 1));
    server.send(euro.subarray(1));
    assert.deepEqual(await chunks, [['€']]);
  });

  test('pauses the WebSocket when nobody reads, and resumes it then', async (t) => {
    const { client, server, stream } = await streamPair(t, { readableHighWaterMark: 1000 });
    server.send(Buffer.alloc(2000, 'a'));
    await once(stream, 'readable');
    assert.equal(client.isPaused, true);
    server.send(Buffer.alloc(3000, 'b'));
    assert.equal(stream.read().length, 2000);
    await once(stream, 'readable');
    assert.equal(stream.read().length, 3000);
    assert.equal(client.isPaused, false);
  });

  test('ends when the peer closes, once all is read', async (t) => {
    const { client, server, stream } = await streamPair(t);
    const log = logEvents(stream, ['end', 'close', 'error']);
    const closed = once(client, 'close');
    server.send('last');
    server.close(1000, 'done');
    assert.deepEqual(await closed, [1000, Buffer.from('done')]);
    assert.deepEqual(log, []);
    stream.resume();
    await once(stream, 'end');
    assert.deepEqual(log, ['end']);
  });

  test('can be iterated', async (t) => {
    const { server, stream } = await streamPair(t);
    for (const letter of 'abc') server.send(letter);
    server.close();
    let text = '';
    for await (const chunk of stream) text += chunk;
    assert.equal(text, 'abc');
  });
});

describe('createWebSocketStream writing', () => {
  test('sends each chunk as a binary message', async (t) => {
    const { server, stream } = await streamPair(t);
    const messages = collect(server, 'message', 3);
    stream.write('text');
    stream.write(Buffer.from('buffer'));
    stream.write(new Uint8Array([1, 2]));
    assert.deepEqual(await messages, [
      [Buffer.from('text'), true],
      [Buffer.from('buffer'), true],
      [Buffer.from([1, 2]), true]
    ]);
  });

  test('sends strings as text when decodeStrings is false', async (t) => {
    const { server, stream } = await streamPair(t, { decodeStrings: false });
    const message = once(server, 'message');
    stream.write('text');
    assert.deepEqual(await message, [Buffer.from('text'), false]);
  });

  test('calls back when the message is written, one after the other', async (t) => {
    const { stream } = await streamPair(t);
    const order = [];
    await Promise.all(
      ['a', 'b', 'c'].map((name) => written(stream, name).then(() => order.push(name)))
    );
    assert.deepEqual(order, ['a', 'b', 'c']);
  });

  test('waits until the WebSocket is open', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, urlOf(wss));
    const stream = createWebSocketStream(client);
    const connected = once(wss, 'connection');
    stream.write('first');
    stream.end('second');
    const [server] = await connected;
    const messages = await collect(server, 'message', 2);
    assert.deepEqual(
      messages.map(([data]) => data.toString()),
      ['first', 'second']
    );
    assert.equal((await once(server, 'close'))[0], 1005);
  });

  test('fails when the WebSocket is no longer open', async (t) => {
    const { client, stream } = await streamPair(t);
    client.terminate();
    const [error] = await Promise.all([once(stream, 'error'), written(stream, 'late')]).then(
      ([args]) => args
    );
    assert.equal(error.message, 'WebSocket is not open: readyState 2 (CLOSING)');
    assert.ok(stream.destroyed);
  });

  test('closes the WebSocket without a code when it ends', async (t) => {
    const { client, server, stream } = await streamPair(t);
    const closes = Promise.all([once(server, 'close'), once(client, 'close')]);
    stream.resume();
    stream.end('bye');
    assert.deepEqual(await once(server, 'message'), [Buffer.from('bye'), true]);
    for (const [code, reason] of await closes) {
      assert.equal(code, 1005);
      assert.equal(reason.length, 0);
    }
  });
});

describe('createWebSocketStream events', () => {
  const EVENTS = ['finish', 'end', 'close', 'error'];

  test('come once each, close last, when the stream ends itself', async (t) => {
    const { client, stream } = await streamPair(t);
    const log = logEvents(stream, EVENTS);
    client.on('close', () => log.push('websocket closed'));
    stream.resume();
    stream.end();
    await once(stream, 'close');
    assert.deepEqual(log, ['finish', 'websocket closed', 'end', 'close']);
    assert.ok(stream.destroyed);
  });

  test('come once each, close last, when the peer ends first', async (t) => {
    const { server, stream } = await streamPair(t);
    const log = logEvents(stream, EVENTS);
    stream.resume();
    server.close();
    await once(stream, 'end');
    stream.end();
    await once(stream, 'close');
    assert.deepEqual(log, ['end', 'finish', 'close']);
  });

  test('finish comes only after all that was written is sent', async (t) => {
    const { server, stream } = await streamPair(t);
    const received = collect(server, 'message', 20);
    for (let i = 0; i < 20; i++) stream.write(Buffer.alloc(50000));
    stream.resume().end();
    await once(stream, 'finish');
    assert.equal((await received).length, 20);
  });

  test('come also when both sides end at the same time', async (t) => {
    const { client, server } = await openPair(t);
    const streams = [client, server].map((ws) => createWebSocketStream(ws).resume());
    const closes = streams.map((stream) => once(stream, 'close'));
    for (const stream of streams) stream.end('bye');
    await Promise.all(closes);
  });

  test('come when the stream is made of a WebSocket that is already closing', async (t) => {
    const { client } = await openPair(t);
    client.close();
    const stream = createWebSocketStream(client).resume();
    await once(stream, 'end');
    stream.end();
    await once(stream, 'close');
  });
});

describe('createWebSocketStream destroy', () => {
  test('terminates the WebSocket and emits close after it', async (t) => {
    const { client, server, stream } = await streamPair(t);
    const closed = once(server, 'close');
    const log = logEvents(stream, ['end', 'close', 'error']);
    client.on('close', (code) => log.push(`websocket closed ${code}`));
    stream.destroy();
    await once(stream, 'close');
    assert.deepEqual(log, ['websocket closed 1006', 'close']);
    assert.equal((await closed)[0], 1006);
  });

  test('with an error emits that error, then close', async (t) => {
    const { stream } = await streamPair(t);
    const failure = new Error('enough');
    const seen = failureOf(stream);
    stream.destroy(failure);
    const { error, order } = await seen;
    assert.equal(error, failure);
    assert.deepEqual(order, ['error', 'close']);
  });

  test('while connecting gives the error of the aborted handshake', async (t) => {
    const wss = await openServer(t);
    const stream = createWebSocketStream(startClient(t, urlOf(wss)));
    const seen = failureOf(stream);
    stream.destroy();
    const { error, order } = await seen;
    assert.equal(error.message, 'WebSocket was closed before the connection was established');
    assert.deepEqual(order, ['error', 'close']);
  });

  test('of a WebSocket that is closed already still emits close', async (t) => {
    const { client, stream } = await streamPair(t);
    client.terminate();
    await once(client, 'close');
    assert.ok(!stream.destroyed);
    stream.destroy();
    await once(stream, 'close');
  });

  test('leaves messages that come afterwards unread', async (t) => {
    const { server, stream } = await streamPair(t);
    stream.on('data', () => assert.fail('destroyed'));
    const closed = once(stream, 'close');
    server.send('late');
    stream.destroy();
    await closed;
  });
});

describe('createWebSocketStream errors', () => {
  test('of the connection attempt are emitted, then close', async (t) => {
    const unused = net.createServer().listen(0, '127.0.0.1');
    await once(unused, 'listening');
    const url = urlOf(unused);
    await new Promise((resolve) => unused.close(resolve));
    const stream = createWebSocketStream(startClient(t, url));
    const { error, order } = await failureOf(stream);
    assert.equal(error.code, 'ECONNREFUSED');
    assert.deepEqual(order, ['error', 'close']);
    assert.ok(stream.destroyed);
  });

  test('of a connection attempt also fail what was written and the end', async (t) => {
    const { url } = await serveRaw(t, { headers: { 'Sec-WebSocket-Accept': 'wrong' } });
    const stream = createWebSocketStream(startClient(t, url));
    stream.end('waiting');
    const { error } = await failureOf(stream);
    assert.equal(error.message, 'Invalid Sec-WebSocket-Accept header');
  });

  test('of the protocol are emitted, and the peer still gets a close frame', async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    const peer = await connectRaw(t, wss);
    const [server] = await connected;
    const seen = failureOf(createWebSocketStream(server));
    peer.socket.write(frames.text(Buffer.from([0xff]), { mask: true }));
    const frame = await peer.frames.next();
    assert.equal(frame.opcode, frames.OPCODE.CLOSE);
    assert.deepEqual(frame.payload, frames.closePayload(1007));
    peer.socket.end();
    const { error, order } = await seen;
    assert.equal(error.code, 'WS_ERR_INVALID_UTF8');
    assert.deepEqual(order, ['error', 'close']);
  });

  test('of the protocol let a close frame out that has to wait for its turn', async () => {
    const ws = new WebSocket(null, undefined, {});
    const wire = new CapturedWire({ held: true });
    ws.setSocket(wire, Buffer.alloc(0), {});
    const stream = createWebSocketStream(ws);
    const failed = once(ws, 'error');
    const seen = failureOf(stream);
    ws.send('first');
    wire.push(frames.frame({ opcode: 3, mask: true }));
    await failed;
    wire.release();
    assert.deepEqual((await wire.receive(2))[1].raw, frames.close(1002));
    wire.push(null);
    assert.equal((await seen).error.code, 'WS_ERR_INVALID_OPCODE');
  });

  test('are uncaught exceptions when nobody listens for them', async (t) => {
    const { code, stderr } = await runInChild(t, (WebSocketInChild) => {
      const ws = new WebSocketInChild('ws://127.0.0.1', {
        finishRequest: (request) => request.destroy(new Error('unheard'))
      });
      WebSocketInChild.createWebSocketStream(ws);
    });
    assert.equal(code, 1);
    assert.match(stderr, /Error: unheard/);
  });

  /** A stream that was ended gets two messages in one chunk; when the peer has closed, the server is told to. */
  function endedStream(WebSocketInChild) {
    const { COMPRESSED, LISTENS, SYNCHRONOUS } = process.env;
    const perMessageDeflate = COMPRESSED === 'yes' && { threshold: 0 };
    const allowSynchronousEvents = SYNCHRONOUS === 'yes';
    const log = [];
    process.on('uncaughtException', ({ code }) => log.push(code));
    const server = require('node:http').createServer();
    const wss = new WebSocketInChild.WebSocketServer({
      server,
      perMessageDeflate,
      allowSynchronousEvents
    });
    wss.on('connection', (ws) => {
      ws.on('message', (data) => log.push(String(data)));
      ws.on('close', () => log.push('closed'));
      const stream = WebSocketInChild.createWebSocketStream(ws);
      if (LISTENS === 'yes') stream.on('error', ({ code }) => log.push(`heard ${code}`));
      stream.on('close', () => log.push('stream closed'));
      stream.resume();
      stream.push(null);
      process.on('exit', () => console.log([...log, ws.readyState, wss.clients.size].join()));
    });
    server.listen(0, '127.0.0.1', () => {
      const url = `ws://127.0.0.1:${server.address().port}`;
      const client = new WebSocketInChild(url, { perMessageDeflate });
      client.on('open', () => {
        client._socket.cork();
        for (const text of ['first', 'second']) client.send(text);
        client._socket.uncork();
      });
      client.on('close', () => {
        wss.close(() => log.push('server closed'));
        server.close();
      });
    });
  }

  for (const [COMPRESSED, SYNCHRONOUS] of [
    ['no', 'yes'],
    ['no', 'no'],
    ['yes', 'yes']
  ]) {
    test(`of a message after the end, unheard, keep the WebSocket from closing, and its server; compressed: ${COMPRESSED}, synchronous: ${SYNCHRONOUS}`, async (t) => {
      const { stdout, stderr } = await runInChild(t, endedStream, {
        env: { COMPRESSED, SYNCHRONOUS }
      });
      assert.equal(stdout, 'first,ERR_STREAM_PUSH_AFTER_EOF,2,1\n', stderr);
    });
  }

  for (const SYNCHRONOUS of ['yes', 'no']) {
    test(`of a message after the end, heard, do not; synchronous: ${SYNCHRONOUS}`, async (t) => {
      const { stdout, stderr } = await runInChild(t, endedStream, {
        env: { SYNCHRONOUS, LISTENS: 'yes' }
      });
      const [before, error, ...after] = stdout.trim().split(',');
      assert.deepEqual([before, error], ['first', 'heard ERR_STREAM_PUSH_AFTER_EOF'], stderr);
      // The peer may be told first.
      assert.deepEqual(after.sort(), [
        '0',
        '3',
        'closed',
        'second',
        'server closed',
        'stream closed'
      ]);
    });
  }
});
