'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const { frame } = require('./support/frames.js');
const {
  failureOf,
  logEvents,
  openHttpServer,
  openPair,
  openServer,
  startClient,
  urlOf
} = require('./support/pair.js');
const { serveRaw } = require('./support/raw-peer.js');

/** What a client that never was open reports: an error, then the close that nobody asked for. */
function assertFailed(failure, message) {
  assert.strictEqual(failure.error.message, message);
  assert.ok(failure.error instanceof Error);
  assert.deepStrictEqual(failure.order, ['error', 'close']);
  assert.deepStrictEqual(failure.states, [WebSocket.CLOSING, WebSocket.CLOSED]);
  assert.strictEqual(failure.code, 1006);
  assert.deepStrictEqual(failure.reason, Buffer.alloc(0));
}

describe('a handshake that succeeds', () => {
  it("emits 'upgrade' with the response, then 'open'", async (t) => {
    const { url } = await serveRaw(t, { headers: { 'Set-Cookie': 'a=b' } });
    const client = startClient(t, url);
    const log = logEvents(client, ['upgrade', 'open'], (event) => [event, client.readyState]);
    const [[response]] = await Promise.all([once(client, 'upgrade'), once(client, 'open')]);

    assert.ok(response instanceof http.IncomingMessage);
    assert.strictEqual(response.statusCode, 101);
    assert.deepStrictEqual(response.headers['set-cookie'], ['a=b']);
    assert.deepStrictEqual(log, [
      ['upgrade', WebSocket.CONNECTING],
      ['open', WebSocket.OPEN]
    ]);
  });

  it('accepts an Upgrade header in any case', async (t) => {
    const { url } = await serveRaw(t, { headers: { Upgrade: 'WebSocket' } });
    await once(startClient(t, url), 'open');
  });

  it('delivers a message that came in the packet of the answer, after open', async (t) => {
    const { url } = await serveRaw(t, { follow: frame({ payload: 'early' }) });
    const client = startClient(t, url);
    const log = logEvents(client, ['open', 'message'], (event, data) => `${event} ${data}`);
    await once(client, 'message');

    assert.deepStrictEqual(log, ['open undefined', 'message early']);
  });

  it('tells both ends which subprotocol the server chose', async (t) => {
    const { client, server } = await openPair(t, { protocols: ['v2', 'v1'] });
    assert.strictEqual(client.protocol, 'v2');
    assert.strictEqual(server.protocol, 'v2');
  });

  it('tells both ends which extensions they use', async (t) => {
    for (const [perMessageDeflate, extensions] of [
      [true, 'permessage-deflate'],
      [false, '']
    ]) {
      const { client, server } = await openPair(t, { server: { perMessageDeflate } });
      assert.strictEqual(client.extensions, extensions);
      assert.strictEqual(server.extensions, extensions);
    }
  });

  it('works with version 8 of the protocol', async (t) => {
    const { client, server, request } = await openPair(t, { client: { protocolVersion: 8 } });
    assert.strictEqual(request.headers['sec-websocket-version'], '8');
    client.send('old');
    assert.deepStrictEqual(await once(server, 'message'), [Buffer.from('old'), false]);
    server.send('and back');
    assert.deepStrictEqual(await once(client, 'message'), [Buffer.from('and back'), false]);
  });

  it('goes through http.request, as that is patched at the moment', async (t) => {
    const request = t.mock.method(http, 'request');
    const { client } = await openPair(t, { client: { headers: { 'X-Token': '1' } } });

    assert.strictEqual(request.mock.callCount(), 1);
    const [call] = request.mock.calls;
    assert.ok(call.result instanceof http.ClientRequest);
    assert.strictEqual(call.arguments[0].headers['X-Token'], '1');
    assert.strictEqual(call.arguments[0].headers.Upgrade, 'websocket');
    assert.strictEqual(client.readyState, WebSocket.OPEN);
  });

  it('goes through the agent of the options', async (t) => {
    const agent = new http.Agent();
    const dialled = t.mock.method(agent, 'createConnection', (options, callback) =>
      net.connect(options, callback)
    );
    await openPair(t, { client: { agent } });

    assert.strictEqual(dialled.mock.callCount(), 1);
  });

  it('goes through createConnection, with the options of the connection', async (t) => {
    const wss = await openServer(t);
    let given;
    const client = startClient(t, 'ws://example.invalid:8080/', {
      createConnection(options) {
        given = options;
        return net.connect(wss.address().port, '127.0.0.1');
      }
    });
    await once(client, 'open');

    assert.strictEqual(given.host, 'example.invalid');
    assert.strictEqual(Number(given.port), 8080);
  });

  it('resolves names with the lookup of the options', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, `ws://example.invalid:${wss.address().port}`, {
      lookup: (host, options, callback) =>
        options.all
          ? callback(null, [{ address: '127.0.0.1', family: 4 }])
          : callback(null, '127.0.0.1', 4)
    });
    await once(client, 'open');
  });

  it('asks for addresses of the family of the options', async (t) => {
    for (const family of [4, 6]) {
      let asked;
      const client = startClient(t, 'ws://example.invalid/', {
        family,
        lookup(host, options, callback) {
          asked = [host, options.family];
          callback(new Error('no address'));
        }
      });

      assertFailed(await failureOf(client), 'no address');
      assert.deepStrictEqual(asked, ['example.invalid', family]);
    }
  });

  it('comes from the localAddress of the options', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, urlOf(wss), { localAddress: '192.0.2.1' });
    // An address that is kept for examples, so no machine has it.
    const [error] = await once(client, 'error');

    assert.strictEqual(error.code, 'EADDRNOTAVAIL');
  });

  it('leaves it to finishRequest to complete the headers and send the request', async (t) => {
    const wss = await openServer(t);
    let given;
    const client = startClient(t, urlOf(wss), {
      finishRequest(...args) {
        given = args;
        const [request] = args;
        request.on('socket', (socket) => {
          socket.on('connect', () => {
            request.setHeader('X-Local-Port', socket.localPort);
            request.end();
          });
        });
      }
    });
    const [[, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

    assert.ok(given[0] instanceof http.ClientRequest);
    assert.strictEqual(given[1], client);
    assert.strictEqual(given.length, 2);
    assert.strictEqual(request.headers['x-local-port'], String(client._socket.localPort));
  });

  it('forgets its timeout', async (t) => {
    const { client } = await openPair(t, { client: { handshakeTimeout: 60_000 } });
    assert.strictEqual(client._socket.timeout, 0);
  });
});

