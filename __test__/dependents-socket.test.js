'use strict';

/**
 * What dependents do with `ws._socket`: it is the real socket of the connection, and its state and
 * its bytes are what they are without a WebSocket on top.
 */

const assert = require('node:assert');
const { once } = require('node:events');
const { createServer } = require('node:http');
const net = require('node:net');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { byNode } = require('./support/internals.js');
const { FrameReader } = require('./support/frame-reader.js');
const { frame, maskedFrame } = require('./support/frames.js');
const {
  closeOf,
  collect,
  logEvents,
  openHttpServer,
  openPair,
  turn
} = require('./support/pair.js');
const { connectRaw, floodRaw, openToRawPeer } = require('./support/raw-peer.js');

/** What a message listener logs, as text. */
const textsOf = (ws) => logEvents(ws, ['message'], (event, data) => String(data));

/** Copies all bytes that a socket reads from now on. */
function tap(socket) {
  const chunks = [];
  socket.prependListener('data', (chunk) => chunks.push(Buffer.from(chunk)));
  return () => Buffer.concat(chunks);
}

describe('_socket', () => {
  it('is the socket of the request, and knows the addresses of both ends', async (t) => {
    const { client, server, request } = await openPair(t);

    assert.ok(client._socket instanceof net.Socket);
    assert.strictEqual(server._socket, request.socket);
    assert.strictEqual(server._socket.remoteAddress, '127.0.0.1');
    assert.strictEqual(server._socket.remotePort, client._socket.localPort);
    assert.strictEqual(server._socket.localPort, client._socket.remotePort);
    assert.strictEqual(server._socket.address().port, server._socket.localPort);
  });

  it('is what the sender has, with all that others put on it', async (t) => {
    const { server, request } = await openPair(t);
    request.socket.token = 'secret';

    assert.strictEqual(server._sender._socket, server._socket);
    assert.strictEqual(server._sender._socket.token, 'secret');
  });

  it('is null before the connection is open and stays after it is closed', async (t) => {
    const { wss, client } = await openPair(t);
    const connecting = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
    assert.strictEqual(connecting._socket, null);
    connecting.on('error', () => {});
    connecting.terminate();

    client.terminate();
    await once(client, 'close');
    assert.ok(client._socket instanceof net.Socket);
    assert.strictEqual(client._socket.destroyed, true);
  });

  it('takes socket options', async (t) => {
    const { client, server } = await openPair(t);
    for (const { _socket: socket } of [client, server]) {
      assert.strictEqual(socket.setNoDelay(true), socket);
      assert.strictEqual(socket.setKeepAlive(true, 1000), socket);
      assert.strictEqual(socket.setTimeout(0), socket);
      assert.strictEqual(socket.ref(), socket);
    }
    client.send('still works');
    assert.strictEqual(String((await once(server, 'message'))[0]), 'still works');
  });

  it('passes them on to its handle', async (t) => {
    const { client, server } = await openPair(t);
    for (const { _socket: socket } of [client, server]) {
      const told = ['setNoDelay', 'setKeepAlive'].map((name) =>
        t.mock.method(socket._handle, name)
      );
      socket.setNoDelay(false);
      socket.setNoDelay();
      socket.setKeepAlive(true, 5000);

      assert.deepStrictEqual(
        // Node 26 passes more, which nobody has set.
        told.map(({ mock }) => mock.calls.map((call) => call.arguments.slice(0, 2))),
        [[[false], [true]], [[true, 5]]]
      );
    }
  });

  it('has not finished while the connection is open, but after the closing handshake', async (t) => {
    const { client, server } = await openPair(t);
    const finished = () =>
      [client, server].map(({ _socket: socket }) => socket._writableState.finished);
    const sent = new Promise((resolve) => server.send('something', resolve));
    await Promise.all([sent, once(client, 'message')]);
    assert.deepStrictEqual(finished(), [false, false]);

    const closed = Promise.all([closeOf(client), closeOf(server)]);
    client.close();
    assert.deepStrictEqual(finished(), [false, false]);
    await closed;
    assert.deepStrictEqual(finished(), [true, true]);
  });

  it('has a descriptor of its own', { skip: process.platform === 'win32' }, async (t) => {
    const { client, server } = await openPair(t);
    const descriptors = [client._socket._handle.fd, server._socket._handle.fd];

    assert.ok(descriptors.every((fd) => Number.isInteger(fd) && fd > 2));
    assert.notStrictEqual(descriptors[0], descriptors[1]);
  });
});

