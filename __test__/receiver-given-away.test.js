'use strict';

/**
 * A listener may give the memory of its message away (`postMessage(data, [data.buffer])`). Messages of other connections,
 * which lie in the same memory until they are delivered, must not suffer.
 */

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const { runInChild } = require('./support/child.js');
const { frame, maskedFrame } = require('./support/frames.js');
const { isOxws } = require('./support/internals.js');
const { openServer, turn } = require('./support/pair.js');
const { connectRaw, handshakeRequest } = require('./support/raw-peer.js');

const ROUNDS = 20;

/** Opens connections, of which the first gives its messages away; has all of them told something in the same turn. */
async function giveAway(t, options, send) {
  const wss = await openServer(t, options);
  const received = [];
  const errors = [];
  const peers = [];
  const open = async () => {
    const [[ws], peer] = await Promise.all([
      once(wss, 'connection'),
      connectRaw(t, wss, { headers: options.headers })
    ]);
    peers.push(peer.socket);
    return ws;
  };
  const taker = await open();
  taker.on('message', (data) => structuredClone(data.buffer, { transfer: [data.buffer] }));
  for (let i = 0; i < 8; i++) {
    const ws = await open();
    ws.on('message', (data) => received.push(String(data)));
    ws.on('error', (error) => errors.push(error));
  }
  let expected = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const socket of peers.slice(1)) expected += send(socket);
    peers[0].write(maskedFrame({ payload: 'take me' }));
    while (received.length < expected && errors.length === 0) await turn();
  }
  assert.deepStrictEqual(errors, []);
  return { expected, received };
}

describe('A listener that gives the memory of its message away', () => {
  it('leaves alone what others will be told in a later turn', async (t) => {
    const options = { allowSynchronousEvents: false };
    const { expected, received } = await giveAway(t, options, (socket) => {
      socket.write(
        Buffer.concat([maskedFrame({ payload: 'hello' }), maskedFrame({ payload: 'hello' })])
      );
      return 2;
    });
    assert.deepStrictEqual(received, Array(expected).fill('hello'));
  });

  it('leaves alone what others have inflated', async (t) => {
    const options = {
      perMessageDeflate: true,
      headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' }
    };
    // `Hello`, compressed (RFC 7692, section 7.2.3.1).
    const compressed = Buffer.from([0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    const { expected, received } = await giveAway(t, options, (socket) => {
      socket.write(maskedFrame({ payload: compressed, rsv1: true }));
      return 1;
    });
    assert.deepStrictEqual(received, Array(expected).fill('Hello'));
  });

  it(
    'ends its own connection if others that came with it are lost',
    { skip: !isOxws && 'ws stalls' },
    async (t) => {
      const main = (WebSocket) => {
        const net = require('node:net');
        process.on('uncaughtException', (error) => console.log(error.name));
        const wss = new WebSocket.Server({ port: 0 }, () => {
          const peer = net.connect(wss.address().port);
          peer.on('error', () => {});
          peer.write(process.env.TEST_REQUEST);
          peer.once('data', () => peer.write(Buffer.from(process.env.TEST_FRAMES, 'hex')));
        });
        wss.on('connection', (ws) => {
          ws.on('message', (data) => {
            console.log(String(data));
            structuredClone(data.buffer, { transfer: [data.buffer] });
          });
          ws.on('close', (code) => {
            console.log(code);
            process.exit();
          });
        });
      };
      const all = ['one', 'two', 'three'].map((payload) => maskedFrame({ payload }));
      const long = maskedFrame({ payload: 'long'.repeat(250) });
      for (const frames of [
        all,
        [all[0], ...Array(60).fill(long)],
        [maskedFrame({ payload: 'one' }), frame({ opcode: 9, payload: 'ping', mask: true })]
      ]) {
        const env = {
          TEST_FRAMES: Buffer.concat(frames).toString('hex'),
          TEST_REQUEST: handshakeRequest()
        };
        const { stdout, stderr } = await runInChild(t, main, { env });
        assert.strictEqual(stdout, 'one\nTypeError\n1006\n', stderr);
      }
    }
  );
});
