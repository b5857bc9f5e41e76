'use strict';

/** What a connection tells when its end comes while something else is under way. */

const assert = require('node:assert');
const { once } = require('node:events');
const { Readable, getDefaultHighWaterMark } = require('node:stream');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { byThread } = require('./support/internals.js');
const { closeOf, openPair, openServer, turn } = require('./support/pair.js');
const { OPCODE, frame, maskedFrame } = require('./support/frames.js');
const { connectRaw, serveRaw } = require('./support/raw-peer.js');

/** Whether a stream that is destroyed can still be resumed, as up to Node 25: then what it had is gone. */
const heedsWhenDestroyed = new Readable({ read() {} }).destroy().pause().isPaused();

/** Gives an I/O thread, which tells nobody how far it is, the time to read what has been sent. */
const letThreadRead = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);

describe('the end of a connection whose messages come each in a turn of its own', () => {
  const options = { allowSynchronousEvents: false };

  it('is noticed while messages wait', async (t) => {
    const { client, server } = await openPair(t, { client: options });
    const states = [];
    client.on('message', () => states.push(client.readyState));
    for (const text of ['a', 'b', 'c']) server.send(text);
    server.terminate();
    const [code] = await closeOf(client);

    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(states, [WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSING]);
  });

  it('is noticed long before the last of many', async (t) => {
    const wss = await openServer(t, options);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const states = [];
    server.once('message', letThreadRead);
    server.on('message', () => states.push(server.readyState));
    peer.socket.end(
      Buffer.concat(Array.from({ length: 300 }, () => maskedFrame({ payload: 'a' })))
    );
    await closeOf(server);

    assert.strictEqual(states.length, 300);
    assert.strictEqual(states[0], WebSocket.OPEN);
    assert.strictEqual(states[299], WebSocket.CLOSING);
  });

  it('takes none of them away, be they ever so many', async (t) => {
    const wss = await openServer(t, options);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const sent = Array.from({ length: 300 }, (_, i) => String(i).padStart((i * 7) % 200, '.'));
    const seen = [];
    server.on('message', (data) => seen.push(String(data)));
    peer.socket.end(Buffer.concat(sent.map((payload) => maskedFrame({ payload }))));
    await closeOf(server);

    assert.deepStrictEqual(seen, sent);
  });

  it('takes none of them away either when a listener destroys the socket', async (t) => {
    const wss = await openServer(t, options);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const sent = Array.from({ length: 300 }, (_, i) => String(i).padStart((i * 7) % 200, '.'));
    const seen = [];
    server.on('message', (data) => {
      if (seen.push(String(data)) === 5) server.terminate();
    });
    peer.socket.write(Buffer.concat(sent.map((payload) => maskedFrame({ payload }))));
    await closeOf(server);

    assert.deepStrictEqual(seen, sent);
  });

  it('delivers all that has come with the handshake', async (t) => {
    // More than Node reads at once, so it reads again right away.
    const payloads = ['first', 'second', 'x'.repeat(70_000)];
    const follow = Buffer.concat(payloads.map((payload) => frame({ payload })));
    const { url } = await serveRaw(t, { follow });
    const client = new WebSocket(url, options);
    const seen = [];
    client.on('message', (data) => {
      if (seen.push(String(data)) === 1) client.terminate();
    });
    client.on('error', () => {});
    await closeOf(client);

    assert.deepStrictEqual(seen, payloads);
  });
});

describe('a connection that a listener terminates', () => {
  it('delivers nothing of what is read behind the chunk at hand', async (t) => {
    const wss = await openServer(t);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const frames = [
      { payload: 'b' },
      { payload: 'c' },
      { payload: 'd', fin: false },
      { payload: 'e'.repeat(70_000), opcode: OPCODE.CONTINUATION }
    ];
    const seen = [];
    server.on('message', (data) => {
      if (seen.push(data.length) > 1) {
        server.terminate();
        return;
      }
      peer.socket.write(Buffer.concat(frames.map(maskedFrame)));
      letThreadRead();
    });
    peer.socket.write(maskedFrame({ payload: 'a' }));
    await closeOf(server);

    assert.deepStrictEqual(seen, [1, 1, 1]);
  });
});