describe('the timeout of _socket', () => {
  it('is off when a connection opens, and can be set', async (t) => {
    const { server } = await openPair(t);
    assert.strictEqual(server._socket.timeout, 0);
    await new Promise((resolve) => server._socket.setTimeout(20, resolve));
    server._socket.setTimeout(0);

    assert.strictEqual(server.readyState, WebSocket.OPEN);
  });

  it('starts anew when something is received and when something is sent', async (t) => {
    const { client, server } = await openPair(t);
    server._socket.setTimeout(600_000);
    const key = Object.getOwnPropertySymbols(server._socket).find(
      (symbol) => symbol.description === 'timeout'
    );
    const started = () => server._socket[key]._idleStart;
    const later = () => new Promise((resolve) => setTimeout(resolve, 5));

    let before = started();
    await later();
    client.send('something');
    await once(server, 'message');
    assert.ok(started() > before);

    for (const data of ['something', Buffer.alloc(100 * 1024)]) {
      before = started();
      await later();
      await new Promise((resolve) => server.send(data, resolve));
      assert.ok(started() > before);
    }
    server._socket.setTimeout(0);
  });
});

describe('the timeout of _socket, while one large message', () => {
  for (const [when, begun] of [
    ['', 0],
    [', if it was set after three', 3]
  ]) {
    it(`arrives, starts anew with each part${when}`, async (t) => {
      const { server, socket } = await openToRawPeer(t);
      await floodRaw(server, socket, true);
      const bytes = maskedFrame({ opcode: 2, payload: Buffer.alloc(4_000_000) });
      const parts = 8;
      const size = Math.ceil(bytes.length / parts);
      const write = (part) => socket.write(bytes.subarray(part * size, (part + 1) * size));
      const received = once(server, 'message');
      for (let part = 0; part < begun; part++) {
        const wanted = server._socket.bytesRead + size;
        write(part);
        while (server._socket.bytesRead < wanted) await turn();
      }
      server._socket.setTimeout(600_000);
      const [key] = Object.getOwnPropertySymbols(server._socket).filter(
        (symbol) => symbol.description === 'timeout'
      );
      for (let part = begun; part < parts; part++) {
        const before = server._socket[key]._idleStart;
        await new Promise((resolve) => setTimeout(resolve, 5));
        write(part);
        while (server._socket[key]._idleStart === before) await turn();
      }
      await received;
      server._socket.setTimeout(0);
    });
  }

  it('is taken slowly, starts anew with each part', { skip: byNode }, async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const length = 20_000_000;
    socket.pause();
    server._socket.setTimeout(600_000);
    server.send(Buffer.alloc(length));
    const [key] = Object.getOwnPropertySymbols(server._socket).filter(
      (symbol) => symbol.description === 'timeout'
    );
    let taken = 0;
    socket.on('data', (chunk) => (taken += chunk.length));
    for (let part = 0; part < 3; part++) {
      const before = server._socket[key]._idleStart;
      await new Promise((resolve) => setTimeout(resolve, 5));
      socket.resume();
      while (taken < length && server._socket[key]._idleStart === before) await turn();
      assert.notStrictEqual(server._socket[key]._idleStart, before);
      socket.pause();
    }
    server._socket.setTimeout(0);
  });
});

