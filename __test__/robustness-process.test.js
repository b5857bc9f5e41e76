'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const path = require('node:path');
const { describe, test } = require('node:test');

const { runInChild } = require('./support/child.js');
const { isCollected } = require('./support/gc.js');
const { directory, entry } = require('./support/internals.js');
const WebSocket = require('./support/package.js');
const { openServer, urlOf } = require('./support/pair.js');
const { startWorker } = require('./support/worker.js');

const LIMIT = { timeout: 30000 };

/** What a server receives from its next client, and how that client ends. */
async function lastWords(wss) {
  const [ws] = await once(wss, 'connection');
  const messages = [];
  ws.on('message', (data) => messages.push(data.toString()));
  const [code] = await once(ws, 'close');
  return { code, messages };
}

/** Runs a function in a process that has the address of a server; what the server receives, and how the process ends. */
async function runClient(t, main) {
  const wss = await openServer(t);
  const received = lastWords(wss);
  const exited = runInChild(t, main, { env: { TEST_URL: urlOf(wss) } });
  return { received: await received, exited: await exited };
}

describe('A process that exits', () => {
  test('right after a send has still sent it', LIMIT, async (t) => {
    const { received, exited } = await runClient(t, (WebSocketInChild) => {
      const ws = new WebSocketInChild(process.env.TEST_URL);
      ws.on('open', () => {
        ws.send('first');
        ws.send(Buffer.from('second'));
        ws.send('last words');
        process.exit(7);
      });
    });
    assert.deepEqual(received.messages, ['first', 'second', 'last words']);
    assert.equal(received.code, 1006);
    assert.equal(exited.code, 7);
  });

  test('sends what its exit handlers send', LIMIT, async (t) => {
    const { received, exited } = await runClient(t, (WebSocketInChild) => {
      const ws = new WebSocketInChild(process.env.TEST_URL);
      process.on('exit', () => ws.send('goodbye'));
      ws.on('open', () => process.exit(0));
    });
    assert.deepEqual(received.messages, ['goodbye']);
    assert.equal(exited.code, 0);
  });

  test(
    'sends what exit handlers send that were added when the connection was open',
    LIMIT,
    async (t) => {
      const { received, exited } = await runClient(t, (WebSocketInChild) => {
        const ws = new WebSocketInChild(process.env.TEST_URL);
        ws.on('open', () => {
          process.on('exit', () => ws.send('goodbye'));
          process.exit(0);
        });
      });
      assert.deepEqual(received.messages, ['goodbye']);
      assert.equal(exited.code, 0);
    }
  );

  test('sends what was sent before an exception that nobody catches', LIMIT, async (t) => {
    const { received, exited } = await runClient(t, (WebSocketInChild) => {
      const ws = new WebSocketInChild(process.env.TEST_URL);
      ws.on('open', () => {
        ws.send('before the crash');
        throw new Error('crash');
      });
    });
    assert.deepEqual(received.messages, ['before the crash']);
    assert.equal(exited.code, 1);
    assert.match(exited.stderr, /Error: crash/);
  });

  test(
    'does not crash when it exits with much queued data and many connections',
    LIMIT,
    async (t) => {
      const { code, signal, stderr } = await runInChild(t, (WebSocketInChild) => {
        const options = { host: '127.0.0.1', perMessageDeflate: true, port: 0 };
        const wss = new WebSocketInChild.Server(options);
        let open = 0;
        wss.on('connection', (ws) => {
          ws.pause();
          ws.send(Buffer.alloc(3 * 2 ** 20), { compress: false });
          ws.send(Buffer.alloc(2 ** 20));
          if (++open === 20) process.exit(5);
        });
        wss.on('listening', () => {
          for (let i = 0; i < 20; i++) {
            const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
            client.on('open', () => {
              for (let k = 0; k < 10; k++) client.send(Buffer.alloc(2 ** 18, `${k}`));
            });
          }
        });
      });
      assert.equal(signal, null);
      assert.equal(code, 5, stderr);
    }
  );

  test('by itself, once everything is closed', LIMIT, async (t) => {
    const { code, stderr, stdout } = await runInChild(t, (WebSocketInChild) => {
      const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
      wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
      wss.on('listening', () => {
        const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
        client.on('open', () => client.send('x'));
        client.on('message', () => {
          client.close();
          wss.close(() => process.stdout.write('closed'));
        });
      });
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'closed');
  });

  test(
    'by itself, though a connection is open, once its sockets are unref()ed',
    LIMIT,
    async (t) => {
      const { code, stderr } = await runInChild(t, (WebSocketInChild) => {
        const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
        wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
        wss.on('listening', () => {
          const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
          client.on('open', () => client.send('x'));
          client.on('message', () => {
            client._socket.unref();
            for (const ws of wss.clients) ws._socket.unref();
            wss._server.unref();
          });
        });
      });
      assert.equal(code, 0, stderr);
    }
  );
});

describe('A process whose sockets were unref()ed before they became WebSockets', () => {
  test('exits by itself, though a connection is open', LIMIT, async (t) => {
    const { code, stderr, stdout } = await runInChild(t, (WebSocketInChild) => {
      const wss = new WebSocketInChild.Server({ host: '127.0.0.1', port: 0 });
      wss._server.on('connection', (socket) => socket.unref());
      wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
      wss.on('listening', () => {
        const client = new WebSocketInChild(`ws://127.0.0.1:${wss.address().port}`);
        const waiting = setTimeout(() => {}, 100_000);
        client._req.on('socket', (socket) => socket.unref());
        client.on('open', () => client.send('x'));
        client.on('message', () => {
          wss._server.unref();
          clearTimeout(waiting);
          process.stdout.write('answered');
        });
      });
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'answered');
  });
});

describe('A worker that exits', () => {
  test('right after a send has still sent it', LIMIT, async (t) => {
    const wss = await openServer(t);
    const received = lastWords(wss);
    const worker = startWorker((WebSocketInWorker, url) => {
      const ws = new WebSocketInWorker(url);
      ws.on('open', () => {
        ws.send('last words');
        process.exit(3);
      });
    }, urlOf(wss));
    const exit = once(worker, 'exit');
    assert.deepEqual((await received).messages, ['last words']);
    assert.equal((await exit)[0], 3);
  });
});

describe('The package loaded twice in one process', () => {
  /** Loads the package anew, as jest.resetModules and duplicates in node_modules do. */
  function loadAgain() {
    for (const file of Object.keys(require.cache)) {
      const relative = path.relative(directory, file);
      const isOurs = relative.startsWith(`lib${path.sep}`) || file === entry;
      if (isOurs) delete require.cache[file];
    }
    return require(entry);
  }

  test('is two packages that can talk to each other', LIMIT, async (t) => {
    const Other = loadAgain();
    assert.notEqual(Other, WebSocket);
    assert.notEqual(Other.Receiver, WebSocket.Receiver);
    for (const [Server, Client] of [
      [Other, WebSocket],
      [WebSocket, Other]
    ]) {
      const options = { host: '127.0.0.1', perMessageDeflate: true, port: 0 };
      const wss = new Server.WebSocketServer(options);
      t.after(() => wss.close());
      wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
      await once(wss, 'listening');
      const client = new Client(urlOf(wss));
      t.after(() => client.terminate());
      await once(client, 'open');
      client.send('across');
      assert.equal((await once(client, 'message'))[0].toString(), 'across');
      const closed = once(client, 'close');
      client.close(1000);
      assert.equal((await closed)[0], 1000);
    }
  });

  test('can be loaded many times', () => {
    const seen = new Set();
    for (let i = 0; i < 10; i++) seen.add(loadAgain());
    assert.equal(seen.size, 10);
  });
});

describe('A connection that has ended', () => {
  /** References to both ends of a connection that was used, closed and forgotten. */
  async function usedAndClosed(options) {
    const wss = new WebSocket.WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
    await once(wss, 'listening');
    const client = new WebSocket(urlOf(wss), options);
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    server.on('message', (data) => server.send(data));
    client.send('x'.repeat(2000));
    await once(client, 'message');
    const closes = Promise.all([once(client, 'close'), once(server, 'close')]);
    client.close();
    await closes;
    await new Promise((resolve) => wss.close(resolve));
    return [client, server].map((ws) => new WeakRef(ws));
  }

  for (const perMessageDeflate of [false, true]) {
    const how = perMessageDeflate ? 'with' : 'without';
    test(`leaves nothing behind, ${how} compression`, LIMIT, async () => {
      for (const reference of await usedAndClosed({ perMessageDeflate })) {
        assert.ok(await isCollected(reference));
      }
    });
  }
});