describe('a connection that is terminated while a large message is on its way', () => {
  /** How long the messages are that a server delivers that terminates at the pong. */
  async function lengthsOf(t, frames) {
    const wss = await openServer(t, { allowSynchronousEvents: false });
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const lengths = [];
    server.on('pong', () => server.terminate());
    server.on('message', (data) => lengths.push(data.length));
    peer.socket.write(Buffer.concat(frames.map(maskedFrame)));
    letThreadRead();
    await closeOf(server);
    return lengths;
  }

  const pong = { opcode: OPCODE.PONG };
  const large = { payload: Buffer.alloc(70_000, 'large') };

  it('delivers it, for it was read ahead', async (t) => {
    assert.deepStrictEqual(await lengthsOf(t, [pong, { payload: 'small' }, large]), [5, 70_000]);
  });

  it('does not when the receiver has nothing else to do until the socket closes', async (t) => {
    const expected = heedsWhenDestroyed ? [] : [70_000];
    assert.deepStrictEqual(await lengthsOf(t, [pong, large]), expected);
  });
});

describe('a paused connection', () => {
  /** Pauses a client, to which the server then sends a close frame that it can have read. */
  async function pauseBeforeClose(t) {
    const { client, server } = await openPair(t);
    client.pause();
    server.close(1000, 'read ahead');
    await new Promise((resolve) => server._socket.write('', resolve));
    for (let i = 0; i < 5; i++) await turn();
    return client;
  }

  it('has read what came before it is terminated', async (t) => {
    const client = await pauseBeforeClose(t);
    client.terminate();
    const [code, reason] = await closeOf(client);

    assert.deepStrictEqual([code, String(reason)], [1000, 'read ahead']);
  });

  it('has read it also when it is resumed and terminated in one turn', async (t) => {
    const client = await pauseBeforeClose(t);
    client.resume();
    client.terminate();
    const [code, reason] = await closeOf(client);

    assert.deepStrictEqual([code, String(reason)], [1000, 'read ahead']);
  });

  it('loses it when it is resumed after that', async (t) => {
    const client = await pauseBeforeClose(t);
    client.terminate();
    client.resume();
    const [code] = await closeOf(client);

    assert.strictEqual(code, heedsWhenDestroyed ? 1006 : 1000);
  });

  it('notices the end of its peer, if nothing came before that', async (t) => {
    const { client, server } = await openPair(t);
    client.pause();
    server.terminate();
    const [code] = await closeOf(client);

    assert.strictEqual(code, 1006);
  });

  it('has not read what comes in the turn it is terminated in', async (t) => {
    const { client, server } = await openPair(t);
    client.pause();
    server.close(1000, 'too late');
    client.terminate();
    const [code] = await closeOf(client);

    assert.strictEqual(code, 1006);
  });
});

