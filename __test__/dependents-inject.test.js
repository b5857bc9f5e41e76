'use strict';

/**
 * What @fastify/websocket's injectWS and servers like it rely on: connections over streams that are
 * no sockets, upgraded from requests that are plain objects, and a WebSocket made around a stream.
 */

const assert = require('node:assert');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { Duplex, PassThrough } = require('node:stream');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { duplexPair } = require('./support/duplex-pair.js');
const { closeOf, collect } = require('./support/pair.js');
const { maskedFrame } = require('./support/frames.js');

/** Two streams made of two pipes. */
function pipedPair() {
  const [there, back] = [new PassThrough(), new PassThrough()];
  return [
    Duplex.from({ readable: there, writable: back }),
    Duplex.from({ readable: back, writable: there })
  ];
}

/** A request that no http.Server made. */
const plainRequest = () => ({
  method: 'GET',
  url: '/',
  httpVersion: '1.1',
  headers: {
    connection: 'upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': 13,
    'sec-websocket-key': randomBytes(16).toString('base64')
  }
});

/**
 * Connects a WebSocket to a server in memory.
 *
 * @param {[Duplex, Duplex]} streams
 * @param {object} [options] of the server
 */
async function inject([near, far], options) {
  const wss = new WebSocket.Server({ noServer: true, ...options });
  const client = new WebSocket(null, undefined, { isServer: false });
  const opened = new Promise((resolve) => {
    far.on('data', function onData(chunk) {
      assert.match(String(chunk), /^HTTP\/1\.1 101 Switching Protocols\r\n/);
      far.removeListener('data', onData);
      client._isServer = false;
      client.on('open', resolve);
      client.setSocket(far, Buffer.alloc(0), { maxPayload: 0 });
    });
  });
  const server = await new Promise((resolve) => {
    wss.handleUpgrade(plainRequest(), near, Buffer.alloc(0), resolve);
  });
  await opened;

  return { wss, client, server };
}

describe('new WebSocket(null, undefined, {})', () => {
  it('makes the end of a connection that has no socket yet', () => {
    const ws = new WebSocket(null, undefined, {});

    assert.strictEqual(ws.readyState, WebSocket.CONNECTING);
    assert.strictEqual(ws._isServer, true);
    assert.strictEqual(ws._socket, null);
    assert.strictEqual(ws._receiver, null);
    assert.strictEqual(ws._sender, null);
    assert.strictEqual(ws.url, undefined);
    assert.throws(() => ws.send('x'), /readyState 0 \(CONNECTING\)/);
  });

  it('needs its options', () => {
    assert.throws(() => new WebSocket(null), TypeError);
  });
});

for (const [name, pair] of [
  ['a Duplex of its own', duplexPair],
  ['two pipes', pipedPair]
]) {
  describe(`a connection over ${name}`, () => {
    it('carries text, binary, fragments and pings both ways', async () => {
      const { client, server } = await inject(pair());

      for (const [from, to] of [
        [client, server],
        [server, client]
      ]) {
        const received = collect(to, 'message', 4);
        const pinged = once(to, 'ping');
        from.send('text');
        from.send(Buffer.alloc(200_000, 'x'));
        from.send('in two ', { fin: false });
        from.send('fragments');
        from.ping('ping');
        from.send('');
        const messages = await received;

        assert.deepStrictEqual(
          messages.map(([data, isBinary]) => [data.length, isBinary]),
          [
            [4, false],
            [200_000, true],
            [16, false],
            [0, false]
          ]
        );
        assert.deepStrictEqual(await pinged, [Buffer.from('ping')]);
      }
      client.terminate();
      server.terminate();
    });

    it('answers pings at an end whose options say so, which are those of the server', async () => {
      const { client, server } = await inject(pair());
      const ponged = once(client, 'pong');
      client.ping('to the server');
      assert.deepStrictEqual(await ponged, [Buffer.from('to the server')]);

      const pinged = once(client, 'ping');
      server.on('pong', () => assert.fail());
      server.ping('to the client');
      await pinged;
      client.terminate();
      server.terminate();
    });

    it('masks what the client sends, and not what the server sends', async () => {
      const { client, server } = await inject(pair());
      const taps = [client, server].map((ws) => {
        const chunks = [];
        ws._socket.prependListener('data', (chunk) => chunks.push(Buffer.from(chunk)));
        return chunks;
      });
      const received = Promise.all([once(client, 'message'), once(server, 'message')]);
      server.send('readable');
      client.send('readable');
      await received;

      assert.deepStrictEqual(
        taps.map((chunks) => Buffer.concat(chunks).includes('readable')),
        [true, false]
      );
      client.terminate();
      server.terminate();
    });

    it('closes with the handshake of RFC 6455', async () => {
      const { client, server } = await inject(pair());
      const closed = Promise.all([closeOf(client), closeOf(server)]);
      client.close(4000, 'bye');

      assert.deepStrictEqual(await closed, [
        [4000, Buffer.from('bye')],
        [4000, Buffer.from('bye')]
      ]);
    });

    it('can be terminated', async () => {
      const { client, server } = await inject(pair());
      const closed = closeOf(server);
      server.terminate();
      assert.deepStrictEqual(await closed, [1006, Buffer.alloc(0)]);
      client.terminate();
    });

    it('can be paused', async () => {
      const { client, server } = await inject(pair());
      const log = [];
      server.on('message', (data) => log.push(String(data)));
      server.pause();
      client.send('a');
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.deepStrictEqual(log, []);
      const received = once(server, 'message');
      server.resume();
      await received;
      client.terminate();
      server.terminate();
    });
  });
}