describe('reading from _socket', () => {
  it('shows every byte to who listens to data, from that moment on', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const texts = textsOf(server);
    const first = once(server, 'message');
    socket.write(maskedFrame({ payload: 'before' }));
    await first;

    const tapped = tap(server._socket);
    const frames = ['one', 'two', 'x'.repeat(70_000)].map((payload) => maskedFrame({ payload }));
    const received = collect(server, 'message', 3);
    for (const frame of frames) socket.write(frame);
    await received;

    assert.ok(tapped().equals(Buffer.concat(frames)));
    assert.deepStrictEqual(texts, ['before', 'one', 'two', 'x'.repeat(70_000)]);
  });

  it('may be tapped in the middle of a frame', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const texts = textsOf(server);
    const frame = maskedFrame({ payload: 'cut in the middle' });
    socket.write(Buffer.concat([maskedFrame({ payload: 'before' }), frame.subarray(0, 9)]));
    await once(server, 'message');
    const tapped = tap(server._socket);
    const received = once(server, 'message');
    socket.write(frame.subarray(9));
    await received;

    assert.deepStrictEqual(texts, ['before', 'cut in the middle']);
    assert.deepStrictEqual(tapped(), frame.subarray(9));
  });

  it('is untouched by a tap that comes and goes', async (t) => {
    const { client, server } = await openPair(t);
    const texts = textsOf(server);
    const expected = [];
    for (let i = 0; i < 20; i++) {
      const listener = () => {};
      server._socket.on('data', listener);
      client.send(`${i}`);
      expected.push(`${i}`);
      if (i % 3 === 0) await once(server, 'message');
      server._socket.removeListener('data', listener);
    }
    client.send('last');
    while (texts.at(-1) !== 'last') await once(server, 'message');

    assert.deepStrictEqual(texts, [...expected, 'last']);
  });

  it('stops with removeAllListeners, and goes on with another listener: a tunnel', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const texts = textsOf(server);
    socket.write(maskedFrame({ payload: 'the last message' }));
    await once(server, 'message');
    server._socket.removeAllListeners('data');
    const raw = new Promise((resolve) => {
      let bytes = '';
      server._socket.on('data', (chunk) => {
        bytes += chunk;
        if (bytes.length === 13) resolve(bytes);
      });
    });
    socket.write('not a ');
    socket.write('message');

    assert.strictEqual(await raw, 'not a message');
    assert.deepStrictEqual(texts, ['the last message']);
    server._socket.write('nor is this');
    const [chunk] = await once(socket, 'data');
    assert.strictEqual(String(chunk), 'nor is this');
  });

  it('freezes the connection if nobody listens any more', async (t) => {
    const { client, server } = await openPair(t);
    const texts = textsOf(server);
    server._socket.removeAllListeners('data');
    await new Promise((resolve) => client.send('unheard', resolve));
    for (let i = 0; i < 10; i++) await turn();

    assert.deepStrictEqual(texts, []);
    assert.strictEqual(server.readyState, WebSocket.OPEN);
  });

  it('may be paused and resumed on the socket itself', async (t) => {
    const { client, server } = await openPair(t);
    const texts = textsOf(server);
    server._socket.pause();
    assert.strictEqual(server._socket.isPaused(), true);
    for (const text of ['a', 'b']) await new Promise((resolve) => client.send(text, resolve));
    for (let i = 0; i < 10; i++) await turn();
    assert.deepStrictEqual(texts, []);
    assert.strictEqual(server.isPaused, false);

    const received = collect(server, 'message', 2);
    server._socket.resume();
    await received;
    assert.deepStrictEqual(texts, ['a', 'b']);
  });

  it('may be piped to another socket: a relay of raw frames', async (t) => {
    const upstream = await openHttpServer(t, net.createServer());
    const { server, socket } = await openToRawPeer(t);
    const relay = net.connect(upstream.address().port, '127.0.0.1');
    t.after(() => relay.destroy());
    const [there] = await once(upstream, 'connection');
    server._socket.removeAllListeners('data');
    server._socket.pipe(relay).pipe(server._socket);

    const frame = maskedFrame({ payload: 'for somebody else' });
    socket.write(frame);
    const [chunk] = await once(there, 'data');
    assert.deepStrictEqual(chunk, frame);
    there.write('answer');
    assert.strictEqual(String((await once(socket, 'data'))[0]), 'answer');
  });

  it('accepts bytes that others unshift or emit', async (t) => {
    const { server } = await openToRawPeer(t);
    const unshifted = once(server, 'message');
    server._socket.unshift(maskedFrame({ payload: 'unshifted' }));
    assert.strictEqual(String((await unshifted)[0]), 'unshifted');

    const emitted = once(server, 'message');
    server._socket.emit('data', maskedFrame({ payload: 'emitted' }));
    assert.strictEqual(String((await emitted)[0]), 'emitted');
  });
});

