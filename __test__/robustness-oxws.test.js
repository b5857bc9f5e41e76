'use strict';

/**
 * Promises of this package that go beyond what ws does.
 */

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { PerMessageDeflate, Receiver } = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const frames = require('./support/frames.js');
const { isCollected } = require('./support/gc.js');
const { isOxws, lib } = require('./support/internals.js');
const { openPair, openServer, turn } = require('./support/pair.js');
const { connectRaw, handshakeRequest, openToRawPeer } = require('./support/raw-peer.js');
const { withDeflate } = require('./support/receiver-errors.js');
const { writeChunk } = require('./support/receiver-feed.js');

const skip = isOxws ? false : 'the package under test is not oxws';

describe('A listener that throws', { skip }, () => {
  test('does not keep the next compressed message from being delivered', async (t) => {
    const { code, stderr, stdout } = await runInChild(t, (WebSocketInChild) => {
      const seen = [];
      process.on('uncaughtException', (error) => seen.push(error.message));
      const options = { host: '127.0.0.1', perMessageDeflate: true, port: 0 };
      const wss = new WebSocketInChild.Server(options);
      wss.on('connection', (ws) => {
        ws.on('message', (data) => {
          seen.push(`message ${data}`);
          if (`${data}` === 'last') {
            process.stdout.write(JSON.stringify(seen), () => process.exit());
          }
          throw new Error(`thrown for ${data}`);
        });
      });
      wss.on('listening', () => {
        const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
        client.on('open', () => {
          for (const text of ['first', 'second', 'last']) client.send(text);
        });
      });
    });
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), [
      'message first',
      'thrown for first',
      'message second',
      'thrown for second',
      'message last'
    ]);
  });
});

describe('A compressor that fails', { skip }, () => {
  test('ends its connection, and whoever waits for a message is told', async (t) => {
    const perMessageDeflate = { threshold: 0 };
    const options = { client: { perMessageDeflate }, server: { perMessageDeflate } };
    const { client, server } = await openPair(t, options);
    const closed = new Promise((resolve) => server.on('close', resolve));
    t.mock.method(lib('native'), 'deflate', () => {
      throw new Error('a defect');
    });
    const sent = (data) => new Promise((resolve) => server.send(data, resolve));
    const [, [error], ...results] = await Promise.all([
      once(client, 'close'),
      once(server, 'error'),
      sent('first'),
      sent('second')
    ]);
    for (const told of [error, ...results]) assert.equal(told.message, 'a defect');
    assert.equal(await closed, 1006);
  });
});

describe('A connection that fails', { skip }, () => {
  const FRAMES = {
    'at a frame': frames.frame({ opcode: 3, payload: 'x', mask: true }),
    'at a large message': frames.frame({
      opcode: 1,
      payload: Buffer.alloc(200_000, 0xff),
      mask: true
    }),
    'at a compressed message': frames.frame({
      opcode: 1,
      payload: Buffer.alloc(100, 0xff),
      mask: true,
      rsv1: true
    })
  };

  for (const [where, bytes] of Object.entries(FRAMES)) {
    test(`${where} gives back what receives`, async (t) => {
      const { server, socket } = await openToRawPeer(t, { perMessageDeflate: true });
      const { _id: id } = server._receiver;
      const { releaseReceiver } = lib('native');
      const released = t.mock.method(lib('native'), 'releaseReceiver', releaseReceiver);
      const failed = once(server, 'error');
      const closed = new Promise((resolve) => server.on('close', resolve));
      socket.write(bytes);
      await failed;
      socket.destroy();
      await closed;
      await turn();
      const ids = released.mock.calls.map((call) => call.arguments[0]);
      assert.ok(ids.includes(id));
    });
  }

  test('is closed also when its listener of the error throws', async (t) => {
    const headers = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
    const payload = randomBytes(40_000);
    payload[0] = 0xff;
    const frame = frames.frame({ opcode: 2, payload, mask: true, rsv1: true });
    const env = {
      TEST_FRAME: frame.toString('base64'),
      TEST_REQUEST: handshakeRequest({ headers })
    };
    const { code, stderr, stdout } = await runInChild(t, main, { env });
    assert.equal(code, 0, stderr);
    assert.deepEqual(stdout.trim().split('\n').sort(), ['closed with 1006', 'thrown']);

    function main(WebSocketInChild) {
      const net = require('node:net');
      const options = { host: '127.0.0.1', perMessageDeflate: true, port: 0 };
      const wss = new WebSocketInChild.Server(options, () => {
        const socket = net.connect(wss.address().port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(Buffer.from(process.env.TEST_REQUEST, 'latin1'));
        // While that is being decompressed it is gone.
        socket.once('data', () => {
          const frame = Buffer.from(process.env.TEST_FRAME, 'base64');
          socket.write(frame, () => socket.resetAndDestroy());
        });
      });
      process.on('uncaughtException', ({ message }) => console.log(message));
      wss.on('connection', (ws) => {
        ws.on('error', () => {
          throw new Error('thrown');
        });
        ws.on('close', (closeCode) => {
          console.log('closed with', closeCode);
          wss.close();
        });
      });
    }
  });
});

describe('A failure that is told late', { skip }, () => {
  test('is still the own one of its receiver when others have failed since', async () => {
    const late = new Receiver();
    late.once('message', () => {
      throw new Error('a listener has thrown');
    });
    const failed = once(late, 'error');
    // What follows the message is delivered when the exception was handled.
    const chunk = Buffer.concat([frames.text('first'), frames.text(Buffer.from([0xff]))]);
    assert.throws(() => late.write(chunk), /a listener has thrown/);

    const other = new Receiver();
    other.write(Buffer.from([0xf0, 0x00]));
    const [otherError] = await once(other, 'error');
    assert.equal(otherError.code, 'WS_ERR_UNEXPECTED_RSV_2_3');
    const [error] = await failed;
    assert.equal(error.code, 'WS_ERR_INVALID_UTF8');
  });
});

describe('An idle receiver', { skip }, () => {
  test('holds no chunk after a compressed message either', async () => {
    const receiver = new Receiver(withDeflate());
    const message = once(receiver, 'message');
    const writeAndForget = async () => {
      const bytes = frames.text(frames.deflate('hello'), { rsv1: true });
      const chunk = Buffer.from(new ArrayBuffer(65536), 0, bytes.length);
      bytes.copy(chunk);
      await writeChunk(receiver, chunk);
      return new WeakRef(chunk.buffer);
    };
    const reference = await writeAndForget();
    await message;
    assert.ok(await isCollected(reference));
  });
});

// The stream transport hands out views over the chunks that Node read, as ws does.
const views = process.env.OXWS_TRANSPORT === 'stream' && 'its messages are views over chunks';

describe('A message that is kept', { skip: skip || views }, () => {
  test('keeps no more memory than its size and 8 KiB', async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    const { socket } = await connectRaw(t, wss);
    const [ws] = await connected;
    const kept = [];
    const all = new Promise((resolve) => {
      let count = 0;
      ws.on('message', (data) => {
        if (count % 500 === 0) kept.push(data);
        if (++count === 20000) resolve();
      });
    });
    const frame = frames.binary(Buffer.alloc(100), { mask: true });
    socket.write(Buffer.concat(Array(20000).fill(frame)));
    await all;
    for (const data of kept) assert.ok(data.buffer.byteLength <= 8192 + data.length);
  });
});

