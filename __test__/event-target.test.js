'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const WebSocket = require('./support/package.js');
const { lib } = require('./support/internals.js');

const { CloseEvent, ErrorEvent, Event, EventTarget, MessageEvent } = lib('event-target');

/** A WebSocket without a connection: its events are emitted by hand. */
const unconnected = () => new WebSocket(null, undefined, {});

/** The names that `for (const name in event)` finds, as loggers and serialisers do. */
function enumerable(event) {
  const names = [];
  for (const name in event) names.push(name);
  return names.sort();
}

describe('EventTarget', () => {
  test('has the methods of a WebSocket, for a class that is none', () => {
    assert.deepEqual(Object.keys(EventTarget), ['addEventListener', 'removeEventListener']);
    for (const [name, method] of Object.entries(EventTarget)) {
      assert.equal(WebSocket.prototype[name], method);
    }
  });
});

describe('The event classes', () => {
  test('Event has a type and no target before it is dispatched', () => {
    const event = new Event('open');
    assert.equal(event.type, 'open');
    assert.equal(event.target, null);
    assert.deepEqual(enumerable(event), ['target', 'type']);
  });

  test('CloseEvent has code, reason and wasClean', () => {
    const bare = new CloseEvent('close');
    assert.deepEqual([bare.type, bare.code, bare.reason, bare.wasClean], ['close', 0, '', false]);
    const full = new CloseEvent('close', { code: 1000, reason: 'done', wasClean: true });
    assert.deepEqual([full.code, full.reason, full.wasClean], [1000, 'done', true]);
    assert.ok(full instanceof Event);
    assert.deepEqual(enumerable(full), ['code', 'reason', 'target', 'type', 'wasClean']);
  });

  test('ErrorEvent has error and message', () => {
    const bare = new ErrorEvent('error');
    assert.deepEqual([bare.type, bare.error, bare.message], ['error', null, '']);
    const error = new Error('why');
    const full = new ErrorEvent('error', { error, message: 'why' });
    assert.equal(full.error, error);
    assert.equal(full.message, 'why');
    assert.ok(full instanceof Event);
    assert.deepEqual(enumerable(full), ['error', 'message', 'target', 'type']);
  });

  test('MessageEvent has data', () => {
    assert.equal(new MessageEvent('message').data, null);
    const data = Buffer.from('x');
    const event = new MessageEvent('message', { data });
    assert.equal(event.data, data);
    assert.ok(event instanceof Event);
    assert.deepEqual(enumerable(event), ['data', 'target', 'type']);
  });

  test('their fields keep falsy values and cannot be assigned', () => {
    assert.equal(new MessageEvent('message', { data: '' }).data, '');
    assert.equal(new ErrorEvent('error', { error: 0 }).error, 0);
    const event = new CloseEvent('close', { code: 1000 });
    assert.throws(() => {
      event.code = 1;
    }, TypeError);
    assert.equal(event.code, 1000);
  });
});

describe('addEventListener', () => {
  test('gives an Event for open', () => {
    const ws = unconnected();
    const events = [];
    ws.addEventListener('open', (event) => events.push(event));
    ws.emit('open');
    assert.equal(events.length, 1);
    assert.equal(events[0].constructor, Event);
    assert.equal(events[0].type, 'open');
    assert.equal(events[0].target, ws);
  });

  test('gives a MessageEvent with a string for text, and with the data itself for binary', () => {
    const ws = unconnected();
    const events = [];
    ws.addEventListener('message', (event) => events.push(event));
    ws.emit('message', Buffer.from('grüße'), false);
    const kinds = [Buffer.from([1]), new ArrayBuffer(2), [Buffer.from([3])], new Blob(['4'])];
    for (const data of kinds) ws.emit('message', data, true);
    assert.ok(events.every((event) => event instanceof MessageEvent && event.target === ws));
    assert.equal(events[0].data, 'grüße');
    for (const [i, data] of kinds.entries()) assert.equal(events[i + 1].data, data);
  });

  test('gives a CloseEvent with the reason as a string', () => {
    for (const [received, sent, wasClean] of [
      [true, true, true],
      [true, false, false],
      [false, true, false],
      [false, false, false]
    ]) {
      const ws = unconnected();
      const events = [];
      ws.addEventListener('close', (event) => events.push(event));
      ws._closeFrameReceived = received;
      ws._closeFrameSent = sent;
      ws.emit('close', 4000, Buffer.from('why'));
      assert.ok(events[0] instanceof CloseEvent);
      assert.equal(events[0].target, ws);
      const { code, reason, wasClean: clean } = events[0];
      assert.deepEqual([code, reason, clean], [4000, 'why', wasClean]);
    }
  });

  test('gives an ErrorEvent with the error and its message', () => {
    const ws = unconnected();
    const events = [];
    ws.addEventListener('error', (event) => events.push(event));
    const error = new RangeError('out of it');
    ws.emit('error', error);
    assert.ok(events[0] instanceof ErrorEvent);
    assert.equal(events[0].error, error);
    assert.equal(events[0].message, 'out of it');
    assert.equal(events[0].target, ws);
  });

  test('calls a function with the WebSocket as this, an object by its handleEvent', () => {
    const ws = unconnected();
    const seen = [];
    const object = {
      handleEvent(event) {
        seen.push(['object', this === object, event.type]);
      }
    };
    ws.addEventListener('open', function (event) {
      seen.push(['function', this === ws, event.type]);
    });
    ws.addEventListener('open', object);
    ws.emit('open');
    assert.deepEqual(seen, [
      ['function', true, 'open'],
      ['object', true, 'open']
    ]);
  });

  test('looks handleEvent up when the event comes', () => {
    const ws = unconnected();
    let calls = 0;
    const object = { handleEvent: () => assert.fail('replaced') };
    ws.addEventListener('open', object);
    object.handleEvent = () => calls++;
    ws.emit('open');
    assert.equal(calls, 1);
  });

  test('takes the same listener once per event', () => {
    const ws = unconnected();
    let calls = 0;
    const listener = () => calls++;
    for (const options of [undefined, {}, { once: true }]) {
      ws.addEventListener('open', listener, options);
      ws.addEventListener('message', listener, options);
    }
    ws.emit('open');
    ws.emit('open');
    assert.equal(calls, 2);
    assert.equal(ws.listenerCount('message'), 1);
  });

  test('with once calls the listener once', () => {
    const ws = unconnected();
    let calls = 0;
    ws.addEventListener('message', () => calls++, { once: true });
    ws.emit('message', Buffer.from('a'), false);
    ws.emit('message', Buffer.from('b'), false);
    assert.equal(calls, 1);
    assert.equal(ws.listenerCount('message'), 0);
  });

  test('ignores other events', () => {
    const ws = unconnected();
    for (const type of ['ping', 'pong', 'upgrade', 'redirect', 'unexpected-response', 'foo']) {
      ws.addEventListener(type, () => assert.fail(type));
      assert.equal(ws.listenerCount(type), 0);
      ws.emit(type);
    }
  });

  test('keeps the order with listeners of on() and of the on-attributes', () => {
    const ws = unconnected();
    const order = [];
    ws.on('open', () => order.push('on'));
    ws.addEventListener('open', () => order.push('addEventListener'));
    ws.onopen = () => order.push('onopen');
    ws.prependListener('open', () => order.push('prepended'));
    ws.emit('open');
    assert.deepEqual(order, ['prepended', 'on', 'addEventListener', 'onopen']);
  });

  test('lets what a listener throws out of emit, as on() does', () => {
    const ws = unconnected();
    ws.addEventListener('open', () => {
      throw new Error('from the listener');
    });
    assert.throws(() => ws.emit('open'), /from the listener/);
  });
});

