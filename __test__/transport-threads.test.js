'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { describe, test } = require('node:test');

const { runInChild } = require('./support/child.js');
const frames = require('./support/frames.js');
const { isOxws } = require('./support/internals.js');
const WebSocket = require('./support/package.js');
const { openServer, urlOf } = require('./support/pair.js');

const skip = !isOxws
  ? 'ws has no transports'
  : process.platform === 'win32' && 'there are no I/O threads on Windows';

const packageModule = require.resolve('./support/package.js');

const LIMIT = { timeout: 60000 };

/** Runs a function in a process whose sockets are read and written on I/O threads. */
function runOnThreads(t, body, env = {}) {
  return runInChild(t, body, { env: { OXWS_IO_THREADS: '2', ...env, OXWS_TRANSPORT: 'threads' } });
}

/** A client made of nothing but a socket, when the handshake is over. */
async function connectSocket(t, port) {
  const socket = net.connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.write(
    'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
  );
  await once(socket, 'data');
  return socket;
}

describe('OXWS_TRANSPORT', { skip: !isOxws && 'ws has no transports' }, () => {
  test('may not name a transport that there is not', LIMIT, async (t) => {
    const { code, stderr } = await runInChild(t, () => undefined, {
      env: { OXWS_TRANSPORT: 'thread' }
    });
    assert.equal(code, 1);
    assert.match(
      stderr,
      /RangeError: .*OXWS_TRANSPORT must be one of loop, stream, threads, not "thread"/
    );
  });
});

describe('OXWS_IO_THREADS', { skip }, () => {
  for (const value of ['0', '-1', 'two', '1.5', '65', '1e1']) {
    test(`may not be ${value}`, LIMIT, async (t) => {
      const { code, stderr } = await runOnThreads(t, () => undefined, { OXWS_IO_THREADS: value });
      assert.equal(code, 1);
      assert.match(
        stderr,
        new RegExp(`RangeError: .*OXWS_IO_THREADS must be an integer from 1 to 64, not "${value}"`)
      );
    });
  }

  test('means nothing unless threads are asked for', LIMIT, async (t) => {
    for (const transport of ['loop', 'stream', '']) {
      const { code, stderr } = await runInChild(t, () => undefined, {
        env: { OXWS_IO_THREADS: 'many', OXWS_TRANSPORT: transport }
      });
      assert.equal(code, 0, stderr);
    }
  });

  for (const [value, expected] of [
    ['', 1],
    ['1', 1],
    ['3', 3]
  ]) {
    const name = `is how many threads there are: ${expected} if it is "${value}"`;
    const linux = process.platform !== 'linux' && 'only Linux tells the names of threads';
    test(name, { ...LIMIT, skip: linux }, async (t) => {
      const { stdout, stderr } = await runOnThreads(
        t,
        (WebSocketInChild) => {
          const fs = require('node:fs');
          const count = () =>
            fs
              .readdirSync('/proc/self/task')
              .map((task) => fs.readFileSync(`/proc/self/task/${task}/comm`, 'latin1'))
              .filter((comm) => comm.startsWith('oxws-io-')).length;
          const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 }, () => {
            // Before the first connection there are none.
            process.stdout.write(`${count()},`);
            for (let i = 0; i < 6; i++) {
              const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
              client.on('message', () => client.send('hello again'));
            }
          });
          // What is sent first a thread need not send; when a later message has come back from all, all threads run.
          const answered = new Set();
          wss.on('connection', (ws) => {
            ws.on('error', () => undefined);
            ws.send('hello');
            let messages = 0;
            ws.on('message', () => {
              if (++messages < 3) ws.send('hello');
              else answered.add(ws);
              if (answered.size < 6) return;
              process.stdout.write(`${count()}`);
              process.exit();
            });
          });
        },
        { OXWS_IO_THREADS: value }
      );
      assert.equal(stdout, `0,${expected}`, stderr);
    });
  }
});

describe('A connection that is handed back before its first message', { skip }, () => {
  test('delivers what came with the handshake before what a thread has read', LIMIT, async (t) => {
    const { stdout, stderr } = await runOnThreads(t, (WebSocketInChild) => {
      const net = require('node:net');
      const frame = (text) =>
        Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
      const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 }, () => {
        const peer = net.connect(wss.address().port, '127.0.0.1', () => {
          const handshake =
            'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
          peer.write(Buffer.concat([Buffer.from(handshake), frame('first')]));
        });
        wss.on('connection', (ws) => {
          const messages = [];
          ws.on('message', (data) => {
            if (messages.push(String(data)) < 2) return;
            process.stdout.write(messages.join());
            process.exit();
          });
          peer.write(frame('second'));
          // The thread tells nobody that it has read it while this one is busy. Without that the order is right anyway.
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
          ws._socket.on('data', () => undefined);
        });
      });
    });
    assert.equal(stdout, 'first,second', stderr);
  });
});

