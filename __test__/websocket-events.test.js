'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { frame } = require('./support/frames.js');
const { collect, openPair, openServer, startClient, urlOf } = require('./support/pair.js');
const { serveRaw } = require('./support/raw-peer.js');

const TYPES = ['open', 'message', 'error', 'close'];

/** A server end that is never connected: listeners can be added and events emitted by hand. */
const detached = () => new WebSocket(null, undefined, {});

/** Emits each of the four events with arguments of its kind. */
function emitAll(ws) {
  ws.emit('open');
  ws.emit('message', Buffer.from('text'), false);
  ws.emit('error', new Error('oops'));
  ws.emit('close', 1000, Buffer.from('bye'));
}

describe('the on* attributes', () => {
  for (const type of TYPES) {
    it(`on${type} holds one function, and null when there is none`, () => {
      const ws = detached();
      const first = () => {};
      const second = () => {};

      assert.strictEqual(ws[`on${type}`], null);
      ws[`on${type}`] = first;
      assert.strictEqual(ws[`on${type}`], first);
      ws[`on${type}`] = second;
      assert.strictEqual(ws[`on${type}`], second);
      assert.strictEqual(ws.listenerCount(type), 1);
      for (const nothing of [null, undefined, 'text', {}, { handleEvent() {} }]) {
        ws[`on${type}`] = second;
        ws[`on${type}`] = nothing;
        assert.strictEqual(ws[`on${type}`], null);
        assert.strictEqual(ws.listenerCount(type), 0);
      }
    });

    it(`on${type} is not what on() or addEventListener() add, and leaves those alone`, () => {
      const ws = detached();
      const calls = [];
      ws.on('error', () => {});
      ws.on(type, () => calls.push('on'));
      ws.addEventListener(type, () => calls.push('addEventListener'));
      assert.strictEqual(ws[`on${type}`], null);
      ws[`on${type}`] = () => calls.push('attribute');
      emitAll(ws);
      ws[`on${type}`] = null;
      emitAll(ws);

      const others = ['on', 'addEventListener'];
      assert.deepStrictEqual(calls, [...others, 'attribute', ...others]);
    });
  }

  it('may be set before the connection opens, and see its whole life', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (ws) => {
      ws.send('hello');
      ws.close(4000, 'bye');
    });
    const client = startClient(t, urlOf(wss));
    const seen = [];
    const done = new Promise((resolve) => {
      client.onopen = (event) => seen.push(event.type);
      client.onmessage = (event) => seen.push(event.data);
      client.onclose = (event) => resolve(seen.push(event.code, event.reason, event.wasClean));
    });
    await done;

    assert.deepStrictEqual(seen, ['open', 'hello', 4000, 'bye', true]);
  });

  it('catch the error of a connection that fails, which then is not thrown', async (t) => {
    const wss = await openServer(t, { path: '/elsewhere' });
    const client = startClient(t, urlOf(wss));
    const event = await new Promise((resolve) => (client.onerror = resolve));

    assert.strictEqual(event.message, 'Unexpected server response: 400');
    assert.strictEqual(event.error.message, event.message);
  });
});

