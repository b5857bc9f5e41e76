'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { duplexPair } = require('./support/duplex-pair.js');
const { FrameReader } = require('./support/frame-reader.js');
const { OPCODE, closePayload, maskedFrame } = require('./support/frames.js');
const {
  collect,
  openHttpServer,
  openServer,
  startClient,
  terminateAfter,
  urlOf
} = require('./support/pair.js');
const {
  KEY,
  acceptOf,
  connectRaw,
  dial,
  handshakeRequest,
  refusalTo
} = require('./support/raw-peer.js');

/** A refusal, byte for byte. */
const refusal = (status, body, ...headers) =>
  [
    `HTTP/1.1 ${status}`,
    'Connection: close',
    'Content-Type: text/html',
    `Content-Length: ${body.length}`,
    ...headers,
    '',
    body
  ].join('\r\n');

const version = 'Sec-WebSocket-Version: 13, 8';
const badVersion = ['400 Bad Request', 'Missing or invalid Sec-WebSocket-Version header', version];
const badKey = ['400 Bad Request', 'Missing or invalid Sec-WebSocket-Key header'];
const badProtocol = ['400 Bad Request', 'Invalid Sec-WebSocket-Protocol header'];
const badExtensions = [
  '400 Bad Request',
  'Invalid or unacceptable Sec-WebSocket-Extensions header'
];

/** Handshakes that are refused: what is wrong, the request, and the refusal. */
const REFUSED = [
  ['another method', { method: 'POST' }, ['405 Method Not Allowed', 'Invalid HTTP method']],
  [
    'another protocol to upgrade to',
    { headers: { Upgrade: 'h2c' } },
    ['400 Bad Request', 'Invalid Upgrade header']
  ],
  ['no key', { headers: { 'Sec-WebSocket-Key': null } }, badKey],
  ['a key that is not 16 bytes', { headers: { 'Sec-WebSocket-Key': 'P5l8BJcZwRc=' } }, badKey],
  ['a key that is no base64', { headers: { 'Sec-WebSocket-Key': `${'!'.repeat(22)}==` } }, badKey],
  ['no version', { headers: { 'Sec-WebSocket-Version': null } }, badVersion],
  ['a version of the future', { headers: { 'Sec-WebSocket-Version': '14' } }, badVersion],
  ['a version that is no number', { headers: { 'Sec-WebSocket-Version': 'x' } }, badVersion],
  ['a subprotocol twice', { headers: { 'Sec-WebSocket-Protocol': 'a,b,a' } }, badProtocol],
  ['a subprotocol that is no token', { headers: { 'Sec-WebSocket-Protocol': 'a,;' } }, badProtocol],
  ['an empty subprotocol', { headers: { 'Sec-WebSocket-Protocol': '' } }, badProtocol],
  [
    'extensions out of shape',
    { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; ;' } },
    badExtensions
  ],
  [
    'parameters it cannot accept',
    { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_max_window_bits=16' } },
    badExtensions
  ],
  ['another path', { path: '/other' }, ['400 Bad Request', 'Bad Request']]
];

describe('a handshake', () => {
  it('is answered in exactly these bytes', async (t) => {
    const wss = await openServer(t);
    const { response } = await connectRaw(t, wss);

    assert.strictEqual(
      response,
      'HTTP/1.1 101 Switching Protocols\r\n' +
        'Upgrade: websocket\r\n' +
        'Connection: Upgrade\r\n' +
        'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n' +
        '\r\n'
    );
  });

  it('may use version 8 and an Upgrade header in any case', async (t) => {
    const wss = await openServer(t);
    await connectRaw(t, wss, { headers: { 'Sec-WebSocket-Version': '8', Upgrade: 'WebSocket' } });
  });

  for (const [what, request, [status, body, ...headers]] of REFUSED) {
    it(`is refused with ${status.slice(0, 3)} for ${what}`, async (t) => {
      const wss = await openServer(t, { path: '/', perMessageDeflate: true });
      wss.on('connection', () => assert.fail());
      const answer = await refusalTo(t, wss, handshakeRequest(request));

      assert.strictEqual(answer, refusal(status, body, ...headers));
    });
  }

  it('is refused, and without a crash, if its Upgrade header is one too many', async (t) => {
    const server = http.createServer();
    server.maxHeadersCount = 5;
    const wss = new WebSocket.Server({ server });
    wss.on('connection', () => assert.fail());
    await openHttpServer(t, server);
    const padding = Array.from({ length: 10 }, (_, index) => `X-${index}: 1\r\n`).join('');
    const request = handshakeRequest().replace('\r\n', `\r\n${padding}`);
    const answer = await refusalTo(t, server, request);

    // Newer versions of Node refuse it themselves.
    if (!answer.startsWith('HTTP/1.1 431 ')) {
      assert.strictEqual(answer, refusal('400 Bad Request', 'Invalid Upgrade header'));
    }
  });

  it('that is refused does not let the client keep the connection', async (t) => {
    const wss = await openServer(t, { path: '/chat' });
    const { port } = wss.address();
    const peer = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    t.after(() => peer.destroy());
    peer.resume();
    peer.write(handshakeRequest({ path: '/other' }));
    await once(peer, 'end');
    assert.strictEqual(peer.writable, true);

    // It calls back when the last connection is gone.
    await new Promise((resolve) => wss.close(resolve));
  });

  it('may offer extensions that nobody knows, whatever their names', async (t) => {
    for (const name of [
      'foo; bar=1',
      'constructor',
      '__proto__; toString',
      'x-webkit-deflate-frame'
    ]) {
      const wss = await openServer(t, { perMessageDeflate: true });
      const connected = once(wss, 'connection');
      const { response } = await connectRaw(t, wss, {
        headers: { 'Sec-WebSocket-Extensions': name }
      });
      const [ws] = await connected;

      assert.doesNotMatch(response, /Extensions/);
      assert.strictEqual(ws.extensions, '');
    }
  });

  it('may come with the first messages in the same packet', async (t) => {
    const wss = await openServer(t);
    const received = new Promise((resolve) => {
      wss.on('connection', (ws) => resolve(collect(ws, 'message', 2)));
    });
    const follow = Buffer.concat(['one', 'two'].map((payload) => maskedFrame({ payload })));
    await connectRaw(t, wss, { follow });

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['one', 'two']
    );
  });

  it('is dropped if the client gives up before it is answered', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    wss.on('connection', () => assert.fail());
    const peer = dial(t, server);
    peer.write(handshakeRequest());
    const [request, socket, head] = await once(server, 'upgrade');
    peer.end();
    socket.resume();
    await once(socket, 'end');
    wss.handleUpgrade(request, socket, head, () => assert.fail());

    assert.strictEqual(socket.destroyed, true);
  });
});

