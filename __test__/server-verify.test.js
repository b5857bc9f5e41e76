'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { maskedFrame } = require('./support/frames.js');
const {
  failureOf,
  openHttpServer,
  openServer,
  startClient,
  terminateAfter,
  urlOf
} = require('./support/pair.js');
const { connectRaw, dial, handshakeRequest, refusalTo } = require('./support/raw-peer.js');
const certificates = require('./support/tls.js');

/** A refusal, byte for byte. */
const refusal = (status, body, ...headers) =>
  [
    `HTTP/1.1 ${status}`,
    'Connection: close',
    'Content-Type: text/html',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
    '',
    body
  ].join('\r\n');

describe('verifyClient with one parameter', () => {
  it('accepts with a true value', async (t) => {
    const wss = await openServer(t, { verifyClient: (info) => info.req.url === '/' && 'yes' });
    await connectRaw(t, wss);
  });

  it('refuses with 401 and a false value', async (t) => {
    for (const no of [false, undefined, 0]) {
      const wss = await openServer(t, { verifyClient: (info) => (info ? no : true) });
      wss.on('connection', () => assert.fail());

      assert.strictEqual(
        await refusalTo(t, wss, handshakeRequest()),
        refusal('401 Unauthorized', 'Unauthorized')
      );
    }
  });

  it('is a failure for the client', async (t) => {
    const wss = await openServer(t, { verifyClient: () => false });
    const { error } = await failureOf(startClient(t, urlOf(wss)));
    assert.strictEqual(error.message, 'Unexpected server response: 401');
  });

  it('knows origin, request and that the connection is not secure', async (t) => {
    const given = [];
    const wss = await openServer(t, { verifyClient: (info) => given.push(info) });
    await connectRaw(t, wss, { headers: { Origin: 'https://example.org' } });
    await connectRaw(t, wss, {
      headers: { 'Sec-WebSocket-Version': '8', 'Sec-WebSocket-Origin': 'https://old.example.org' }
    });
    await connectRaw(t, wss);

    assert.deepStrictEqual(
      given.map(({ origin }) => origin),
      ['https://example.org', 'https://old.example.org', undefined]
    );
    for (const info of given) {
      assert.deepStrictEqual(Object.keys(info).sort(), ['origin', 'req', 'secure']);
      assert.strictEqual(info.secure, false);
      assert.ok(info.req instanceof http.IncomingMessage);
    }
  });

  it('knows that a connection over TLS is secure', async (t) => {
    let secure;
    const server = https.createServer(certificates.server);
    const wss = new WebSocket.Server({
      server,
      verifyClient(info) {
        secure = info.secure;
        return true;
      }
    });
    await openHttpServer(t, server);
    const url = `wss://localhost:${wss.address().port}`;
    await once(startClient(t, url, { ca: certificates.authority }), 'open');

    assert.strictEqual(secure, true);
  });

  it('is asked after the handshake was found to be in order, and once', async (t) => {
    let asked = 0;
    const wss = await openServer(t, { path: '/', verifyClient: () => ++asked });
    await refusalTo(t, wss, handshakeRequest({ path: '/other' }));
    await refusalTo(t, wss, handshakeRequest({ headers: { 'Sec-WebSocket-Key': 'short' } }));
    assert.strictEqual(asked, 0);
    await connectRaw(t, wss);
    assert.strictEqual(asked, 1);
  });
});

describe('verifyClient with two parameters', () => {
  it('may accept at once or later', async (t) => {
    for (const later of [(call) => call(), setImmediate]) {
      const wss = await openServer(t, {
        verifyClient: (info, callback) => later(() => callback(true))
      });
      await connectRaw(t, wss);
    }
  });

  it('may refuse with a status, a text and headers', async (t) => {
    for (const [args, expected] of [
      [[false], refusal('401 Unauthorized', 'Unauthorized')],
      [[false, 404], refusal('404 Not Found', 'Not Found')],
      [[false, 403, 'nöt you'], refusal('403 Forbidden', 'nöt you')],
      [
        [false, 503, 'later', { 'Retry-After': 120 }],
        refusal('503 Service Unavailable', 'later', 'Retry-After: 120')
      ]
    ]) {
      const wss = await openServer(t, {
        verifyClient: (info, callback) => setImmediate(callback, ...args)
      });
      wss.on('connection', () => assert.fail());
      assert.strictEqual(await refusalTo(t, wss, handshakeRequest()), expected);
    }
  });

  it('lets headers of the refusal replace the usual ones', async (t) => {
    const headers = { 'Content-Type': 'application/json' };
    const wss = await openServer(t, {
      verifyClient: (info, callback) => callback(false, 400, '{}', headers)
    });

    assert.strictEqual(
      await refusalTo(t, wss, handshakeRequest()),
      'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n' +
        'Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'
    );
  });

  it('keeps the messages that come before it accepts', async (t) => {
    let accept;
    const wss = await openServer(t, { verifyClient: (info, callback) => (accept = callback) });
    const received = new Promise((resolve) => {
      wss.on('connection', (ws) => ws.on('message', (data) => resolve(String(data))));
    });
    const connecting = connectRaw(t, wss, { follow: maskedFrame({ payload: 'impatient' }) });
    while (!accept) await new Promise((resolve) => setImmediate(resolve));
    accept(true);
    await connecting;

    assert.strictEqual(await received, 'impatient');
  });

  it('may accept a client that is gone, without effect', async (t) => {
    const server = await openHttpServer(t);
    const asked = [];
    const wss = new WebSocket.Server({
      server,
      verifyClient: (info, callback) => asked.push({ socket: info.req.socket, callback })
    });
    wss.on('connection', () => assert.fail());
    const peer = dial(t, server);
    peer.write(handshakeRequest());
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [{ socket, callback }] = asked;
    peer.resetAndDestroy();
    socket.resume();
    if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
    callback(true);

    assert.strictEqual(wss.clients.size, 0);
  });

  it('may accept when the server is closing, which refuses then', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({
      server,
      verifyClient(info, callback) {
        wss.close();
        callback(true);
      }
    });

    assert.strictEqual(
      await refusalTo(t, server, handshakeRequest()),
      refusal('503 Service Unavailable', 'Service Unavailable')
    );
  });
});

describe('verifyClient and the socket', () => {
  it('leaves the request untouched, so that cookies and tokens can be read later', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({
      server,
      verifyClient({ req }) {
        req.user = req.headers.cookie;
        return true;
      }
    });
    const connected = once(wss, 'connection');
    await connectRaw(t, server, { headers: { Cookie: 'user=ada' } });
    const [ws, request] = await connected;
    terminateAfter(t, ws);

    assert.strictEqual(request.user, 'user=ada');
  });
});
