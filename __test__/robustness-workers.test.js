'use strict';

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { describe, test } = require('node:test');
const { promisify } = require('node:util');

const { openPair, openServer, startClient } = require('./support/pair.js');
const { messageOf, startWorker } = require('./support/worker.js');

const LIMIT = { timeout: 30000 };

/** A server that greets and echoes; it posts its port. */
function echoServer(WebSocket) {
  const { parentPort } = require('node:worker_threads');
  const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 });
  wss.on('connection', (ws) => {
    ws.send('welcome');
    ws.on('message', (data, binary) => ws.send(data, { binary }));
  });
  wss.on('listening', () => parentPort.postMessage(wss.address().port));
}

/** Loads the package, sends a message to itself, closes everything, and so comes to its end. */
function roundTrip(WebSocket) {
  const wss = new WebSocket.Server({ host: '127.0.0.1', perMessageDeflate: true, port: 0 });
  wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
  wss.on('listening', () => {
    const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
    client.on('open', () => client.send('x'.repeat(5000)));
    client.on('message', (data) => {
      require('node:worker_threads').parentPort.postMessage(data.length);
      client.close();
      wss.close();
    });
  });
}

async function assertWorks(t) {
  const { client, server } = await openPair(t);
  const message = once(server, 'message');
  client.send('still here');
  assert.equal((await message)[0].toString(), 'still here');
}

describe('A worker thread', () => {
  test('can be terminated while its server has 100 connections in use', LIMIT, async (t) => {
    const worker = startWorker(echoServer);
    const url = `ws://127.0.0.1:${await messageOf(worker)}`;
    const clients = Array.from({ length: 100 }, () => startClient(t, url));
    const closes = clients.map((client) => once(client, 'close'));
    await Promise.all(
      clients.map(async (client) => {
        await once(client, 'message');
        client.on('message', (data) => client.readyState === client.OPEN && client.send(data));
        for (let i = 0; i < 5; i++) client.send(Buffer.alloc(1000 * i));
      })
    );
    assert.equal(await worker.terminate(), 1);
    for (const [code] of await Promise.all(closes)) assert.equal(code, 1006);
    await assertWorks(t);
  });

  test('can be terminated while it has 100 clients in use', LIMIT, async (t) => {
    const wss = await openServer(t);
    const closes = [];
    const all = new Promise((resolve) => {
      wss.on('connection', (ws) => {
        ws.on('message', (data) => ws.send(data));
        ws.on('close', (code) => closes.push(code) === 100 && resolve());
      });
    });
    const worker = startWorker((WebSocket, port) => {
      let open = 0;
      for (let i = 0; i < 100; i++) {
        const client = new WebSocket(`ws://127.0.0.1:${port}`);
        client.on('open', () => client.send(Buffer.alloc(3000)));
        client.on('message', (data) => client.send(data));
        client.once('message', () => {
          if (++open === 100) require('node:worker_threads').parentPort.postMessage('busy');
        });
      }
    }, wss.address().port);
    assert.equal(await messageOf(worker), 'busy');
    await worker.terminate();
    await all;
    assert.ok(closes.every((code) => code === 1006));
    await assertWorks(t);
  });

  test('can be terminated while it compresses and has queued data', LIMIT, async (t) => {
    const worker = startWorker((WebSocket) => {
      const { parentPort } = require('node:worker_threads');
      const wss = new WebSocket.Server({ host: '127.0.0.1', perMessageDeflate: true, port: 0 });
      wss.on('connection', (ws) => {
        for (let i = 0; i < 20; i++) ws.send(Buffer.alloc(2 ** 20, `${i}`));
        ws.send(new Blob(['x'.repeat(2 ** 20)]));
        parentPort.postMessage('queued');
      });
      wss.on('listening', () => parentPort.postMessage(wss.address().port));
    });
    const client = startClient(t, `ws://127.0.0.1:${await messageOf(worker)}`);
    const closed = once(client, 'close');
    assert.equal(await messageOf(worker), 'queued');
    await worker.terminate();
    assert.equal((await closed)[0], 1006);
    await assertWorks(t);
  });

  test('sends whole frames up to when it is terminated', LIMIT, async (t) => {
    for (let round = 0; round < 10; round++) {
      const worker = startWorker((WebSocket) => {
        const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 });
        wss.on('connection', (ws) => {
          const send = () => {
            for (let i = 0; i < 200; i++) ws.send('message '.repeat(i % 40));
            ws.send('', send);
          };
          send();
        });
        wss.on('listening', () => {
          require('node:worker_threads').parentPort.postMessage(wss.address().port);
        });
      });
      const client = startClient(t, `ws://127.0.0.1:${await messageOf(worker)}`);
      const closed = once(client, 'close');
      await once(client, 'message');
      for (let i = 0; i < round; i++) await new Promise((resolve) => setImmediate(resolve));
      await worker.terminate();
      assert.equal((await closed)[0], 1006);
    }
  });

  test('can be terminated at any time while it loads and starts', LIMIT, async (t) => {
    for (let turns = 0; turns < 5; turns++) {
      const worker = startWorker(roundTrip);
      await once(worker, 'online');
      for (let i = 0; i < turns * 3; i++) await new Promise((resolve) => setImmediate(resolve));
      await worker.terminate();
    }
    await assertWorks(t);
  });

  test(
    'ends by itself once its connections are closed, however many there were',
    LIMIT,
    async () => {
      for (let i = 0; i < 4; i++) {
        const workers = [startWorker(roundTrip), startWorker(roundTrip)];
        const exits = workers.map((worker) => once(worker, 'exit'));
        assert.deepEqual(await Promise.all(workers.map(messageOf)), [5000, 5000]);
        for (const [code] of await Promise.all(exits)) assert.equal(code, 0);
      }
    }
  );

  test('reports what a listener throws as its own error', LIMIT, async () => {
    const worker = startWorker((WebSocket) => {
      const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 });
      wss.on('connection', (ws) => {
        ws.on('message', () => {
          throw new RangeError('thrown in the worker');
        });
      });
      wss.on('listening', () => {
        const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`);
        client.on('open', () => client.send('x'));
      });
    });
    const [error] = await once(worker, 'error');
    assert.equal(error.name, 'RangeError');
    assert.equal(error.message, 'thrown in the worker');
  });
});

describe('A process whose main thread never loads the package', () => {
  test('can load it in many workers, one after the other and at the same time', LIMIT, async () => {
    const script = `
      const { once } = require('node:events');
      const { messageOf, startWorker } = require(${JSON.stringify(path.join(__dirname, 'support/worker.js'))});
      const roundTrip = ${roundTrip};
      async function run() {
        const worker = startWorker(roundTrip);
        const exit = once(worker, 'exit');
        const length = await messageOf(worker);
        return [length, (await exit)[0]].join();
      }
      (async () => {
        const results = [];
        for (let i = 0; i < 4; i++) results.push(await run());
        results.push(...(await Promise.all([run(), run(), run(), run()])));
        console.log(results.join(' '));
      })();
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script]);
    assert.equal(stdout.trim(), Array(8).fill('5000,0').join(' '));
  });
});
