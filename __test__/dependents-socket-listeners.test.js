'use strict';

/**
 * Whoever looks at, adds or removes listeners of `ws._socket` finds them as if Node read it.
 */

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const { maskedFrame } = require('./support/frames.js');
const { logEvents, turn } = require('./support/pair.js');
const { openToRawPeer } = require('./support/raw-peer.js');

describe('the listeners of _socket', () => {
  it('are counted and named with those of the package', async (t) => {
    const { server } = await openToRawPeer(t);
    const { _socket: socket } = server;
    assert.strictEqual(socket.listenerCount('data'), 1);
    assert.strictEqual(socket.eventNames().filter((name) => name === 'data').length, 1);
    const mine = () => {};
    assert.strictEqual(socket.listenerCount('data', mine), 0);
    socket.on('data', mine);
    assert.strictEqual(socket.listenerCount('data'), 2);
    assert.strictEqual(socket.listenerCount('data', mine), 1);
    assert.strictEqual(socket.eventNames().filter((name) => name === 'data').length, 1);
  });

  it('are all gone after removeAllListeners(), so that a tunnel can take the stream over', async (t) => {
    const { server, socket: peer } = await openToRawPeer(t);
    const { _socket: socket } = server;
    const messages = logEvents(server, ['message', 'error']);
    socket.removeAllListeners();
    assert.deepStrictEqual(socket.eventNames(), []);

    const received = once(socket, 'data');
    peer.write('SSH-2.0-tunnel');
    assert.strictEqual(String((await received)[0]), 'SSH-2.0-tunnel');
    assert.deepStrictEqual(messages, []);
  });

  it('are not needed to read what has arrived while it was paused', async (t) => {
    const { server, socket: peer } = await openToRawPeer(t);
    const { _socket: socket } = server;
    const bytes = maskedFrame({ payload: 'two' });
    server.once('message', () => socket.pause());
    peer.write(maskedFrame({ payload: 'one' }));
    await once(server, 'message');
    peer.write(bytes);
    let read = null;
    while (read === null) {
      await turn();
      read = socket.read();
    }
    assert.strictEqual(read.length, bytes.length);
  });
});