describe('an answer that is not acceptable', () => {
  const pmd = 'permessage-deflate';
  const cases = [
    ['no Upgrade header', 'Invalid Upgrade header', { Upgrade: 'h2c' }],
    ['another accept key', 'Invalid Sec-WebSocket-Accept header', { 'Sec-WebSocket-Accept': 'no' }],
    ['no accept key', 'Invalid Sec-WebSocket-Accept header', { 'Sec-WebSocket-Accept': null }],
    [
      'a subprotocol that nobody asked for',
      'Server sent a subprotocol but none was requested',
      { 'Sec-WebSocket-Protocol': 'v1' }
    ],
    [
      'another subprotocol',
      'Server sent an invalid subprotocol',
      { 'Sec-WebSocket-Protocol': 'v2' },
      { protocols: ['v1'] }
    ],
    [
      'an empty subprotocol',
      'Server sent an invalid subprotocol',
      { 'Sec-WebSocket-Protocol': '' },
      { protocols: ['v1'] }
    ],
    ['no subprotocol', 'Server sent no subprotocol', {}, { protocols: ['v1'] }],
    [
      'an extension that nobody asked for',
      'Server sent a Sec-WebSocket-Extensions header but no extension was requested',
      { 'Sec-WebSocket-Extensions': pmd },
      { perMessageDeflate: false }
    ],
    [
      'another extension',
      'Server indicated an extension that was not requested',
      { 'Sec-WebSocket-Extensions': 'x-webkit-deflate-frame' }
    ],
    [
      'one extension too many',
      'Server indicated an extension that was not requested',
      { 'Sec-WebSocket-Extensions': `${pmd},foo` }
    ],
    [
      'an extension header out of shape',
      'Invalid Sec-WebSocket-Extensions header',
      { 'Sec-WebSocket-Extensions': `${pmd};;` }
    ],
    [
      'extension parameters out of range',
      'Invalid Sec-WebSocket-Extensions header',
      { 'Sec-WebSocket-Extensions': `${pmd}; server_max_window_bits=7` }
    ]
  ];

  for (const [what, message, headers, options = {}] of cases) {
    it(`fails for ${what}`, async (t) => {
      const { url, peer } = await serveRaw(t, { headers });
      const client = startClient(t, url, options);
      const log = logEvents(client, ['upgrade', 'open']);
      const [failure, { frames }] = await Promise.all([failureOf(client), peer()]);

      assertFailed(failure, message);
      assert.deepStrictEqual(log, ['upgrade']);
      assert.strictEqual(await frames.next(), null);
    });
  }

  it('fails if the server hangs up before it answers', async (t) => {
    const http = await openHttpServer(t);
    http.on('upgrade', (request, socket) => socket.end());
    const failure = await failureOf(startClient(t, urlOf(http)));

    assertFailed(failure, 'socket hang up');
    assert.strictEqual(failure.error.code, 'ECONNRESET');
  });

  it('fails if nobody listens', async (t) => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = urlOf(server);
    await new Promise((resolve) => server.close(resolve));
    const failure = await failureOf(startClient(t, url));

    assert.strictEqual(failure.error.code, 'ECONNREFUSED');
    assertFailed(failure, failure.error.message);
  });

  it('fails if the answer does not come within handshakeTimeout', async (t) => {
    const server = await openHttpServer(t, net.createServer());
    const client = startClient(t, urlOf(server), { handshakeTimeout: 20 });
    const failure = await failureOf(client);

    assertFailed(failure, 'Opening handshake has timed out');
  });

  it('still lets a listener of upgrade read the response of a refused handshake', async (t) => {
    const { url } = await serveRaw(t, { headers: { 'Sec-WebSocket-Accept': 'no', 'X-Why': 'so' } });
    const client = startClient(t, url);
    const [[response]] = await Promise.all([once(client, 'upgrade'), failureOf(client)]);

    assert.strictEqual(response.headers['x-why'], 'so');
  });
});

