'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');
const tls = require('node:tls');

const WebSocket = require('./support/package.js');
const { failureOf, openHttpServer, openServer, startClient, urlOf } = require('./support/pair.js');
const certificates = require('./support/tls.js');

/**
 * A server that answers every handshake with a redirect.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} location
 * @param {http.Server} [server]
 */
async function redirectTo(t, location, server) {
  const redirecting = await openHttpServer(t, server);
  redirecting.on('upgrade', (request, socket) => {
    socket.on('error', () => {});
    socket.end(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\n\r\n`);
  });
  return redirecting;
}

/**
 * A server that redirects from `/` to `/final` and accepts there.
 *
 * @param {import('node:test').TestContext} t
 * @param {() => string} [location]
 * @param {http.Server} [listening]
 */
async function redirectWithin(t, location = () => '/final', listening = undefined) {
  const server = listening ?? (await openHttpServer(t));
  const wss = new WebSocket.Server({ noServer: true });
  t.after(() => wss.clients.forEach((ws) => ws.terminate()));

  server.on('upgrade', (request, socket, head) => {
    if (request.url === '/final') {
      wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
    } else {
      socket.end(`HTTP/1.1 302 Found\r\nLocation: ${location()}\r\n\r\n`);
    }
  });
  return { server, wss };
}

/**
 * An HTTP server on a Unix socket, and its addresses.
 *
 * @param {import('node:test').TestContext} t
 */
async function openOnSocket(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'redirects-'));
  const file = path.join(folder, 'server.sock');
  const server = http.createServer();

  t.after(() => {
    server.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  server.listen(file);
  await once(server, 'listening');

  return { server, addressOf: (requested) => `ws+unix:${file}:${requested}`, host: 'localhost' };
}

/** The same on a port. */
async function openOnPort(t) {
  const server = await openHttpServer(t);
  const address = urlOf(server);

  return { server, addressOf: (requested) => address + requested, host: new URL(address).host };
}

/** Connects through redirects and gives what the last server was asked. */
async function followed(t, wss, url, options, prepare = () => {}) {
  const client = startClient(t, url, { followRedirects: true, ...options });
  prepare(client);
  const [[, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
  return { client, request };
}

const noSockets = process.platform === 'win32' && 'there are no Unix sockets';

const secrets = {
  Authorization: 'Bearer token',
  Cookie: 'a=b',
  Host: 'example.org',
  'X-Other': '1'
};

describe('redirects', () => {
  it('are not followed unless asked for', async (t) => {
    const server = await redirectTo(t, 'ws://127.0.0.1:1');
    const { error } = await failureOf(startClient(t, urlOf(server)));

    assert.strictEqual(error.message, 'Unexpected server response: 302');
  });

  for (const [kind, location] of [
    ['a path', '/final'],
    ['a relative path', 'final'],
    ['a whole address', null]
  ]) {
    it(`are followed to ${kind}, and url says where`, async (t) => {
      const wss = await openServer(t, { path: '/final' });
      const within = await redirectWithin(t, () => location ?? urlOf(wss, '/final'));
      const target = location ? within.wss : wss;
      const { client } = await followed(t, target, urlOf(within.server));

      assert.strictEqual(client.url, urlOf(location ? within.server : wss, '/final'));
    });
  }

  it('are followed to an http: address, which is a ws: address then', async (t) => {
    const wss = await openServer(t, { path: '/final' });
    const target = urlOf(wss, '/final');
    const server = await redirectTo(t, target.replace('ws:', 'http:'));
    const { client } = await followed(t, wss, urlOf(server));

    assert.strictEqual(client.url, target);
  });

  for (const [what, status, header] of [
    ['without a Location', 302, ''],
    ['with a status that is none', 401, 'Location: /final\r\n']
  ]) {
    it(`are not made of an answer ${what}`, async (t) => {
      const server = await openHttpServer(t);
      server.on('upgrade', (request, socket) => {
        socket.end(`HTTP/1.1 ${status} Answer\r\n${header}\r\n`);
      });
      const client = startClient(t, urlOf(server), { followRedirects: true });
      const { error } = await failureOf(client);

      assert.strictEqual(error.message, `Unexpected server response: ${status}`);
    });
  }

  it('are followed as often as maxRedirects says', async (t) => {
    const server = await openHttpServer(t);
    const asked = [];
    server.on('upgrade', (request, socket) => {
      asked.push(request.url);
      socket.end(`HTTP/1.1 302 Found\r\nLocation: ${request.url}x\r\n\r\n`);
    });

    const options = { followRedirects: true, maxRedirects: 2 };
    const { error, code } = await failureOf(startClient(t, urlOf(server, '/'), options));

    assert.strictEqual(error.message, 'Maximum redirects exceeded');
    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(asked, ['/', '/x', '/xx']);
  });

  it('are followed ten times if maxRedirects does not say', async (t) => {
    const server = await openHttpServer(t);
    let asked = 0;
    server.on('upgrade', (request, socket) => {
      asked++;
      socket.end('HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\n\r\n');
    });

    const client = startClient(t, urlOf(server), { followRedirects: true });
    const { error } = await failureOf(client);

    assert.strictEqual(error.message, 'Maximum redirects exceeded');
    assert.strictEqual(asked, 11);
  });

  for (const [location, message] of [
    ['ws://', 'Invalid URL: ws://'],
    [
      'ftp://127.0.0.1',
      'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"'
    ],
    ['/a#top', 'The URL contains a fragment identifier']
  ]) {
    it(`end with an error event if they lead to ${location}`, async (t) => {
      const server = await redirectTo(t, location);
      const client = startClient(t, urlOf(server), { followRedirects: true });
      const { error, code, order } = await failureOf(client);

      assert.ok(error instanceof SyntaxError);
      assert.strictEqual(error.message, message);
      assert.strictEqual(code, 1006);
      assert.deepStrictEqual(order, ['error', 'close']);
    });
  }

  it('take subprotocols and the other options along', async (t) => {
    const { server, wss } = await redirectWithin(t);
    const client = startClient(t, urlOf(server), 'chat', {
      followRedirects: true,
      origin: 'https://example.org'
    });
    const [[, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

    assert.strictEqual(client.protocol, 'chat');
    assert.strictEqual(request.headers.origin, 'https://example.org');
  });

  it('have each request completed by finishRequest', async (t) => {
    const { server, wss } = await redirectWithin(t);
    const made = t.mock.method(http, 'request');
    const given = [];
    const { client, request } = await followed(t, wss, urlOf(server, '/'), {
      finishRequest(unsent, websocket) {
        given.push([unsent, unsent.path, websocket]);
        unsent.setHeader('X-Hop', given.length);
        unsent.end();
      }
    });

    const [first, second] = made.mock.calls.map(({ result }) => result);
    assert.notStrictEqual(first, second);
    assert.strictEqual(given.length, 2);
    assert.ok(given[0][0] === first && given[1][0] === second);
    assert.deepStrictEqual([given[0][1], given[1][1]], ['/', '/final']);
    assert.ok(given.every(([, , websocket]) => websocket === client));
    assert.strictEqual(request.headers['x-hop'], '2');
  });

  it('have the handshakeTimeout set on each connection', async (t) => {
    const server = await openHttpServer(t);
    const made = t.mock.method(http, 'request');
    const silent = new Promise((resolve) => {
      server.on('upgrade', (request, socket) => {
        socket.on('error', () => {});
        if (request.url === '/silence') resolve();
        else socket.end('HTTP/1.1 302 Found\r\nLocation: /silence\r\n\r\n');
      });
    });
    const options = { followRedirects: true, handshakeTimeout: 600_000 };
    const client = startClient(t, urlOf(server), options);
    await silent;

    const [first, last] = made.mock.calls.map(({ result }) => result.socket);
    assert.notStrictEqual(first, last);
    assert.strictEqual(first.destroyed, true);
    assert.strictEqual(last.timeout, 600_000);
    const failed = failureOf(client);
    last.emit('timeout');
    assert.strictEqual((await failed).error.message, 'Opening handshake has timed out');
  });

  it('give each request the handshakeTimeout anew', async (t) => {
    const server = await openHttpServer(t);
    server.on('upgrade', (request, socket) => {
      socket.on('error', () => {});
      if (request.url === '/') socket.end('HTTP/1.1 302 Found\r\nLocation: /silence\r\n\r\n');
    });
    const client = startClient(t, urlOf(server), { followRedirects: true, handshakeTimeout: 20 });
    const { error } = await failureOf(client);

    assert.strictEqual(error.message, 'Opening handshake has timed out');
  });
});

describe('confidential headers', () => {
  it('stay with the request on the same host', async (t) => {
    const { server, wss } = await redirectWithin(t);
    const { request } = await followed(t, wss, urlOf(server), { headers: secrets });

    assert.strictEqual(request.headers.authorization, 'Bearer token');
    assert.strictEqual(request.headers.cookie, 'a=b');
    assert.strictEqual(request.headers.host, 'example.org');
  });

  it('do not go to another host, nor to another port', async (t) => {
    const wss = await openServer(t);
    const server = await redirectTo(t, urlOf(wss));
    const { request } = await followed(t, wss, urlOf(server), { headers: secrets });

    assert.strictEqual(request.headers.authorization, undefined);
    assert.strictEqual(request.headers.cookie, undefined);
    assert.strictEqual(request.headers.host, `127.0.0.1:${wss.address().port}`);
    assert.strictEqual(request.headers['x-other'], '1');
  });

  it('depend on where a request goes, not on the way it took', async (t) => {
    const { server, wss } = await redirectWithin(t, () => urlOf(detour));
    const detour = await redirectTo(t, urlOf(server, '/final'));
    const seen = [];
    for (const hop of [server, detour]) {
      hop.prependListener('upgrade', ({ headers }) => seen.push(headers.authorization));
    }
    await followed(t, wss, urlOf(server), { headers: secrets });

    assert.deepStrictEqual(seen, ['Bearer token', undefined, 'Bearer token']);
  });

  it('include the userinfo of the first address and the auth option', async (t) => {
    const expected = `Basic ${Buffer.from('user:secret').toString('base64')}`;
    const userinfo = (server) => urlOf(server).replace('//', '//user:secret@');

    const { server, wss } = await redirectWithin(t);
    const same = await followed(t, wss, userinfo(server));
    assert.strictEqual(same.request.headers.authorization, expected);
    const option = await followed(t, wss, urlOf(server), { auth: 'user:secret' });
    assert.strictEqual(option.request.headers.authorization, expected);

    const other = await openServer(t);
    const redirecting = await redirectTo(t, urlOf(other));
    for (const [url, options] of [
      [userinfo(redirecting), {}],
      [urlOf(redirecting), { auth: 'user:secret' }]
    ]) {
      const { request } = await followed(t, other, url, options);
      assert.strictEqual(request.headers.authorization, undefined);
    }
  });

  it('prefer the userinfo of the first address over that of the next', async (t) => {
    const { server, wss } = await redirectWithin(t, () =>
      urlOf(server, '/final').replace('//', '//other:one@')
    );
    const { request } = await followed(t, wss, urlOf(server).replace('//', '//first:one@'));

    const expected = `Basic ${Buffer.from('first:one').toString('base64')}`;
    assert.strictEqual(request.headers.authorization, expected);
  });

  it('do not go from wss: to ws: on the same host', async (t) => {
    const wss = await openServer(t);
    const secure = await redirectTo(
      t,
      'ws://localhost:8000/',
      https.createServer(certificates.server)
    );

    // One host and port for both, so each connection is dialled by hand: first the secure one.
    const dial = [
      () => tls.connect({ port: secure.address().port, ca: certificates.authority }),
      () => net.connect(wss.address().port, '127.0.0.1')
    ];
    const { request } = await followed(t, wss, 'wss://localhost:8000/', {
      createConnection: () => dial.shift()(),
      headers: secrets
    });

    assert.strictEqual(request.headers.authorization, undefined);
    assert.strictEqual(request.headers.cookie, undefined);
    assert.strictEqual(request.headers.host, 'example.org');
  });

  for (const [way, openFirst, openLast] of [
    ['from TCP to a Unix socket', openOnPort, openOnSocket],
    ['from a Unix socket to TCP', openOnSocket, openOnPort],
    ['from a Unix socket to another', openOnSocket, openOnSocket]
  ]) {
    it(`do not go ${way}`, { skip: noSockets }, async (t) => {
      const first = await openFirst(t);
      const last = await openLast(t);
      const target = last.addressOf('/final');
      await redirectWithin(t, () => target, first.server);
      const { wss } = await redirectWithin(t, undefined, last.server);
      const address = first.addressOf('/');
      const { client, request } = await followed(t, wss, address, { headers: secrets });

      assert.strictEqual(client.url, target);
      assert.strictEqual(request.url, '/final');
      assert.strictEqual(request.headers.authorization, undefined);
      assert.strictEqual(request.headers.cookie, undefined);
      assert.strictEqual(request.headers.host, last.host);
      assert.strictEqual(request.headers['x-other'], '1');
    });
  }

  it('tell a host from a Unix socket of the same name', async (t) => {
    const [host, socket] = ['ws://localhost', 'ws+unix:localhost:'];

    for (const [first, last] of [
      [host, socket],
      [socket, host]
    ]) {
      const { server, wss } = await redirectWithin(t, () => `${last}/final`);
      const { request } = await followed(t, wss, `${first}/`, {
        createConnection: () => net.connect(server.address().port, '127.0.0.1'),
        headers: secrets
      });

      assert.strictEqual(request.headers.authorization, undefined);
      assert.strictEqual(request.headers.cookie, undefined);
      assert.strictEqual(request.headers.host, 'localhost');
    }
  });

  it('stay with the request on the same Unix socket', { skip: noSockets }, async (t) => {
    const { server, addressOf } = await openOnSocket(t);
    const { wss } = await redirectWithin(t, () => addressOf('/final'), server);
    const { client, request } = await followed(t, wss, addressOf('/'), { headers: secrets });

    assert.strictEqual(client.url, addressOf('/final'));
    assert.strictEqual(request.headers.authorization, 'Bearer token');
    assert.strictEqual(request.headers.cookie, 'a=b');
    assert.strictEqual(request.headers.host, 'example.org');
  });
});

describe("the 'redirect' event", () => {
  it('comes before the redirect is followed, with the address and the request', async (t) => {
    const { server, wss } = await redirectWithin(t);
    const events = [];
    const { request } = await followed(t, wss, urlOf(server), {}, (client) => {
      client.on('redirect', (url, req) => {
        events.push([url, client.url, client.readyState]);
        assert.ok(req instanceof http.ClientRequest);
        assert.strictEqual(req.headersSent, false);
        req.setHeader('X-Hop', '1');
      });
    });

    const url = urlOf(server, '/final');
    assert.deepStrictEqual(events, [[url, url, WebSocket.CONNECTING]]);
    assert.strictEqual(request.headers['x-hop'], '1');
  });

  it('leaves all headers to its listener, who may remove some', async (t) => {
    const wss = await openServer(t);
    const server = await redirectTo(t, urlOf(wss));
    const { request } = await followed(t, wss, urlOf(server), { headers: secrets }, (client) => {
      client.on('redirect', (url, req) => {
        assert.strictEqual(req.getHeader('Authorization'), 'Bearer token');
        req.removeHeader('Authorization');
      });
    });

    assert.strictEqual(request.headers.authorization, undefined);
    assert.strictEqual(request.headers.cookie, 'a=b');
    assert.strictEqual(request.headers.host, 'example.org');
  });

  for (const method of ['close', 'terminate']) {
    it(`allows ${method}()`, async (t) => {
      const { server } = await redirectWithin(t);
      const client = startClient(t, urlOf(server), { followRedirects: true });
      client.on('redirect', () => client[method]());
      const { error, code } = await failureOf(client);

      assert.strictEqual(
        error.message,
        'WebSocket was closed before the connection was established'
      );
      assert.strictEqual(code, 1006);
    });
  }

  it('allows to destroy the request, whose error is reported', async (t) => {
    const { server } = await redirectWithin(t);
    const client = startClient(t, urlOf(server), { followRedirects: true });
    client.on('redirect', (url, request) => request.destroy(new Error('not there')));
    const { error, code } = await failureOf(client);

    assert.strictEqual(error.message, 'not there');
    assert.strictEqual(code, 1006);
  });
});
