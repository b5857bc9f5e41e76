'use strict';

/** What a copy of the package holds in its process: nothing when it has no open connections. */

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { hasSubscribers } = require('node:diagnostics_channel');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const { isDeepStrictEqual, promisify } = require('node:util');

const { loadInContext } = require('./support/context.js');
const { isCollected } = require('./support/gc.js');
const { entry } = require('./support/internals.js');
const { closeOf, openPair, turn } = require('./support/pair.js');

const run = promisify(execFile);

const LIMIT = { timeout: 60000 };

/** Exchanges messages between two ends of a copy of the package, and closes everything. */
async function use(WebSocket, perMessageDeflate) {
  const wss = new WebSocket.Server({ port: 0, perMessageDeflate });
  wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
  await once(wss, 'listening');
  const ws = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { perMessageDeflate });
  await once(ws, 'open');
  for (const size of [10, 100_000]) {
    ws.send('x'.repeat(size));
    const [data] = await once(ws, 'message');
    assert.equal(data.length, size);
  }
  ws.close();
  await once(ws, 'close');
  wss.close();
  await once(wss, 'close');
}

describe('a copy of the package that was loaded in a context of its own', () => {
  const uses = {
    'was only loaded': () => {},
    'had connections': (WebSocket) => use(WebSocket, false),
    'had compressed connections': (WebSocket) => use(WebSocket, { threshold: 0 })
  };

  for (const [what, useIt] of Object.entries(uses)) {
    it(`is collected when it ${what}`, LIMIT, async () => {
      const loadAndUse = async () => {
        const { WebSocket, realm } = loadInContext();
        await useIt(WebSocket);
        return new WeakRef(realm);
      };
      const references = [await loadAndUse(), await loadAndUse(), await loadAndUse()];
      // What is needed no more is given up a little later.
      for (const reference of references) while (!(await isCollected(reference)));
    });
  }

  it('works beside another one that has connections', LIMIT, async () => {
    const [first, second] = [loadInContext(), loadInContext()];
    await Promise.all([use(first.WebSocket, false), use(second.WebSocket, false)]);
    await use(first.WebSocket, false);
    await use(second.WebSocket, false);
  });

  it(
    "gives fragments in an array of that context, in which 'message' is heard",
    LIMIT,
    async () => {
      const { WebSocket } = loadInContext();
      const receiver = new WebSocket.Receiver({ binaryType: 'fragments', isServer: false });
      const received = once(receiver, 'message');
      receiver.write(Buffer.from([0x02, 1, 0x61, 0x80, 1, 0x62]));
      const [fragments] = await received;
      assert.equal(fragments.length, 2);
      assert.notEqual(Object.getPrototypeOf(fragments), Array.prototype);
    }
  );
});

describe('the process', () => {
  it('has nothing of the package when all connections are closed', LIMIT, async (t) => {
    const channels = ['http.client.request.start', 'undici:request:create'];
    const held = () => [process.listenerCount('exit'), ...channels.map(hasSubscribers)];
    const before = held();
    for (let round = 0; round < 2; round++) {
      const { client, server } = await openPair(t);
      const closed = [closeOf(client), closeOf(server)];
      client.close();
      await Promise.all(closed);
      // A little later, for another connection might follow.
      while (!isDeepStrictEqual(held(), before)) await turn();
    }
  });

  it('has no async resources of the package before it is used', LIMIT, async () => {
    const script = `
      const types = new Map();
      const { execFile } = require('node:child_process');
      require('node:async_hooks').createHook({
        init: (id, type) => types.set(id, type),
        destroy: (id) => types.delete(id)
      }).enable();
      require(${JSON.stringify(entry)});
      // Of these Node makes some when it loads any module.
      const usual = ['Immediate', 'PROMISE', 'TickObject'];
      setImmediate(() => console.log([...types.values()].filter((type) => !usual.includes(type))));
    `;
    const { stdout } = await run(process.execPath, ['-e', script]);
    assert.equal(stdout, '[]\n');
  });
});
