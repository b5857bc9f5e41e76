'use strict';

/** When frames leave: at once, or together with others. */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const { runInChild } = require('./support/child.js');
const { duplexPair } = require('./support/duplex-pair.js');
const { takeUncaughtExceptions } = require('./support/exceptions.js');
const { isOxws } = require('./support/internals.js');
const WebSocket = require('./support/package.js');
const { openServer, urlOf } = require('./support/pair.js');
const { startWorker } = require('./support/worker.js');

const LIMIT = { timeout: 60000 };

/** Clients in a thread of their own, which send one message each; and numbers that tell how they are getting on. */
async function openToThread(t, count) {
  const wss = await openServer(t);
  /** How many clients have sent their message, and how many messages `'answer'` came to any of them. */
  const progress = new Int32Array(new SharedArrayBuffer(8));
  const worker = startWorker(
    (WebSocket, data) => {
      const advance = (index) => {
        Atomics.add(data.progress, index, 1);
        Atomics.notify(data.progress, index);
      };
      for (let i = 0; i < data.count; i++) {
        const ws = new WebSocket(data.url);
        ws.on('message', (message) => {
          if (String(message) === 'begin') ws.send('request', () => advance(0));
          else if (String(message) === 'answer') advance(1);
        });
      }
    },
    { count, progress, url: urlOf(wss) }
  );
  t.after(() => worker.terminate());
  const peers = [];
  while (peers.length < count) peers.push((await once(wss, 'connection'))[0]);
  /** Blocks this thread until a number is reached, or that takes too long. Returns whether it is reached. */
  const isReached = (index, wanted) => {
    for (;;) {
      const now = Atomics.load(progress, index);
      if (now >= wanted) return true;
      if (Atomics.wait(progress, index, now, 10000) === 'timed-out') return false;
    }
  };
  return {
    peers,
    hasSent: (wanted) => isReached(0, wanted),
    hasAnswers: (wanted) => isReached(1, wanted)
  };
}

describe('what was sent before the process blocks', () => {
  it('arrives meanwhile', LIMIT, async (t) => {
    const { hasAnswers, peers } = await openToThread(t, 1);
    peers[0].send('answer');
    assert.ok(hasAnswers(1));
  });

  it('arrives meanwhile when a message listener has sent it', LIMIT, async (t) => {
    const { hasAnswers, peers } = await openToThread(t, 1);
    peers[0].send('begin');
    await once(peers[0], 'message');
    const hasArrived = new Promise((resolve) => {
      peers[0].on('message', () => {
        peers[0].send('answer');
        peers[0].send('answer');
        resolve(hasAnswers(2));
      });
    });
    peers[0].send('begin');
    assert.ok(await hasArrived);
  });

  it('arrives meanwhile at each of some clients', LIMIT, async (t) => {
    const { hasAnswers, peers } = await openToThread(t, 50);
    for (const ws of peers) ws.send('answer');
    assert.ok(hasAnswers(50));
  });

  it('arrives meanwhile behind many others', LIMIT, async (t) => {
    const { hasAnswers, peers } = await openToThread(t, 1);
    for (let i = 0; i < 100; i++) peers[0].send('something else');
    for (let i = 1; i < 4; i++) {
      peers[0].send('answer');
      assert.ok(hasAnswers(i));
    }
  });

  it('arrives while another listener blocks, in a process that sends much', LIMIT, async (t) => {
    const { hasAnswers, hasSent, peers } = await openToThread(t, 2);
    const results = [];
    const all = new Promise((resolve) => {
      for (const ws of peers) {
        ws.on('message', () => {
          if (results.push(hasAnswers(results.length)) === 2) {
            resolve();
            return;
          }
          const end = performance.now() + 100;
          while (performance.now() < end) {
            ws.send('something else');
            const next = performance.now() + 0.05;
            while (performance.now() < next);
          }
          ws.send('answer');
          while (performance.now() < end + 10);
        });
        ws.send('begin');
      }
    });
    // Both are told in one turn of the loop.
    assert.ok(hasSent(2));
    await all;
    assert.deepEqual(results, [true, true]);
  });
});

describe('what was sent before the process is killed', () => {
  it('arrives', LIMIT, async (t) => {
    const wss = await openServer(t);
    const messages = [];
    const closed = new Promise((resolve) => {
      wss.on('connection', (ws) => {
        ws.on('message', (data) => messages.push(String(data)));
        ws.on('close', resolve);
      });
    });
    const main = (WebSocket) => {
      const ws = new WebSocket(process.env.TEST_URL);
      ws.on('open', () => {
        ws.send('first');
        ws.send('second');
        process.kill(process.pid, 'SIGKILL');
      });
    };
    const { signal } = await runInChild(t, main, { env: { TEST_URL: urlOf(wss) } });
    await closed;
    assert.deepEqual(messages, ['first', 'second']);
    if (process.platform !== 'win32') assert.equal(signal, 'SIGKILL');
  });
});

/** A WebSocket on a stream that is no socket, and the other end of that. */
function openOnDuplex() {
  const [near, far] = duplexPair();
  const ws = new WebSocket(null, undefined, { autoPong: true });
  ws.setSocket(near, Buffer.alloc(0), { maxPayload: 0 });
  return { far, near, ws };
}

describe('many frames of one turn', { skip: !isOxws && 'ws writes each of them' }, () => {
  takeUncaughtExceptions();

  it('leave together', (t, done) => {
    const { far, near, ws } = openOnDuplex();
    let writes = 0;
    const { _write: write } = near;
    near._write = function (...args) {
      writes++;
      write.apply(this, args);
    };
    let bytes = 0;
    far.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes < 3 * 5000) return;
      assert.ok(writes < 2500, `${writes} writes`);
      done();
    });
    for (let i = 0; i < 5000; i++) ws.send('x');
  });

  it('leave also when the socket of another connection throws', LIMIT, async () => {
    const failing = openOnDuplex();
    const sound = openOnDuplex();
    const busy = openOnDuplex();
    const thrown = once(process, 'uncaughtException');
    for (let i = 0; i < 5000; i++) busy.ws.send('x');

    failing.near._write = () => {
      throw new Error('from _write()');
    };
    failing.ws.send('lost');
    sound.ws.send('x');
    sound.ws.send('y');
    assert.equal((await thrown)[0].message, 'from _write()');
    let received = Buffer.alloc(0);
    while (received.length < 6)
      received = Buffer.concat([received, (await once(sound.far, 'data'))[0]]);
    assert.equal(received.toString('latin1'), '\x81\x01x\x81\x01y');
  });
});
