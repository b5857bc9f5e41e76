'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { describe, it } = require('node:test');

const { WebSocketServer } = require('./support/package.js');
const { openHttpServer, openServer, startClient, urlOf } = require('./support/pair.js');
const tls = require('./support/tls.js');

/**
 * The body of a GET.
 *
 * @param {typeof http | typeof https} protocol
 * @param {string} url
 * @param {object} [options]
 * @returns {Promise<string>}
 */
async function fetchText(protocol, url, options) {
  const [response] = await once(protocol.get(url, { agent: false, ...options }), 'response');
  return (await response.setEncoding('utf8').toArray()).join('');
}

/** Sends one message and gives the answer. */
async function ask(client, question) {
  if (client.readyState === client.CONNECTING) await once(client, 'open');
  client.send(question);
  const [answer] = await once(client, 'message');
  return answer.toString();
}

describe('A server of its own', () => {
  it('greets a client and answers what it says', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (socket) => {
      socket.on('message', (data) => socket.send(`you said: ${data}`));
      socket.send('welcome');
    });

    const client = startClient(t, urlOf(wss));
    const [greeting, isBinary] = await once(client, 'message');

    assert.ok(Buffer.isBuffer(greeting));
    assert.deepStrictEqual([greeting.toString(), isBinary], ['welcome', false]);
    assert.strictEqual(await ask(client, 'hello'), 'you said: hello');
  });

  it('gives binary messages back as the bytes they were', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (socket) => {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    const client = startClient(t, urlOf(wss));
    await once(client, 'open');
    const numbers = Float32Array.from({ length: 5 }, (_, index) => index / 2);

    client.send(numbers);
    const [data, isBinary] = await once(client, 'message');

    assert.strictEqual(isBinary, true);
    assert.deepStrictEqual(data, Buffer.from(numbers.buffer));
  });
});

describe('A server on an HTTP server that exists', () => {
  it('shares the port with plain requests', async (t) => {
    const server = await openHttpServer(
      t,
      http.createServer((_request, response) => response.end('a page'))
    );
    const wss = new WebSocketServer({ server });
    wss.on('connection', (socket) => socket.on('message', (data) => socket.send(`ws ${data}`)));
    const { port } = server.address();

    const client = startClient(t, urlOf(server));

    assert.strictEqual(await ask(client, 'one'), 'ws one');
    assert.strictEqual(await fetchText(http, `http://127.0.0.1:${port}/`), 'a page');
    assert.strictEqual(await ask(client, 'two'), 'ws two');
  });

  it('shares the port with plain requests over TLS', async (t) => {
    const server = await openHttpServer(
      t,
      https.createServer(tls.server, (_request, response) => response.end('a page'))
    );
    const wss = new WebSocketServer({ server });
    wss.on('connection', (socket, request) => {
      socket.on('message', (data) => socket.send(`${data} ${request.socket.encrypted}`));
    });
    const authority = { ca: tls.authority };
    const { port } = server.address();

    const client = startClient(t, `wss://127.0.0.1:${port}`, authority);

    assert.strictEqual(await ask(client, 'encrypted:'), 'encrypted: true');
    assert.strictEqual(await fetchText(https, `https://127.0.0.1:${port}/`, authority), 'a page');
  });

  it('leaves the HTTP server running when it closes', async (t) => {
    const server = await openHttpServer(
      t,
      http.createServer((_request, response) => response.end('a page'))
    );
    const wss = new WebSocketServer({ server });

    wss.close();
    await once(wss, 'close');

    const { port } = server.address();
    assert.strictEqual(await fetchText(http, `http://127.0.0.1:${port}/`), 'a page');
  });
});

describe('Two servers on one HTTP server', () => {
  it('are told apart by the path of the request', async (t) => {
    const server = await openHttpServer(t);
    const rooms = {};
    for (const name of ['/lobby', '/kitchen']) {
      rooms[name] = new WebSocketServer({ noServer: true });
      rooms[name].on('connection', (socket) => socket.send(`this is ${name}`));
    }
    server.on('upgrade', (request, socket, head) => {
      const { pathname } = new URL(request.url, 'ws://localhost');
      const room = rooms[pathname];
      if (!room) return socket.destroy();
      room.handleUpgrade(request, socket, head, (client) => {
        room.emit('connection', client, request);
      });
    });

    const lobby = startClient(t, urlOf(server, '/lobby?name=ox'));
    const kitchen = startClient(t, urlOf(server, '/kitchen'));
    const elsewhere = startClient(t, urlOf(server, '/cellar'));
    const [[inLobby], [inKitchen], [error]] = await Promise.all([
      once(lobby, 'message'),
      once(kitchen, 'message'),
      once(elsewhere, 'error')
    ]);

    assert.strictEqual(inLobby.toString(), 'this is /lobby');
    assert.strictEqual(inKitchen.toString(), 'this is /kitchen');
    assert.match(error.message, /socket hang up/);
    assert.strictEqual(rooms['/lobby'].clients.size, 1);
    assert.strictEqual(rooms['/kitchen'].clients.size, 1);
  });

  it('can also be told apart by a query or a header, as the upgrade listener likes', async (t) => {
    const server = await openHttpServer(t);
    const versions = { 1: new WebSocketServer({ noServer: true }) };
    versions[2] = new WebSocketServer({ noServer: true });
    for (const [version, wss] of Object.entries(versions)) {
      wss.on('connection', (socket, _request, user) => socket.send(`v${version} for ${user}`));
    }
    server.on('upgrade', (request, socket, head) => {
      const wss = versions[request.headers['x-version']];
      wss.handleUpgrade(request, socket, head, (client) => {
        wss.emit('connection', client, request, 'ox');
      });
    });

    const first = startClient(t, urlOf(server), { headers: { 'x-version': '1' } });
    const second = startClient(t, urlOf(server), { headers: { 'x-version': '2' } });
    const [[one], [two]] = await Promise.all([once(first, 'message'), once(second, 'message')]);

    assert.deepStrictEqual([`${one}`, `${two}`], ['v1 for ox', 'v2 for ox']);
  });
});
