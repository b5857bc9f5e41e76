'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const vm = require('node:vm');

const WebSocket = require('./support/package.js');
const { OPCODE, frame, maskedFrame } = require('./support/frames.js');
const {
  closeOf,
  collect,
  logEvents,
  openPair,
  openServer,
  startClient,
  turn,
  urlOf
} = require('./support/pair.js');
const { connectRaw, serveRaw } = require('./support/raw-peer.js');

const bytes = (...values) => Uint8Array.from(values);
const foreign = (expression) => vm.runInNewContext(expression);

/** What may be sent: a name, the value, the bytes that arrive, whether they arrive as binary. */
const SENDABLE = [
  ['a string', () => 'héllo €', 'héllo €', false],
  ['an empty string', () => '', '', false],
  ['a string with half a surrogate pair', () => 'a\ud800b', 'a\ufffdb', false],
  ['a number', () => 12.5, '12.5', false],
  ['zero', () => 0, '0', false],
  ['NaN', () => NaN, 'NaN', false],
  ['undefined', () => undefined, [], true],
  ['null', () => null, [], true],
  ['false', () => false, [], true],
  ['a Buffer', () => Buffer.from('bytes'), 'bytes', true],
  ['an empty Buffer', () => Buffer.alloc(0), [], true],
  ['an Uint8Array', () => bytes(0, 1, 2), [0, 1, 2], true],
  ['a part of an Uint8Array', () => bytes(0, 1, 2, 3).subarray(1, 3), [1, 2], true],
  ['an Uint16Array', () => new Uint16Array([0x0101, 0x0202]), [1, 1, 2, 2], true],
  ['a part of an Uint16Array', () => new Uint16Array([1, 0x0202]).subarray(1), [2, 2], true],
  ['a DataView', () => new DataView(bytes(0, 1, 2, 3).buffer, 1, 2), [1, 2], true],
  ['an ArrayBuffer', () => bytes(1, 2).buffer, [1, 2], true],
  ['a SharedArrayBuffer', () => new SharedArrayBuffer(3), [0, 0, 0], true],
  ['an array of bytes', () => [1, 2, 255], [1, 2, 255], true],
  ['a String object', () => new String('text'), 'text', true],
  ['a Blob', () => new Blob(['in a ', 'blob']), 'in a blob', true],
  ['an empty Blob', () => new Blob([]), [], true],
  ['an Uint8Array of another realm', () => foreign('new Uint8Array([1, 2])'), [1, 2], true],
  ['an ArrayBuffer of another realm', () => foreign('new Uint8Array([1]).buffer'), [1], true]
];

/** Payload lengths around which the frame header changes. */
const LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 1024 * 1024];