describe('bytes that a listener puts in', () => {
  const ways = {
    'unshifts to _socket': (server, bytes) => server._socket.unshift(bytes),
    'has _socket emit': (server, bytes) => server._socket.emit('data', bytes),
    'writes to _receiver': (server, bytes) => server._receiver.write(bytes)
  };
  for (const [way, put] of Object.entries(ways)) {
    it(`come behind what was read with its message: those it ${way}`, async (t) => {
      const { server, socket } = await openToRawPeer(t);
      const few = ['first', 'second'];
      const headers = 6 + 6 + 8;
      // The third ends where Node's first read does.
      const third = 'x'.repeat(64 * 1024 - headers - few.join('').length);
      const sent = [...few, third, 'fourth', 'y'.repeat(40_000), 'last'];
      const received = [];
      const all = new Promise((resolve) => {
        server.on('message', (data) => {
          if (received.length === 0) put(server, maskedFrame({ payload: 'put in' }));
          if (received.push(String(data)) > sent.length) resolve();
        });
      });
      socket.write(Buffer.concat(sent.map((payload) => maskedFrame({ payload }))));
      await all;

      const place = received.indexOf('put in');
      assert.ok(place > 1);
      assert.deepStrictEqual(received.toSpliced(place, 1), sent);
    });
  }
});

describe('a method that was replaced for all sockets', () => {
  for (const method of ['write', 'push']) {
    it(`is called by those of WebSockets: ${method}()`, async (t) => {
      const inherited = net.Socket.prototype[method];
      const isOwn = Object.hasOwn(net.Socket.prototype, method);
      const passed = [];
      net.Socket.prototype[method] = function (data, ...args) {
        passed.push(Buffer.from(data ?? ''));
        return inherited.call(this, data, ...args);
      };
      t.after(() => {
        if (isOwn) net.Socket.prototype[method] = inherited;
        else delete net.Socket.prototype[method];
      });
      const { server, client } = await openPair(t);
      server.send('seen by others');
      await once(client, 'message');
      assert.ok(Buffer.concat(passed).includes('seen by others'));
    });
  }
});

describe('a corked _socket', () => {
  it('shows in bufferedAmount what it keeps', async (t) => {
    const { server, client } = await openPair(t);
    server._socket.cork();
    server.send('kept');
    assert.strictEqual(server.bufferedAmount, 6);
    server._socket.uncork();
    assert.strictEqual(String((await once(client, 'message'))[0]), 'kept');
    assert.strictEqual(server.bufferedAmount, 0);
  });

  it('calls back in order when it is uncorked behind a message that others share a write with', async (t) => {
    const { server } = await openPair(t);
    // So many that frames are gathered from now on.
    for (let i = 0; i < 300; i++) server.send('');
    server._socket.cork();
    const order = [];
    server.send('kept', () => order.push('kept'));
    server._socket.write(frame({ payload: 'raw' }), () => order.push('raw'));
    await turn();
    await new Promise((resolve) => {
      server.send('last', () => resolve(order.push('last')));
      server._socket.uncork();
    });

    assert.deepStrictEqual(order, ['kept', 'raw', 'last']);
  });
});

