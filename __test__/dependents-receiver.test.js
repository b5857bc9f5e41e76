'use strict';

/**
 * What dependents do with `ws._receiver`: they change its limits while the connection is open, and
 * remove or replace its listeners to make a peer look dead.
 */

const assert = require('node:assert');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const zlib = require('node:zlib');

const WebSocket = require('./support/package.js');
const { OPCODE, closePayload, frame, inflate, maskedFrame } = require('./support/frames.js');
const { closeOf, collect, failureOf, logEvents, openPair, turn } = require('./support/pair.js');
const { openToRawPeer } = require('./support/raw-peer.js');

const timeout = 20_000;

describe('_receiver', () => {
  it('is null until the connection is open, which some take for the sign of it', async (t) => {
    const { wss, client, server } = await openPair(t);
    const connecting = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
    connecting.on('error', () => {});
    assert.strictEqual(connecting._receiver, null);
    connecting.terminate();

    assert.ok(client._receiver instanceof WebSocket.Receiver);
    assert.ok(server._receiver instanceof WebSocket.Receiver);
  });
});

describe('_receiver.write()', () => {
  it('goes on with a large message of which a part has arrived', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const message = randomBytes(4 * 1024 * 1024);
    const bytes = maskedFrame({ opcode: OPCODE.BINARY, payload: message });
    const received = once(server, 'message');
    const [most, part, rest] = [
      bytes.subarray(0, 3_000_000),
      bytes.subarray(3_000_000, 3_000_100),
      bytes.subarray(3_000_100)
    ];
    const before = server._socket.bytesRead;
    socket.write(most);
    while (server._socket.bytesRead < before + most.length) await turn();

    server._receiver.write(part);
    socket.write(rest);
    const [data] = await received;
    assert.ok(data.equals(message));
  });
});

describe('_receiver.destroy()', () => {
  it('lets the chunk at hand be delivered, also when another receiver is made', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const others = t.mock.fn();
    let other;
    const received = collect(server, 'message', 500);
    server.once('message', () => {
      server._receiver.destroy();
      other = new WebSocket.Receiver();
      other.on('message', others);
    });
    socket.write(Buffer.concat(Array(500).fill(maskedFrame({ payload: Buffer.alloc(100, 'x') }))));
    await received;
    other.write(frame({ payload: 'y' }));
    assert.deepStrictEqual(others.mock.calls.length, 1);
  });
});

describe('_receiver._maxPayload', () => {
  it('may be raised when a client has proved who it is', async (t) => {
    const { client, server } = await openPair(t, { server: { maxPayload: 16 } });
    server.once('message', () => {
      server._receiver._maxPayload = 1024 * 1024;
      server.send('welcome');
    });
    client.send('password');
    await once(client, 'message');
    const received = once(server, 'message');
    client.send(Buffer.alloc(100_000));

    assert.strictEqual((await received)[0].length, 100_000);
  });

  it('counts for the next frame, even if that was read with the message before', async (t) => {
    const { server, socket } = await openToRawPeer(t, { maxPayload: 16 });
    const received = collect(server, 'message', 2);
    server.once('message', () => {
      server._receiver._maxPayload = 1024;
    });
    socket.write(
      Buffer.concat([
        maskedFrame({ payload: 'password' }),
        maskedFrame({ payload: 'x'.repeat(1000) })
      ])
    );

    assert.strictEqual((await received)[1][0].length, 1000);
  });

  it('may be lowered likewise', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const failed = failureOf(server);
    server.once('message', () => {
      server._receiver._maxPayload = 5;
    });
    socket.write(
      Buffer.concat([maskedFrame({ payload: 'long enough' }), maskedFrame({ payload: 'longer' })])
    );

    assert.strictEqual((await failed).error.code, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
  });

  it('may be set to 0, for no limit', async (t) => {
    const { client, server } = await openPair(t, { server: { maxPayload: 16 } });
    server._receiver._maxPayload = 0;
    client.send(Buffer.alloc(1_000_000));

    assert.strictEqual((await once(server, 'message'))[0].length, 1_000_000);
  });
});