describe('A connection that is paused while a thread has read much of it', { skip }, () => {
  test('is told when it cannot be written to any more', LIMIT, async (t) => {
    const { stdout, stderr } = await runOnThreads(t, (WebSocketInChild) => {
      const net = require('node:net');
      const message = Buffer.concat([
        Buffer.from([0x82, 0xfe, 0x03, 0xe8, 0, 0, 0, 0]),
        Buffer.alloc(1000)
      ]);
      const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 }, () => {
        const peer = net.connect(wss.address().port, '127.0.0.1', () => {
          peer.write(
            'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
              'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
          );
          peer.on('error', () => undefined);
          peer.once('data', () => {
            peer.write(Buffer.concat(Array(200).fill(message)));
            // The thread reads meanwhile.
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
          });
        });
        wss.on('connection', (ws) => {
          ws.on('error', () => undefined);
          ws.once('message', () => {
            ws.pause();
            peer.resetAndDestroy();
            const timer = setInterval(() => ws.send('are you there?'), 10);
            ws.on('close', (code) => {
              process.stdout.write(String(code));
              clearInterval(timer);
              wss.close();
            });
          });
        });
      });
    });
    assert.equal(stdout, '1006', stderr);
  });
});

describe('A connection that is paused and resumed at once by a listener', { skip }, () => {
  test('goes on when a message behind that takes its time', LIMIT, async (t) => {
    const { stdout, stderr } = await runOnThreads(t, async (WebSocketInChild) => {
      const { once: happened } = require('node:events');
      const crypto = require('node:crypto');
      const net = require('node:net');
      const zlib = require('node:zlib');
      const wss = new WebSocketInChild.Server({
        host: '127.0.0.1',
        port: 0,
        perMessageDeflate: true
      });
      await happened(wss, 'listening');
      const peer = net.connect(wss.address().port, '127.0.0.1');
      peer.write(
        'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n' +
          'Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n'
      );
      const [[ws]] = await Promise.all([happened(wss, 'connection'), happened(peer, 'data')]);
      let received = '';
      ws.on('message', (data) => {
        received += data.toString('latin1', 0, 1);
        if (received === 'a') {
          ws.pause();
          ws.resume();
        }
      });

      // With a mask of zeros.
      const frame = (flags, payload) => {
        const head = Buffer.alloc(14);
        head.writeUInt16BE((flags << 8) | 0xff);
        head.writeUInt32BE(payload.length, 6);
        return Buffer.concat([head, payload]);
      };
      // It is inflated on another thread.
      const inflated = Buffer.concat([Buffer.from('c'), crypto.randomBytes(50_000)]);
      const sync = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
      const compressed = zlib.deflateRawSync(inflated, sync).subarray(0, -4);
      // Several chunks of 64 KiB, which arrive together.
      const plain = (letter, length = 65_000) => frame(0x82, Buffer.alloc(length, letter));
      const frames = [plain('a'), plain('b', 1000), frame(0xc2, compressed)];
      peer.write(Buffer.concat([...frames, plain('d'), plain('e')]));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
      await happened(ws, 'message');
      peer.write(plain('f', 1));
      for (let turns = 0; turns < 10_000 && received.length < 6; turns++) {
        await new Promise(setImmediate);
      }
      process.stdout.write(received);
      process.exit();
    });
    assert.equal(stdout, 'abcdef', stderr);
  });
});

describe('A connection that is paused and terminated in a flood', { skip }, () => {
  test('delivers only messages that are whole and in order', LIMIT, async (t) => {
    const { stdout, stderr } = await runOnThreads(t, async (WebSocketInChild) => {
      const { once: happened } = require('node:events');
      const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
      await happened(wss, 'listening');
      const faults = [];
      for (let round = 0; round < 10; round++) {
        const connected = happened(wss, 'connection');
        const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
        const [ws] = await connected;
        if (client.readyState !== 1) await happened(client, 'open');
        ws.on('error', (error) => faults.push(error.message));
        let count = 0;
        ws.on('message', (data) => {
          if (count++ === 0) ws.pause();
          if (data.length !== 5000 || data.some((byte) => byte !== count % 256)) {
            faults.push(`message ${count}`);
          }
        });
        const closed = new Promise((resolve) => ws.on('close', resolve));
        for (let i = 1; i <= 1000; i++) client.send(Buffer.alloc(5000, i));
        await happened(ws, 'message');
        // What the thread reads meanwhile comes behind what was not told.
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
        ws.terminate();
        await closed;
      }
      process.stdout.write(faults.join() || 'none');
      process.exit();
    });
    assert.equal(stdout, 'none', stderr);
  });
});