describe('shouldHandle()', () => {
  it('compares the path, without the query', () => {
    const wss = new WebSocket.Server({ noServer: true, path: '/chat' });
    for (const [url, expected] of [
      ['/chat', true],
      ['/chat?room=1', true],
      ['/chat?', true],
      ['/chat/', false],
      ['/Chat', false],
      ['/', false],
      ['/?/chat', false]
    ]) {
      assert.strictEqual(wss.shouldHandle({ url }), expected, url);
    }
  });

  it('says yes to every path if the server has none', () => {
    const wss = new WebSocket.Server({ noServer: true });
    assert.strictEqual(wss.shouldHandle({ url: '/anything' }), true);
  });

  it('may be overridden in a subclass', async (t) => {
    class OnlyV1 extends WebSocket.Server {
      shouldHandle(request) {
        return request.headers['x-version'] === '1';
      }
    }
    const server = await openHttpServer(t);
    const wss = new OnlyV1({ server });
    wss.on('connection', (ws) => terminateAfter(t, ws));

    assert.strictEqual(
      await refusalTo(t, server, handshakeRequest()),
      refusal('400 Bad Request', 'Bad Request')
    );
    await connectRaw(t, server, { headers: { 'X-Version': '1' } });
  });
});

describe("the 'wsClientError' event", () => {
  it('leaves the answer to its listener', async (t) => {
    for (const [what, request, [, message]] of REFUSED.slice(0, -1)) {
      const wss = await openServer(t, { perMessageDeflate: true });
      const errors = [];
      wss.on('wsClientError', (error, socket, { url }) => {
        errors.push([error instanceof Error, error.message, url]);
        socket.end('HTTP/1.1 418 Teapot\r\nConnection: close\r\n\r\n');
      });
      const answer = await refusalTo(t, wss, handshakeRequest({ path: '/tea', ...request }));

      assert.match(answer, /^HTTP\/1\.1 418 Teapot\r\n/, what);
      assert.deepStrictEqual(errors, [[true, message, '/tea']]);
    }
  });

  it('has no part in what the server decides, as the path', async (t) => {
    const wss = await openServer(t, { path: '/chat' });
    wss.on('wsClientError', () => assert.fail());

    assert.strictEqual(
      await refusalTo(t, wss, handshakeRequest({ path: '/other' })),
      refusal('400 Bad Request', 'Bad Request')
    );
  });
});