describe('PerMessageDeflate', { skip }, () => {
  test('may be cleaned up while it inflates: whoever waits is told, once', async (t) => {
    const { code, stderr, stdout } = await runInChild(t, (WebSocketInChild) => {
      const { deflateRawSync } = require('node:zlib');
      const deflate = new WebSocketInChild.PerMessageDeflate();
      deflate.accept([{}]);
      const calls = [];
      for (const size of [2 ** 20, 10]) {
        const data = deflateRawSync(Buffer.alloc(size));
        deflate.decompress(data, true, (error) => calls.push(`${size}: ${error.message}`));
      }
      deflate.cleanup();
      calls.push('cleaned up');
      process.on('exit', () => process.stdout.write(calls.join('\n')));
    });
    assert.equal(code, 0, stderr);
    assert.deepEqual(stdout.split('\n'), [
      '1048576: The inflate stream was closed while data was being processed',
      '10: The inflate stream was closed while data was being processed',
      'cleaned up'
    ]);
  });

  test('works on at once when it was cleaned up while it compresses', async () => {
    const deflate = new PerMessageDeflate();
    deflate.accept([{}]);
    const compress = (data) =>
      new Promise((resolve, reject) => {
        deflate.compress(data, true, (error, result) => (error ? reject(error) : resolve(result)));
      });
    for (const data of ['little of it', 'much of it '.repeat(100_000)]) {
      deflate.cleanup();
      const first = await compress(data);
      const closed = compress(data);
      deflate.cleanup();
      const after = compress(data);
      await assert.rejects(closed, /The deflate stream was closed/);
      // It refers to nothing that was compressed before.
      assert.deepEqual(await after, first);
    }
  });

  test('works on after zlib refused the options of many', async () => {
    for (let i = 0; i < 20; i++) {
      const deflate = new PerMessageDeflate({ zlibDeflateOptions: { level: 99 } });
      deflate.accept([{}]);
      assert.throws(() => deflate.compress('data', true, () => undefined), RangeError);
    }
    const deflate = new PerMessageDeflate();
    deflate.accept([{}]);
    const payload = await new Promise((resolve, reject) => {
      deflate.compress('data', true, (error, result) => (error ? reject(error) : resolve(result)));
    });
    assert.equal(frames.inflate(payload).toString(), 'data');
  });
});

describe('A frame that could not be written whole', { skip }, () => {
  test('is not sent, nor anything in its place', async (t) => {
    const { client, server } = await openPair(t, { client: { perMessageDeflate: false } });
    for (const [from, to] of [
      [client, server],
      [server, client]
    ]) {
      const received = [];
      const done = new Promise((resolve) => {
        to.on('message', (data) => {
          if (received.push(data.toString()) === 3) resolve();
        });
      });
      from.send('before');
      const write = t.mock.method(Buffer.prototype, 'utf8Write', () => {
        throw new RangeError('Maximum call stack size exceeded');
      });
      assert.throws(() => from.send('interrupted'), RangeError);
      write.mock.restore();
      from.send('after');
      from.send('last');
      await done;
      assert.deepEqual(received, ['before', 'after', 'last']);
    }
  });
});

describe('A buffer that does not tell the truth about its length', { skip }, () => {
  test('is sent as it is, and nothing else of the memory that frames lie in', async (t) => {
    const { client, server } = await openPair(t);
    for (const [from, to] of [
      [client, server],
      [server, client]
    ]) {
      from.send('secret'.repeat(500));
      await once(to, 'message');
      for (const length of [0, 1, 1000, 70_000]) {
        const data = Object.defineProperty(Buffer.from('hi'), 'length', { value: length });
        from.send(data);
        const [received] = await once(to, 'message');
        assert.equal(received.toString(), 'hi');
      }
      const fake = Object.create(Buffer.prototype, { length: { value: 2 } });
      assert.throws(() => from.send(fake), TypeError);
      from.send('last');
      assert.equal(String(await once(to, 'message')), 'last,false');
    }
  });
});
