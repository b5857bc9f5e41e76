'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const { WebSocketServer } = require('./support/package.js');
const { openHttpServer, startClient, urlOf } = require('./support/pair.js');

const USERS = new Map([['key-of-ada', 'ada']]);

/** Looks a key up, in its own time, as a database would. */
function authenticate(request, callback) {
  const user = USERS.get(request.headers.authorization?.replace('Bearer ', ''));
  setImmediate(() => (user ? callback(null, user) : callback(new Error('Unknown key'))));
}

/** An HTTP server that lets in who has a key, and answers others by itself. */
async function openGuardedServer(t) {
  const server = await openHttpServer(t);
  const wss = new WebSocketServer({ noServer: true });

  server.on('upgrade', (request, socket, head) => {
    const onError = (error) => socket.destroy(error);
    socket.on('error', onError);
    authenticate(request, (error, user) => {
      if (error) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n');
        return;
      }
      socket.removeListener('error', onError);
      wss.handleUpgrade(request, socket, head, (client) => {
        wss.emit('connection', client, request, user);
      });
    });
  });
  return { server, wss };
}

describe("Authentication in the 'upgrade' event", () => {
  it('passes who the client is on to the connection', async (t) => {
    const { server, wss } = await openGuardedServer(t);
    wss.on('connection', (socket, request, user) => {
      socket.on('message', (data) => socket.send(`${user}@${request.url}: ${data}`));
    });

    const client = startClient(t, urlOf(server, '/desk'), {
      headers: { authorization: 'Bearer key-of-ada' }
    });
    await once(client, 'open');
    client.send('hello');
    const [answer] = await once(client, 'message');

    assert.strictEqual(answer.toString(), 'ada@/desk: hello');
  });

  it('refuses a client with an HTTP answer that the client can read', async (t) => {
    const { server, wss } = await openGuardedServer(t);
    wss.on('connection', () => assert.fail('a stranger came in'));

    const client = startClient(t, urlOf(server), { headers: { authorization: 'Bearer guess' } });
    const [request, response] = await once(client, 'unexpected-response');
    request.destroy();

    assert.strictEqual(response.statusCode, 401);
    assert.strictEqual(response.headers['www-authenticate'], 'Bearer');
    assert.strictEqual(wss.clients.size, 0);
  });

  it('takes what the client sends before it is let in', async (t) => {
    const { server, wss } = await openGuardedServer(t);
    const received = new Promise((resolve) => {
      wss.on('connection', (socket) => socket.on('message', (data) => resolve(data.toString())));
    });

    const client = startClient(t, urlOf(server), {
      headers: { authorization: 'Bearer key-of-ada' }
    });
    client.on('open', () => client.send('first thing'));

    assert.strictEqual(await received, 'first thing');
  });

  it('knows a user by the name and password in the address', async (t) => {
    const server = await openHttpServer(t);
    const wss = new WebSocketServer({ server });
    const client = startClient(t, urlOf(server).replace('//', '//ada:secret@'));

    const [[, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

    const credentials = Buffer.from('ada:secret').toString('base64');
    assert.strictEqual(request.headers.authorization, `Basic ${credentials}`);
  });
});