describe('what is sent', () => {
  for (const role of ['client', 'server']) {
    const other = role === 'client' ? 'server' : 'client';

    for (const [name, make, expected, binary] of SENDABLE) {
      it(`may be ${name}, from the ${role}`, async (t) => {
        const pair = await openPair(t);
        pair[role].send(make());
        const [data, isBinary] = await once(pair[other], 'message');

        assert.deepStrictEqual(data, Buffer.from(expected));
        assert.strictEqual(isBinary, binary);
      });
    }

    it(`arrives whole at any length, from the ${role}`, async (t) => {
      const pair = await openPair(t);

      for (const length of LENGTHS) {
        const binary = Buffer.alloc(length, 'abcdefg');
        for (const sent of [binary, binary.toString()]) {
          pair[role].send(sent);
          const [data, isBinary] = await once(pair[other], 'message');
          assert.ok(data.equals(binary), `length ${length}`);
          assert.strictEqual(isBinary, sent === binary);
        }
      }
    });

    it(`is never changed in the memory of the sender, the ${role}`, async (t) => {
      const pair = await openPair(t);

      for (const length of LENGTHS) {
        const buffer = Buffer.alloc(length, 'abcdefg');
        const values = [buffer, new Uint8Array(buffer).buffer, new DataView(buffer.buffer)];
        for (const value of values) {
          const before = Buffer.from(value.buffer ?? value).toString('latin1');
          const sent = new Promise((resolve) => pair[role].send(value, resolve));
          await Promise.all([sent, once(pair[other], 'message')]);
          assert.strictEqual(Buffer.from(value.buffer ?? value).toString('latin1'), before);
        }
      }
    });

    it(`may be overwritten as soon as a small message was sent, by the ${role}`, async (t) => {
      const pair = await openPair(t);
      const scratch = Buffer.alloc(1000);
      const received = collect(pair[other], 'message', 20);

      for (let i = 0; i < 20; i++) {
        scratch.fill(i);
        pair[role].send(scratch);
      }
      scratch.fill(0xff);

      for (const [index, [data]] of (await received).entries()) {
        assert.ok(data.equals(Buffer.alloc(1000, index)), `message ${index}`);
      }
    });

    it(`arrives in order, whatever its kind and size, from the ${role}`, async (t) => {
      const pair = await openPair(t);
      const sent = ['first', Buffer.alloc(200_000, 1), 'second', new Blob(['third']), '', 'last'];
      const received = collect(pair[other], 'message', sent.length);
      for (const value of sent) pair[role].send(value);
      const texts = (await received).map(([data]) => data.toString());

      assert.deepStrictEqual(texts, [
        'first',
        '\u0001'.repeat(200_000),
        'second',
        'third',
        '',
        'last'
      ]);
    });
  }

  for (const [name, value] of [
    ['an object without bytes', {}],
    ['true', true],
    ['a symbol', Symbol('s')],
    ['a bigint', 1n]
  ]) {
    it(`throws for ${name} and leaves the connection as it was`, async (t) => {
      const { client, server } = await openPair(t);

      assert.throws(() => client.send(value), { name: 'TypeError' });
      assert.strictEqual(client.readyState, WebSocket.OPEN);
      client.send('after');
      assert.strictEqual(String((await once(server, 'message'))[0]), 'after');
    });
  }

  it('cannot be sent before the connection is open', async (t) => {
    const wss = await openServer(t);
    const client = startClient(t, urlOf(wss));

    for (const send of [() => client.send('early'), () => client.send('early', () => {})]) {
      assert.throws(send, {
        name: 'Error',
        message: 'WebSocket is not open: readyState 0 (CONNECTING)'
      });
    }
  });
});

/** A Blob that cannot be read. */
function unreadable(error) {
  const blob = new Blob(['never seen']);
  blob.arrayBuffer = () => Promise.reject(error);
  return blob;
}

