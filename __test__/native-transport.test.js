'use strict';

/**
 * Sockets that Rust cannot take over.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { runInChild } = require('./support/child.js');
const { isOxws, lib } = require('./support/internals.js');
const { openPair, openServer, urlOf } = require('./support/pair.js');

const LIMIT = { timeout: 30_000 };

describe(
  'A socket whose descriptor cannot be shared, for there is none left',
  { skip: !isOxws },
  () => {
    test('is read and written by Node', LIMIT, async (t) => {
      const native = lib('native');
      const { nativeOpen } = native;
      t.after(() => (native.nativeOpen = nativeOpen));
      native.nativeOpen = () => {
        throw new Error('Too many open files (os error 24)');
      };
      const { client, server } = await openPair(t);
      server.on('message', (data) => server.send(data));
      for (const text of ['first', 'second']) {
        const message = once(client, 'message');
        client.send(text);
        assert.equal((await message)[0].toString(), text);
      }
      const closed = Promise.all([once(server, 'close'), once(client, 'close')]);
      client.terminate();
      await closed;
    });
  }
);

const cannotRefuse =
  !isOxws || process.platform !== 'linux' ? 'finds the descriptor in /proc' : false;

describe('A connection that the kernel refuses to watch', { skip: cannotRefuse }, () => {
  test('breaks, for nothing would be heard of it', LIMIT, async (t) => {
    const wss = await openServer(t);
    const { code, stdout, stderr } = await runInChild(
      t,
      (WebSocketInChild) => {
        const fs = require('node:fs');
        const files = '/proc/self/fd';
        const target = (fd) => {
          try {
            return fs.readlinkSync(`${files}/${fd}`);
          } catch {
            return undefined;
          }
        };
        const ws = new WebSocketInChild(process.env.TEST_URL);
        ws.on('open', () => {
          // It is watched from the next turn on. What is not open cannot be.
          const { fd } = ws._socket._handle;
          const isCopy = (other) => other !== String(fd) && target(other) === target(fd);
          fs.closeSync(Number(fs.readdirSync(files).find(isCopy)));
        });
        ws.on('close', (reason) => console.log(reason));
      },
      { env: { TEST_URL: urlOf(wss), OXWS_TRANSPORT: 'loop' } }
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '1006\n');
  });
});

describe('A host that only looks like Node', { skip: cannotRefuse }, () => {
  /** How many copies of its descriptor a connection has in a process with these versions. */
  async function copiesWith(t, versions) {
    const wss = await openServer(t);
    const preload = `data:text/javascript,Object.assign(process.versions,${JSON.stringify(versions)})`;
    const { code, stdout, stderr } = await runInChild(
      t,
      (WebSocketInChild) => {
        const fs = require('node:fs');
        const files = '/proc/self/fd';
        const ws = new WebSocketInChild(process.env.TEST_URL);
        ws.on('open', () => {
          const { fd } = ws._socket._handle;
          const socket = fs.readlinkSync(`${files}/${fd}`);
          const isCopy = (other) => {
            try {
              return other !== String(fd) && fs.readlinkSync(`${files}/${other}`) === socket;
            } catch {
              return false;
            }
          };
          console.log(fs.readdirSync(files).filter(isCopy).length);
          ws.close();
        });
      },
      {
        env: {
          TEST_URL: urlOf(wss),
          OXWS_TRANSPORT: 'loop',
          NODE_OPTIONS: `--import=${encodeURI(preload)}`
        }
      }
    );
    assert.equal(code, 0, stderr);
    return Number(stdout);
  }

  test('keeps its sockets', LIMIT, async (t) => {
    assert.equal(await copiesWith(t, {}), 1);
    assert.equal(await copiesWith(t, { bun: '1.4.5' }), 0);
    assert.equal(await copiesWith(t, { deno: '2.9.6' }), 0);
  });
});