describe('an answer that is no upgrade', () => {
  /** A server that answers 401 with a body. */
  async function refusingServer(t) {
    const server = await openHttpServer(t);
    server.on('upgrade', (request, socket) => {
      socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 8\r\n\r\nwho goes');
    });
    return server;
  }

  it('fails with its status if nobody listens to unexpected-response', async (t) => {
    const client = startClient(t, urlOf(await refusingServer(t)));
    assertFailed(await failureOf(client), 'Unexpected server response: 401');
  });

  it('is left to the listener of unexpected-response, who can read it', async (t) => {
    const client = startClient(t, urlOf(await refusingServer(t)));
    const log = logEvents(client, ['error', 'close']);
    const [request, response] = await once(client, 'unexpected-response');
    const chunks = await response.toArray();

    assert.ok(request instanceof http.ClientRequest);
    assert.ok(response instanceof http.IncomingMessage);
    assert.strictEqual(response.statusCode, 401);
    assert.strictEqual(Buffer.concat(chunks).toString(), 'who goes');
    assert.strictEqual(client.readyState, WebSocket.CONNECTING);
    assert.deepStrictEqual(log, []);
  });

  it('lets that listener close the client', async (t) => {
    const message = 'WebSocket was closed before the connection was established';
    for (const method of ['close', 'terminate']) {
      const client = startClient(t, urlOf(await refusingServer(t)));
      client.on('unexpected-response', () => client[method]());
      assertFailed(await failureOf(client), message);
    }
  });

  it('lets that listener destroy the request with an error of its own', async (t) => {
    const server = await openHttpServer(t);
    server.on('upgrade', (request, socket) => socket.write('HTTP/1.1 500 No\r\n\r\nhalf of'));
    const client = startClient(t, urlOf(server));
    client.on('unexpected-response', (request, response) => {
      response.on('error', () => {});
      request.on('close', () => client.terminate());
      request.destroy();
    });

    assertFailed(
      await failureOf(client),
      'WebSocket was closed before the connection was established'
    );
  });
});

describe('closing before the connection is established', () => {
  const message = 'WebSocket was closed before the connection was established';

  for (const method of ['close', 'terminate']) {
    it(`${method}() reports it as an error, later and once`, async (t) => {
      const wss = await openServer(t);
      const client = startClient(t, urlOf(wss));
      const log = logEvents(client, ['open', 'error', 'close']);
      const failed = failureOf(client);

      client[method]();
      assert.strictEqual(client.readyState, WebSocket.CLOSING);
      assert.deepStrictEqual(log, []);

      assertFailed(await failed, message);
      client[method]();
      assert.deepStrictEqual(log, ['error', 'close']);
    });

    it(`${method}() may be called by a listener of upgrade`, async (t) => {
      const { url } = await serveRaw(t);
      const client = startClient(t, url);
      const log = logEvents(client, ['open']);
      client.on('upgrade', () => client[method]());

      assertFailed(await failureOf(client), message);
      assert.deepStrictEqual(log, []);
    });

    it(`${method}() may be called by a listener of error`, async (t) => {
      const { url } = await serveRaw(t, { headers: { Upgrade: 'h2c' } });
      const client = startClient(t, url);
      client.once('error', () => client[method]());

      assertFailed(await failureOf(client), 'Invalid Upgrade header');
    });

    it(`${method}() hangs up on a server that is slow to answer`, async (t) => {
      const server = await openHttpServer(t, net.createServer());
      const client = startClient(t, urlOf(server));
      const failed = failureOf(client);
      const [socket] = await once(server, 'connection');
      socket.on('error', () => {});
      await once(socket, 'data');
      client[method]();

      assertFailed(await failed, message);
      if (!socket.closed) await once(socket, 'close');
    });
  }

  it('makes an error event that nobody listens to an uncaught exception, as events do', async (t) => {
    const { code, stderr } = await runInChild(t, function main(WebSocket) {
      new WebSocket('ws://127.0.0.1:1').close();
    });

    assert.strictEqual(code, 1);
    assert.match(stderr, /WebSocket was closed before the connection was established/);
  });
});
