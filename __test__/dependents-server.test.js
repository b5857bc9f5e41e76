'use strict';

/** What frameworks do with a WebSocketServer beyond its documented interface. */

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const {
  openHttpServer,
  openPair,
  openServer,
  startClient,
  terminateAfter,
  turn,
  urlOf
} = require('./support/pair.js');
const { acceptOf, connectRaw, handshakeRequest, refusalTo } = require('./support/raw-peer.js');

describe('wss.options', () => {
  it('may have perMessageDeflate swapped around a call of handleUpgrade', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    server.on('upgrade', (request, socket, head) => {
      const { perMessageDeflate } = wss.options;
      wss.options.perMessageDeflate = request.url === '/compressed' && { threshold: 1 };
      wss.handleUpgrade(request, socket, head, (ws) => terminateAfter(t, ws));
      wss.options.perMessageDeflate = perMessageDeflate;
    });

    for (const [path, extensions] of [
      ['/compressed', 'permessage-deflate'],
      ['/', '']
    ]) {
      const client = startClient(t, urlOf(server, path));
      await once(client, 'open');
      assert.strictEqual(client.extensions, extensions);
    }
  });

  it('are read anew for each connection', async (t) => {
    class Mine extends WebSocket {}
    const wss = await openServer(t);
    wss.options.maxPayload = 1234;
    wss.options.autoPong = false;
    wss.options.closeTimeout = 4321;
    wss.options.handleProtocols = () => 'v2';
    wss.options.WebSocket = Mine;
    const connected = once(wss, 'connection');
    await connectRaw(t, wss, { headers: { 'Sec-WebSocket-Protocol': 'v1,v2' } });
    const [ws] = await connected;

    assert.strictEqual(ws._receiver._maxPayload, 1234);
    assert.ok(!ws._autoPong);
    assert.strictEqual(ws._closeTimeout, 4321);
    assert.strictEqual(ws.protocol, 'v2');
    assert.ok(ws instanceof Mine);
  });

  it('may get a path and a verifyClient later', async (t) => {
    const wss = await openServer(t);
    wss.options.path = '/chat';
    assert.match(await refusalTo(t, wss, handshakeRequest()), /^HTTP\/1\.1 400 /);
    wss.options.verifyClient = ({ req }) => req.headers.authorization === 'yes';
    const request = { path: '/chat' };
    assert.match(await refusalTo(t, wss, handshakeRequest(request)), /^HTTP\/1\.1 401 /);
    await connectRaw(t, wss, { ...request, headers: { Authorization: 'yes' } });
  });

  it('tell port, host and path to who prints them', async (t) => {
    const wss = await openServer(t, { host: '127.0.0.1', path: '/chat' });
    assert.strictEqual(wss.options.port, 0);
    assert.strictEqual(wss.options.host, '127.0.0.1');
    assert.strictEqual(wss.options.path, '/chat');
  });
});

describe('methods put on one server', () => {
  it('include shouldHandle, also asked by hosts', async (t) => {
    const wss = await openServer(t);
    wss.shouldHandle = (request) => request.url.startsWith('/yes');

    assert.strictEqual(wss.shouldHandle({ url: '/no' }), false);
    assert.match(
      await refusalTo(t, wss, handshakeRequest({ path: '/no' })),
      /^HTTP\/1\.1 400 Bad Request\r\n/
    );
    await connectRaw(t, wss, { path: '/yes' });
  });

  it('include completeUpgrade', async (t) => {
    const wss = await openServer(t);
    const { completeUpgrade } = wss;
    wss.completeUpgrade = function patched(extensions, key, protocols, request, ...rest) {
      protocols.delete('v1');
      return completeUpgrade.call(this, extensions, key, protocols, request, ...rest);
    };
    const connected = once(wss, 'connection');
    await connectRaw(t, wss, { headers: { 'Sec-WebSocket-Protocol': 'v1,v2' } });
    const [ws] = await connected;

    assert.strictEqual(ws.protocol, 'v2');
  });

  it('include handleUpgrade', async (t) => {
    const wss = await openServer(t);
    const seen = [];
    wss.handleUpgrade = function patched(request, ...rest) {
      seen.push(request.url);
      return WebSocket.Server.prototype.handleUpgrade.call(this, request, ...rest);
    };
    await connectRaw(t, wss, { path: '/chat' });

    assert.deepStrictEqual(seen, ['/chat']);
  });

  it('include a path that is somebody else’s, without effect', async (t) => {
    const wss = await openServer(t);
    assert.strictEqual('path' in wss, false);
    wss.path = '/nest';
    await connectRaw(t, wss, { path: '/other' });
  });
});

