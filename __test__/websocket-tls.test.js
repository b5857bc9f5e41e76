'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const https = require('node:https');
const { describe, it } = require('node:test');
const tls = require('node:tls');

const WebSocket = require('./support/package.js');
const { failureOf, openHttpServer, startClient } = require('./support/pair.js');
const certificates = require('./support/tls.js');

/**
 * A WebSocketServer on an https.Server.
 *
 * @param {import('node:test').TestContext} t
 * @param {https.ServerOptions} [options]
 */
async function openSecureServer(t, options) {
  const server = https.createServer({ ...certificates.server, ...options });
  const wss = new WebSocket.Server({ server });
  server.on('tlsClientError', () => {});
  await openHttpServer(t, server);
  return wss;
}

const secureUrl = (wss, host = 'localhost') => `wss://${host}:${wss.address().port}`;

describe('a connection over TLS', () => {
  it('carries messages both ways, small and large', async (t) => {
    const wss = await openSecureServer(t);
    wss.on('connection', (ws) => {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    });
    const client = startClient(t, secureUrl(wss), { ca: certificates.authority });
    await once(client, 'open');

    for (const sent of ['héllo', Buffer.alloc(1024 * 1024, 'pattern')]) {
      client.send(sent);
      const [data, isBinary] = await once(client, 'message');
      assert.strictEqual(isBinary, typeof sent !== 'string');
      assert.ok(data.equals(Buffer.from(sent)));
    }
  });

  it('closes as any other', async (t) => {
    const wss = await openSecureServer(t);
    const client = startClient(t, secureUrl(wss), { ca: certificates.authority });
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    client.close(4000, 'done');
    const [there, here] = await Promise.all([once(server, 'close'), once(client, 'close')]);

    assert.deepStrictEqual(there, [4000, Buffer.from('done')]);
    assert.deepStrictEqual(here, [4000, Buffer.from('done')]);
  });

  it('gives both ends the TLS socket and what it knows of the peer', async (t) => {
    const wss = await openSecureServer(t, { ca: certificates.authority, requestCert: true });
    const client = startClient(t, secureUrl(wss), {
      ca: certificates.authority,
      ...certificates.client
    });
    const [[server, request]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

    assert.ok(server._socket instanceof tls.TLSSocket);
    assert.strictEqual(server._socket, request.socket);
    assert.strictEqual(server._socket.authorized, true);
    assert.strictEqual(server._socket.encrypted, true);
    assert.strictEqual(server._socket.getPeerCertificate().subject.CN, 'oxws test client');
    assert.ok(Buffer.isBuffer(server._socket.getPeerCertificate(true).raw));
    assert.strictEqual(client._socket.getPeerCertificate().subject.CN, 'localhost');
  });

  it('shows the certificate of a pfx file, whose passphrase is needed', async (t) => {
    const wss = await openSecureServer(t, { ca: certificates.authority, requestCert: true });
    const options = { ca: certificates.authority, ...certificates.clientFile };
    const client = startClient(t, secureUrl(wss), options);
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

    assert.strictEqual(server._socket.authorized, true);
    assert.strictEqual(server._socket.getPeerCertificate().subject.CN, 'oxws test client');

    const wrong = { ...options, passphrase: 'a guess' };
    const { error } = await failureOf(startClient(t, secureUrl(wss), wrong));
    assert.match(error.message, /mac verify failure/);
  });

  it('uses a cipher and a version of TLS that the options allow', async (t) => {
    const wss = await openSecureServer(t);
    const seen = [];

    for (const ciphers of ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305']) {
      const options = { ca: certificates.authority, ciphers, maxVersion: 'TLSv1.2' };
      const client = startClient(t, secureUrl(wss), options);
      await once(client, 'open');
      seen.push([client._socket.getCipher().name, client._socket.getProtocol()]);
    }

    assert.deepStrictEqual(seen, [
      ['ECDHE-ECDSA-AES256-GCM-SHA384', 'TLSv1.2'],
      ['ECDHE-ECDSA-CHACHA20-POLY1305', 'TLSv1.2']
    ]);
  });

  it('goes through the agent of the options, and has what else they say', async (t) => {
    const wss = await openSecureServer(t);
    const agent = new https.Agent({ ca: certificates.authority });
    const dialled = t.mock.method(agent, 'createConnection');
    const client = startClient(t, secureUrl(wss), { agent, maxVersion: 'TLSv1.2' });
    await once(client, 'open');

    assert.strictEqual(dialled.mock.callCount(), 1);
    assert.strictEqual(client._socket, dialled.mock.calls[0].result);
    assert.strictEqual(client._socket.authorized, true);
    assert.strictEqual(client._socket.getProtocol(), 'TLSv1.2');
  });

  it('tells the server the name of the host, unless servername says otherwise', async (t) => {
    const wss = await openSecureServer(t);
    const names = [];
    const options = { ca: certificates.authority, checkServerIdentity: () => undefined };

    for (const [host, servername] of [
      ['localhost', undefined],
      ['localhost', ''],
      ['localhost', 'example.org'],
      ['127.0.0.1', undefined]
    ]) {
      const settings = servername === undefined ? options : { ...options, servername };
      const client = startClient(t, secureUrl(wss, host), settings);
      const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
      names.push(server._socket.servername);
    }

    assert.deepStrictEqual(names, ['localhost', false, 'example.org', false]);
  });
});

describe('a connection over TLS fails', () => {
  it('if the certificate is from an unknown authority, unless that is allowed', async (t) => {
    const wss = await openSecureServer(t);
    const { error, code, order } = await failureOf(startClient(t, secureUrl(wss)));

    assert.strictEqual(error.code, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(order, ['error', 'close']);

    await once(startClient(t, secureUrl(wss), { rejectUnauthorized: false }), 'open');
  });

  it('if the certificate is for another host', async (t) => {
    const wss = await openSecureServer(t);
    const client = startClient(t, secureUrl(wss), {
      ca: certificates.authority,
      servername: 'example.org'
    });
    const { error } = await failureOf(client);

    assert.strictEqual(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('if the client speaks ws: to a server that speaks wss:', async (t) => {
    const wss = await openSecureServer(t);
    const { code, order } = await failureOf(startClient(t, secureUrl(wss).replace('wss:', 'ws:')));

    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(order, ['error', 'close']);
  });

  it('if the client speaks wss: to a server that speaks ws:', async (t) => {
    const server = await openHttpServer(t);
    const { code, order } = await failureOf(
      startClient(t, `wss://localhost:${server.address().port}`)
    );

    assert.strictEqual(code, 1006);
    assert.deepStrictEqual(order, ['error', 'close']);
  });
});