describe('writing to _socket', () => {
  it('keeps its order with messages', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    for (let i = 0; i < 5; i++) {
      server.send(`message ${i}`);
      server._socket.write(frame({ payload: `raw ${i}` }));
    }
    server.send('last');
    const payloads = (await frames.take(11)).map(({ payload }) => String(payload));

    assert.deepStrictEqual(payloads, [
      ...[0, 1, 2, 3, 4].flatMap((i) => [`message ${i}`, `raw ${i}`]),
      'last'
    ]);
  });

  it('keeps its order with messages also when the peer does not keep up', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    socket.pause();
    const big = Buffer.alloc(512 * 1024);
    let count = 0;
    while (server.bufferedAmount < 1024 * 1024) {
      server.send(big);
      count++;
    }
    server._socket.write(frame({ payload: 'raw' }));
    server.send('last');
    socket.resume();
    const sent = await frames.take(count + 2);

    assert.ok(sent.slice(0, count).every(({ payload }) => payload.length === big.length));
    assert.deepStrictEqual(
      sent.slice(count).map(({ payload }) => String(payload)),
      ['raw', 'last']
    );
  });

  it('reaches a write that was put in place of its own, with all bytes of messages', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    server.send('before');
    const written = [];
    const { write } = server._socket;
    server._socket.write = function patched(chunk, ...args) {
      written.push(Buffer.from(chunk));
      return write.call(this, chunk, ...args);
    };
    server.send('one');
    server.send(Buffer.alloc(300, 'two'));
    server.ping('three');
    await frames.take(4);

    assert.deepStrictEqual(
      Buffer.concat(written),
      Buffer.concat([
        frame({ payload: 'one' }),
        frame({ opcode: 2, payload: Buffer.alloc(300, 'two') }),
        frame({ opcode: 9, payload: 'three' })
      ])
    );
  });

  it('waits while the socket is corked', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    let arrived = false;
    const frame = frames.next().then((first) => {
      arrived = true;
      return first;
    });
    server._socket.cork();
    server.send('held back');
    for (let i = 0; i < 10; i++) await turn();
    assert.strictEqual(arrived, false);
    server._socket.uncork();

    assert.strictEqual(String((await frame).payload), 'held back');
  });

  it('goes on until end() sends the last bytes', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    const closed = closeOf(server);
    server.send('one');
    server.send(Buffer.alloc(1024 * 1024));
    server._socket.end(frame({ payload: 'the end' }));
    const sent = await frames.rest();

    assert.deepStrictEqual(
      sent.map(({ payload }) => payload.length),
      [3, 1024 * 1024, 7]
    );
    assert.strictEqual((await closed)[0], 1006);
  });
});

