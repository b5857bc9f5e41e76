'use strict';

/**
 * What tests of dependents do with timers while connections are in use, or before they load the package: they stand still,
 * or are those of another environment. Likewise with modules that the package does not seem to need.
 */

const assert = require('node:assert');
const { describe, it } = require('node:test');

const { runInChild } = require('./support/child.js');

const timeout = 30_000;

/** Sends messages there and back, and closes. */
async function converse(WebSocket) {
  const { EventEmitter, once } = require('node:events');
  if (process.env.TEST_TIMERS === 'a framework has replaced') {
    // Before the package is loaded, with the process object and with modules.
    const Module = require('node:module');
    const net = require('node:net');
    globalThis.process = Object.create(process, { nextTick: { value: () => {} } });
    const mocks = {
      diagnostics_channel: {},
      net: { ...net, Socket: class extends EventEmitter {} },
      perf_hooks: {},
      timers: {},
      tls: { connect() {} }
    };
    const { _load: load } = Module;
    Module._load = (name, ...rest) => mocks[name] ?? load(name, ...rest);
    for (const name of Object.keys(require.cache)) delete require.cache[name];
    WebSocket = require(process.env.TEST_PACKAGE);
  }
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
  } else if (process.env.TEST_TIMERS === 'are those of a window') {
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
  for (const which of ['stand still', 'are those of a window', 'a framework has replaced']) {
    it(`that ${which} hold up no message`, { timeout }, async (t) => {
      const env = { TEST_TIMERS: which, TEST_PACKAGE: require.resolve('./support/package.js') };
      const { stdout, stderr } = await runInChild(t, converse, { env });
      assert.strictEqual(stdout, '3 written, closed with 1005', stderr);
    });
  }
});
