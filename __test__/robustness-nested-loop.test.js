'use strict';

/** Listeners that run the event loop within themselves, to wait for something (the package `deasync` does that). */

const assert = require('node:assert');
const { describe, it } = require('node:test');

const { runInChild } = require('./support/child.js');
const { compile } = require('./support/compiled.js');
const { maskedFrame } = require('./support/frames.js');
const { handshakeRequest } = require('./support/raw-peer.js');

const addon = compile('nested-loop', 'node');

describe('A listener that runs the loop within itself', { skip: !addon && 'no C compiler' }, () => {
  const sizes = { small: 100, 'middle-sized': 1500, large: 4500 };
  for (const [name, size] of Object.entries(sizes)) {
    it(`gets all messages of all connections, whole: ${name} ones`, async (t) => {
      const { stdout, stderr } = await runInChild(
        t,
        (WebSocket) => {
          const runLoop = require(process.env.TEST_ADDON);
          const perRound = 12;
          const rounds = 40;
          const names = ['A', 'B', 'C'];
          let missing = names.length * perRound * rounds;
          let isNested = false;
          const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
            for (const letter of names) {
              const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
              const send = (round) => {
                for (let i = 0; i < perRound; i++) {
                  client.send(letter.repeat(Number(process.env.TEST_SIZE) + i));
                }
                if (round < rounds) setTimeout(send, 1, round + 1);
              };
              client.on('open', () => send(1));
              client.on('close', (code) => {
                console.log('closed with', code);
                process.exit();
              });
            }
          });
          wss.on('connection', (ws) => {
            let first;
            let count = 0;
            ws.on('message', (data) => {
              const text = String(data);
              first ??= text[0];
              const length = Number(process.env.TEST_SIZE) + (count++ % perRound);
              if (text !== first.repeat(length)) console.log('wrong:', text.slice(0, 20));
              missing--;
              if (!isNested) {
                isNested = true;
                for (let i = 0; i < 3; i++) runLoop();
                isNested = false;
              }
              if (missing > 0) return;
              console.log('all there');
              process.exit();
            });
          });
        },
        { env: { TEST_ADDON: addon, TEST_SIZE: String(size) } }
      );
      assert.strictEqual(stdout, 'all there\n', stderr);
    });
  }

  it('may hear of other connections by the first message of its own', async (t) => {
    const main = (WebSocket) => {
      const { Worker } = require('node:worker_threads');
      const runLoop = require(process.env.TEST_ADDON);
      process.on('uncaughtException', (error) => console.log(error.message));

      /** Two connections. The first message of the second is there before the loop waits for it. */
      const peers = () => {
        const net = require('node:net');
        const { workerData } = require('node:worker_threads');
        const open = (name, then) => {
          const peer = net.connect(workerData.port, '127.0.0.1');
          peer.write(process.env.TEST_REQUEST.replace(' / ', ` /${name} `));
          peer.once('data', () => then(peer));
        };
        const message = Buffer.from(process.env.TEST_FRAME, 'hex');
        open('one', (one) => {
          open('two', (two) => {
            two.write(message, () => {
              Atomics.store(workerData.step, 0, 1);
              Atomics.notify(workerData.step, 0);
              // Its listener runs the loop.
              Atomics.wait(workerData.step, 0, 1);
              one.write(message);
            });
          });
        });
      };
      const step = new Int32Array(new SharedArrayBuffer(4));
      const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
        const { port } = wss.address();
        new Worker(`(${peers})()`, { eval: true, workerData: { port, step } });
      });
      let isHeard = false;
      wss.on('connection', (ws, { url }) => {
        if (url === '/two') process.nextTick(() => Atomics.wait(step, 0, 0, 10_000));
        ws.on('message', () => {
          if (url === '/one') {
            isHeard = true;
            return;
          }
          Atomics.store(step, 0, 2);
          Atomics.notify(step, 0);
          const end = Date.now() + 10_000;
          while (!isHeard && Date.now() < end) {
            runLoop();
            process._tickCallback();
          }
          console.log(isHeard);
          process.exit();
        });
      });
    };
    const env = {
      TEST_ADDON: addon,
      TEST_FRAME: maskedFrame({ payload: 'message' }).toString('hex'),
      TEST_REQUEST: handshakeRequest()
    };
    const { stdout, stderr } = await runInChild(t, main, { env });
    assert.strictEqual(stdout, 'true\n', stderr);
  });
});
