'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const {
  openHttpServer,
  openPair,
  openServer,
  startClient,
  terminateAfter,
  urlOf
} = require('./support/pair.js');
const { refusalTo } = require('./support/raw-peer.js');

describe('the constructor of a server', () => {
  const server = http.createServer();
  const refused = [
    undefined,
    {},
    { port: null },
    { port: undefined, server: null, noServer: false },
    { port: 0, server },
    { port: 0, noServer: true },
    { server, noServer: true },
    { port: 0, server, noServer: true }
  ];

  for (const options of refused) {
    const keys = options && Object.keys(options).join(', ');
    it(`throws unless it is told one way to get connections, as with ${keys || options}`, () => {
      assert.throws(() => new WebSocket.Server(options), {
        name: 'TypeError',
        message: 'One and only one of the "port", "server", or "noServer" options must be specified'
      });
    });
  }

  it('is to be called with new', () => {
    assert.throws(() => WebSocket.Server({ noServer: true }), TypeError);
  });
});

describe('a server with a port', () => {
  it('calls its callback when it listens, as it emits listening', async (t) => {
    const events = [];
    await new Promise((resolve) => {
      const wss = new WebSocket.Server({ port: 0 }, () => {
        events.push('callback');
        setImmediate(resolve);
      });
      wss.on('listening', () => events.push('event'));
      t.after(() => wss.close());
    });

    assert.deepStrictEqual(events.sort(), ['callback', 'event']);
  });

  it('has an address', async (t) => {
    const wss = await openServer(t, { host: '127.0.0.1' });
    const { address, family, port } = wss.address();

    assert.strictEqual(address, '127.0.0.1');
    assert.ok(family === 'IPv4' || family === 4);
    assert.ok(port > 0);
  });

  it('listens on every address if no host is given', async (t) => {
    const wss = new WebSocket.Server({ port: 0 });
    t.after(() => wss.close());
    await once(wss, 'listening');

    assert.ok(['::', '0.0.0.0'].includes(wss.address().address));
  });

  it('emits error if the port is taken', async (t) => {
    const taken = await openHttpServer(t);
    const { port } = taken.address();
    const wss = new WebSocket.Server({ host: '127.0.0.1', port });
    const error = await new Promise((resolve) => wss.on('error', resolve));

    assert.strictEqual(error.code, 'EADDRINUSE');
  });

  it('passes backlog on to listen', (t) => {
    const listen = t.mock.method(net.Server.prototype, 'listen', function stub() {
      return this;
    });
    new WebSocket.Server({ port: 0, host: 'localhost', backlog: 7 });
    const args = listen.mock.calls[0].arguments;

    assert.deepStrictEqual(args.slice(0, 3), [0, 'localhost', 7]);
  });

  it('tells a plain HTTP request to upgrade', async (t) => {
    const wss = await openServer(t);
    const answer = await refusalTo(
      t,
      wss,
      'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
    );

    assert.strictEqual(
      answer.replace(/^Date: .*\r\n/m, ''),
      [
        'HTTP/1.1 426 Upgrade Required',
        'Content-Length: 16',
        'Content-Type: text/plain',
        'Connection: close',
        '',
        'Upgrade Required'
      ].join('\r\n')
    );
  });

  it('answers 400 to what is no HTTP', async (t) => {
    const wss = await openServer(t);
    assert.match(await refusalTo(t, wss, 'GARBAGE\r\n\r\n'), /^HTTP\/1\.1 400 Bad Request\r\n/);
  });
});

describe('a server with an HTTP server', () => {
  it('upgrades its connections and leaves other requests to it', async (t) => {
    const server = await openHttpServer(
      t,
      http.createServer((request, response) => response.end('a page'))
    );
    const wss = new WebSocket.Server({ server });
    const client = startClient(t, urlOf(server));
    await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    const response = await new Promise((resolve) => {
      http.get({ host: '127.0.0.1', port: server.address().port, agent: false }, resolve);
    });

    assert.strictEqual(Buffer.concat(await response.toArray()).toString(), 'a page');
  });

  it('passes on its listening and its error events', async (t) => {
    const server = http.createServer();
    const wss = new WebSocket.Server({ server });
    const listening = once(wss, 'listening');
    await openHttpServer(t, server);
    await listening;

    const error = new Error('from the HTTP server');
    const reported = new Promise((resolve) => wss.on('error', resolve));
    server.emit('error', error);
    assert.strictEqual(await reported, error);
  });

  it('has its address, null before it listens', async (t) => {
    const server = http.createServer();
    const wss = new WebSocket.Server({ server });
    assert.strictEqual(wss.address(), null);
    await openHttpServer(t, server);

    assert.deepStrictEqual(wss.address(), server.address());
  });

  it('does not call the callback of its constructor', async (t) => {
    const server = await openHttpServer(t);
    new WebSocket.Server({ server }, () => assert.fail('it is for the port option'));
    await new Promise((resolve) => setImmediate(resolve));
  });
});

