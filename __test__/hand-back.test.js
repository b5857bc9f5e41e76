'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const frames = require('./support/frames');
const { openServer } = require('./support/pair');
const { connectRaw } = require('./support/raw-peer');

const MASKED = { mask: true };
const PARTS = [
  frames.text('short', MASKED),
  frames.binary(Buffer.alloc(130, 'b'), MASKED),
  frames.ping('between', MASKED),
  frames.text('first ', { ...MASKED, fin: false }),
  frames.pong('inside', MASKED),
  frames.frame({ opcode: 0, payload: 'second', fin: true, mask: true }),
  frames.text('', MASKED),
  frames.text(frames.deflate('compressed, compressed'), { ...MASKED, rsv1: true }),
  frames.text('last', MASKED)
];
const STREAM = Buffer.concat(PARTS);

/** What a server makes of the stream when its socket is looked at after `cut` bytes. */
async function received(wss, t, cut) {
  const connected = once(wss, 'connection');
  const { socket } = await connectRaw(t, wss, {
    headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_no_context_takeover' }
  });
  const [ws] = await connected;
  const log = [];
  for (const event of ['message', 'ping', 'pong']) {
    ws.on(event, (data) => log.push(`${event} ${data}`));
  }
  const before = ws._socket.bytesRead;
  socket.write(STREAM.subarray(0, cut));
  while (ws._socket.bytesRead < before + cut) await new Promise(setImmediate);
  ws._socket.on('data', () => {});
  ws.send('sent in between');
  socket.write(STREAM.subarray(cut));
  while (log.at(-1) !== 'message last') await new Promise(setImmediate);
  socket.destroy();
  return log;
}

describe('A socket that somebody looks at', () => {
  test('loses and repeats nothing, wherever in the stream that happens', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    const undisturbed = await received(wss, t, STREAM.length);
    assert.equal(undisturbed.length, 8);
    for (let cut = 0; cut < STREAM.length; cut++) {
      assert.deepEqual(await received(wss, t, cut), undisturbed, `after ${cut} bytes`);
    }
  });
});