describe("the 'connection' event", () => {
  it('may be emitted by hosts, with arguments of their own', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    const user = { name: 'ada' };
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws) => {
        terminateAfter(t, ws);
        wss.emit('connection', ws, request, user);
      });
    });
    const connected = once(wss, 'connection');
    await connectRaw(t, server);
    const [ws, request, who] = await connected;

    assert.ok(ws instanceof WebSocket);
    assert.ok(request instanceof http.IncomingMessage);
    assert.strictEqual(who, user);
  });
});

describe('wss._server', () => {
  it('is the HTTP server, until the server is closed', async (t) => {
    const wss = await openServer(t);
    assert.ok(wss._server instanceof http.Server);
    assert.strictEqual(wss._server.listening, true);
    assert.deepStrictEqual(wss._server.address(), wss.address());
    wss.close();
    assert.strictEqual(wss._server, null);

    const server = await openHttpServer(t);
    const other = new WebSocket.Server({ server });
    assert.strictEqual(other._server, server);
    other.close();
    assert.strictEqual(other._server, null);

    assert.ok(!new WebSocket.Server({ noServer: true })._server);
  });

  it('may have its answer to plain requests replaced', async (t) => {
    const wss = await openServer(t);
    wss._server.removeAllListeners('request');
    wss._server.on('request', (request, response) => response.end('a page'));
    const { port } = wss.address();
    const response = await new Promise((resolve) => {
      http.get({ host: '127.0.0.1', port, agent: false }, resolve);
    });

    assert.strictEqual(Buffer.concat(await response.toArray()).toString(), 'a page');
  });
});

describe('wss._removeListeners', () => {
  it('detaches the server from its HTTP server', async (t) => {
    const server = await openHttpServer(t);
    const count = () =>
      ['upgrade', 'listening', 'error'].map((event) => server.listenerCount(event));
    const before = count();
    const wss = new WebSocket.Server({ server });
    assert.notDeepStrictEqual(count(), before);
    wss._removeListeners();

    assert.deepStrictEqual(count(), before);
  });
});

describe('wss.clients', () => {
  it('lets broadcasters send to all that are open', async (t) => {
    const wss = await openServer(t);
    const clients = Array.from({ length: 3 }, () => startClient(t, urlOf(wss)));
    await Promise.all(clients.map((client) => once(client, 'open')));
    while (wss.clients.size < 3) await turn();
    const received = Promise.all(clients.map((client) => once(client, 'message')));
    wss.clients.forEach((ws) => {
      if (ws.readyState === WebSocket.OPEN) ws.send('to all');
    });

    for (const [data] of await received) assert.strictEqual(String(data), 'to all');
  });

  it('may be added to and deleted from by hosts', async (t) => {
    const { wss, server } = await openPair(t);
    wss.clients.delete(server);
    assert.strictEqual(wss.clients.size, 0);
    wss.clients.add(server);
    const closed = once(server, 'close');
    for (const ws of wss.clients) ws.terminate();
    await closed;

    assert.strictEqual(wss.clients.size, 0);
  });
});

describe('a subclass of the server', () => {
  it('may answer the handshake by itself', async (t) => {
    class Custom extends WebSocket.Server {
      completeUpgrade(extensions, key, protocols, request, socket, head, callback) {
        socket.write(
          'HTTP/1.1 101 Custom\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
            `Sec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`
        );
        const ws = new WebSocket(null, undefined, this.options);
        ws.setSocket(socket, head, { maxPayload: this.options.maxPayload });
        callback(ws, request);
      }
    }
    const server = await openHttpServer(t);
    const wss = new Custom({ server });
    wss.on('connection', (ws) => {
      terminateAfter(t, ws);
      ws.on('message', (data) => ws.send(`custom ${data}`));
    });
    const client = startClient(t, urlOf(server), { perMessageDeflate: false });
    const [response] = await once(client, 'upgrade');
    assert.strictEqual(response.statusMessage, 'Custom');
    client.send('echo');

    assert.strictEqual(String((await once(client, 'message'))[0]), 'custom echo');
  });
});
