'use strict';

/**
 * What socket.io's adapter and other broadcasters rely on: a message is framed once with
 * `Sender.frame` and the same list is given to `sendFrame` of many connections.
 */

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const {
  closeOf,
  collect,
  openPair,
  openServer,
  startClient,
  turn,
  urlOf
} = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');

/** The options with which socket.io frames a packet. */
const forAll = { readOnly: false, mask: false, rsv1: false, opcode: 1, fin: true };

/** Several clients of one server, and the server's ends. */
async function openMany(t, count) {
  const wss = await openServer(t);
  const clients = [];
  for (let i = 0; i < count; i++) {
    const client = startClient(t, urlOf(wss));
    await Promise.all([once(client, 'open'), once(wss, 'connection')]);
    clients.push(client);
  }
  return { clients, servers: [...wss.clients] };
}

describe('a list of Sender.frame', () => {
  it('can be sent to many connections, and is not changed by that', async (t) => {
    const { clients, servers } = await openMany(t, 4);

    for (const [data, opcode] of [
      [Buffer.from('a text'), 1],
      [Buffer.alloc(200, 'x'), 1],
      [Buffer.alloc(100_000, 'y'), 2]
    ]) {
      const list = WebSocket.Sender.frame(data, { ...forAll, opcode });
      const before = Buffer.concat(list);
      const received = Promise.all(clients.map((client) => once(client, 'message')));
      for (const server of servers) server._sender.sendFrame(list);

      for (const [message, isBinary] of await received) {
        assert.ok(message.equals(data));
        assert.strictEqual(isBinary, opcode === 2);
      }
      assert.ok(Buffer.concat(list).equals(before));
    }
  });

  it('can be sent again later', async (t) => {
    const { clients, servers } = await openMany(t, 1);
    const list = WebSocket.Sender.frame(Buffer.from('again'), forAll);
    const received = collect(clients[0], 'message', 3);
    for (let i = 0; i < 3; i++) servers[0]._sender.sendFrame(list);

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['again', 'again', 'again']
    );
  });

  it('keeps its place among what send() sends', async (t) => {
    const { client, server } = await openPair(t);
    const list = WebSocket.Sender.frame(Buffer.from('framed'), forAll);
    const received = collect(client, 'message', 6);
    server.send('one');
    server._sender.sendFrame(list);
    server.send(Buffer.alloc(100_000));
    server._sender.sendFrame(list);
    server.send('two');
    server._sender.sendFrame(list);

    assert.deepStrictEqual(
      (await received).map(([data]) => data.length),
      [3, 6, 100_000, 6, 3, 6]
    );
  });

  it('keeps that place also when the peer does not keep up', async (t) => {
    const wss = await openServer(t);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    peer.socket.pause();
    const big = WebSocket.Sender.frame(Buffer.alloc(256 * 1024), { ...forAll, opcode: 2 });
    let count = 0;
    while (server.bufferedAmount < 1024 * 1024) {
      server._sender.sendFrame(big);
      server.send(String(count++));
    }
    peer.socket.resume();
    const frames = await peer.frames.take(2 * count);

    for (let i = 0; i < count; i++) {
      assert.strictEqual(frames[2 * i].payload.length, 256 * 1024);
      assert.strictEqual(String(frames[2 * i + 1].payload), String(i));
    }
  });

  it('may stand for an empty message or a control frame', async (t) => {
    const { client, server } = await openPair(t);
    const received = once(client, 'message');
    server._sender.sendFrame(WebSocket.Sender.frame(Buffer.alloc(0), forAll));
    assert.deepStrictEqual(await received, [Buffer.alloc(0), false]);

    const pinged = once(client, 'ping');
    server._sender.sendFrame(WebSocket.Sender.frame(Buffer.from('ping'), { ...forAll, opcode: 9 }));
    assert.deepStrictEqual(await pinged, [Buffer.from('ping')]);
  });

  it('may be written to the socket piece by piece', async (t) => {
    const { clients, servers } = await openMany(t, 2);
    const list = WebSocket.Sender.frame(Buffer.from('by hand'), forAll);
    const received = Promise.all(clients.map((client) => once(client, 'message')));
    for (const server of servers) for (const piece of list) server._socket.write(piece);

    for (const [data] of await received) assert.strictEqual(String(data), 'by hand');
  });
});