describe('a Blob that cannot be read', () => {
  for (const role of ['client', 'server']) {
    const other = role === 'client' ? 'server' : 'client';

    for (const method of ['send', 'ping', 'pong']) {
      it(`ends the connection with its error when it is given to ${method}(), by the ${role}`, async (t) => {
        const pair = await openPair(t);
        const ws = pair[role];
        const unread = new Error('the file is gone');
        const log = logEvents(ws, ['error', 'close'], (event, value) => [
          event,
          value,
          ws.readyState
        ]);
        const note = (name) => (error) => log.push([name, error, ws.readyState]);
        const arrived = logEvents(
          pair[other],
          ['message', 'ping', 'pong', 'error'],
          (event, data) => [event, String(data)]
        );
        const ended = closeOf(pair[other]);

        ws.send('before');
        ws[method](unreadable(unread), note(method));
        ws.send('behind it', note('what waits'));
        ws.send(unreadable(new Error('not looked at')), note('another Blob'));
        assert.deepStrictEqual(await closeOf(ws), [1006, Buffer.alloc(0)]);

        assert.deepStrictEqual(log, [
          [method, unread, WebSocket.OPEN],
          ['what waits', unread, WebSocket.OPEN],
          ['another Blob', unread, WebSocket.OPEN],
          ['error', unread, WebSocket.CLOSING],
          ['close', 1006, WebSocket.CLOSED]
        ]);
        assert.deepStrictEqual(await ended, [1006, Buffer.alloc(0)]);
        assert.deepStrictEqual(arrived, [['message', 'before']]);
      });
    }
  }

  it('leaves the peer time to say the rest, until closeTimeout is over', async (t) => {
    const wss = await openServer(t, { closeTimeout: 1000 });
    const [[server], { socket, frames }] = await Promise.all([
      once(wss, 'connection'),
      connectRaw(t, wss, { allowHalfOpen: true })
    ]);
    server.on('error', () => {});
    t.mock.timers.enable({ apis: ['setTimeout'] });
    server.send(unreadable(new Error('the file is gone')));
    assert.strictEqual(await frames.next(), null);
    socket.write(maskedFrame({ payload: 'the rest' }));
    assert.strictEqual(String((await once(server, 'message'))[0]), 'the rest');

    t.mock.timers.tick(999);
    assert.strictEqual(server._socket.destroyed, false);
    t.mock.timers.tick(1);
    assert.strictEqual(server._socket.destroyed, true);
    assert.deepStrictEqual(await closeOf(server), [1006, Buffer.alloc(0)]);
  });

  it('makes no error event when the connection has closed in the meantime', async (t) => {
    const { client } = await openPair(t);
    const log = logEvents(client, ['error', 'close']);
    const blob = new Blob(['never seen']);
    let fail;
    blob.arrayBuffer = () => new Promise((resolve, reject) => (fail = reject));
    const told = new Promise((resolve) => client.send(blob, resolve));
    client.terminate();
    await once(client, 'close');
    const unread = new Error('the file is gone');
    fail(unread);

    assert.strictEqual(await told, unread);
    await turn();
    assert.deepStrictEqual(log, ['close']);
  });

  const refusing = { perMessageDeflate: { zlibDeflateOptions: { level: 99 } } };
  for (const [what, options, blob, message] of [
    [
      'if it has no bytes to give',
      {},
      Object.assign(new Blob(['x']), { arrayBuffer: async () => null }),
      /argument must be of type string or an instance of Buffer/
    ],
    [
      'if there is no key to mask it with',
      {
        client: {
          generateMask() {
            throw new Error('no entropy');
          }
        }
      },
      new Blob(['x']),
      /^no entropy$/
    ],
    [
      'if it cannot be compressed',
      { client: refusing, server: refusing },
      new Blob(['x']),
      /"options.level" is out of range/
    ]
  ]) {
    it(`is one also ${what}`, async (t) => {
      const { client } = await openPair(t, options);
      const log = [];
      const note = (name) => (error) => log.push([name, error, client.readyState]);
      client.on('error', note('error'));
      const closed = closeOf(client);
      client.send(blob, note('send'));
      client.send('behind it', note('what waits'));

      assert.deepStrictEqual(await closed, [1006, Buffer.alloc(0)]);
      const [[, error]] = log;
      assert.match(error.message, message);
      assert.deepStrictEqual(log, [
        ['send', error, WebSocket.OPEN],
        ['what waits', error, WebSocket.OPEN],
        ['error', error, WebSocket.CLOSING]
      ]);
    });
  }

  it('ends the connection also if it throws when its turn comes, behind another', async (t) => {
    const { client, server } = await openPair(t);
    const thrown = new Error('thrown at once');
    const log = logEvents(client, ['error'], (event, error) => error);
    const arrived = logEvents(server, ['message'], (event, data) => String(data));
    const closed = Promise.all([closeOf(client), closeOf(server)]);
    const blob = new Blob(['never seen']);
    blob.arrayBuffer = () => {
      throw thrown;
    };
    client.send(new Blob(['readable']));
    client.send(blob);
    await closed;

    assert.deepStrictEqual(log, [thrown]);
    assert.deepStrictEqual(arrived, ['readable']);
  });

  it('makes no second error event, nor does what comes after it', async (t) => {
    const { client, server } = await openPair(t);
    const log = logEvents(client, ['error'], (event, error) => error.message);
    const closed = closeOf(client);
    client.send(unreadable(new Error('the file is gone')));
    client.once('error', () => server._socket.end(frame({ payload: 'x', rsv2: true })));
    await closed;

    assert.deepStrictEqual(log, ['the file is gone']);
  });
});

