'use strict';

/**
 * What a hostile peer, or hostile input to the options, can do to the opening handshake.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { describe, test } = require('node:test');

const WebSocket = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const wire = require('./support/frames.js');
const { failureOf, openHttpServer, openServer, startClient, urlOf } = require('./support/pair.js');
const {
  connectRaw,
  dial,
  handshakeRequest,
  refusalTo,
  serveRaw
} = require('./support/raw-peer.js');
const certificates = require('./support/tls.js');

/** A WebSocketServer on an HTTP server that listens already. */
function attachTo(t, server) {
  const wss = new WebSocket.WebSocketServer({ server });
  t.after(() => wss.close());
}

/** Shows that a server still takes connections. */
async function assertAlive(t, wss) {
  const client = startClient(t, urlOf(wss));
  await once(client, 'open');
}

describe('The header Sec-WebSocket-Extensions of a client', () => {
  const offer = (value) => ({ headers: { 'Sec-WebSocket-Extensions': value } });

  test('with names that objects inherit negotiates nothing', async (t) => {
    for (const perMessageDeflate of [true, false]) {
      const wss = await openServer(t, { perMessageDeflate });
      for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf']) {
        const { response } = await connectRaw(t, wss, offer(`${name}; ${name}=1`));
        assert.match(response, /^HTTP\/1\.1 101 /);
        assert.doesNotMatch(response, /Sec-WebSocket-Extensions/i);
      }
    }
  });

  test('with parameters that objects inherit is refused', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    for (const name of ['constructor', '__proto__', 'toString']) {
      for (const value of [`permessage-deflate; ${name}`, `permessage-deflate; ${name}=10`]) {
        const answer = await refusalTo(t, wss, handshakeRequest(offer(value)));
        assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
        assert.match(answer, /Invalid or unacceptable Sec-WebSocket-Extensions header$/);
      }
    }
    await assertAlive(t, wss);
  });

  test('with window bits outside of 8 to 15 is refused', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    for (const parameter of ['server_max_window_bits', 'client_max_window_bits']) {
      for (const bits of ['0', '7', '16', '99', '-8', '1e2', '4294967304']) {
        const value = `permessage-deflate; ${parameter}=${bits}`;
        assert.match(await refusalTo(t, wss, handshakeRequest(offer(value))), /^HTTP\/1\.1 400 /);
      }
    }
  });

  test('with window bits of 8 and of 1e1 leads to a connection that works', async (t) => {
    const wss = await openServer(t, {
      perMessageDeflate: { threshold: 0 }
    });
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    for (const bits of ['8', '1e1', '015']) {
      const value = `permessage-deflate; server_max_window_bits=${bits}`;
      const { response, socket, frames } = await connectRaw(t, wss, offer(value));
      assert.match(response, new RegExp(`server_max_window_bits=${Number(bits)}\r\n`));
      socket.write(wire.text(wire.deflate('hello'), { mask: true, rsv1: true }));
      const frame = await frames.next();
      assert.equal(wire.inflate(frame.payload).toString(), 'hello');
    }
  });

  test('is ignored, however malformed, when compression is off', async (t) => {
    const wss = await openServer(t);
    const { response } = await connectRaw(t, wss, offer('permessage-deflate; ;;="'));
    assert.match(response, /^HTTP\/1\.1 101 /);
  });
});

describe('The header Sec-WebSocket-Extensions of a server', () => {
  const answered = async (t, value, options) => {
    const { url } = await serveRaw(t, { headers: { 'Sec-WebSocket-Extensions': value } });
    return failureOf(startClient(t, url, options));
  };

  test('with names that objects inherit fails the handshake', async (t) => {
    for (const name of ['constructor', '__proto__', 'toString']) {
      const { error } = await answered(t, name);
      assert.equal(error.message, 'Server indicated an extension that was not requested');
    }
  });

  test('with parameters that objects inherit, or bad window bits, fails the handshake', async (t) => {
    const parameters = [
      'constructor',
      '__proto__=1',
      'server_max_window_bits=7',
      'server_max_window_bits=16',
      'client_max_window_bits'
    ];
    for (const parameter of parameters) {
      const { error } = await answered(t, `permessage-deflate; ${parameter}`);
      assert.equal(error.message, 'Invalid Sec-WebSocket-Extensions header');
    }
  });
});

