'use strict';

const assert = require('node:assert');
const { EventEmitter, once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const { describe, it } = require('node:test');
const { inspect } = require('node:util');

const WebSocket = require('./support/package.js');
const { openPair, openServer, startClient, urlOf } = require('./support/pair.js');

/** An agent that never opens a connection: what a request would say can be read at leisure. */
function idleAgent(module = http) {
  const agent = new module.Agent();
  agent.addRequest = () => {};
  return agent;
}

/**
 * A client that stays in CONNECTING.
 *
 * @param {import('node:test').TestContext} t
 * @param {ConstructorParameters<typeof WebSocket>} args
 */
function idleClient(t, url, protocols, options) {
  const secure = /^(wss|https):/.test(url);
  return startClient(t, url, protocols, { agent: idleAgent(secure ? https : http), ...options });
}

/** The headers of the handshake request that a client would send. */
const headersOf = (client) => client._req.getHeaders();

describe('the ready state constants', () => {
  for (const [value, name] of ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'].entries()) {
    it(`has ${name} on the class, the prototype and instances, to enumerate and not to change`, (t) => {
      for (const owner of [WebSocket, WebSocket.prototype]) {
        assert.deepStrictEqual(Object.getOwnPropertyDescriptor(owner, name), {
          configurable: false,
          enumerable: true,
          value,
          writable: false
        });
      }
      assert.strictEqual(idleClient(t, 'ws://localhost')[name], value);
    });
  }
});

describe('the listeners', () => {
  it('look as those of any EventEmitter do', (t) => {
    const client = idleClient(t, 'ws://localhost');
    const emitter = new EventEmitter();
    for (const each of [client, emitter]) each.on('message', Math.max);

    assert.strictEqual(inspect(client._events), inspect(emitter._events));
    assert.strictEqual(Object.getPrototypeOf(client._events), null);
  });

  it('may be added as early as when EventEmitter makes itself ready', (t) => {
    const { init } = EventEmitter;
    t.after(() => (EventEmitter.init = init));
    EventEmitter.init = function (...args) {
      init.apply(this, args);
      if (this instanceof WebSocket) this.on('message', Math.max);
    };
    const client = idleClient(t, 'ws://localhost');

    assert.deepStrictEqual(client.listeners('message'), [Math.max]);
  });
});

describe('the attributes', () => {
  const attributes = [
    ...['binaryType', 'bufferedAmount', 'extensions', 'isPaused', 'protocol', 'readyState', 'url'],
    ...['onopen', 'onerror', 'onclose', 'onmessage']
  ];
  const writable = ['binaryType', 'onopen', 'onerror', 'onclose', 'onmessage'];

  it('are accessors of the prototype that for..in finds', () => {
    for (const name of attributes) {
      const descriptor = Object.getOwnPropertyDescriptor(WebSocket.prototype, name);

      assert.strictEqual(typeof descriptor.get, 'function', name);
      assert.strictEqual(typeof descriptor.set === 'function', writable.includes(name), name);
      assert.strictEqual(descriptor.enumerable, true, name);
    }
  });

  it('have their initial values while the client connects', (t) => {
    const client = idleClient(t, 'ws://localhost/chat?room=1');
    const values = Object.fromEntries(attributes.map((name) => [name, client[name]]));

    assert.deepStrictEqual(values, {
      binaryType: 'nodebuffer',
      bufferedAmount: 0,
      extensions: '',
      isPaused: false,
      protocol: '',
      readyState: WebSocket.CONNECTING,
      url: 'ws://localhost/chat?room=1',
      onopen: null,
      onerror: null,
      onclose: null,
      onmessage: null
    });
  });

  it('take a binaryType in any state and ignore one that does not exist', (t) => {
    const client = idleClient(t, 'ws://localhost');

    for (const type of ['arraybuffer', 'fragments', 'blob', 'nodebuffer']) {
      client.binaryType = type;
      assert.strictEqual(client.binaryType, type);
    }
    client.binaryType = 'string';
    assert.strictEqual(client.binaryType, 'nodebuffer');
  });
});

describe('the address', () => {
  const refused = {
    'no address': 'Invalid URL: no address',
    '': 'Invalid URL: ',
    'ftp://localhost':
      'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"',
    'ws+unix:': "The URL's pathname is empty",
    'wss://localhost#top': 'The URL contains a fragment identifier',
    'http://localhost/#top': 'The URL contains a fragment identifier'
  };

  for (const [address, message] of Object.entries(refused)) {
    it(`throws for ${JSON.stringify(address)}`, () => {
      assert.throws(() => new WebSocket(address), { name: 'SyntaxError', message });
    });
  }

  it('throws for a missing one', () => {
    assert.throws(() => new WebSocket(), {
      name: 'SyntaxError',
      message: 'Invalid URL: undefined'
    });
  });

  it('may be a URL object, which is not changed', (t) => {
    for (const [href, url] of [
      ['ws://localhost/a', 'ws://localhost/a'],
      ['http://localhost/a', 'ws://localhost/a'],
      ['https://localhost:8443/a', 'wss://localhost:8443/a']
    ]) {
      const address = new URL(href);
      assert.strictEqual(idleClient(t, address, [], {}).url, url);
      assert.strictEqual(address.href, href);
    }
  });

  it('may use the schemes of HTTP', (t) => {
    assert.strictEqual(idleClient(t, 'http://localhost').url, 'ws://localhost/');
    assert.strictEqual(idleClient(t, 'https://localhost').url, 'wss://localhost/');
  });

  it('names the port in the Host header only if it is not the default of its scheme', (t) => {
    for (const [address, host] of [
      ['ws://localhost', 'localhost'],
      ['ws://localhost:80', 'localhost'],
      ['ws://localhost:443', 'localhost:443'],
      ['wss://localhost', 'localhost'],
      ['wss://localhost:443', 'localhost'],
      ['wss://localhost:8443', 'localhost:8443'],
      ['ws://[::1]:8080', '[::1]:8080']
    ]) {
      assert.strictEqual(headersOf(idleClient(t, address)).host, host);
    }
  });

  it('gives path and query to the request', (t) => {
    assert.strictEqual(idleClient(t, 'ws://localhost')._req.path, '/');
    assert.strictEqual(idleClient(t, 'ws://localhost/a/b?c=d')._req.path, '/a/b?c=d');
  });
});

describe('the subprotocols', () => {
  /** What a client asks for, given its arguments. */
  const requested = (t, ...args) =>
    headersOf(idleClient(t, 'ws://localhost', ...args))['sec-websocket-protocol'];

  it('may be one string or several', (t) => {
    assert.strictEqual(requested(t, 'chat'), 'chat');
    assert.strictEqual(requested(t, ['chat', 'superchat']), 'chat,superchat');
  });

  it('are not mentioned when there are none', (t) => {
    for (const none of [undefined, []]) assert.strictEqual(requested(t, none), undefined);
  });

  it('may come with the options, unless they are an argument of their own', (t) => {
    assert.strictEqual(requested(t, undefined, { protocols: 'chat' }), 'chat');
    assert.strictEqual(requested(t, undefined, { protocols: ['a', 'b'] }), 'a,b');
    assert.strictEqual(requested(t, 'chat', { protocols: 'other' }), 'chat');
    assert.strictEqual(requested(t, [], { protocols: 'other' }), undefined);
  });

  it('may be left out, with the options in their place', (t) => {
    const agent = idleAgent();
    const options = { agent, headers: { 'x-token': '1' } };

    const client = startClient(t, 'ws://localhost', options);
    assert.strictEqual(headersOf(client)['x-token'], '1');
    assert.strictEqual(headersOf(client)['sec-websocket-protocol'], undefined);

    for (const [protocols, header] of [
      ['chat', 'chat'],
      [['a', 'b'], 'a,b']
    ]) {
      const other = startClient(t, 'ws://localhost', { ...options, protocols });
      assert.strictEqual(headersOf(other)['sec-websocket-protocol'], header);
    }
  });

  it('throw if one is no token, is not a string or occurs twice', () => {
    const expected = {
      name: 'SyntaxError',
      message: 'An invalid or duplicated subprotocol was specified'
    };

    for (const protocols of ['', 'a,b', 'a b', 'ü', null, 7, [7], ['a', 'a'], ['a', '']]) {
      assert.throws(() => new WebSocket('ws://localhost', protocols), expected);
    }
    for (const protocols of [null, '', ['a', 'a']]) {
      assert.throws(() => new WebSocket('ws://localhost', { protocols }), expected);
    }
  });
});

describe('the options', () => {
  it('throw for a version of the protocol that is not 8 or 13', () => {
    for (const protocolVersion of [0, 7, 14, '13']) {
      assert.throws(() => new WebSocket('ws://localhost', { protocolVersion }), {
        name: 'RangeError',
        message: `Unsupported protocol version: ${protocolVersion} (supported versions: 8, 13)`
      });
    }
  });

  it('may be undefined or null', async (t) => {
    const wss = await openServer(t);
    for (const options of [undefined, null]) {
      await once(startClient(t, urlOf(wss), undefined, options), 'open');
      await once(startClient(t, urlOf(wss), [], options), 'open');
    }
  });

  it('are not changed', async (t) => {
    const wss = await openServer(t);
    const options = Object.freeze({
      headers: Object.freeze({ 'X-Token': '1' }),
      perMessageDeflate: Object.freeze({ threshold: 1 }),
      protocols: Object.freeze([]),
      followRedirects: true
    });

    await once(startClient(t, urlOf(wss), options), 'open');
    await once(startClient(t, urlOf(wss), options), 'open');
  });

  it('cannot redirect the request elsewhere than the address says', async (t) => {
    const { request } = await openPair(t, {
      client: {
        host: 'nowhere.invalid',
        hostname: 'nowhere.invalid',
        method: 'POST',
        path: '/elsewhere',
        port: 1,
        protocol: 'ftp:',
        socketPath: '/nowhere'
      }
    });

    assert.strictEqual(request.method, 'GET');
    assert.strictEqual(request.url, '/');
  });

  it('may contain keys that mean nothing here', async (t) => {
    const { client, request } = await openPair(t, {
      client: { timeout: 1, isServer: true, autoUnref: true, somethingElse: {} }
    });

    assert.strictEqual(client._isServer, false);
    assert.strictEqual(request.headers['sec-websocket-version'], '13');
  });
});

describe('the handshake request', () => {
  it('has the headers that RFC 6455 asks for', (t) => {
    const headers = headersOf(idleClient(t, 'ws://localhost'));

    assert.strictEqual(headers.connection, 'Upgrade');
    assert.strictEqual(headers.upgrade, 'websocket');
    assert.strictEqual(Number(headers['sec-websocket-version']), 13);
    assert.strictEqual(Buffer.from(headers['sec-websocket-key'], 'base64').length, 16);
    assert.strictEqual(headers.origin, undefined);
  });

  it('has another key each time', (t) => {
    const keys = Array.from(
      { length: 8 },
      () => headersOf(idleClient(t, 'ws://localhost'))['sec-websocket-key']
    );
    assert.strictEqual(new Set(keys).size, keys.length);
  });

  it('has the headers of the options, but not instead of its own', (t) => {
    const headers = headersOf(
      idleClient(t, 'ws://localhost', [], {
        headers: { 'X-Token': '1', Host: 'example.org', Upgrade: 'something-else' }
      })
    );

    assert.strictEqual(headers['x-token'], '1');
    assert.strictEqual(headers.host, 'example.org');
    assert.strictEqual(headers.upgrade, 'websocket');
  });

  it('names the origin in the header of its version of the protocol', (t) => {
    const origin = 'https://example.org:8000';
    const current = headersOf(idleClient(t, 'ws://localhost', [], { origin }));
    const old = headersOf(idleClient(t, 'ws://localhost', [], { origin, protocolVersion: 8 }));

    assert.strictEqual(current.origin, origin);
    assert.strictEqual(old['sec-websocket-origin'], origin);
    assert.strictEqual(old.origin, undefined);
    assert.strictEqual(Number(old['sec-websocket-version']), 8);
  });

  it('offers permessage-deflate unless that is switched off', (t) => {
    const offered = (perMessageDeflate) =>
      headersOf(idleClient(t, 'ws://localhost', [], { perMessageDeflate }))[
        'sec-websocket-extensions'
      ];

    assert.strictEqual(offered(true), 'permessage-deflate; client_max_window_bits');
    assert.strictEqual(offered(false), undefined);
    assert.strictEqual(
      offered({
        clientMaxWindowBits: 10,
        clientNoContextTakeover: true,
        serverMaxWindowBits: 12,
        serverNoContextTakeover: true
      }),
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover; ' +
        'server_max_window_bits=12; client_max_window_bits=10'
    );
  });

  describe('with credentials', () => {
    const basic = (text) => `Basic ${Buffer.from(text).toString('base64')}`;
    const authorization = (t, address, options) =>
      headersOf(idleClient(t, address, [], options)).authorization;

    it('takes them from the address, percent-decoded', (t) => {
      for (const [userinfo, text] of [
        ['user:secret', 'user:secret'],
        ['user', 'user:'],
        [':secret', ':secret'],
        ['us%40er:p%3Ass%20word', 'us@er:p:ss word'],
        ['%C3%BC:%E2%82%AC', 'ü:€'],
        ['100%:50%zz', '100%:50%zz']
      ]) {
        assert.strictEqual(authorization(t, `ws://${userinfo}@localhost`), basic(text));
      }
    });

    it('takes them from the auth option if the address has none', (t) => {
      const auth = 'user:secret';
      assert.strictEqual(authorization(t, 'ws://localhost', { auth }), basic(auth));
      assert.strictEqual(authorization(t, 'ws://a:b@localhost', { auth }), basic('a:b'));
    });

    it('takes them from an Authorization header before all', (t) => {
      const headers = { Authorization: 'Bearer token' };
      assert.strictEqual(authorization(t, 'ws://a:b@localhost', { headers }), 'Bearer token');
    });

    it('sends none otherwise', (t) => {
      assert.strictEqual(authorization(t, 'ws://localhost'), undefined);
    });
  });
});