describe('the other settings of _receiver', () => {
  const invalid = Buffer.from([0x61, 0xff]);

  it('include _skipUTF8Validation', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    server._receiver._skipUTF8Validation = true;
    const received = once(server, 'message');
    socket.write(maskedFrame({ payload: invalid }));
    assert.deepStrictEqual(await received, [invalid, false]);

    server._receiver._skipUTF8Validation = false;
    const failed = failureOf(server);
    socket.write(maskedFrame({ payload: invalid }));
    assert.strictEqual((await failed).error.code, 'WS_ERR_INVALID_UTF8');
  });

  it('include _binaryType, which binaryType sets', async (t) => {
    const { client, server } = await openPair(t);
    server.binaryType = 'arraybuffer';
    assert.strictEqual(server._receiver._binaryType, 'arraybuffer');
    assert.strictEqual(server._binaryType, 'arraybuffer');
    client.send(Buffer.from('x'));

    assert.ok((await once(server, 'message'))[0] instanceof ArrayBuffer);
  });

  it('include _allowSynchronousEvents', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    server._receiver._allowSynchronousEvents = false;
    const log = [];
    const done = new Promise((resolve) => {
      server.on('message', (data) => {
        log.push(String(data));
        queueMicrotask(() => log.push('microtask'));
        if (String(data) === 'b') setImmediate(resolve);
      });
    });
    socket.write(Buffer.concat(['a', 'b'].map((payload) => maskedFrame({ payload }))));
    await done;

    assert.deepStrictEqual(log, ['a', 'microtask', 'b', 'microtask']);
  });

  it('include _maxFragments', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    server._receiver._maxFragments = 1;
    const failed = failureOf(server);
    socket.write(
      Buffer.concat([
        maskedFrame({ payload: 'a', fin: false }),
        maskedFrame({ opcode: OPCODE.CONTINUATION, payload: 'b' })
      ])
    );

    assert.strictEqual((await failed).error.message, 'Too many message fragments');
  });
});

describe('the listeners of _receiver', () => {
  it('for ping may be removed, so that the peer gets no pong', async (t) => {
    for (const role of ['client', 'server']) {
      const pair = await openPair(t);
      const other = pair[role === 'client' ? 'server' : 'client'];
      pair[role]._receiver.removeAllListeners('ping');
      const log = logEvents(pair[role], ['ping']);
      other.on('pong', () => assert.fail());
      other.ping();
      other.send('after the ping');
      await once(pair[role], 'message');

      assert.deepStrictEqual(log, []);
    }
  });

  it('for ping may be replaced among _events', async (t) => {
    const { client, server } = await openPair(t);
    const pings = [];
    client._receiver._events.ping = (data) => pings.push(String(data));
    server.on('pong', () => assert.fail());
    server.ping('instead');
    server.send('after the ping');
    await once(client, 'message');

    assert.deepStrictEqual(pings, ['instead']);
  });

  it('may be joined by others, called on the receiver', async (t) => {
    const { client, server } = await openPair(t);
    const log = [];
    for (const event of ['message', 'ping', 'pong', 'conclude']) {
      server._receiver.on(event, function listener(...args) {
        assert.strictEqual(this, server._receiver);
        log.push([event, ...args.map(String)]);
      });
    }
    client.send('text');
    client.ping('ping');
    client.pong('pong');
    client.close(1000, 'bye');
    await closeOf(server);

    assert.deepStrictEqual(log, [
      ['message', 'text', 'false'],
      ['ping', 'ping'],
      ['pong', 'pong'],
      ['conclude', '1000', 'bye']
    ]);
  });

  it('for message may be removed and put back', async (t) => {
    const { client, server } = await openPair(t);
    const texts = logEvents(server, ['message'], (event, data) => String(data));
    const [listener] = server._receiver.listeners('message');
    server._receiver.removeListener('message', listener);
    client.send('unheard');
    client.ping();
    await once(server, 'ping');
    server._receiver.on('message', listener);
    client.send('heard');
    await once(server, 'message');

    assert.deepStrictEqual(texts, ['heard']);
  });

  it('for conclude may be removed, so that a close frame is not answered', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    server._receiver.removeAllListeners('conclude');
    socket.write(maskedFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) }));
    for (let i = 0; i < 10; i++) await turn();
    assert.strictEqual(server.readyState, WebSocket.OPEN);
    server.send('still open');

    assert.strictEqual(String((await frames.next()).payload), 'still open');
  });

  it('are reached by an emit of others', async (t) => {
    const { server } = await openPair(t);
    const received = once(server, 'message');
    server._receiver.emit('message', Buffer.from('made up'), false);

    assert.deepStrictEqual(await received, [Buffer.from('made up'), false]);
  });
});

