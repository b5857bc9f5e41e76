'use strict';

/** How connections live and die with the process, and with workers. */

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const { Worker } = require('node:worker_threads');

const WebSocket = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const { entry } = require('./support/internals.js');
const { closeOf, collect, openServer, urlOf } = require('./support/pair.js');

/**
 * Runs a function in a worker, with the package under test and its workerData as arguments.
 *
 * @param {import('node:test').TestContext} t
 * @param {(WebSocket: any, workerData: any) => any} body
 * @param {any} [workerData]
 * @returns {Worker}
 */
function startWorker(t, body, workerData) {
  const script = `(${body})(require(${JSON.stringify(entry)}), require('node:worker_threads').workerData)`;
  const worker = new Worker(script, { eval: true, workerData });
  t.after(() => worker.terminate());
  return worker;
}

/** A server, and what the clients of child processes send to it. */
async function openListener(t) {
  const wss = await openServer(t);
  const ended = new Promise((resolve) => {
    wss.on('connection', (ws) => {
      const texts = [];
      ws.on('message', (data) => texts.push(data.length > 100 ? data.length : String(data)));
      ws.on('close', (code) => resolve({ texts, code }));
    });
  });
  return { env: { TEST_URL: urlOf(wss) }, ended };
}

describe('a process', () => {
  it('ends although connections are open, if their sockets are unref’d', async (t) => {
    const { env, ended } = await openListener(t);
    const { code, stdout } = await runInChild(
      t,
      function main(WebSocket) {
        const ws = new WebSocket(process.env.TEST_URL);
        ws.on('open', () => {
          ws.send('then I go');
          ws._socket.unref();
          console.log('open');
        });
      },
      { env }
    );

    assert.strictEqual(code, 0);
    assert.strictEqual(stdout, 'open\n');
    assert.deepStrictEqual(await ended, { texts: ['then I go'], code: 1006 });
  });

  it('goes on until its peer has taken what was sent, although the socket is unref’d', async (t) => {
    // More than the kernel takes at once.
    const size = 48 * 1024 * 1024;
    const { env, ended } = await openListener(t);
    const { code, stdout } = await runInChild(
      t,
      function main(WebSocket) {
        const ws = new WebSocket(process.env.TEST_URL, { perMessageDeflate: false });
        ws.on('open', () => {
          ws._socket.unref();
          ws.send(Buffer.alloc(Number(process.env.TEST_SIZE)), () => console.log('sent'));
        });
      },
      { env: { ...env, TEST_SIZE: size } }
    );

    assert.strictEqual(code, 0);
    assert.strictEqual(stdout, 'sent\n');
    assert.deepStrictEqual(await ended, { texts: [size], code: 1006 });
  });

  it('goes on while a connection is open, also one that was unref’d and ref’d again', async (t) => {
    const wss = await openServer(t);
    const child = runInChild(
      t,
      function main(WebSocket) {
        const ws = new WebSocket(process.env.TEST_URL);
        ws.on('open', () => {
          ws._socket.unref();
          ws._socket.ref();
          ws.send('ready');
        });
        ws.on('message', (data) => console.log(`${data}`));
      },
      { env: { TEST_URL: urlOf(wss) } }
    );
    const [ws] = await once(wss, 'connection');
    await once(ws, 'message');
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    ws.send('still there?');
    ws.close();

    assert.strictEqual((await child).stdout, 'still there?\n');
  });

  for (const [how, body] of [
    [
      'process.exit() right after',
      function main(WebSocket) {
        const ws = new WebSocket(process.env.TEST_URL);
        ws.on('open', () => {
          ws.send('first');
          ws.send(Buffer.alloc(50_000));
          ws.send('last');
          process.exit();
        });
      }
    ],
    [
      'a listener of exit',
      function main(WebSocket) {
        const ws = new WebSocket(process.env.TEST_URL);
        process.on('exit', () => {
          ws.send('first');
          ws.send(Buffer.alloc(50_000));
          ws.send('last');
        });
        ws.on('open', () => process.exit());
      }
    ],
    [
      'an exception that ends the process right after',
      function main(WebSocket) {
        const ws = new WebSocket(process.env.TEST_URL);
        ws.on('open', () => {
          ws.send('first');
          ws.send(Buffer.alloc(50_000));
          ws.send('last');
          throw new Error('fatal');
        });
      }
    ]
  ]) {
    it(`delivers what was sent, in spite of ${how}`, async (t) => {
      const { env, ended } = await openListener(t);
      await runInChild(t, body, { env });

      assert.deepStrictEqual((await ended).texts, ['first', 50_000, 'last']);
    });
  }

  it('ends by itself after its connections and servers are closed', async (t) => {
    const { code, stdout } = await runInChild(t, function main(WebSocket) {
      const wss = new WebSocket.Server({ port: 0, perMessageDeflate: true }, () => {
        const ws = new WebSocket(`ws://localhost:${wss.address().port}`);
        ws.on('message', (data) => {
          console.log(data.length);
          ws.close();
          wss.close();
        });
      });
      wss.on('connection', (ws) => ws.send(Buffer.alloc(300_000)));
    });

    assert.strictEqual(code, 0);
    assert.strictEqual(stdout, '300000\n');
  });

  it('ends by itself when the package was loaded and not used', async (t) => {
    const { code } = await runInChild(t, function main() {});
    assert.strictEqual(code, 0);
  });
});

