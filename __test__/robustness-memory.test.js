'use strict';

/** A system that is short of memory. */

const assert = require('node:assert');
const { describe, it } = require('node:test');

const { runInChild } = require('./support/child.js');
const { compile } = require('./support/compiled.js');

const library = process.platform === 'linux' ? compile('short-of-memory', 'so') : null;

const skip = process.platform === 'linux' ? !library && 'no C compiler' : 'needs LD_PRELOAD';

describe('A system without memory for what is written', { skip }, () => {
  it('gets it again later: every message arrives, whole and in order', async (t) => {
    const { stdout, stderr } = await runInChild(
      t,
      (WebSocket) => {
        const sizes = [5, 70, 300, 5_000, 70_000, 1_000_000];
        const count = 40 * sizes.length;
        let received = 0;
        const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
          const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
          client.on('open', () => {
            for (let i = 0; i < count; i++) {
              client.send(Buffer.alloc(sizes[i % sizes.length], i), (error) => {
                if (error) console.log(error);
              });
            }
          });
          client.on('message', (data) => {
            const wanted = Buffer.alloc(sizes[received % sizes.length], received);
            if (!data.equals(wanted)) console.log('wrong:', received);
            received++;
            if (received === count) client.close(1000);
          });
          client.on('close', (code) => {
            console.log(`${received === count ? 'all' : received} there, closed with ${code}`);
            process.exit();
          });
        });
        wss.on('connection', (ws) => {
          ws.on('message', (data) => ws.send(data));
          ws.on('error', console.log);
        });
      },
      { env: { LD_PRELOAD: library } }
    );
    assert.strictEqual(stdout, 'all there, closed with 1000\n', stderr);
  });
});