describe('sendFrame()', () => {
  it('is a function to test for', async (t) => {
    const { server } = await openPair(t);
    assert.strictEqual(typeof server?._sender?.sendFrame, 'function');
  });

  it('calls back without an error, later and in order with the callbacks of send()', async (t) => {
    const { server } = await openPair(t);
    const list = WebSocket.Sender.frame(Buffer.from('framed'), forAll);
    const order = [];
    await new Promise((resolve) => {
      server.send('one', () => order.push('one'));
      server._sender.sendFrame(list, (error) => order.push(error ?? 'framed'));
      server.send('two', () => resolve(order.push('two')));
      order.push('returned');
    });

    assert.deepStrictEqual(order, ['returned', 'one', 'framed', 'two']);
  });

  it('may be wrapped, to see every frame', async (t) => {
    const { client, server } = await openPair(t);
    const { _sender: sender } = server;
    const { sendFrame } = sender;
    const opcodes = [];
    sender.sendFrame = (list, callback) => {
      opcodes.push(list[0][0] & 0x0f);
      sendFrame.call(sender, list, callback);
    };
    client.ping();
    await once(client, 'pong');
    server.send('text');
    server.send(Buffer.from('binary'));
    server.close();
    await closeOf(client);

    assert.deepStrictEqual(opcodes, [10, 1, 2, 8]);
  });

  it('may be wrapped to send compressed frames later, or while one is being compressed', async (t) => {
    const options = { perMessageDeflate: { threshold: 0 } };
    const { client, server } = await openPair(t, { server: options, client: options });
    const { _sender: sender } = server;
    const { sendFrame } = sender;
    const texts = ['first', 'second', 'third', 'fourth'].map((name) => `${name} message`);
    const received = collect(client, 'message', texts.length);
    const kept = [];
    server.send(texts[0]);
    sender.sendFrame = (...args) => kept.push(args);
    for (const text of texts.slice(1)) server.send(text);
    while (kept.length < texts.length) await turn();
    for (const args of kept) sendFrame.apply(sender, args);

    const got = (await received).map(([data]) => String(data));
    assert.deepStrictEqual(got, texts);
  });

  it('needs no callback', async (t) => {
    const { client, server } = await openPair(t);
    const received = once(client, 'message');
    server._sender.sendFrame([Buffer.from([0x81, 0x02]), Buffer.from('hi')]);
    assert.strictEqual(String((await received)[0]), 'hi');
  });

  it('counts in bufferedAmount while the peer does not read', async (t) => {
    const wss = await openServer(t);
    const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    peer.socket.pause();
    while (server.bufferedAmount < 1024 * 1024) server.send(Buffer.alloc(256 * 1024));
    const before = server.bufferedAmount;
    server._sender.sendFrame(WebSocket.Sender.frame(Buffer.alloc(1000), forAll));

    assert.strictEqual(server.bufferedAmount - before, 1004);
  });

  it('reports an error to its callback when the connection is gone', async (t) => {
    const { server } = await openPair(t);
    server.terminate();
    await closeOf(server);
    const list = WebSocket.Sender.frame(Buffer.from('too late'), forAll);
    const error = await new Promise((resolve) => server._sender.sendFrame(list, resolve));

    assert.ok(error instanceof Error);
  });
});

describe('the fields of a sender', () => {
  it('tell that nothing waits in it', async (t) => {
    const { client } = await openPair(t);
    assert.strictEqual(client._sender._bufferedBytes, 0);
    assert.strictEqual(client._sender._state, 0);
    await new Promise((resolve) => client.send('text', resolve));
    assert.strictEqual(client._sender._bufferedBytes, 0);
    assert.strictEqual(client._sender._state, 0);
  });

  it('tell how much waits in it', async (t) => {
    const { client } = await openPair(t);
    const sent = new Promise((resolve) => client.send(new Blob(['12345']), resolve));
    assert.strictEqual(client._sender._bufferedBytes, 5);
    assert.notStrictEqual(client._sender._state, 0);
    await sent;

    assert.strictEqual(client._sender._bufferedBytes, 0);
  });
});