describe('addEventListener()', () => {
  it('takes functions, called with the websocket as this and an event', () => {
    for (const type of TYPES) {
      const ws = detached();
      ws.on('error', () => {});
      const calls = [];
      ws.addEventListener(type, function listener(event) {
        calls.push([this === ws, event.target === ws, event.type]);
      });
      emitAll(ws);

      assert.deepStrictEqual(calls, [[true, true, type]]);
    }
  });

  it('takes objects with handleEvent, called as a method', () => {
    const ws = detached();
    const listener = {
      events: [],
      handleEvent(event) {
        assert.strictEqual(this, listener);
        this.events.push(event.type);
      }
    };
    for (const type of TYPES) ws.addEventListener(type, listener);
    emitAll(ws);

    assert.deepStrictEqual(listener.events, TYPES);
  });

  it('looks handleEvent up at each event', () => {
    const ws = detached();
    const calls = [];
    const listener = { handleEvent: () => calls.push('old') };
    ws.addEventListener('open', listener);
    listener.handleEvent = () => calls.push('new');
    ws.emit('open');

    assert.deepStrictEqual(calls, ['new']);
  });

  it('adds a listener once, however often it is called', () => {
    const ws = detached();
    let calls = 0;
    const listener = () => calls++;
    for (let i = 0; i < 3; i++) ws.addEventListener('open', listener);
    ws.addEventListener('open', listener, { once: true });
    ws.emit('open');
    ws.emit('open');

    assert.strictEqual(calls, 2);
  });

  it('calls a listener beside the same function in the attribute or added by on()', () => {
    const ws = detached();
    let calls = 0;
    const listener = () => calls++;
    ws.onopen = listener;
    ws.addEventListener('open', listener);
    ws.on('open', listener);
    ws.emit('open');

    assert.strictEqual(calls, 3);
  });

  it('removes a listener after its first event if asked to', () => {
    const ws = detached();
    let calls = 0;
    ws.addEventListener('message', () => calls++, { once: true });
    ws.onerror = () => {};
    emitAll(ws);
    emitAll(ws);

    assert.strictEqual(calls, 1);
    assert.strictEqual(ws.listenerCount('message'), 0);
  });

  it('ignores types that are none of the four, as ping, pong or an invention', () => {
    const ws = detached();
    for (const type of ['ping', 'pong', 'upgrade', 'redirect', 'invention']) {
      ws.addEventListener(type, () => assert.fail());
      assert.strictEqual(ws.listenerCount(type), 0);
    }
  });
});

describe('removeEventListener()', () => {
  it('removes what addEventListener added, functions and objects', () => {
    const ws = detached();
    for (const listener of [() => assert.fail(), { handleEvent: () => assert.fail() }]) {
      for (const type of TYPES) {
        ws.addEventListener(type, listener);
        ws.removeEventListener(type, listener);
        assert.strictEqual(ws.listenerCount(type), 0);
      }
    }
  });

  it('removes a listener that was to be called once', () => {
    const ws = detached();
    const listener = () => assert.fail();
    ws.addEventListener('open', listener, { once: true });
    ws.removeEventListener('open', listener);
    ws.emit('open');
  });

  it('removes nothing else', () => {
    const ws = detached();
    const listener = () => {};
    ws.on('open', listener);
    ws.onopen = listener;
    ws.removeEventListener('open', listener);
    ws.removeEventListener('open', () => {});
    ws.removeEventListener('invention', listener);

    assert.strictEqual(ws.listenerCount('open'), 2);
    assert.strictEqual(ws.onopen, listener);
  });

  it('has no power over removeListener, nor that over it', () => {
    const ws = detached();
    const listener = () => {};
    ws.addEventListener('open', listener);
    ws.removeListener('open', listener);
    assert.strictEqual(ws.listenerCount('open'), 1);
    ws.removeAllListeners('open');
    assert.strictEqual(ws.listenerCount('open'), 0);
  });
});