describe('the counters of _socket', () => {
  it('tell how many bytes were read and written', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    const read = server._socket.bytesRead;
    const written = server._socket.bytesWritten;
    const received = collect(server, 'message', 2);
    socket.write(maskedFrame({ payload: 'four' }));
    socket.write(maskedFrame({ payload: 'x'.repeat(200) }));
    await received;
    server.send('four');
    server.send('x'.repeat(70_000));
    await frames.take(2);

    assert.strictEqual(server._socket.bytesRead - read, 10 + 208);
    assert.strictEqual(server._socket.bytesWritten - written, 6 + 70_010);
  });

  it('never go back, also in the tick in which somebody looks at the stream', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    const received = once(server, 'message');
    socket.write(maskedFrame({ payload: 'read' }));
    server.send('written');
    await Promise.all([received, frames.take(1)]);
    const { bytesRead, bytesWritten } = server._socket;
    server._socket.on('data', () => {});

    assert.strictEqual(server._socket.bytesRead, bytesRead);
    assert.strictEqual(server._socket.bytesWritten, bytesWritten);
    await turn();
    assert.strictEqual(server._socket.bytesRead, bytesRead);
    assert.strictEqual(server._socket.bytesWritten, bytesWritten);
  });

  it('include at once what was just sent', async (t) => {
    const { server } = await openToRawPeer(t);
    const before = server._socket.bytesWritten;
    server.send('four');
    assert.strictEqual(server._socket.bytesWritten - before, 6);
  });

  it('tell how much is waiting, as bufferedAmount does', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    socket.pause();
    while (server.bufferedAmount < 1024 * 1024) server.send(Buffer.alloc(64 * 1024));

    assert.strictEqual(server._socket.writableLength, server.bufferedAmount);
    assert.strictEqual(server._socket._writableState.length, server.bufferedAmount);
    assert.strictEqual(server._socket.bufferSize ?? server.bufferedAmount, server.bufferedAmount);
    socket.resume();
    await new Promise((resolve) => server.send('last', resolve));
    assert.strictEqual(server._socket.writableLength, 0);
  });

  it('tell how much is waiting to whoever looks at the writable state alone', async (t) => {
    for (const size of [64 * 1024, 100 * 1024]) {
      const { server, socket } = await openToRawPeer(t);
      const { _writableState: state } = server._socket;
      socket.pause();
      let sent = 0;
      while (state.length < 1024 * 1024 && sent < 1000) {
        server.send(Buffer.alloc(size));
        sent++;
      }
      assert.ok(sent < 1000);
      assert.strictEqual(state.length, server.bufferedAmount);
      server.terminate();
    }
  });

  it('tell within one turn when to stop, and drain says when to go on', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    socket.pause();
    let sent = 0;
    while (!server._socket.writableNeedDrain && sent < 1024) {
      server.send(Buffer.alloc(64 * 1024));
      sent++;
    }
    assert.strictEqual(server._socket.writableNeedDrain, true);

    const drained = once(server._socket, 'drain');
    socket.resume();
    await drained;
    assert.strictEqual(server._socket.writableNeedDrain, false);
    assert.strictEqual((await frames.take(sent)).length, sent);
  });

  it('tell of drain behind a frame that is enough for the stream, though the kernel takes it at once', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    const { _socket: socket } = server;
    const enough = socket.writableHighWaterMark;
    for (const size of [enough, 2 * enough, 100 * 1024]) {
      const log = [];
      server.send('small', () => log.push('small'));
      assert.strictEqual(socket.writableNeedDrain, false);
      await frames.take(1);

      server.send(Buffer.alloc(size), () => log.push(size));
      assert.strictEqual(socket.writableNeedDrain, true);
      socket.once('drain', () => log.push(`drain, ${socket.writableNeedDrain}`));
      await frames.take(1);
      assert.deepStrictEqual(log, ['small', 'drain, false', size]);

      server.send(Buffer.alloc(size));
      await Promise.all([once(socket, 'drain'), frames.take(1)]);
    }
  });

  it('tell of drain behind a small frame when somebody has made that enough for the stream', async (t) => {
    const http = createServer({ highWaterMark: 1000 });
    t.after(() => http.close());
    const wss = new WebSocket.Server({ server: http });
    await new Promise((resolve) => http.listen(0, resolve));
    const connected = once(wss, 'connection');
    const { frames } = await connectRaw(t, http);
    const [{ _socket: socket }] = await connected;
    const [ws] = wss.clients;
    for (const [size, expected] of [
      [995, false],
      [996, true],
      [1, false]
    ]) {
      ws.send(Buffer.alloc(size));
      assert.strictEqual(socket.writableNeedDrain, expected);
      if (expected) await once(socket, 'drain');
      await frames.take(1);
    }
  });

  it('tell of drain also when somebody looks at the stream in the tick in which that is due', async (t) => {
    const looks = {
      listeners: (socket) => socket.listeners('data'),
      tap: (socket) => socket.on('data', () => {}),
      write: (socket) => socket.write(frame({ payload: 'of others' }))
    };
    for (const [name, look] of Object.entries(looks)) {
      const { server, socket } = await openToRawPeer(t);
      socket.resume();
      const log = [];
      server._socket.on('drain', () => log.push('drain'));
      const written = new Promise((resolve) => server.send(Buffer.alloc(70_000), resolve));
      look(server._socket);
      await written;
      assert.deepStrictEqual(log, ['drain'], name);
    }
  });

  it('tell of drain once, whoever has written', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    let drains = 0;
    server._socket.on('drain', () => drains++);
    for (let round = 1; round <= 20; round++) {
      for (let i = 0; i < 300; i++) server.send('small');
      server.send(Buffer.alloc(65536));
      server.send('small');
      await frames.take(302);
      for (let i = 0; i < 10; i++) await turn();
      assert.strictEqual(drains, round);
    }
  });

  it('tell of drain once, also if the stream is taken back in between', async (t) => {
    const { client, server } = await openPair(t);
    client.on('message', () => {});
    const log = [];
    server._socket.on('drain', () => log.push('drain'));
    server.send(Buffer.alloc(70_000), () => log.push('first'));
    server._socket.read();
    await new Promise((resolve) => {
      server.send(Buffer.alloc(70_000), () => resolve(log.push('second')));
    });
    await turn();

    assert.deepStrictEqual(log, ['drain', 'first', 'second']);
  });

  it('tell of drain in time, and not at all where header and payload are one piece', async (t) => {
    const { client, server } = await openPair(t);
    const log = [];
    server._socket.on('drain', () => log.push('drain'));
    await new Promise((resolve) => {
      server.send('small', () => log.push('small'));
      server.send(Buffer.alloc(100 * 1024), () => resolve(log.push('large')));
    });
    // The stream transport has written the small one before.
    assert.deepStrictEqual([...log].sort(), ['drain', 'large', 'small']);
    assert.ok(log.indexOf('drain') < log.indexOf('large'));

    let drains = 0;
    client._socket.on('drain', () => drains++);
    const enough = client._socket.writableHighWaterMark + 1000;
    for (const [data, expected] of [
      [Buffer.alloc(enough), 0],
      [new ArrayBuffer(enough), 0],
      ['x'.repeat(enough), 1]
    ]) {
      drains = 0;
      const sent = new Promise((resolve) => client.send(data, resolve));
      assert.strictEqual(client._socket.writableNeedDrain, expected > 0);
      await sent;
      assert.strictEqual(drains, expected);
    }
  });
});