describe('a worker', () => {
  it('may be a client of a server in another thread', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (ws) => {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    });
    const worker = startWorker(
      t,
      function main(WebSocket, url) {
        const { parentPort } = require('node:worker_threads');
        const ws = new WebSocket(url);
        ws.on('open', () => ws.send(Buffer.alloc(200_000, 'w')));
        ws.on('message', (data) => {
          parentPort.postMessage(data.length);
          ws.close();
        });
      },
      urlOf(wss)
    );
    const [[length], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);

    assert.strictEqual(length, 200_000);
    assert.strictEqual(code, 0);
  });

  it('may be a server', async (t) => {
    const worker = startWorker(t, function main(WebSocket) {
      const { parentPort } = require('node:worker_threads');
      const wss = new WebSocket.Server({ port: 0 }, () => {
        parentPort.postMessage(wss.address().port);
      });
      wss.on('connection', (ws) => {
        ws.on('message', (data) => ws.send(`from the worker: ${data}`));
        ws.on('close', () => wss.close());
      });
    });
    const [port] = await once(worker, 'message');
    const client = new WebSocket(`ws://localhost:${port}`);
    t.after(() => client.terminate());
    await once(client, 'open');
    client.send('hello');
    assert.strictEqual(String((await once(client, 'message'))[0]), 'from the worker: hello');
    const exited = once(worker, 'exit');
    client.close();

    assert.deepStrictEqual(await exited, [0]);
  });

  it('may be terminated with many connections that are busy', async (t) => {
    const wss = await openServer(t);
    const count = 30;
    const connected = collect(wss, 'connection', count);
    const worker = startWorker(
      t,
      function main(WebSocket, { url, count: total }) {
        for (let i = 0; i < total; i++) {
          const ws = new WebSocket(url);
          ws.on('open', () => ws.send(Buffer.alloc(1000)));
          ws.on('message', (data) => ws.send(data));
        }
      },
      { url: urlOf(wss), count }
    );
    const servers = (await connected).map(([ws]) => ws);
    for (const ws of servers) ws.on('message', (data) => ws.send(data));
    await once(servers.at(-1), 'message');
    const closed = Promise.all(servers.map(closeOf));
    await worker.terminate();

    for (const [code] of await closed) assert.strictEqual(code, 1006);
  });

  it('may be started and ended again and again', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (ws) => ws.send('welcome'));

    for (let i = 0; i < 4; i++) {
      const worker = startWorker(
        t,
        function main(WebSocket, url) {
          const ws = new WebSocket(url);
          ws.on('message', (data) => {
            require('node:worker_threads').parentPort.postMessage(String(data));
          });
        },
        urlOf(wss)
      );
      assert.deepStrictEqual(await once(worker, 'message'), ['welcome']);
      await worker.terminate();
    }
  });
});
