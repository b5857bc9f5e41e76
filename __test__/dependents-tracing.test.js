'use strict';

/**
 * What tracing libraries (dd-trace, OpenTelemetry) rely on: they load files of lib/ by path, patch
 * prototypes before any connection is made, and expect the package to come by there.
 */

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { lib } = require('./support/internals.js');
const { OPCODE, maskedFrame } = require('./support/frames.js');
const {
  closeOf,
  failureOf,
  openHttpServer,
  openPair,
  openServer,
  terminateAfter,
  urlOf
} = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');

const { kWebSocket } = lib('constants');

/**
 * Counts the calls of a method and lets them through.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} prototype
 * @param {string} method
 * @returns {Array<{self: any, args: any[]}>}
 */
function spy(t, prototype, method) {
  const calls = [];
  const original = prototype[method];
  prototype[method] = function patched(...args) {
    calls.push({ self: this, args });
    return original.apply(this, args);
  };
  t.after(() => {
    prototype[method] = original;
  });
  return calls;
}

describe('a patch of Receiver.prototype.on', () => {
  it('sees the handler of messages registered, on a receiver that knows its websocket', async (t) => {
    const calls = spy(t, WebSocket.Receiver.prototype, 'on');
    const { client, server } = await openPair(t);

    for (const ws of [client, server]) {
      const registered = calls.filter(({ self }) => self === ws._receiver);
      const events = registered.map(({ args }) => args[0]);
      for (const event of ['message', 'ping', 'pong', 'conclude', 'error']) {
        assert.ok(events.includes(event), event);
      }
      assert.strictEqual(ws._receiver[kWebSocket], ws);
    }
  });

  it('may wrap that handler, which is called on the receiver with data and isBinary', async (t) => {
    const { prototype } = WebSocket.Receiver;
    const original = prototype.on;
    const traced = [];
    prototype.on = function on(event, handler) {
      if (event !== 'message') return original.call(this, event, handler);
      return original.call(this, event, function wrapper(data, isBinary) {
        traced.push([this[kWebSocket], String(data), isBinary]);
        return handler.call(this, Buffer.from(`traced ${data}`), isBinary);
      });
    };
    t.after(() => {
      prototype.on = original;
    });

    const { client, server } = await openPair(t);
    client.send('text');
    const [data, isBinary] = await once(server, 'message');

    assert.strictEqual(String(data), 'traced text');
    assert.strictEqual(isBinary, false);
    assert.deepStrictEqual(traced, [[server, 'text', false]]);
  });

  it('may wrap the handler of client messages likewise', async (t) => {
    const { prototype } = WebSocket.Receiver;
    const original = prototype.on;
    const seen = [];
    prototype.on = function on(event, handler) {
      return original.call(this, event, function wrapper(...args) {
        if (event === 'message') seen.push(this[kWebSocket]);
        return handler.apply(this, args);
      });
    };
    t.after(() => {
      prototype.on = original;
    });
    const { client, server } = await openPair(t);
    server.send(Buffer.from('binary'));
    await once(client, 'message');

    assert.deepStrictEqual(seen, [client]);
  });
});

