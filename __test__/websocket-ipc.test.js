'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { failureOf, startClient } = require('./support/pair.js');

const windows = process.platform === 'win32';

/**
 * A WebSocketServer on a Unix socket or a named pipe.
 *
 * @param {import('node:test').TestContext} t
 * @returns {Promise<{wss: WebSocket.Server, file: string}>}
 */
async function openIpcServer(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'websocket-ipc-'));
  const file = windows ? `\\\\.\\pipe\\${path.basename(folder)}` : path.join(folder, 'server.sock');
  const server = http.createServer();
  const wss = new WebSocket.Server({ server });

  t.after(() => {
    wss.clients.forEach((ws) => ws.terminate());
    server.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  server.listen(file);
  await once(server, 'listening');

  return { wss, file };
}

describe('a ws+unix: address', () => {
  it('names the socket, then after a colon path and query of the request', async (t) => {
    const { wss, file } = await openIpcServer(t);

    for (const [suffix, requested] of [
      ['', '/'],
      [':', '/'],
      [':/', '/'],
      [':/chat?room=1', '/chat?room=1'],
      [':/a:b?c:d', '/a:b?c:d']
    ]) {
      const client = startClient(t, `ws+unix:${file}${suffix}`);
      const [[, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

      assert.strictEqual(request.url, requested, suffix);
      assert.strictEqual(request.headers.host, 'localhost');
    }
  });

  it('may be a URL object, and is what url says', async (t) => {
    const { file } = await openIpcServer(t);
    const address = new URL(`ws+unix:${file}:/chat`);
    const client = startClient(t, address);
    await once(client, 'open');

    assert.strictEqual(client.url, address.href);
  });

  it('carries messages and the closing handshake', async (t) => {
    const { wss, file } = await openIpcServer(t);
    wss.on('connection', (ws) => {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    });
    const client = startClient(t, `ws+unix:${file}`);
    await once(client, 'open');

    for (const sent of ['text', Buffer.alloc(300_000, 'pattern')]) {
      client.send(sent);
      const [data] = await once(client, 'message');
      assert.ok(data.equals(Buffer.from(sent)));
    }

    client.close(1000, 'done');
    assert.deepStrictEqual(await once(client, 'close'), [1000, Buffer.from('done')]);
  });

  it('fails like any other if nobody listens there', { skip: windows }, async (t) => {
    const { error, code, order } = await failureOf(
      startClient(t, `ws+unix:${path.join(os.tmpdir(), `nobody-${process.pid}.sock`)}`)
    );

    assert.strictEqual(error.code, 'ENOENT');
    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(order, ['error', 'close']);
  });
});

describe('a server on a Unix socket or a pipe', () => {
  it('gives its name as address', async (t) => {
    const { wss, file } = await openIpcServer(t);
    assert.strictEqual(wss.address(), file);
  });
});