describe('a server without a server', () => {
  it('has no address', () => {
    assert.throws(() => new WebSocket.Server({ noServer: true }).address(), {
      name: 'Error',
      message: 'The server is operating in "noServer" mode'
    });
  });

  it('takes the connections it is given', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws, ...args) => {
        terminateAfter(t, ws);
        assert.deepStrictEqual(args, [request]);
        ws.send(`hello ${request.url}`);
      });
    });
    const client = startClient(t, urlOf(server, '/chat'));

    assert.strictEqual(String((await once(client, 'message'))[0]), 'hello /chat');
  });

  it('emits no connection event of its own', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    wss.on('connection', () => assert.fail());
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws) => terminateAfter(t, ws));
    });

    await once(startClient(t, urlOf(server)), 'open');
  });
});

describe('the options of a server', () => {
  it('can be read, with their defaults', () => {
    assert.deepStrictEqual(new WebSocket.Server({ noServer: true }).options, {
      allowSynchronousEvents: true,
      autoPong: true,
      backlog: null,
      clientTracking: true,
      closeTimeout: 30_000,
      handleProtocols: null,
      host: null,
      maxBufferedChunks: 262_144,
      maxFragments: 16_384,
      maxPayload: 104_857_600,
      maxPendingAutoPongs: 60,
      noServer: true,
      path: null,
      perMessageDeflate: false,
      port: null,
      server: null,
      skipUTF8Validation: false,
      verifyClient: null,
      WebSocket
    });
  });

  it('keep what is not known', () => {
    const wss = new WebSocket.Server({ noServer: true, mine: 1 });
    assert.strictEqual(wss.options.mine, 1);
  });

  it('are a copy: those of the caller are not changed', () => {
    const options = Object.freeze({ noServer: true, perMessageDeflate: true });
    const wss = new WebSocket.Server(options);
    assert.deepStrictEqual(wss.options.perMessageDeflate, {});
    assert.strictEqual(options.perMessageDeflate, true);
  });

  it('may name another class for the connections', async (t) => {
    class Mine extends WebSocket {
      constructor(...args) {
        super(...args);
        this.constructedWith = args;
      }

      get shout() {
        return (text) => this.send(text.toUpperCase());
      }
    }

    const { wss, client, server } = await openPair(t, { server: { WebSocket: Mine } });
    assert.ok(server instanceof Mine);
    assert.deepStrictEqual(server.constructedWith, [null, undefined, wss.options]);
    server.shout('hello');
    assert.strictEqual(String((await once(client, 'message'))[0]), 'HELLO');
  });
});

describe('clients', () => {
  it('is a Set of the open connections', async (t) => {
    const wss = await openServer(t);
    assert.deepStrictEqual(wss.clients, new Set());
    const seen = [];
    wss.on('connection', (ws) => seen.push(wss.clients.has(ws)));
    const clients = [startClient(t, urlOf(wss)), startClient(t, urlOf(wss))];
    await Promise.all(clients.map((client) => once(client, 'open')));

    assert.ok(wss.clients instanceof Set);
    assert.strictEqual(wss.clients.size, 2);
    assert.deepStrictEqual(seen, [true, true]);
  });

  it('loses a connection when it closes, however it does, before its close listeners run', async (t) => {
    for (const end of [
      (pair) => pair.client.close(),
      (pair) => pair.client.terminate(),
      (pair) => pair.server.close(),
      (pair) => pair.server.terminate()
    ]) {
      const pair = await openPair(t);
      const sizes = [];
      pair.server.on('close', () => sizes.push(pair.wss.clients.size));
      end(pair);
      await once(pair.server, 'close');
      assert.deepStrictEqual(sizes, [0]);
    }
  });

  it('may be iterated while its connections are terminated', async (t) => {
    const wss = await openServer(t);
    const clients = Array.from({ length: 5 }, () => startClient(t, urlOf(wss)));
    await Promise.all(clients.map((client) => once(client, 'open')));
    const closed = Promise.all(clients.map((client) => once(client, 'close')));
    for (const ws of wss.clients) ws.terminate();
    await closed;

    assert.strictEqual(wss.clients.size, 0);
  });

  it('does not exist if clientTracking is off', async (t) => {
    const { wss } = await openPair(t, { server: { clientTracking: false } });
    assert.strictEqual(wss.clients, undefined);
  });
});