describe("the 'headers' event", () => {
  it('gives the lines of the answer to read and to change, before they are sent', async (t) => {
    const wss = await openServer(t);
    const given = [];
    wss.on('headers', (headers, request) => {
      given.push([...headers]);
      headers.push(`Set-Cookie: path=${request.url}`);
    });
    const { response } = await connectRaw(t, wss, {
      path: '/chat',
      headers: { 'Sec-WebSocket-Protocol': 'v1' }
    });

    assert.deepStrictEqual(given, [
      [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${acceptOf(KEY)}`,
        'Sec-WebSocket-Protocol: v1'
      ]
    ]);
    assert.match(response, /\r\nSet-Cookie: path=\/chat\r\n\r\n$/);
  });
});

describe("the 'connection' event", () => {
  it('has the connection and the request, whose socket it is', async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    await connectRaw(t, wss, { path: '/chat?room=1', headers: { Cookie: 'a=b' } });
    const [ws, request, ...others] = await connected;

    assert.ok(ws instanceof WebSocket);
    assert.ok(request instanceof http.IncomingMessage);
    assert.strictEqual(request.url, '/chat?room=1');
    assert.strictEqual(request.headers.cookie, 'a=b');
    assert.strictEqual(request.socket, ws._socket);
    assert.strictEqual(request.socket.remoteAddress, '127.0.0.1');
    assert.deepStrictEqual(others, []);
  });
});

describe('handleProtocols', () => {
  /** What a server with that function answers to a client that asks for a, b and c. */
  async function chosen(t, handleProtocols) {
    const wss = await openServer(t, { handleProtocols });
    const connected = once(wss, 'connection');
    const { response } = await connectRaw(t, wss, {
      headers: { 'Sec-WebSocket-Protocol': 'a, b ,c' }
    });
    const [ws, request] = await connected;
    return { header: /Protocol: (.*)\r/.exec(response)?.[1], protocol: ws.protocol, request };
  }

  it('chooses among the subprotocols of the client', async (t) => {
    let given;
    const { header, protocol, request } = await chosen(t, (...args) => {
      given = args;
      return 'b';
    });

    assert.strictEqual(header, 'b');
    assert.strictEqual(protocol, 'b');
    assert.deepStrictEqual(given[0], new Set(['a', 'b', 'c']));
    assert.strictEqual(given[1], request);
  });

  it('may choose none', async (t) => {
    for (const nothing of [false, undefined, null, '']) {
      const { header, protocol } = await chosen(t, () => nothing);
      assert.strictEqual(header, undefined);
      assert.strictEqual(protocol, '');
    }
  });

  it('is the first one if it is not set', async (t) => {
    const { header, protocol } = await chosen(t, undefined);
    assert.strictEqual(header, 'a');
    assert.strictEqual(protocol, 'a');
  });

  it('is not asked if the client wants none', async (t) => {
    const wss = await openServer(t, { handleProtocols: () => assert.fail() });
    const { response } = await connectRaw(t, wss);
    assert.doesNotMatch(response, /Protocol:/);
  });
});

describe('handleUpgrade()', () => {
  it('gives a connection that was reset before its answer no messages', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    const peer = dial(t, server);
    peer.write(Buffer.concat([Buffer.from(handshakeRequest()), maskedFrame({ payload: 'x' })]));
    const [request, socket, head] = await once(server, 'upgrade');
    assert.ok(head.length > 0);
    peer.resetAndDestroy();
    await once(peer, 'close');

    const received = t.mock.fn();
    const ws = await new Promise((resolve) => {
      wss.handleUpgrade(request, socket, head, (it) => resolve(it.on('message', received)));
    });
    const [code] = await once(ws, 'close');
    assert.strictEqual(code, 1006);
    assert.strictEqual(received.mock.callCount(), 0);
  });

  const request = () => ({
    method: 'GET',
    url: '/',
    headers: {
      upgrade: 'websocket',
      'sec-websocket-key': KEY,
      'sec-websocket-version': '13'
    }
  });

  it('works over any Duplex', async () => {
    const [near, far] = duplexPair();
    const wss = new WebSocket.Server({ noServer: true });
    const upgraded = new Promise((resolve) => {
      wss.handleUpgrade(request(), near, Buffer.alloc(0), resolve);
    });
    const [answer] = await once(far, 'data');
    assert.match(String(answer), /^HTTP\/1\.1 101 /);
    const ws = await upgraded;
    const frames = new FrameReader(far);

    const received = once(ws, 'message');
    far.write(maskedFrame({ payload: 'to the server' }));
    assert.strictEqual(String((await received)[0]), 'to the server');
    ws.send('to the client');
    assert.strictEqual((await frames.next()).payload.toString(), 'to the client');
    ws.send(Buffer.alloc(100_000, 'large'));
    assert.ok((await frames.next()).payload.equals(Buffer.alloc(100_000, 'large')));
    const closed = once(ws, 'close');
    ws.close(1000);
    assert.strictEqual((await frames.next()).opcode, OPCODE.CLOSE);
    far.on('end', () => far.end());
    far.write(maskedFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) }));
    assert.deepStrictEqual(await closed, [1000, Buffer.alloc(0)]);
  });

  it('calls its callback before it returns', () => {
    const [near] = duplexPair();
    const wss = new WebSocket.Server({ noServer: true });
    const order = [];
    wss.handleUpgrade(request(), near, Buffer.alloc(0), () => order.push('callback'));
    order.push('returned');

    assert.deepStrictEqual(order, ['callback', 'returned']);
  });

  it('throws if the socket was upgraded before', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ server });
    const other = new WebSocket.Server({ noServer: true });
    wss.on('connection', (ws) => terminateAfter(t, ws));
    const thrown = new Promise((resolve) => {
      server.on('upgrade', (...args) => {
        try {
          other.handleUpgrade(...args, () => assert.fail());
        } catch (error) {
          resolve(error);
        }
      });
    });
    startClient(t, urlOf(server));

    assert.strictEqual(
      (await thrown).message,
      'server.handleUpgrade() was called more than once with the same socket, ' +
        'possibly due to a misconfiguration'
    );
  });

  it('refuses with 503 when the server is closing', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    server.on('upgrade', (...args) => wss.handleUpgrade(...args, () => assert.fail()));
    wss.close();
    const expected = refusal('503 Service Unavailable', 'Service Unavailable');

    assert.strictEqual(await refusalTo(t, server, handshakeRequest()), expected);
  });

  it('survives a socket that fails during the handshake', async (t) => {
    const server = await openHttpServer(t);
    let accept;
    const wss = new WebSocket.Server({
      noServer: true,
      verifyClient: (info, callback) => (accept = callback)
    });
    server.on('upgrade', (...args) => wss.handleUpgrade(...args, () => assert.fail()));
    const peer = dial(t, server);
    peer.write(handshakeRequest());
    const [, socket] = await once(server, 'upgrade');
    socket.resume();
    const closed = once(socket, 'close').catch(() => {});
    socket.destroy(new Error('cable cut'));
    await closed;
    accept(true);
  });
});