describe('A worker whose sockets have I/O threads', { skip }, () => {
  test('takes them with it when it is terminated with 100 connections', LIMIT, async (t) => {
    const { code, stdout, stderr } = await runOnThreads(
      t,
      async (WebSocketInChild) => {
        const { once: happened } = require('node:events');
        const fs = require('node:fs');
        const { Worker } = require('node:worker_threads');
        const count = () =>
          process.platform !== 'linux'
            ? 0
            : fs
                .readdirSync('/proc/self/task')
                .map((task) => fs.readFileSync(`/proc/self/task/${task}/comm`, 'latin1'))
                .filter((comm) => comm.startsWith('oxws-io-')).length;
        const server = `
        const { Server } = require(process.env.TEST_PACKAGE_MODULE);
        const { parentPort } = require('node:worker_threads');
        const wss = new Server({ host: '127.0.0.1', port: 0 });
        wss.on('listening', () => parentPort.postMessage(wss.address().port));
        wss.on('connection', (ws) => {
          ws.on('message', (data) => ws.send(data));
        });
      `;
        // Several at once and one after the other; with threads in the parent as well.
        for (let round = 0; round < 3; round++) {
          const workers = [0, 1].map(() => new Worker(server, { eval: true }));
          const closes = [];
          const ports = workers.map(async (worker) => (await happened(worker, 'message'))[0]);
          for (const port of await Promise.all(ports)) {
            const clients = Array.from(
              { length: 50 },
              () => new WebSocketInChild(`ws://127.0.0.1:${port}`)
            );
            await Promise.all(
              clients.map(async (client) => {
                client.on('error', () => undefined);
                closes.push(happened(client, 'close'));
                await happened(client, 'open');
                client.on('message', (data) => client.send(data));
                for (let i = 0; i < 3; i++) client.send(Buffer.alloc(2000));
                await happened(client, 'message');
              })
            );
          }
          await Promise.all(workers.map((worker) => worker.terminate()));
          await Promise.all(closes);
        }
        process.stdout.write(`${count()}`);
        process.exit();
      },
      { TEST_PACKAGE_MODULE: packageModule }
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout, process.platform === 'linux' ? '2' : '0');
  });
});

describe('A process that exits and has I/O threads', { skip }, () => {
  test('still sends what it has queued, on all connections and in order', LIMIT, async (t) => {
    const wss = await openServer(t);
    const counts = [];
    const all = new Promise((resolve) => {
      wss.on('connection', (ws) => {
        const received = [];
        ws.on('message', (data) => received.push(String(data)));
        ws.on('close', () => {
          counts.push(received.length);
          for (const [i, message] of received.entries()) assert.equal(message, `message ${i}`);
          if (counts.length === 200) resolve();
        });
      });
    });
    const exited = runOnThreads(
      t,
      (WebSocketInChild) => {
        const clients = Array.from({ length: 200 }, () => {
          const ws = new WebSocketInChild(process.env.TEST_URL);
          ws.on('open', () => clients.every((each) => each.readyState === 1) && start());
          return ws;
        });
        const start = () => {
          // Some of it is on its way already when the process exits.
          for (const ws of clients) for (let i = 0; i < 30; i++) ws.send(`message ${i}`);
          setImmediate(() => {
            for (const ws of clients) for (let i = 30; i < 60; i++) ws.send(`message ${i}`);
            process.exit(3);
          });
        };
      },
      { TEST_URL: urlOf(wss) }
    );
    assert.equal((await exited).code, 3);
    await all;
    assert.deepEqual(new Set(counts), new Set([60]));
  });

  test('does so by itself when nothing keeps it alive', LIMIT, async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    const exited = runOnThreads(
      t,
      (WebSocketInChild) => {
        const ws = new WebSocketInChild(process.env.TEST_URL);
        ws.on('open', () => {
          ws.send('farewell');
          ws._socket.unref();
        });
      },
      { TEST_URL: urlOf(wss) }
    );
    const [ws] = await connected;
    const [data] = await once(ws, 'message');
    assert.equal(String(data), 'farewell');
    assert.equal((await exited).code, 0);
  });
});

