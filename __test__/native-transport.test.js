'use strict';

/**
 * Sockets that Rust cannot take over.
 */

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { describe, test } = require('node:test');

const { runInChild } = require('./support/child.js');
const { maskedFrame } = require('./support/frames.js');
const { directory, isOxws, lib } = require('./support/internals.js');
const { openPair, openServer, urlOf } = require('./support/pair.js');
const { handshakeRequest } = require('./support/raw-peer.js');

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

describe('The first connection, when there is no descriptor left', { skip: !isOxws }, () => {
  test('is read and written by Node, and later ones are not', LIMIT, async (t) => {
    const { stdout, stderr } = await runInChild(
      t,
      async (WebSocketInChild) => {
        const native = require(`${process.env.TEST_LIB}/native.js`);
        const { kNative } = require(`${process.env.TEST_LIB}/native-socket.js`);
        const { isNative } = require(`${process.env.TEST_LIB}/transport-choice.js`);
        const { nativeStart } = native;
        native.nativeStart = () => {
          native.nativeStart = nativeStart;
          throw new Error('Too many open files (os error 24)');
        };
        const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
        await new Promise((resolve) => wss.on('listening', resolve));
        const isWanted = [];
        for (const wanted of [false, isNative]) {
          const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
          const [server] = await Promise.all([
            new Promise((resolve) => wss.once('connection', resolve)),
            new Promise((resolve) => client.on('open', resolve))
          ]);
          // The one that was opened first is not taken over; which that is depends on the sockets.
          isWanted.push(wanted === [client, server].every((ws) => ws._socket[kNative]));
          client.send('text');
          console.log(String(await new Promise((resolve) => server.on('message', resolve))));
        }
        console.log(isWanted.join());
        process.exit();
      },
      { env: { TEST_LIB: path.join(directory, 'lib') } }
    );
    assert.equal(stdout, 'text\ntext\ntrue,true\n', stderr);
  });
});

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

describe(
  'A connection whose handshake is finished later than it came',
  { skip: cannotRefuse },
  () => {
    // As much as Node reads at once, twice: it looks as if there were more.
    const LENGTH = 2 * 64 * 1024;

    test('is read although nothing else happens in the process', LIMIT, async (t) => {
      const script = `(${(WebSocketInChild) => {
        const http = require('node:http');
        // Its timer would wake the loop.
        const server = http.createServer({ connectionsCheckingInterval: 2 ** 30 });
        // All of it has come when it is read.
        server.on('connection', () => {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
        });
        const wss = new WebSocketInChild.Server({ noServer: true, autoPong: false });
        server.on('upgrade', (...args) => {
          setTimeout(() => {
            wss.handleUpgrade(...args, (ws) => ws.on('ping', (data) => ws.pong(data)));
          }, 50);
        });
        server.listen(0, '127.0.0.1', () => console.log(server.address().port));
      }})(require(${JSON.stringify(require.resolve('./support/package.js'))}))`;
      const child = spawn(process.execPath, ['-e', script], {
        stdio: ['ignore', 'pipe', 'inherit']
      });
      t.after(() => child.kill());
      const [line] = await once(child.stdout, 'data');

      const request = Buffer.from(handshakeRequest());
      const fill = (length) => maskedFrame({ opcode: 2, payload: Buffer.alloc(length) });
      const follow = Array(16).fill(fill(8000));
      const left = LENGTH - request.length - Buffer.concat(follow).length;
      follow.push(fill(left - 8));
      const bytes = Buffer.concat([request, ...follow]);
      assert.equal(bytes.length, LENGTH);
      const peer = net.connect(Number(line), '127.0.0.1');
      t.after(() => peer.destroy());
      peer.write(bytes);
      await once(peer, 'data');
      const answer = once(peer, 'data');
      setTimeout(() => peer.write(maskedFrame({ opcode: 9, payload: 'still there?' })), 100);
      assert.equal((await answer)[0].subarray(2).toString(), 'still there?');
    });
  }
);

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
