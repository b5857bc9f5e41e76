'use strict';

/** What dependents do with a WebSocket beyond its documented interface. */

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const { describe, it } = require('node:test');
const { inspect } = require('node:util');

const WebSocket = require('./support/package.js');
const {
  closeOf,
  logEvents,
  openPair,
  openServer,
  startClient,
  urlOf
} = require('./support/pair.js');

describe('properties of others on a websocket', () => {
  it('are kept', async (t) => {
    const { client, server } = await openPair(t);
    for (const ws of [client, server]) {
      Object.assign(ws, { _id: 7, isAlive: true, pingCount: 0, clientId: 'x', upgradeReq: {} });
      ws.on('pong', function heartbeat() {
        this.pingCount++;
      });
    }
    client.ping();
    await once(client, 'pong');

    assert.strictEqual(client.pingCount, 1);
    assert.strictEqual(client._id, 7);
  });

  it('are not there before: upgradeReq and bytesReceived belong to older versions', async (t) => {
    const { client, server } = await openPair(t);
    for (const ws of [client, server]) {
      assert.strictEqual('upgradeReq' in ws, false);
      assert.strictEqual('bytesReceived' in ws, false);
    }
  });

  it('may be a send of its own', async (t) => {
    const { client, server } = await openPair(t);
    const { send } = server;
    server.send = (data, ...args) => send.call(server, `wrapped ${data}`, ...args);
    server.send('text');

    assert.strictEqual(String((await once(client, 'message'))[0]), 'wrapped text');
  });

  it('may be a close of its own, which then answers the close frame', async (t) => {
    const { client, server } = await openPair(t);
    const { close } = server;
    const calls = [];
    server.close = function patched(...args) {
      calls.push(args);
      return close.apply(this, args);
    };
    client.close(4000);
    await Promise.all([closeOf(client), closeOf(server)]);

    assert.deepStrictEqual(calls, [[4000, Buffer.alloc(0)]]);
  });

  it('make a websocket usable as a key and as a thing to print', async (t) => {
    const { client } = await openPair(t);
    assert.strictEqual(new Map([[client, 1]]).get(client), 1);
    assert.strictEqual(new WeakMap([[client, 1]]).get(client), 1);
    assert.match(inspect(client, { depth: 0 }), /WebSocket \{/);
  });
});

describe('a websocket among what becomes JSON', () => {
  for (const [kind, options] of [
    ['plain', {}],
    ['compressed', { perMessageDeflate: { threshold: 0 } }]
  ]) {
    it(`does no harm when its messages are ${kind}`, async (t) => {
      const { client, server } = await openPair(t, { server: options, client: options });
      server.on('message', (data) => server.send(data));
      client.send('text');
      await once(client, 'message');
      const players = [client, server].map((ws, id) => ({ id, ws }));

      const parsed = JSON.parse(JSON.stringify(players));
      assert.deepStrictEqual(
        parsed.map(({ id, ws }) => [id, ws._readyState]),
        [
          [0, 1],
          [1, 1]
        ]
      );
      client.close();
      await closeOf(server);
      assert.ok(JSON.stringify(server).includes('"_closeCode":1005'));
    });
  }
});

describe('the listeners of a websocket', () => {
  it('may all be removed while it is open: what it does by itself does not hang on them', async (t) => {
    const { client, server } = await openPair(t);
    for (const ws of [client, server]) ws.removeAllListeners();

    const ponged = once(client, 'pong');
    client.ping('ping');
    await ponged;
    client.send('text');
    assert.strictEqual(String((await once(server, 'message'))[0]), 'text');
    client.close(4000, 'bye');
    assert.deepStrictEqual(await closeOf(server), [4000, Buffer.from('bye')]);
    if (client.readyState !== WebSocket.CLOSED) await closeOf(client);
  });

  it('may be removed by name', async (t) => {
    const { client, server } = await openPair(t);
    const log = logEvents(server, ['message', 'close']);
    server.removeAllListeners('message');
    server.removeAllListeners('close');
    client.send('unheard');
    client.close();
    await closeOf(client);

    assert.deepStrictEqual(log, []);
  });

  it('are the listeners of an EventEmitter, with all that has', async (t) => {
    const { client } = await openPair(t);
    assert.strictEqual(client.setMaxListeners(0), client);
    client.setMaxListeners(Infinity);
    assert.strictEqual(client.getMaxListeners(), Infinity);
    assert.strictEqual(typeof client._events, 'object');
    const listener = () => {};
    client.on('message', listener);
    assert.deepStrictEqual(client.listeners('message'), [listener]);
    assert.ok(client.eventNames().includes('message'));
  });

  it('hear messages that others emit, late or made up', async (t) => {
    const { server } = await openPair(t);
    const received = once(server, 'message');
    assert.strictEqual(server.emit('message', Buffer.from('replayed'), true), true);

    assert.deepStrictEqual(await received, [Buffer.from('replayed'), true]);
  });

  it('are asked for by the constant of the instance', async (t) => {
    const { client } = await openPair(t);
    assert.strictEqual(client.readyState, client.OPEN);
    assert.strictEqual(client.readyState, client.constructor.OPEN);
    client.close();
    assert.strictEqual(client.readyState, client.CLOSING);
    await closeOf(client);
    assert.strictEqual(client.readyState, client.CLOSED);
  });
});

describe('the fields of a websocket', () => {
  it('follow its state', async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    const client = startClient(t, urlOf(wss), 'v1');
    const look = (ws) => [
      ws._readyState,
      ws._closeCode,
      String(ws._closeMessage),
      ws._closeFrameReceived,
      ws._closeFrameSent,
      ws._protocol
    ];

    assert.deepStrictEqual(look(client), [0, 1006, '', false, false, '']);
    await once(client, 'open');
    const [server] = await connected;
    assert.deepStrictEqual(look(client), [1, 1006, '', false, false, 'v1']);
    assert.deepStrictEqual(look(server), [1, 1006, '', false, false, 'v1']);
    client.close(4000, 'bye');
    assert.strictEqual(client._readyState, 2);
    await Promise.all([closeOf(client), closeOf(server)]);
    assert.deepStrictEqual(look(client), [3, 4000, 'bye', true, true, 'v1']);
    assert.deepStrictEqual(look(server), [3, 4000, 'bye', true, true, 'v1']);
  });

  it('tell what it is and how it was made', async (t) => {
    const { client, server } = await openPair(t, { client: { autoPong: false } });

    assert.deepStrictEqual([client._isServer, server._isServer], [false, true]);
    assert.strictEqual(Boolean(client._autoPong), false);
    assert.strictEqual(Boolean(server._autoPong), true);
    assert.strictEqual(client._binaryType, 'nodebuffer');
    assert.deepStrictEqual(client._extensions, {});
    assert.strictEqual(server._paused, false);
  });

  it('have the request of a client until it is open', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, urlOf(wss), { headers: { 'X-Token': '1' } });
    const seen = [];
    assert.ok(client._req instanceof http.ClientRequest);
    client.on('upgrade', () => seen.push(client._req !== null));
    client.on('open', () => seen.push(client._req));
    await once(client, 'open');

    assert.deepStrictEqual(seen, [true, null]);
  });

  it('let the headers of the request be read as they were sent', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, urlOf(wss), { headers: { 'X-Token': '1' } });
    const request = client._req;
    const answered = once(request, 'upgrade');
    await Promise.all([answered, once(client, 'open')]);

    assert.match(request._header, /^GET \/ HTTP\/1\.1\r\n/);
    assert.match(request._header, /\r\nX-Token: 1\r\n/);
  });

  it('let the response be awaited at the request', async (t) => {
    const wss = await openServer(t, { verifyClient: () => false });
    const client = startClient(t, urlOf(wss));
    client.on('error', () => {});
    const [[response]] = await Promise.all([once(client._req, 'response'), closeOf(client)]);

    assert.strictEqual(response.statusCode, 401);
  });
});

describe('a subclass', () => {
  it('may be constructed like a client and like the end of a server', async (t) => {
    class Mine extends WebSocket {
      constructor(address, protocols, options) {
        super(address, protocols, options);
        this.mine = true;
      }

      send(data, ...args) {
        super.send(`mine ${data}`, ...args);
      }
    }

    const wss = await openServer(t, { WebSocket: Mine });
    const client = new Mine(urlOf(wss), [], {});
    t.after(() => client.terminate());
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    client.send('text');
    const [data] = await once(server, 'message');

    assert.strictEqual(String(data), 'mine text');
    assert.ok(client.mine && server.mine);
    assert.strictEqual(new Mine(null, undefined, {}).readyState, Mine.CONNECTING);
    assert.strictEqual(Object.prototype.toString.call(client), '[object Object]');
  });

  it('may have a field in place of a method or of the type of binary data', async (t) => {
    class Fields extends WebSocket {
      send = (data) => super.send(`field ${data}`);
    }
    const wss = await openServer(t);
    const client = new Fields(urlOf(wss));
    t.after(() => client.terminate());
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    client.send('text');

    assert.strictEqual(String((await once(server, 'message'))[0]), 'field text');
  });
});
