'use strict';

/**
 * What tests of dependents do with the timers while connections are in use: they stand still, or are those of another
 * environment.
 */

const assert = require('node:assert');
const { describe, it } = require('node:test');

const { runInChild } = require('./support/child.js');

const timeout = 30_000;

/** Sends messages there and back, and closes. */
async function converse(WebSocket) {
  const { once } = require('node:events');
  const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0, perMessageDeflate: true });
  await once(wss, 'listening');
  wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
  const ws = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
  await once(ws, 'open');

  const standsStill = () => ({ unref: () => undefined });
  if (process.env.TEST_TIMERS === 'stand still') {
    for (const name of ['queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout']) {
      globalThis[name] = standsStill;
    }
  } else {
    // Those of a browser's window.
    const { setTimeout: real } = globalThis;
    delete globalThis.setImmediate;
    globalThis.setInterval = () => 1;
    globalThis.setTimeout = (...args) => real(...args) && 1;
  }

  let written = 0;
  for (const size of [10, 2000, 100_000]) {
    const received = once(ws, 'message');
    ws.send('x'.repeat(size), () => written++);
    ws.send('x'.repeat(size), { compress: false });
    await received;
    await once(ws, 'message');
  }
  ws.close();
  const [code] = await once(ws, 'close');
  process.stdout.write(`${written} written, closed with ${code}`);
  process.exit();
}

describe('Timers', () => {
  for (const which of ['stand still', 'are those of a window']) {
    it(`that ${which} hold up no message`, { timeout }, async (t) => {
      const env = { TEST_TIMERS: which };
      const { stdout, stderr } = await runInChild(t, converse, { env });
      assert.strictEqual(stdout, '3 written, closed with 1005', stderr);
    });
  }
});