describe('the events', () => {
  it('have attributes that for..in finds and that cannot be assigned', () => {
    const ws = detached();
    const found = {};
    for (const type of TYPES) {
      ws.addEventListener(type, (event) => {
        const names = [];
        for (const name in event) {
          names.push(name);
          assert.throws(() => {
            event[name] = 1;
          }, TypeError);
        }
        found[event.constructor.name] = names.sort();
      });
    }
    emitAll(ws);

    assert.deepStrictEqual(found, {
      Event: ['target', 'type'],
      MessageEvent: ['data', 'target', 'type'],
      ErrorEvent: ['error', 'message', 'target', 'type'],
      CloseEvent: ['code', 'reason', 'target', 'type', 'wasClean']
    });
  });

  it('carry text as a string and binary data in the binaryType', async (t) => {
    const { client, server } = await openPair(t);
    const received = [];
    const next = () =>
      new Promise((resolve) =>
        client.addEventListener('message', ({ data }) => resolve(received.push(data)), {
          once: true
        })
      );

    server.send('tëxt');
    await next();
    server.send(Buffer.from('text'), { binary: false });
    await next();
    for (const type of ['nodebuffer', 'arraybuffer', 'fragments', 'blob']) {
      client.binaryType = type;
      server.send(Buffer.from([1, 2]));
      await next();
    }

    assert.strictEqual(received[0], 'tëxt');
    assert.strictEqual(received[1], 'text');
    assert.deepStrictEqual(received[2], Buffer.from([1, 2]));
    assert.deepStrictEqual(received[3], new Uint8Array([1, 2]).buffer);
    assert.deepStrictEqual(received[4], [Buffer.from([1, 2])]);
    assert.deepStrictEqual(await received[5].arrayBuffer(), new Uint8Array([1, 2]).buffer);
  });

  it('say whether the connection closed cleanly, and why', async (t) => {
    const cases = [
      [(ws) => ws.close(), { code: 1005, reason: '', wasClean: true }],
      [(ws) => ws.close(1000), { code: 1000, reason: '', wasClean: true }],
      [(ws) => ws.close(4321, 'gründe'), { code: 4321, reason: 'gründe', wasClean: true }],
      [(ws) => ws.terminate(), { code: 1006, reason: '', wasClean: false }]
    ];

    for (const [end, expected] of cases) {
      const { client, server } = await openPair(t);
      const events = Promise.all(
        [client, server].map((ws) => new Promise((resolve) => (ws.onclose = resolve)))
      );
      end(server);
      for (const { code, reason, wasClean } of await events) {
        assert.deepStrictEqual({ code, reason, wasClean }, expected);
      }
    }
  });

  it('call a close clean only if both close frames went through', () => {
    const ws = detached();
    const seen = [];
    ws.onclose = ({ wasClean }) => seen.push(wasClean);
    for (const [received, sent] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true]
    ]) {
      Object.assign(ws, { _closeFrameReceived: received, _closeFrameSent: sent });
      ws.emit('close', 1000, Buffer.alloc(0));
    }

    assert.deepStrictEqual(seen, [false, false, false, true]);
  });

  it('carry the error and its message', async (t) => {
    const { url, peer } = await serveRaw(t);
    const client = startClient(t, url);
    const [{ socket }] = await Promise.all([peer(), once(client, 'open')]);
    const seen = new Promise((resolve) => (client.onerror = resolve));
    socket.write(frame({ rsv2: true }));
    const event = await seen;

    assert.strictEqual(event.message, 'Invalid WebSocket frame: RSV2 and RSV3 must be clear');
    assert.strictEqual(event.error.code, 'WS_ERR_UNEXPECTED_RSV_2_3');
    assert.strictEqual(event.target, client);
  });
});

describe('the EventEmitter side', () => {
  it('gets text as a Buffer, and whether it is binary', async (t) => {
    const { client, server } = await openPair(t);
    const received = collect(client, 'message', 2);
    server.send('text');
    server.send(Buffer.from('data'));

    assert.deepStrictEqual(await received, [
      [Buffer.from('text'), false],
      [Buffer.from('data'), true]
    ]);
  });

  it('has the websocket as this in its listeners', async (t) => {
    const { client, server } = await openPair(t);
    const seen = new Promise((resolve) => {
      client.on('message', function listener() {
        resolve(this);
      });
    });
    server.send('text');

    assert.strictEqual(await seen, client);
  });

  it('calls listeners of both kinds in the order they were added', () => {
    const ws = detached();
    const order = [];
    ws.on('open', () => order.push(1));
    ws.addEventListener('open', () => order.push(2));
    ws.onopen = () => order.push(3);
    ws.once('open', () => order.push(4));
    ws.prependListener('open', () => order.push(0));
    ws.emit('open');

    assert.deepStrictEqual(order, [0, 1, 2, 3, 4]);
  });

  it('throws an error that nobody listens to', () => {
    const error = new Error('nobody cares');
    assert.throws(() => detached().emit('error', error), error);
  });
});