describe('_extensions', () => {
  it('are one object for the websocket, its receiver and its sender', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });

    for (const ws of [client, server]) {
      assert.ok(ws._extensions['permessage-deflate'] instanceof WebSocket.PerMessageDeflate);
      assert.strictEqual(ws._receiver._extensions, ws._extensions);
      assert.strictEqual(ws._sender._extensions, ws._extensions);
    }
  });

  it('may have compress wrapped, which then is asked for each message', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const extension = client._extensions['permessage-deflate'];
    const { compress } = extension;
    const seen = [];
    extension.compress = function slow(data, fin, callback) {
      seen.push([String(data), fin]);
      return compress.call(this, data, fin, (...args) => setImmediate(callback, ...args));
    };
    const received = collect(server, 'message', 2);
    client.send('one');
    client.send('two');

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['one', 'two']
    );
    assert.deepStrictEqual(seen, [
      ['one', true],
      ['two', true]
    ]);
  });

  it('may have compress wrapped for all, by somebody who keeps what was made', async (t) => {
    const { prototype } = WebSocket.PerMessageDeflate;
    const { compress } = prototype;
    t.after(() => Object.assign(prototype, { compress }));
    const kept = [];
    prototype.compress = function keeping(data, fin, callback) {
      return compress.call(this, data, fin, (error, compressed) => {
        kept.push(compressed);
        callback(error, compressed);
      });
    };
    const offer = { serverNoContextTakeover: true };
    const { client, server } = await openPair(t, { server: { perMessageDeflate: offer } });
    const received = collect(client, 'message', 3);
    const messages = ['one', 'two', 'three'].map((word) => word.repeat(500));
    for (const message of messages) server.send(message);

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      messages
    );
    assert.deepStrictEqual(
      kept.map((compressed) => String(inflate(compressed))),
      messages
    );
  });

  it('may have decompress wrapped, likewise', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const extension = server._extensions['permessage-deflate'];
    const { decompress } = extension;
    let calls = 0;
    extension.decompress = function slow(data, fin, callback) {
      calls++;
      return decompress.call(this, data, fin, (...args) => setImmediate(callback, ...args));
    };
    const received = collect(server, 'message', 3);
    client.send('one');
    client.send('plain', { compress: false });
    client.send('two');

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['one', 'plain', 'two']
    );
    assert.strictEqual(calls, 2);
  });

  const MOMENTS = {
    'in a microtask': queueMicrotask,
    'in the next tick': process.nextTick
  };
  for (const [moment, defer] of Object.entries(MOMENTS)) {
    it(`may have a decompress of their own, which is done ${moment}`, { timeout }, async (t) => {
      const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
      server._extensions['permessage-deflate'].decompress = (data, fin, callback) => {
        const whole = Buffer.concat([data, Buffer.from([0, 0, 0xff, 0xff])]);
        const contents = zlib.inflateRawSync(whole, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
        defer(() => callback(null, contents));
      };
      for (const name of ['one', 'two', 'three']) {
        const received = once(server, 'message');
        client.send(name, { compress: name !== 'two' });
        assert.strictEqual(String((await received)[0]), name);
      }
    });
  }
});