describe('a patch of WebSocket.prototype', () => {
  it('sees each connection get its socket', async (t) => {
    const calls = spy(t, WebSocket.prototype, 'setSocket');
    const { client, server } = await openPair(t);

    assert.deepStrictEqual(new Set(calls.map(({ self }) => self)), new Set([client, server]));
    for (const { self, args } of calls) {
      const [socket, head, options] = args;
      assert.strictEqual(socket, self._socket);
      assert.ok(Buffer.isBuffer(head));
      assert.strictEqual(options.maxPayload, 104_857_600);
    }
  });

  it('sees send and what the socket is', async (t) => {
    const calls = spy(t, WebSocket.prototype, 'send');
    const { client, server } = await openPair(t);
    client.send('a', { binary: true });
    await once(server, 'message');

    assert.strictEqual(calls.length, 1);
    assert.deepStrictEqual(calls[0].args, ['a', { binary: true }]);
    assert.strictEqual(calls[0].self._sender._socket, client._socket);
    assert.strictEqual(client._sender._socket.remotePort, server._socket.localPort);
  });

  it('sees the close that answers a close frame, and who began', async (t) => {
    const { prototype } = WebSocket;
    const original = prototype.close;
    const calls = [];
    prototype.close = function close(...args) {
      const { _closeFrameReceived: received, _closeFrameSent: sent } = this;
      calls.push({ self: this, args, received, sent });
      return original.apply(this, args);
    };
    t.after(() => {
      prototype.close = original;
    });
    const { client, server } = await openPair(t);
    const closed = Promise.all([closeOf(client), closeOf(server)]);
    client.close(4000, 'bye');
    await closed;

    const [mine, answer] = calls;
    assert.strictEqual(mine.self, client);
    assert.deepStrictEqual([mine.received, mine.sent], [false, false]);
    assert.strictEqual(answer.self, server);
    assert.deepStrictEqual([answer.received, answer.sent], [true, false]);
    assert.deepStrictEqual(answer.args, [4000, Buffer.from('bye')]);
    assert.ok(client._closeFrameReceived && client._closeFrameSent);
    assert.ok(server._closeFrameReceived && server._closeFrameSent);
  });

  it('sees the close without a code that answers one', async (t) => {
    const calls = spy(t, WebSocket.prototype, 'close');
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    socket.write(maskedFrame({ opcode: OPCODE.CLOSE }));
    await once(server, 'close');

    assert.deepStrictEqual(calls[0], { self: server, args: [] });
  });

  it('sees the close that follows an error, with its code', async (t) => {
    const calls = spy(t, WebSocket.prototype, 'close');
    const wss = await openServer(t);
    const [[server], { socket }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    const failed = failureOf(server);
    socket.write(maskedFrame({ opcode: 3 }));
    await failed;

    assert.deepStrictEqual(calls[0], { self: server, args: [1002] });
  });

  it('sees the automatic pong', async (t) => {
    const calls = spy(t, WebSocket.prototype, 'pong');
    const { client, server } = await openPair(t);
    client.ping('data');
    await once(client, 'pong');

    assert.strictEqual(calls.length, 1);
    assert.strictEqual(calls[0].self, server);
    assert.deepStrictEqual(calls[0].args[0], Buffer.from('data'));
  });

  it('sees every event emitted', async (t) => {
    const { client, server } = await openPair(t);
    const events = [];
    const { emit } = WebSocket.prototype;
    server.emit = function patched(event, ...args) {
      events.push(event);
      return emit.call(this, event, ...args);
    };
    client.send('a');
    client.ping();
    client.close();
    await once(server, 'close');

    assert.deepStrictEqual(events, ['message', 'ping', 'close']);
  });
});

describe('a patch of WebSocketServer.prototype', () => {
  it('sees handleUpgrade and completeUpgrade, also of servers made before', async (t) => {
    const wss = await openServer(t);
    const handled = spy(t, WebSocket.Server.prototype, 'handleUpgrade');
    const completed = spy(t, WebSocket.Server.prototype, 'completeUpgrade');
    const asked = spy(t, WebSocket.Server.prototype, 'shouldHandle');
    const connected = once(wss, 'connection');
    await connectRaw(t, wss, { headers: { 'Sec-WebSocket-Protocol': 'a' } });
    const [ws, request] = await connected;

    assert.strictEqual(handled.length, 1);
    assert.strictEqual(handled[0].self, wss);
    assert.deepStrictEqual(handled[0].args.slice(0, 2), [request, ws._socket]);
    assert.ok(Buffer.isBuffer(handled[0].args[2]));
    assert.strictEqual(typeof handled[0].args[3], 'function');

    const [extensions, key, protocols, ...rest] = completed[0].args;
    assert.deepStrictEqual(Object.keys(extensions), []);
    assert.strictEqual(key, request.headers['sec-websocket-key']);
    assert.deepStrictEqual(protocols, new Set(['a']));
    assert.deepStrictEqual(rest.slice(0, 2), [request, ws._socket]);
    assert.deepStrictEqual(asked, [{ self: wss, args: [request] }]);
  });

  it('may give handleUpgrade another callback', async (t) => {
    const { prototype } = WebSocket.Server;
    const original = prototype.handleUpgrade;
    prototype.handleUpgrade = function patched(request, socket, head, callback) {
      return original.call(this, request, socket, head, (ws, ...args) => {
        ws.traced = true;
        callback(ws, ...args);
      });
    };
    t.after(() => {
      prototype.handleUpgrade = original;
    });
    const { server } = await openPair(t);

    assert.strictEqual(server.traced, true);
  });

  it('sees the headers event with the status line first, and connection', async (t) => {
    const calls = spy(t, WebSocket.Server.prototype, 'emit');
    const { server, request } = await openPair(t);
    const emitted = (event) => calls.find(({ args }) => args[0] === event).args.slice(1);
    const [headers, of] = emitted('headers');

    assert.strictEqual(headers[0], 'HTTP/1.1 101 Switching Protocols');
    assert.strictEqual(of, request);
    assert.deepStrictEqual(emitted('connection'), [server, request]);
  });
});

describe('the class, replaced by one of a tracer', () => {
  it('makes connections of clients and servers', async (t) => {
    const made = [];
    class Traced extends WebSocket {
      constructor(address, protocols, options) {
        super(address, protocols, options);
        made.push(address);
      }
    }
    const http = await openHttpServer(t);
    const wss = new Traced.Server({ server: http, WebSocket: Traced });
    wss.on('connection', (ws) => terminateAfter(t, ws));
    const client = new Traced(urlOf(http));
    terminateAfter(t, client);
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);

    assert.ok(client instanceof Traced && server instanceof Traced);
    assert.deepStrictEqual(made, [urlOf(http), null]);
  });
});