describe('A request', () => {
  // Newer versions of Node do not let such requests come through, and say so themselves.
  const REFUSAL = /^HTTP\/1\.1 (400 [^]*Invalid Upgrade header$|431 )/;

  test('with more headers than node keeps is refused', async (t) => {
    const wss = await openServer(t);
    const [line, ...fields] = handshakeRequest().split('\r\n');
    const request = [line, ...Array(2000).fill('a:'), ...fields].join('\r\n');
    assert.match(await refusalTo(t, wss, request), REFUSAL);
    await assertAlive(t, wss);
  });

  test('is refused when the server keeps too few headers to see the Upgrade', async (t) => {
    const server = await openHttpServer(t);
    attachTo(t, server);
    server.maxHeadersCount = 1;
    assert.match(await refusalTo(t, server, handshakeRequest()), REFUSAL);
  });

  test('with endless headers that drip in is cut off', async (t) => {
    const wss = await openServer(t);
    const socket = dial(t, wss);
    // What is still being written when the server closes may fail.
    const closed = new Promise((resolve) => socket.once('close', resolve));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.write(handshakeRequest().slice(0, -2));
    let open = true;
    closed.then(() => {
      open = false;
    });
    for (let i = 0; i < 400 && open; i++) {
      socket.write(`x-drip-${i}: ${'x'.repeat(160)}\r\n`);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await closed;
    assert.match(answer, /^HTTP\/1\.1 431 /);
    await assertAlive(t, wss);
  });

  test(
    'with a subprotocol header of many blanks is read in linear time',
    { timeout: 20000 },
    async (t) => {
      const server = http.createServer({ maxHeaderSize: 2 ** 20 });
      await openHttpServer(t, server);
      attachTo(t, server);
      const value = `a${' '.repeat(500_000)}b`;
      const answer = await refusalTo(
        t,
        server,
        handshakeRequest({ headers: { 'Sec-WebSocket-Protocol': value } })
      );
      assert.match(answer, /^HTTP\/1\.1 400 /);
      assert.match(answer, /Invalid Sec-WebSocket-Protocol header$/);
    }
  );

  test('that is no WebSocket handshake harms nobody', async (t) => {
    const wss = await openServer(t);
    const requests = [
      handshakeRequest({ headers: { Upgrade: 'h2c' } }),
      handshakeRequest({ headers: { 'Sec-WebSocket-Key': '' } }),
      handshakeRequest({ headers: { 'Sec-WebSocket-Key': 'A'.repeat(10000) } }),
      handshakeRequest({ headers: { 'Sec-WebSocket-Version': '13, 13' } }),
      handshakeRequest({ headers: { 'Sec-WebSocket-Protocol': ',' } }),
      handshakeRequest({ method: 'POST' })
    ];
    for (const request of requests) {
      assert.match(await refusalTo(t, wss, request), /^HTTP\/1\.1 4\d\d /);
    }
    await assertAlive(t, wss);
  });

  test('whose client hangs up in any place harms nobody', async (t) => {
    const wss = await openServer(t);
    const request = handshakeRequest();
    for (let cut = 0; cut < request.length; cut += 13) {
      const socket = dial(t, wss);
      const closed = once(socket, 'close');
      socket.end(request.slice(0, cut));
      socket.resume();
      await closed;
    }
    await assertAlive(t, wss);
  });
});

describe('An answer', () => {
  test('with more headers than node keeps fails the handshake', async (t) => {
    const headers = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`h${i}`, '']));
    const server = await openHttpServer(t);
    server.on('upgrade', (request, socket) => {
      const fields = Object.keys(headers).map((name) => `${name}: x`);
      const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', ...fields];
      socket.write([...lines, 'Upgrade: websocket', '', ''].join('\r\n'));
    });
    const finishRequest = (request) => {
      request.maxHeadersCount = 10;
      request.end();
    };
    const { error } = await failureOf(startClient(t, urlOf(server), { finishRequest }));
    assert.match(error.message, /^(Invalid Upgrade header|Invalid Sec-WebSocket-Accept header)$/);
  });

  test('with endless headers fails the handshake', async (t) => {
    const server = await openHttpServer(t);
    server.on('upgrade', (request, socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 101 Switching Protocols\r\n');
      socket.write(`x: ${'x'.repeat(100_000)}\r\n`);
    });
    const { error } = await failureOf(startClient(t, urlOf(server)));
    assert.equal(error.code, 'HPE_HEADER_OVERFLOW');
  });
});

