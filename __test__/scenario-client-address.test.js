'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { describe, it } = require('node:test');

const { openHttpServer, openPair, openServer, startClient, urlOf } = require('./support/pair.js');

/**
 * A reverse proxy that notes the client's address in X-Forwarded-For and passes bytes on.
 *
 * @param {import('node:test').TestContext} t
 * @param {number} port of the server behind it
 */
function openProxy(t, port) {
  const proxy = http.createServer();

  proxy.on('upgrade', (request, socket, head) => {
    const onward = net.connect(port, '127.0.0.1');
    const before = request.headers['x-forwarded-for'];
    const path = [before, socket.remoteAddress].filter(Boolean).join(', ');
    const headers = Object.entries({ ...request.headers, 'x-forwarded-for': path });

    onward.write(`GET ${request.url} HTTP/1.1\r\n`);
    onward.write(headers.map(([name, value]) => `${name}: ${value}\r\n`).join('') + '\r\n');
    onward.write(head);
    onward.pipe(socket).pipe(onward);
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  return openHttpServer(t, proxy);
}

describe("The client's address", () => {
  it('is that of the request', async (t) => {
    const { client, server, request } = await openPair(t);

    assert.strictEqual(request.socket.remoteAddress, '127.0.0.1');
    assert.strictEqual(server._socket.remoteAddress, '127.0.0.1');
    assert.strictEqual(request.socket.remotePort, client._socket.localPort);
  });

  it('stands first in X-Forwarded-For behind a proxy, which passes messages both ways', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (socket, request) => {
      const address = request.headers['x-forwarded-for'].split(',')[0].trim();
      socket.on('message', (data) => socket.send(`${address} says ${data}`));
    });
    const proxy = await openProxy(t, wss.address().port);
    const client = startClient(t, urlOf(proxy), {
      headers: { 'X-Forwarded-For': '192.0.2.7' }
    });

    await once(client, 'open');
    client.send('hello');
    const [data] = await once(client, 'message');

    assert.strictEqual(data.toString(), '192.0.2.7 says hello');
  });
});
