'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { maskedFrame } = require('./support/frames.js');
const {
  closeOf,
  collect,
  logEvents,
  openPair,
  openServer,
  startClient,
  turn,
  urlOf
} = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');

/** What the getters say. */
const look = (ws) => ({
  binaryType: ws.binaryType,
  bufferedAmount: ws.bufferedAmount,
  extensions: ws.extensions,
  isPaused: ws.isPaused,
  protocol: ws.protocol,
  readyState: ws.readyState,
  url: ws.url
});

describe('the getters', () => {
  it('of a client tell its address and what was negotiated, in every state', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    const client = startClient(t, urlOf(wss, '/chat'), 'v1');
    const states = [];
    const note = () => states.push(look(client));

    note();
    client.on('upgrade', note);
    await once(client, 'open');
    note();
    client.close();
    note();
    client.on('close', note);
    await once(client, 'close');

    const before = {
      binaryType: 'nodebuffer',
      bufferedAmount: 0,
      extensions: '',
      isPaused: false,
      protocol: '',
      readyState: WebSocket.CONNECTING,
      url: urlOf(wss, '/chat')
    };
    const after = { ...before, extensions: 'permessage-deflate', protocol: 'v1' };
    assert.deepStrictEqual(states, [
      before,
      before,
      { ...after, readyState: WebSocket.OPEN },
      { ...after, readyState: WebSocket.CLOSING },
      { ...after, readyState: WebSocket.CLOSED }
    ]);
  });

  it('of a server tell the same, but it has no address, in every state', async (t) => {
    const { client, server } = await openPair(t, {
      server: { perMessageDeflate: true },
      protocols: 'v1'
    });
    const states = [look(server)];
    server.binaryType = 'arraybuffer';
    server.on('close', () => states.push(look(server)));
    client.close();
    await once(server._socket, 'end');
    states.push(look(server));
    await closeOf(server);

    const before = {
      binaryType: 'nodebuffer',
      bufferedAmount: 0,
      extensions: 'permessage-deflate',
      isPaused: false,
      protocol: 'v1',
      readyState: WebSocket.OPEN,
      url: undefined
    };
    const after = { ...before, binaryType: 'arraybuffer' };
    assert.deepStrictEqual(states, [
      before,
      { ...after, readyState: WebSocket.CLOSING },
      { ...after, readyState: WebSocket.CLOSED }
    ]);
  });

  it('of a paused connection say so to the end, and count what is sent when it is too late', async (t) => {
    const { server } = await openPair(t);
    const states = [];
    server.binaryType = 'fragments';
    server.pause();
    states.push(look(server));
    server.close();
    server.send('eleven more');
    states.push(look(server));
    server.terminate();
    states.push(look(server));
    await closeOf(server);
    states.push(look(server));

    const open = {
      binaryType: 'fragments',
      bufferedAmount: 0,
      extensions: '',
      isPaused: true,
      protocol: '',
      readyState: WebSocket.OPEN,
      url: undefined
    };
    const closing = { ...open, readyState: WebSocket.CLOSING, bufferedAmount: 11 };
    assert.deepStrictEqual(states, [
      open,
      closing,
      closing,
      { ...closing, readyState: WebSocket.CLOSED }
    ]);
  });

  it('say OPEN to the listeners of connection and open', async (t) => {
    const wss = await openServer(t);
    const states = [];
    wss.on('connection', (ws) => states.push(ws.readyState));
    const client = startClient(t, urlOf(wss));
    client.on('open', () => states.push(client.readyState));
    await Promise.all([once(client, 'open'), once(wss, 'connection')]);

    assert.deepStrictEqual(states, [WebSocket.OPEN, WebSocket.OPEN]);
  });

  it('cannot be assigned', async (t) => {
    const { client } = await openPair(t);
    for (const name of [
      'bufferedAmount',
      'extensions',
      'isPaused',
      'protocol',
      'readyState',
      'url'
    ]) {
      assert.throws(() => {
        client[name] = 'something';
      }, TypeError);
    }
  });

  it('say CLOSING when the peer has ended its side without a close frame', async (t) => {
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const states = [];
    server._socket.on('end', () => states.push(server.readyState));
    server.on('close', () => states.push(server.readyState));
    socket.end();
    await once(server, 'close');

    assert.deepStrictEqual(states, [WebSocket.CLOSING, WebSocket.CLOSED]);
  });
});