describe('Line breaks in what becomes a header', () => {
  const injected = 'good\r\nInjected: yes';

  test('are refused in subprotocols', () => {
    for (const protocols of [injected, ['a', injected], 'a\nb', 'a\0']) {
      assert.throws(() => new WebSocket('ws://localhost', protocols), {
        name: 'SyntaxError',
        message: 'An invalid or duplicated subprotocol was specified'
      });
      assert.throws(() => new WebSocket('ws://localhost', { protocols }), SyntaxError);
    }
  });

  test('are refused in the origin, in headers and in the host', () => {
    for (const options of [
      { origin: injected },
      { origin: injected, protocolVersion: 8 },
      { headers: { 'X-Header': injected } },
      { headers: { 'X-Header: a\r\nInjected': 'yes' } },
      { headers: { Host: injected } }
    ]) {
      assert.throws(() => new WebSocket('ws://localhost', options), TypeError);
    }
  });

  test('never reach the server by way of the URL', async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    startClient(t, `${urlOf(wss)}/a\r\nInjected: yes\r\n?b=\r\nc`);
    const [, request] = await connected;
    assert.equal(request.headers.injected, undefined);
    assert.doesNotMatch(request.url, /[\r\n ]/);
  });
});

describe('A listener or hook that throws while a connection is made', () => {
  test('does not stop the server from taking the next one', async (t) => {
    const { code, stderr, stdout } = await runInChild(t, (WebSocketInChild) => {
      const hooks = {
        verifyClient: () => {
          if (hooks.next === 'verifyClient') throw new Error('thrown by verifyClient');
          return true;
        },
        handleProtocols: () => {
          if (hooks.next === 'handleProtocols') throw new Error('thrown by handleProtocols');
          return 'a';
        }
      };
      const wss = new WebSocketInChild.Server({ ...hooks, host: '127.0.0.1', port: 0 });
      for (const event of ['headers', 'connection']) {
        wss.on(event, () => {
          if (hooks.next === event) throw new Error(`thrown by ${event}`);
        });
      }
      const caught = [];
      process.on('uncaughtException', (error) => {
        caught.push(error.message);
        attempt();
      });
      const names = ['verifyClient', 'handleProtocols', 'headers', 'connection', 'nobody'];
      const attempt = () => {
        hooks.next = names.shift();
        const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`, 'a');
        client.on('error', () => {});
        if (hooks.next !== 'nobody') return;
        client.on('open', () => {
          process.stdout.write(JSON.stringify(caught), () => process.exit(0));
        });
      };
      wss.on('listening', attempt);
    });
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      JSON.parse(stdout),
      ['verifyClient', 'handleProtocols', 'headers', 'connection'].map(
        (name) => `thrown by ${name}`
      )
    );
  });
});

describe('A client over TLS', () => {
  async function secureServer(t) {
    const server = https.createServer(certificates.server);
    await openHttpServer(t, server);
    attachTo(t, server);
    server.on('tlsClientError', () => {});
    return server;
  }
  const secureUrl = (server, host = 'localhost') => `wss://${host}:${server.address().port}`;

  test('refuses a certificate that nobody it trusts has signed', async (t) => {
    const server = await secureServer(t);
    const { error, code } = await failureOf(startClient(t, secureUrl(server)));
    assert.match(error.code, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED|UNABLE_TO_GET_ISSUER/);
    assert.equal(code, 1006);
  });

  test('refuses a certificate of another host', async (t) => {
    const server = await secureServer(t);
    const options = { ca: certificates.authority, servername: 'other.example' };
    const { error } = await failureOf(startClient(t, secureUrl(server), options));
    assert.equal(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test('takes a certificate of that host that it trusts', async (t) => {
    const server = await secureServer(t);
    const options = { ca: certificates.authority };
    await once(startClient(t, secureUrl(server), options), 'open');
  });
});