describe('a connection that was reset', () => {
  const skip = process.platform !== 'linux' && 'resets travel differently';

  /** What a client tells whose server leaves when `meanwhile` was done. */
  async function logOf(t, options, meanwhile) {
    const { client, server } = await openPair(t, { client: options });
    const log = [];
    client._socket.on('error', (error) => log.push(error.code));
    client._socket.on('end', () => log.push('end'));
    client.on('message', (data) => log.push(String(data)));
    const closed = closeOf(client);
    // Unread bytes make the server's end a reset.
    client.send('unread');
    server.send('last');
    await meanwhile?.(client, server);
    server.terminate();
    for (let i = 0; i < 5; i++) await turn();
    client.resume();
    await closed;
    return log;
  }

  // Node takes a reset for an end if something was read before; with libuv 1.52 it no longer does.
  const isEnd = Number(process.versions.uv.split('.')[1]) < 52;

  it('delivers what the peer sent before', { skip }, async (t) => {
    assert.deepStrictEqual(await logOf(t), ['last', isEnd ? 'end' : 'ECONNRESET']);
  });

  it('does so too if it was paused meanwhile', { skip: skip || byThread }, async (t) => {
    const log = await logOf(t, {}, (client) => client.pause());
    assert.deepStrictEqual(log, isEnd ? ['last', 'end'] : ['ECONNRESET', 'last']);
  });

  it('is told so when it is resumed, if it had stopped reading before', { skip }, async (t) => {
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const log = [];
    server._socket.on('error', (error) => log.push(error.code));
    server._socket.on('end', () => log.push('end'));
    server.on('message', ({ length }) => log.push(length));
    const closed = closeOf(server);
    server.pause();
    // Together they are what a stream reads ahead, and more.
    const lengths = [getDefaultHighWaterMark(false) - 10_000, 20_000];
    const [first, last] = lengths.map((size) => maskedFrame({ payload: 'a'.repeat(size) }));
    const wanted = server._socket.bytesRead + first.length;
    socket.write(first);
    while (server._socket.bytesRead < wanted) await turn();
    socket.write(last);
    socket.resetAndDestroy();
    for (let i = 0; i < 5; i++) await turn();
    server.resume();
    await closed;

    assert.deepStrictEqual(log, [...lengths, 'ECONNRESET']);
  });
});

describe('a peer that ends its half of the connection', () => {
  it('is noticed by a WebSocket that is paused, if nothing is left to be read', async (t) => {
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    server.pause();
    socket.end();
    const [code] = await closeOf(server);

    assert.strictEqual(code, 1006);
  });

  it('still gets what was sent before, be it ever so slow', async (t) => {
    const wss = await openServer(t);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const { socket } = peer;
    let received = 0;
    socket.on('data', (chunk) => {
      received += chunk.length;
    });
    socket.pause();
    const results = [];
    for (let i = 0; i < 64; i++) server.send(Buffer.alloc(200_000), (error) => results.push(error));
    const ended = once(server._socket, 'end');
    socket.end();
    await ended;
    assert.strictEqual(server.readyState, WebSocket.CLOSING);
    assert.ok(server.bufferedAmount > 0);
    const closed = closeOf(server);
    socket.resume();
    await once(socket, 'end');
    const [code] = await closed;

    assert.strictEqual(code, 1006);
    assert.strictEqual(received, 64 * 200_010);
    assert.deepStrictEqual(results, Array(64).fill(null));
  });
});

describe('what follows a close frame', () => {
  it('is thrown away, and counts as read', async (t) => {
    const wss = await openServer(t);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const socket = server._socket;
    const before = socket.bytesRead;
    const message = maskedFrame({ payload: 'too late' });
    const close = maskedFrame({ opcode: OPCODE.CLOSE, payload: Buffer.from([0x03, 0xe8]) });
    server.on('message', () => assert.fail('nothing may follow a close frame'));
    const concluded = once(server._receiver, 'conclude');
    peer.socket.write(Buffer.concat([close, message]));
    await concluded;
    for (let i = 0; i < 50; i++) peer.socket.write(Buffer.concat(Array(1000).fill(message)));
    peer.socket.end();
    const [code] = await closeOf(server);

    assert.strictEqual(code, 1000);
    assert.strictEqual(socket.bytesRead - before, close.length + 50_001 * message.length);
  });
});

describe('a peer that answers a close frame and ends at once', () => {
  // Up to 1.51 libuv tells of the end together with what came before it, when its own side has ended.
  const [major, minor] = process.versions.uv.split('.').map(Number);
  const tellsAtOnce = major === 1 && minor < 52 && process.platform === 'linux';

  it('is noticed when Node notices it', { skip: byThread }, async (t) => {
    const { client, server } = await openPair(t, { server: { maxPayload: 10 } });
    const order = [];
    client.on('close', (code) => order.push(`client ${code}`));
    server.on('close', (code) => order.push(`server ${code}`));
    server.on('error', () => undefined);
    client.send('more than ten bytes');
    await Promise.all([closeOf(client), closeOf(server)]);

    const expected = ['server 1006', 'client 1009'];
    assert.deepStrictEqual(order, tellsAtOnce ? expected : expected.reverse());
  });
});
