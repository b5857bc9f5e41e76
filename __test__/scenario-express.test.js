'use strict';

const assert = require('node:assert');
const { randomUUID } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { describe, it } = require('node:test');

const express = require('express');

const { WebSocketServer } = require('./support/package.js');
const { openHttpServer, startClient, urlOf } = require('./support/pair.js');

/** The session id in a Cookie header, if it has one. */
function sessionOf(request) {
  return /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1];
}

/**
 * An app where one logs in over HTTP and then, with the cookie got there, connects.
 */
function makeApp() {
  const app = express();
  const sessions = new Map();

  app.use(express.json());
  app.post('/login', (request, response) => {
    const id = randomUUID();
    sessions.set(id, { user: request.body.user });
    response.cookie('session', id, { httpOnly: true }).send({ user: request.body.user });
  });
  app.delete('/logout', (request, response) => {
    const id = sessionOf(request);
    sessions.get(id)?.socket?.close(4000, 'logged out');
    sessions.delete(id);
    response.sendStatus(204);
  });

  return { app, sessions };
}

describe('An Express app', () => {
  it('shares its port and its sessions with a WebSocket server', async (t) => {
    const { app, sessions } = makeApp();
    const server = await openHttpServer(t, http.createServer(app));
    const wss = new WebSocketServer({ noServer: true });
    server.on('upgrade', (request, socket, head) => {
      const session = sessions.get(sessionOf(request));
      if (!session) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
        return;
      }
      wss.handleUpgrade(request, socket, head, (client) => {
        session.socket = client;
        wss.emit('connection', client, request, session);
      });
    });
    wss.on('connection', (socket, _request, session) => {
      socket.on('message', (data) => socket.send(`${session.user}: ${data}`));
    });
    const origin = `http://127.0.0.1:${server.address().port}`;

    const stranger = startClient(t, urlOf(server));
    const [error] = await once(stranger, 'error');
    assert.strictEqual(error.message, 'Unexpected server response: 401');

    const login = await fetch(`${origin}/login`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user: 'ox' })
    });
    assert.deepStrictEqual(await login.json(), { user: 'ox' });
    const cookie = login.headers.get('set-cookie').split(';')[0];

    const client = startClient(t, urlOf(server), { headers: { cookie } });
    await once(client, 'open');
    client.send('hello');
    const [answer] = await once(client, 'message');
    assert.strictEqual(answer.toString(), 'ox: hello');

    const closed = once(client, 'close');
    const logout = await fetch(`${origin}/logout`, { method: 'DELETE', headers: { cookie } });
    const [code, reason] = await closed;
    assert.strictEqual(logout.status, 204);
    assert.deepStrictEqual([code, reason.toString()], [4000, 'logged out']);
  });

  it('serves its routes with a WebSocket server given its HTTP server', async (t) => {
    const app = express();
    const server = await openHttpServer(t, http.createServer(app));
    const wss = new WebSocketServer({ server, path: '/live' });
    app.get('/count', (_request, response) => response.json(wss.clients.size));
    const count = async () =>
      (await fetch(`http://127.0.0.1:${server.address().port}/count`)).json();

    assert.strictEqual(await count(), 0);
    const client = startClient(t, urlOf(server, '/live'));
    await once(client, 'open');
    assert.strictEqual(await count(), 1);
  });
});
