'use strict';

/**
 * What dependents do who put methods of their own in the place of those of `ws._socket`, or call it between two messages:
 * it is as if each frame had been written when it was sent.
 */

const assert = require('node:assert');
const { AsyncLocalStorage } = require('node:async_hooks');
const { EventEmitter, once } = require('node:events');
const { Duplex } = require('node:stream');
const { describe, it, mock } = require('node:test');

const WebSocket = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const { duplexPair } = require('./support/duplex-pair.js');
const { FrameReader } = require('./support/frame-reader.js');
const { frame, maskedFrame } = require('./support/frames.js');
const { collect, openPair, openServer, turn } = require('./support/pair.js');
const { KEY, connectRaw, openToRawPeer } = require('./support/raw-peer.js');

const REQUEST = {
  method: 'GET',
  url: '/',
  headers: { upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': KEY }
};

/** A server's end of a connection over a stream. */
function upgrade(socket) {
  const wss = new WebSocket.Server({ noServer: true });
  return new Promise((resolve) => wss.handleUpgrade(REQUEST, socket, Buffer.alloc(0), resolve));
}

/** Sends so much over another connection that frames are gathered from now on. */
async function sendMuch() {
  const [near, far] = duplexPair();
  far.resume();
  const ws = await upgrade(near);
  for (let i = 0; i < 2000; i++) ws.send('');
}

/** Wraps a method, as if to watch it. */
function wrap(socket, name) {
  const method = socket[name];
  socket[name] = function (...args) {
    return method.apply(this, args);
  };
}

describe('a method of _socket that was wrapped', () => {
  const ping = frame({ opcode: 9, payload: 'raw' });
  const USES = {
    write: ({ _socket: socket }) => socket.write(ping),
    end: ({ _socket: socket }) => socket.end(),
    destroy: (ws) => ws.terminate(),
    cork: ({ _socket: socket }) => socket.cork()
  };
  const WHEN = {
    'before the upgrade': async (t, name) => {
      const wss = await openServer(t);
      wss._server.on('connection', (socket) => wrap(socket, name));
      const [[ws], { frames }] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
      return { ws, frames };
    },
    'on an open connection': async (t, name) => {
      const { server: ws, frames } = await openToRawPeer(t);
      wrap(ws._socket, name);
      return { ws, frames };
    },
    'on an open connection that was handed back later': async (t, name) => {
      const { server: ws, frames } = await openToRawPeer(t);
      wrap(ws._socket, name);
      ws._socket.on('data', () => {});
      await turn();
      return { ws, frames };
    }
  };

  for (const [name, use] of Object.entries(USES)) {
    for (const [when, open] of Object.entries(WHEN)) {
      it(`${name}, ${when}, comes behind what was sent`, async (t) => {
        const { ws, frames } = await open(t, name);
        await sendMuch();
        const sent = new Promise((resolve) => ws.send('first', resolve));
        use(ws);
        const expected = name === 'write' ? ['first', 'raw'] : ['first'];
        const received = (await frames.take(expected.length)).map(({ payload }) => String(payload));

        assert.deepStrictEqual(received, expected);
        assert.ok(!(await sent));
      });
    }
  }
});

describe('a method of _socket that a test puts a mock in place of', () => {
  const METHODS = [
    'cork',
    'destroy',
    'end',
    'on',
    'once',
    'pause',
    'ref',
    'resume',
    'unref',
    'write'
  ];

  for (const side of ['server', 'client']) {
    for (const name of METHODS) {
      it(`${name}, of the ${side}, goes on working`, async (t) => {
        const pair = await openPair(t);
        const ws = pair[side];
        const peer = side === 'server' ? pair.client : pair.server;
        mock.method(ws._socket, name);
        const received = Promise.all([once(ws, 'message'), once(peer, 'message')]);
        ws.send('to the peer');
        peer.send('from the peer');
        const [[theirs], [ours]] = await received;
        assert.strictEqual(String(theirs), 'from the peer');
        assert.strictEqual(String(ours), 'to the peer');
      });
    }
  }

  for (const [how, put] of [
    ['with its help', (socket, method) => mock.method(socket, 'write', method)],
    ['by assignment', (socket, write) => Object.assign(socket, { write })],
    ['with defineProperty()', (socket, value) => Object.defineProperty(socket, 'write', { value })]
  ]) {
    it(`write, ${how}, is given header and payload as ws writes them`, async (t) => {
      const { server } = await openPair(t);
      const { _socket: socket } = server;
      const { write } = socket;
      const written = [];
      put(socket, function (data, ...rest) {
        written.push(String(data));
        return write.call(this, data, ...rest);
      });
      await new Promise((resolve) => server.send(Buffer.from('payload'), resolve));
      server.ping();
      assert.deepStrictEqual(written, ['\ufffd\u0007', 'payload', '\ufffd\u0000']);
    });
  }

  for (const [what, payload] of [
    ['in the same turn', 'before'],
    ['and waits for a slow peer', Buffer.alloc(16 * 1024 * 1024)]
  ]) {
    it(`write is not given what was sent before it, ${what}`, async (t) => {
      const { client, server } = await openPair(t);
      client.pause();
      await sendMuch();
      server.send(payload);
      const { write } = server._socket;
      const written = [];
      mock.method(server._socket, 'write', function (data, ...rest) {
        written.push(String(data));
        return write.call(this, data, ...rest);
      });
      server.send(Buffer.from('behind'));
      client.resume();
      await collect(client, 'message', 2);
      assert.deepStrictEqual(written, ['\ufffd\u0006', 'behind']);
    });
  }

  it('pause, by assignment, is called when the receiver has enough', async (t) => {
    const { client, server } = await openPair(t, { client: { allowSynchronousEvents: false } });
    const { _socket: socket } = client;
    const { pause } = socket;
    const paused = new Promise((resolve) => {
      socket.pause = function () {
        resolve();
        return pause.call(this);
      };
    });
    server.send('first');
    await once(client, 'message');
    for (let i = 0; i < 8; i++) server.send(Buffer.alloc(60_000));
    await paused;
  });
});

describe('a write() of another kind', () => {
  it('has the last word on what a callback is told', async (t) => {
    const { server } = await openPair(t);
    server._socket.write = (data, callback) => {
      if (callback) setImmediate(callback, new Error('quota exceeded'));
      return false;
    };
    const error = await new Promise((resolve) => server.send('a', resolve));
    assert.strictEqual(error?.message, 'quota exceeded');
  });

  it('may tell at once, also on a socket that has failed', async (t) => {
    const { server } = await openPair(t);
    const { _socket: socket } = server;
    const log = [];
    socket.write = (data, callback) => callback?.(null);
    server.send('a', () => log.push('first'));
    log.push('sent');
    socket.on('error', () => {});
    socket.write = (data, callback) => callback?.(new Error('from write()'));
    socket.destroy(new Error('destroyed'));
    server.send('b', (error) => log.push(error.message));

    assert.deepStrictEqual(log, ['first', 'sent', 'from write()']);
  });

  it('has the last word on when that is, also in a class of its own', async () => {
    const log = [];
    class Slow extends Duplex {
      _read() {}

      _write(chunk, encoding, callback) {
        log.push('written');
        callback();
      }

      write(data, ...rest) {
        setImmediate(() => super.write(data, ...rest));
        return true;
      }
    }
    const ws = await upgrade(new Slow());
    await turn();
    log.length = 0;
    await new Promise((resolve) => ws.send('', resolve));
    assert.deepStrictEqual(log, ['written']);
  });

  it('may throw, and send() throws the same', async (t) => {
    const { server } = await openPair(t);
    await sendMuch();
    server._socket.write = () => {
      throw new Error('from write()');
    };
    assert.throws(() => server.send('a'), { message: 'from write()' });
  });

  it('sees what is sent if all sockets have it, also from before the package was loaded', async (t) => {
    const env = { TEST_PACKAGE: require.resolve('./support/package.js') };
    const main = () => {
      const net = require('node:net');
      const { write } = net.Socket.prototype;
      for (const name of Object.keys(require.cache)) delete require.cache[name];
      net.Socket.prototype.write = function (data, ...rest) {
        if (data.includes('visible')) console.log('seen');
        return write.call(this, data, ...rest);
      };
      const { WebSocket, WebSocketServer } = require(process.env.TEST_PACKAGE);
      const wss = new WebSocketServer({ host: '127.0.0.1', port: 0 }, () => {
        new WebSocket(`ws://127.0.0.1:${wss.address().port}`).on('message', () => process.exit());
      });
      wss.on('connection', (ws) => ws.send('visible'));
    };
    const { stdout, stderr } = await runInChild(t, main, { env });
    assert.strictEqual(stderr, '');
    assert.strictEqual(stdout, 'seen\n');
  });
});

it('a socket may be no stream', async () => {
  const written = [];
  const socket = Object.assign(new EventEmitter(), {
    readable: true,
    writable: true,
    _readableState: { endEmitted: false, length: 0 },
    write(data, callback) {
      written.push(Buffer.from(data));
      if (typeof callback === 'function') setImmediate(callback);
    }
  });
  for (const name of ['cork', 'destroy', 'end', 'pause', 'resume', 'uncork'])
    socket[name] = () => {};
  const ws = await upgrade(socket);
  written.length = 0;
  await new Promise((resolve) => ws.send('text', resolve));
  ws.ping();

  const sent = Buffer.concat(written).toString('latin1');
  assert.strictEqual(sent, '\x81\x04text\x89\x00');

  const closed = once(ws, 'close');
  socket.emit('close');
  const [code] = await closed;
  assert.strictEqual(code, 1006);
});

describe('calls of _socket between two messages', () => {
  /** A server's end that the stream transport has, and what its peer is sent. */
  async function openOnStream() {
    const [near, far] = duplexPair();
    const ws = await upgrade(near);
    await once(far, 'readable');
    far.read();
    return { ws, socket: near, frames: new FrameReader(far) };
  }

  it('may cork it, which holds back nothing that was sent before', async () => {
    const { ws, socket, frames } = await openOnStream();
    await sendMuch();
    ws.send('before');
    socket.cork();
    ws.send('behind');
    assert.strictEqual(String((await frames.next()).payload), 'before');
    socket.uncork();
    assert.strictEqual(String((await frames.next()).payload), 'behind');
  });

  const [small, large] = [Buffer.alloc(1), Buffer.alloc(20_000)];
  for (const [name, first, second] of [
    ['a large message', large, small],
    ['something large', small, large]
  ]) {
    it(`may write, and with ${name} callbacks keep their order`, async (t) => {
      const { server } = await openPair(t);
      server._socket.cork();
      server._socket.uncork();
      await sendMuch();
      const order = [];
      server.send(first, () => order.push('message'));
      await new Promise((resolve) => {
        server._socket.write(frame({ payload: second }), () => resolve(order.push('raw')));
      });
      assert.deepStrictEqual(order, ['message', 'raw']);
    });
  }

  it('leave each callback in its own context', async (t) => {
    const { server } = await openPair(t);
    const storage = new AsyncLocalStorage();
    const stores = [];
    const noteStore = () => stores.push(storage.getStore());
    server._socket.cork();
    server._socket.uncork();
    await sendMuch();
    storage.run('A', () => server.send(large, noteStore));
    storage.run('B', () => server.send(small, noteStore));
    storage.run('C', () => server._socket.write(frame({ payload: 'raw' }), noteStore));
    storage.run('D', () => server.send(small, noteStore));
    while (stores.length < 4) await turn();

    assert.deepStrictEqual(stores, ['A', 'B', 'C', 'D']);
  });

  it('may put something in front of what was read while it was paused', async (t) => {
    const { server, client } = await openPair(t);
    const received = [];
    server.on('message', (data) => received.push(String(data)));
    server.pause();
    const wanted = server._socket.bytesRead + 10;
    client.send('read');
    while (server._socket.bytesRead < wanted) await turn();
    server._socket.on('data', () => {});
    assert.strictEqual(server._socket.readableLength, 10);
    server._socket.unshift(maskedFrame({ payload: 'first' }));
    server.resume();
    while (received.length < 2) await turn();
    assert.deepStrictEqual(received, ['first', 'read']);
  });
});

describe('what shares no write with what is sent behind it', () => {
  it('is told when it is written, and not when a large message is', async (t) => {
    const { server, client } = await openPair(t);
    client.pause();
    await sendMuch();
    let isLargeWritten = false;
    const small = new Promise((resolve) => server.send('small', resolve));
    server.send(Buffer.alloc(16 * 1024 * 1024), () => (isLargeWritten = true));
    await small;
    assert.strictEqual(isLargeWritten, false);
  });
});

it('a write that fails is told while the socket is not destroyed yet', async () => {
  const socket = new Duplex({
    read() {},
    write(chunk, encoding, callback) {
      callback(chunk.includes('fails') ? new Error('from write()') : null);
    }
  });
  const ws = await upgrade(socket);
  ws.on('error', () => {});
  const closed = once(ws, 'close');
  await turn();
  const told = await new Promise((resolve) => {
    ws.send('fails', (error) => resolve([error.message, socket.destroyed]));
  });
  assert.deepStrictEqual(told, ['from write()', false]);
  await closed;
});