describe('handleUpgrade() of a plain request', () => {
  it('checks it like any other', () => {
    const refused = {
      'sec-websocket-version': 7,
      'sec-websocket-key': 'short',
      upgrade: undefined
    };

    for (const [name, value] of Object.entries(refused)) {
      const wss = new WebSocket.Server({ noServer: true });
      const [near, far] = duplexPair();
      const request = plainRequest();
      request.headers[name] = value;
      wss.handleUpgrade(request, near, Buffer.alloc(0), () => assert.fail());
      assert.match(String(far.read()), /^HTTP\/1\.1 400 Bad Request\r\n/);
    }
  });

  it('takes the bytes that came with it', async () => {
    const wss = new WebSocket.Server({ noServer: true });
    const [near] = duplexPair();
    const head = maskedFrame({ payload: 'came with it' });
    const ws = await new Promise((resolve) => {
      wss.handleUpgrade(plainRequest(), near, head, (opened) => {
        opened.once('message', (data) => resolve(Object.assign(opened, { first: String(data) })));
      });
    });

    assert.strictEqual(ws.first, 'came with it');
    ws.terminate();
  });

  it('tracks the connection', async () => {
    const { wss, client, server } = await inject(duplexPair());
    assert.deepStrictEqual(wss.clients, new Set([server]));
    const closed = Promise.all([closeOf(client), closeOf(server)]);
    client.close();
    await closed;
    assert.strictEqual(wss.clients.size, 0);
  });
});

describe('a stream that has what sockets have', () => {
  /** One that notes what it is told. */
  function noted() {
    const [near] = duplexPair();
    const calls = [];
    for (const name of ['setTimeout', 'setNoDelay', 'setKeepAlive']) {
      near[name] = (...args) => calls.push([name, ...args]);
    }
    return { near, calls };
  }
  const expected = [['setTimeout', 0], ['setNoDelay']];

  it('is told by setSocket() to have no timeout and no delay', () => {
    const { near, calls } = noted();
    const ws = new WebSocket(null, undefined, {});
    ws.setSocket(near, Buffer.alloc(0), {});

    assert.deepStrictEqual(calls, expected);
    ws.terminate();
  });

  it('is told the same by handleUpgrade()', () => {
    const { near, calls } = noted();
    const wss = new WebSocket.Server({ noServer: true });
    const opened = [];
    wss.handleUpgrade(plainRequest(), near, Buffer.alloc(0), (ws) => opened.push(ws));

    assert.strictEqual(opened.length, 1);
    assert.deepStrictEqual(calls, expected);
    opened[0].terminate();
  });
});

describe('setSocket()', () => {
  it('takes the bytes that were read before, and emits open before they are messages', async () => {
    const [near] = duplexPair();
    const ws = new WebSocket(null, undefined, {});
    const log = [];
    ws.on('open', () => log.push('open'));
    const received = new Promise((resolve) => {
      ws.on('message', (data) => resolve(log.push(String(data))));
    });
    ws.setSocket(near, maskedFrame({ payload: 'early' }), {});
    assert.strictEqual(ws.readyState, WebSocket.OPEN);
    assert.deepStrictEqual(log, ['open']);
    await received;

    assert.deepStrictEqual(log, ['open', 'early']);
    ws.terminate();
  });

  it('uses the options it is given', async () => {
    const [near] = duplexPair();
    const ws = new WebSocket(null, undefined, {});
    ws.setSocket(near, Buffer.alloc(0), { maxPayload: 5, maxFragments: 6, maxBufferedChunks: 7 });

    assert.strictEqual(ws._receiver._maxPayload, 5);
    assert.strictEqual(ws._receiver._maxFragments, 6);
    assert.strictEqual(ws._receiver._maxBufferedChunks, 7);
    ws.terminate();
  });
});