describe('removeEventListener', () => {
  test('removes functions, objects and once listeners', () => {
    const ws = unconnected();
    const listeners = [() => undefined, { handleEvent() {} }];
    for (const listener of listeners) {
      for (const options of [{}, { once: true }]) {
        ws.addEventListener('message', listener, options);
        assert.equal(ws.listenerCount('message'), 1);
        ws.removeEventListener('message', listener);
        assert.equal(ws.listenerCount('message'), 0);
      }
    }
  });

  test('removes only that listener of that event, and only if addEventListener added it', () => {
    const ws = unconnected();
    const listener = () => undefined;
    ws.addEventListener('open', listener);
    ws.addEventListener('open', () => undefined);
    ws.addEventListener('close', listener);
    ws.on('open', listener);
    ws.onopen = listener;
    ws.removeEventListener('open', listener);
    ws.removeEventListener('open', listener);
    ws.removeEventListener('open', () => undefined);
    ws.removeEventListener('foo', listener);
    assert.equal(ws.listenerCount('open'), 3);
    assert.equal(ws.listenerCount('close'), 1);
    assert.equal(ws.onopen, listener);
    assert.ok(ws.listeners('open').includes(listener));
  });
});

describe('onopen, onmessage, onerror and onclose', () => {
  const NAMES = ['open', 'message', 'error', 'close'];

  test('are null at first, hold a function, and can be replaced and removed', () => {
    const ws = unconnected();
    for (const name of NAMES) {
      const attribute = `on${name}`;
      assert.equal(ws[attribute], null);
      const first = () => assert.fail('replaced');
      ws[attribute] = first;
      assert.equal(ws[attribute], first);
      const second = () => undefined;
      ws[attribute] = second;
      assert.equal(ws[attribute], second);
      assert.equal(ws.listenerCount(name), 1);
      ws[attribute] = null;
      assert.equal(ws[attribute], null);
      assert.equal(ws.listenerCount(name), 0);
    }
  });

  test('take functions only; anything else removes', () => {
    const ws = unconnected();
    for (const value of [null, undefined, 'text', 5, {}, { handleEvent() {} }]) {
      ws.onmessage = () => undefined;
      ws.onmessage = value;
      assert.equal(ws.onmessage, null);
      assert.equal(ws.listenerCount('message'), 0);
    }
  });

  test('get events, with the WebSocket as this', () => {
    const ws = unconnected();
    const seen = [];
    for (const name of NAMES) {
      ws[`on${name}`] = function (event) {
        seen.push([event.type, event.target === ws, this === ws]);
      };
    }
    ws.emit('open');
    ws.emit('message', Buffer.from('a'), false);
    ws.emit('error', new Error('e'));
    ws.emit('close', 1000, Buffer.alloc(0));
    assert.deepEqual(
      seen,
      NAMES.map((name) => [name, true, true])
    );
  });

  test('are apart from addEventListener: the same function can be both', () => {
    const ws = unconnected();
    let calls = 0;
    const listener = () => calls++;
    ws.onopen = listener;
    ws.addEventListener('open', listener);
    ws.emit('open');
    assert.equal(calls, 2);
    ws.onopen = null;
    ws.emit('open');
    assert.equal(calls, 3);
  });

  test('do not count listeners of on()', () => {
    const ws = unconnected();
    ws.on('open', () => undefined);
    ws.addEventListener('open', () => undefined);
    assert.equal(ws.onopen, null);
  });

  test('are removed by removeAllListeners', () => {
    const ws = unconnected();
    ws.onmessage = () => undefined;
    ws.removeAllListeners('message');
    assert.equal(ws.onmessage, null);
  });
});