describe('A connection with an I/O thread', { skip }, () => {
  test('keeps the process alive, also when it is paused', LIMIT, async (t) => {
    const wss = await openServer(t);
    const connected = once(wss, 'connection');
    const exited = runOnThreads(
      t,
      (WebSocketInChild) => {
        const ws = new WebSocketInChild(process.env.TEST_URL);
        ws.on('open', () => ws.send('open'));
        ws.on('message', () => {
          ws.pause();
          ws.send('paused');
          // Nothing but the connection is left; then it goes on.
          setTimeout(() => ws.resume(), 50).unref();
        });
        ws.on('close', (code) => process.stdout.write(`${code}`));
      },
      { TEST_URL: urlOf(wss) }
    );
    const [ws] = await connected;
    ws.once('message', () => {
      ws.send('pause');
      ws.once('message', () => ws.close(1001));
    });
    const { code, stdout, stderr } = await exited;
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '1001');
  });

  test('says truthfully how much waits for a peer that does not read', LIMIT, async (t) => {
    const exited = runOnThreads(t, async (WebSocketInChild) => {
      const { once: happened } = require('node:events');
      const socket = require('node:net');
      const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
      await happened(wss, 'listening');
      const peer = socket.connect(wss.address().port, '127.0.0.1', () => {
        peer.write(
          'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
        );
        peer.pause();
      });
      const [ws] = await happened(wss, 'connection');
      const message = Buffer.alloc(1000);
      // Far more than the kernel takes; without a turn of the loop in between, and it must end.
      const much = 64_000_000;
      let sent = 0;
      while (ws.bufferedAmount < much) {
        ws.send(message);
        sent += message.length;
        if (sent > 4 * much) throw new Error('nothing ever waits');
      }
      const held = ws.bufferedAmount;
      const { rss } = process.memoryUsage();

      // And it is all told when the peer reads at last.
      const drained = happened(ws._socket, 'drain');
      let received = 0;
      peer.on('data', (chunk) => (received += chunk.length));
      peer.resume();
      await drained;
      const all = new Promise((resolve) => ws.send('end', resolve));
      await all;
      const expected = (sent / message.length) * (message.length + 4) + 5;
      while (received < expected) await happened(peer, 'data');
      process.stdout.write(JSON.stringify({ held, left: ws.bufferedAmount, rss, sent }));
      process.exit();
    });
    const { stdout, stderr } = await exited;
    const { held, left, rss, sent } = JSON.parse(stdout || `{"error":${JSON.stringify(stderr)}}`);
    assert.ok(held >= 64_000_000 && held < 70_000_000, `${held} bytes are held: ${stderr}`);
    assert.ok(sent < 128_000_000, `${sent} bytes were sent`);
    assert.equal(left, 0);
    assert.ok(rss < 400_000_000, `${rss} bytes of memory`);
  });

  test('that is not consumed is not read on, and holds up no other', LIMIT, async (t) => {
    const served = runOnThreads(
      t,
      (WebSocketInChild) => {
        const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
        const parent = new WebSocketInChild(process.env.TEST_URL);
        parent.on('open', () => parent.send(`${wss.address().port}`));
        parent.on('close', () => process.exit());
        let slow;
        wss.on('connection', (ws) => {
          if (slow === undefined) {
            slow = ws;
            slow.pause();
            slow.total = 0;
            slow.on('message', (data) => (slow.total += data.length));
          } else {
            ws.on('message', (data) => {
              if (String(data) === 'go on') slow.resume();
              ws.send(`${slow.total} ${process.memoryUsage().rss}`);
            });
          }
        });
      },
      // Both connections have the same thread.
      { OXWS_IO_THREADS: '1', TEST_URL: urlOf(await parentServer(t)) }
    );
    const port = await portOfChild;
    const payload = Buffer.alloc(100_000);
    const frame = frames.binary(payload, { mask: true });
    const slow = await connectSocket(t, port);
    const count = 600;
    let written = 0;
    for (let i = 0; i < count; i++) slow.write(frame, () => (written += payload.length));

    const quick = new WebSocket(`ws://127.0.0.1:${port}`);
    t.after(() => quick.terminate());
    await once(quick, 'open');
    const ask = async (what) => {
      quick.send(what);
      const [reply] = await once(quick, 'message');
      return String(reply).split(' ').map(Number);
    };
    let before = -1;
    for (let i = 0; i < 200; i++) {
      const [total, rss] = await ask('how much?');
      assert.equal(total, 0);
      assert.ok(rss < 200_000_000, `${rss} bytes of memory`);
      if (i % 50 === 49) {
        if (before === written) break;
        before = written;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    assert.ok(written < count * payload.length, 'the peer could write everything');
    for (let total = 0; total < count * payload.length; [total] = await ask('go on'));
    closeParent();
    await served;
  });
});

let portOfChild;
let closeParent;

/** A server to which a child tells its port. */
async function parentServer(t) {
  const wss = await openServer(t);
  portOfChild = once(wss, 'connection').then(async ([ws]) => {
    closeParent = () => ws.close();
    const [port] = await once(ws, 'message');
    return Number(port);
  });
  return wss;
}
