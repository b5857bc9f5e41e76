'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const {
  failureOf,
  logEvents,
  openHttpServer,
  openPair,
  openServer,
  startClient,
  terminateAfter,
  turn,
  urlOf
} = require('./support/pair.js');

describe('close() of a server with a port', () => {
  it('calls back and emits close, when the port is free again', async (t) => {
    const wss = await openServer(t);
    const log = logEvents(wss, ['close']);
    const { port } = wss.address();
    const error = await new Promise((resolve) => wss.close(resolve));

    assert.strictEqual(error, undefined);
    assert.deepStrictEqual(log, ['close']);
    const next = new WebSocket.Server({ host: '127.0.0.1', port });
    await once(next, 'listening');
    next.close();
  });

  it('does so later, not while it is called', async (t) => {
    const wss = await openServer(t);
    const log = logEvents(wss, ['close']);
    const closed = once(wss, 'close');
    wss.close();
    assert.deepStrictEqual(log, []);
    await closed;
  });

  it('leaves open connections open, and waits for them', async (t) => {
    const { wss, client, server } = await openPair(t);
    const log = logEvents(wss, ['close']);
    const closed = once(wss, 'close');
    wss.close();
    client.send('still here');
    assert.strictEqual(String((await once(server, 'message'))[0]), 'still here');
    assert.deepStrictEqual(log, []);
    client.close();
    await closed;
  });

  it('refuses new connections', async (t) => {
    const { wss } = await openPair(t);
    const url = urlOf(wss);
    wss.close();

    assert.strictEqual((await failureOf(startClient(t, url))).error.code, 'ECONNREFUSED');
  });

  it('has no address any more', async (t) => {
    const wss = await openServer(t);
    wss.close();
    assert.strictEqual(wss.address(), null);
    await once(wss, 'close');
    assert.strictEqual(wss.address(), null);
  });

  it('works before the server listens', async () => {
    const wss = new WebSocket.Server({ port: 0 });
    await new Promise((resolve) => wss.close(resolve));
  });

  it('waits for connections also if they are not tracked', async (t) => {
    const { wss, client } = await openPair(t, { server: { clientTracking: false } });
    const log = logEvents(wss, ['close']);
    const closed = once(wss, 'close');
    wss.close();
    for (let i = 0; i < 10; i++) await turn();
    assert.deepStrictEqual(log, []);
    client.close();
    await closed;
  });
});

describe('close() called again', () => {
  it('while the server closes, calls back all the same, without an error', async (t) => {
    const wss = await openServer(t);
    const results = [];
    await Promise.all(
      [1, 2, 3].map(
        () => new Promise((resolve) => wss.close((error) => resolve(results.push(error))))
      )
    );

    assert.deepStrictEqual(results, [undefined, undefined, undefined]);
  });

  it('when it is closed, calls back with an error and emits close again', async (t) => {
    const servers = [await openServer(t), new WebSocket.Server({ noServer: true })];
    for (const wss of servers) {
      await new Promise((resolve) => wss.close(resolve));
      const log = logEvents(wss, ['close']);
      const error = await new Promise((resolve) => wss.close(resolve));

      assert.ok(error instanceof Error);
      assert.strictEqual(error.message, 'The server is not running');
      assert.deepStrictEqual(log, ['close']);

      const closed = once(wss, 'close');
      wss.close();
      await closed;
    }
  });
});

describe('close() of a server with an HTTP server', () => {
  it('leaves that running, without listeners of its own', async (t) => {
    const server = await openHttpServer(
      t,
      http.createServer((request, response) => response.end())
    );
    const events = ['listening', 'error', 'upgrade'];
    const before = events.map((event) => server.listenerCount(event));
    const wss = new WebSocket.Server({ server });
    assert.deepStrictEqual(
      events.map((event) => server.listenerCount(event)),
      before.map((count) => count + 1)
    );
    await new Promise((resolve) => wss.close(resolve));

    assert.deepStrictEqual(
      events.map((event) => server.listenerCount(event)),
      before
    );
    assert.strictEqual(server.listening, true);
    assert.strictEqual(wss.address(), null);
  });

  it('waits for the connections that are tracked', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ server });
    const clients = [startClient(t, urlOf(server)), startClient(t, urlOf(server))];
    await Promise.all(clients.map((client) => once(client, 'open')));
    while (wss.clients.size < 2) await turn();
    const log = logEvents(wss, ['close']);
    const closed = once(wss, 'close');
    wss.close();
    clients[0].close();
    await once(clients[0], 'close');
    assert.deepStrictEqual(log, []);
    clients[1].terminate();
    await closed;

    assert.strictEqual(wss.clients.size, 0);
  });

  it('waits for none if they are not tracked', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ server, clientTracking: false });
    const client = startClient(t, urlOf(server));
    const [[ws]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    terminateAfter(t, ws);
    await new Promise((resolve) => wss.close(resolve));

    assert.strictEqual(client.readyState, WebSocket.OPEN);
    assert.strictEqual(ws.readyState, WebSocket.OPEN);
  });

  it('leaves it to the next server to answer', async (t) => {
    const server = await openHttpServer(t);
    const first = new WebSocket.Server({ server });
    await new Promise((resolve) => first.close(resolve));
    const second = new WebSocket.Server({ server });
    second.on('connection', (ws) => {
      terminateAfter(t, ws);
      ws.send('second');
    });

    const [data] = await once(startClient(t, urlOf(server)), 'message');
    assert.strictEqual(String(data), 'second');
  });
});

describe('close() of a server without a server', () => {
  it('calls back in the next tick if there is no connection', async () => {
    for (const clientTracking of [true, false]) {
      const wss = new WebSocket.Server({ noServer: true, clientTracking });
      const order = [];
      await new Promise((resolve) => {
        wss.close(() => resolve(order.push('closed')));
        order.push('returned');
      });
      assert.deepStrictEqual(order, ['returned', 'closed']);
    }
  });

  it('waits for its connections', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocket.Server({ noServer: true });
    const upgraded = new Promise((resolve) => {
      server.on('upgrade', (...args) => wss.handleUpgrade(...args, resolve));
    });
    const client = startClient(t, urlOf(server));
    const [ws] = await Promise.all([upgraded, once(client, 'open')]);
    terminateAfter(t, ws);
    const order = [];
    ws.on('close', () => order.push('connection'));
    const closed = new Promise((resolve) => wss.close(() => resolve(order.push('server'))));
    client.close();
    await closed;

    assert.deepStrictEqual(order, ['connection', 'server']);
  });
});

describe('close() and the process', () => {
  it('lets it end when the last connection is closed', async (t) => {
    const { code, stdout } = await runInChild(t, function main(WebSocket) {
      const wss = new WebSocket.Server({ port: 0 }, () => {
        const ws = new WebSocket(`ws://localhost:${wss.address().port}`);
        ws.on('open', () => ws.close(1000));
      });
      wss.on('connection', (ws) => {
        ws.on('close', () => wss.close(() => console.log('closed')));
      });
    });

    assert.strictEqual(stdout, 'closed\n');
    assert.strictEqual(code, 0);
  });
});