describe('the end of _socket', () => {
  it('by destroy() closes the connection at both ends, with 1006', async (t) => {
    for (const error of [undefined, new Error('cable cut')]) {
      const { client, server } = await openPair(t);
      const logs = [logEvents(client, ['error']), logEvents(server, ['error'])];
      const closed = Promise.all([closeOf(client), closeOf(server)]);
      server._socket.destroy(error);

      assert.deepStrictEqual(
        (await closed).map(([code]) => code),
        [1006, 1006]
      );
      assert.deepStrictEqual(logs, [[], []]);
    }
  });

  it('by end() closes the connection at both ends, with 1006', async (t) => {
    const { client, server } = await openPair(t);
    const closed = Promise.all([closeOf(client), closeOf(server)]);
    server._socket.end();

    assert.deepStrictEqual(
      (await closed).map(([code]) => code),
      [1006, 1006]
    );
  });

  it('by end() lets nothing be sent any more', async (t) => {
    for (const end of ['end', 'destroySoon']) {
      const { client, server } = await openPair(t);
      const received = [];
      client.on('message', (data) => received.push(String(data)));
      const closed = Promise.all([closeOf(client), closeOf(server)]);
      server.send('before');
      server._socket[end]();
      const error = await new Promise((resolve) => server.send('behind', resolve));

      assert.strictEqual(error?.code, 'ERR_STREAM_WRITE_AFTER_END');
      assert.deepStrictEqual(
        (await closed).map(([code]) => code),
        [1006, 1006]
      );
      assert.deepStrictEqual(received, ['before']);
    }
  });

  it('by an error event closes the connection, and the websocket does not repeat it', async (t) => {
    const { server } = await openPair(t);
    const log = logEvents(server, ['error']);
    const closed = closeOf(server);
    server._socket.emit('error', new Error('cable cut'));

    assert.strictEqual((await closed)[0], 1006);
    assert.deepStrictEqual(log, []);
  });

  it('by resetAndDestroy() is a reset for the peer', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const error = new Promise((resolve) => socket.once('error', resolve));
    server._socket.resetAndDestroy();

    assert.strictEqual((await error).code, 'ECONNRESET');
  });

  it('emits end and close as any socket does', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const log = logEvents(server._socket, ['end', 'finish', 'close']);
    server.on('close', () => log.push('close of the websocket'));
    socket.end();
    await once(server, 'close');

    assert.deepStrictEqual(log.slice(0, 2), ['end', 'finish']);
    assert.deepStrictEqual(log.slice(2).sort(), ['close', 'close of the websocket']);
  });
});

describe('frames written by others', () => {
  it('are read by a client like the frames of its server', async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(client, 'message', 2);
    server._socket.write(frame({ payload: 'raw' }));
    server.send('sent');

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['raw', 'sent']
    );
  });

  it('are seen by a reader of the client socket that takes over', async (t) => {
    const { client, server } = await openPair(t);
    client._socket.removeAllListeners('data');
    const frames = new FrameReader(client._socket);
    server.send('read by somebody else');

    assert.strictEqual(String((await frames.next()).payload), 'read by somebody else');
  });
});