describe('the options of send', () => {
  it('may be undefined or null', async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 2);
    client.send('a', undefined);
    client.send('b', null);

    assert.deepStrictEqual(await received, [
      [Buffer.from('a'), false],
      [Buffer.from('b'), false]
    ]);
  });

  it('do not count where they are inherited', async (t) => {
    class Options {
      get binary() {
        return true;
      }

      get fin() {
        return false;
      }
    }
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 2);
    client.send('text', new Options());
    client.send('text', Object.create({ binary: true }));
    assert.deepStrictEqual(
      (await received).map(([, isBinary]) => isBinary),
      [false, false]
    );
  });

  it('say whether the message is binary', async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(server, 'message', 2);
    client.send('bytes', { binary: true });
    client.send(Buffer.from('text'), { binary: false });

    assert.deepStrictEqual(await received, [
      [Buffer.from('bytes'), true],
      [Buffer.from('text'), false]
    ]);
  });

  it('send a message in fragments, each a frame of its own', async (t) => {
    const server = await openServer(t);
    const connected = once(server, 'connection');
    const { frames } = await connectRaw(t, server);
    const [ws] = await connected;
    ws.send('one ', { fin: false });
    ws.send('', { fin: false });
    ws.ping('between');
    ws.send('two', { fin: true });
    ws.send(Buffer.from('three'));
    const sent = (await frames.take(5)).map(({ fin, opcode, payload }) => [
      fin,
      opcode,
      payload.toString()
    ]);

    assert.deepStrictEqual(sent, [
      [false, OPCODE.TEXT, 'one '],
      [false, OPCODE.CONTINUATION, ''],
      [true, OPCODE.PING, 'between'],
      [true, OPCODE.CONTINUATION, 'two'],
      [true, OPCODE.BINARY, 'three']
    ]);
  });

  it('keep the type of the first fragment for the whole message', async (t) => {
    const { client, server } = await openPair(t);
    client.send('one ', { binary: true, fin: false });
    client.send('two');

    assert.deepStrictEqual(await once(server, 'message'), [Buffer.from('one two'), true]);
  });

  it('are not kept: the next message has its own', async (t) => {
    const { client, server } = await openPair(t);
    const options = Object.freeze({ binary: true });
    const received = collect(server, 'message', 2);
    client.send('a', options);
    client.send('b');

    assert.deepStrictEqual(
      (await received).map(([, isBinary]) => isBinary),
      [true, false]
    );
  });
});

describe('masking', () => {
  it('is done by clients, with another key for each frame', async (t) => {
    const { url, peer } = await serveRaw(t);
    const client = startClient(t, url);
    const [{ frames }] = await Promise.all([peer(), once(client, 'open')]);
    for (let i = 0; i < 8; i++) client.send('the same');
    const sent = await frames.take(8);

    assert.ok(sent.every(({ key, payload }) => key && payload.toString() === 'the same'));
    assert.strictEqual(new Set(sent.map(({ key }) => key.toString('hex'))).size, 8);
  });

  it('is not done by servers', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (ws) => ws.send('clear'));
    const { frames } = await connectRaw(t, wss);

    assert.strictEqual((await frames.next()).key, null);
  });

  it('can be asked for, or left out, for a message', async (t) => {
    const { url, peer } = await serveRaw(t);
    const client = startClient(t, url);
    const [{ frames }] = await Promise.all([peer(), once(client, 'open')]);
    client.send('clear', { mask: false });
    client.send('masked', { mask: true });
    const [clear, masked] = await frames.take(2);

    assert.strictEqual(clear.key, null);
    assert.notStrictEqual(masked.key, null);

    const wss = await openServer(t);
    wss.on('connection', (ws) => ws.send('masked', { mask: true }));
    const raw = await connectRaw(t, wss);
    const frame = await raw.frames.next();
    assert.notStrictEqual(frame.key, null);
    assert.strictEqual(frame.payload.toString(), 'masked');
  });

  it('takes its keys from generateMask, which fills a buffer for each frame', async (t) => {
    const { url, peer } = await serveRaw(t);
    const keys = [];
    const client = startClient(t, url, {
      generateMask(key) {
        assert.ok(Buffer.isBuffer(key));
        assert.strictEqual(key.length, 4);
        key.fill(keys.length + 1);
        keys.push(Buffer.from(key));
      }
    });
    const [{ frames }] = await Promise.all([peer(), once(client, 'open')]);
    client.send('text');
    client.send(Buffer.alloc(70_000, 'x'));
    client.ping('ping');
    client.pong();
    client.close(1000);
    const sent = await frames.take(5);

    assert.deepStrictEqual(
      sent.map(({ key }) => key),
      keys
    );
    assert.strictEqual(sent[0].payload.toString(), 'text');
    assert.ok(sent[1].payload.equals(Buffer.alloc(70_000, 'x')));
  });

  it('with a key of zeros leaves the payload readable on the wire', async (t) => {
    const { url, peer } = await serveRaw(t);
    const client = startClient(t, url, { generateMask: (key) => key.fill(0) });
    const [{ socket }] = await Promise.all([peer(), once(client, 'open')]);
    client.send('readable');
    const [chunk] = await once(socket, 'data');

    assert.ok(chunk.includes('readable'));
  });

  it('passes on what generateMask throws', async (t) => {
    const { client } = await openPair(t, {
      client: {
        generateMask() {
          throw new Error('no entropy');
        }
      }
    });

    assert.throws(() => client.send('text'), { message: 'no entropy' });
    assert.strictEqual(client.readyState, WebSocket.OPEN);
  });
});