describe('pause() and resume()', () => {
  it('do nothing while the connection is being made or is closed', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, urlOf(wss));

    client.pause();
    assert.strictEqual(client.isPaused, false);
    client.resume();
    await once(client, 'open');
    client.terminate();
    await once(client, 'close');
    client.pause();
    client.resume();
    assert.strictEqual(client.isPaused, false);
  });

  it('hold messages back and let them through again, in order', async (t) => {
    const { client, server } = await openPair(t);
    const log = logEvents(client, ['message'], (event, data) => String(data));

    client.pause();
    assert.strictEqual(client.isPaused, true);
    for (const text of ['a', 'b', 'c']) {
      await new Promise((resolve) => server.send(text, resolve));
    }
    for (let i = 0; i < 20; i++) await turn();
    assert.deepStrictEqual(log, []);

    const received = collect(client, 'message', 3);
    client.resume();
    assert.strictEqual(client.isPaused, false);
    await received;
    assert.deepStrictEqual(log, ['a', 'b', 'c']);
  });

  it('may be called at once', async (t) => {
    const { client, server } = await openPair(t);
    client.pause();
    client.resume();
    client.pause();
    client.pause();
    client.resume();
    server.send('through');

    assert.strictEqual(String((await once(client, 'message'))[0]), 'through');
  });

  it('work from a listener of message', async (t) => {
    const { client, server } = await openPair(t);
    const received = [];
    const done = new Promise((resolve) => {
      client.on('message', (data) => {
        received.push(String(data));
        if (received.length === 5) return resolve();
        client.pause();
        setImmediate(() => client.resume());
      });
    });
    for (const text of ['1', '2', '3', '4', '5']) {
      server.send(text);
      await turn();
    }
    await done;

    assert.deepStrictEqual(received, ['1', '2', '3', '4', '5']);
  });

  it('do not hold back what was read with the message whose listener pauses', async (t) => {
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const received = collect(server, 'message', 2);
    server.once('message', () => server.pause());
    socket.write(Buffer.concat(['1', '2'].map((payload) => maskedFrame({ payload }))));

    assert.strictEqual((await received).length, 2);
    assert.strictEqual(server.isPaused, true);
  });

  it('make the sender wait, so that memory stays bounded', async (t) => {
    const { client, server } = await openPair(t);
    const payload = Buffer.alloc(256 * 1024);
    const total = 64;
    client.pause();

    for (let i = 0; i < total; i++) server.send(payload);
    for (let i = 0; i < 20; i++) await turn();
    assert.ok(server.bufferedAmount > 0);

    const received = collect(client, 'message', total);
    client.resume();
    assert.ok((await received).every(([data]) => data.length === payload.length));
  });

  it('let a paused connection send', async (t) => {
    const { client, server } = await openPair(t);
    client.pause();
    client.send('from a paused one');

    assert.strictEqual(String((await once(server, 'message'))[0]), 'from a paused one');
  });

  it('let a paused connection be terminated', async (t) => {
    const { client } = await openPair(t);
    client.pause();
    client.terminate();

    assert.strictEqual((await once(client, 'close'))[0], 1006);
  });

  it('still deliver what the kernel holds when the connection is resumed while closing', async (t) => {
    const { client, server } = await openPair(t);
    const log = logEvents(client, ['message', 'close'], (event) => event);
    client.pause();
    server.send('last words');
    server.close(1000);
    client.close(1000);
    assert.strictEqual(client.readyState, WebSocket.CLOSING);
    client.resume();
    const [code] = await once(client, 'close');

    assert.strictEqual(code, 1000);
    assert.deepStrictEqual(log, ['message', 'close']);
  });

  it('keep a paused connection paused when it catches up with what it has read', async (t) => {
    const { client, server } = await openPair(t, { client: { allowSynchronousEvents: false } });
    const size = 1024 * 1024;
    const received = collect(client, 'message', 3);
    const log = logEvents(client, ['message'], (event, data) => data.length);
    client.once('message', () => client.pause());
    for (let i = 0; i < 3; i++) server.send(Buffer.alloc(size));
    await once(client, 'message');
    for (let i = 0; i < 20; i++) await turn();
    assert.deepStrictEqual(log, [size]);

    client.resume();
    await received;
    assert.deepStrictEqual(log, [size, size, size]);
  });
});

describe('a connection that failed to open', () => {
  it('ends up CLOSED with the values it began with', async (t) => {
    const wss = await openServer(t, { path: '/elsewhere' });
    const client = startClient(t, urlOf(wss), 'v1');
    client.on('error', () => {});
    await closeOf(client);

    assert.deepStrictEqual(look(client), {
      binaryType: 'nodebuffer',
      bufferedAmount: 0,
      extensions: '',
      isPaused: false,
      protocol: '',
      readyState: WebSocket.CLOSED,
      url: urlOf(wss, '/')
    });
  });
});
