'use strict';

const assert = require('node:assert');
const { AsyncLocalStorage } = require('node:async_hooks');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const { after, describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { CapturedWire } = require('./support/captured-wire.js');
const { runInChild } = require('./support/child.js');
const { OPCODE, closePayload, frame, maskedFrame } = require('./support/frames.js');
const { byThread, isOxws } = require('./support/internals.js');
const {
  logEvents,
  openHttpServer,
  openPair,
  openServer,
  startClient,
  turn,
  urlOf
} = require('./support/pair.js');
const { connectRaw, openToRawPeer, serveRaw } = require('./support/raw-peer.js');

const [major, minor] = process.versions.node.split('.').map(Number);

/** Whether Node tells of the requests of `http` before it writes them. */
const tellsOfRequests = major > 23 || (major === 23 && minor >= 2) || (major === 22 && minor >= 12);

/** Frames that leave in one write, and arrive in one chunk. */
const together = (...payloads) =>
  Buffer.concat(payloads.map((payload) => maskedFrame({ payload })));

/**
 * Logs each message, and when the ticks and microtasks queued by its listener run.
 *
 * @param {import('ws')} ws
 * @param {number} count how many messages come
 * @returns {Promise<string[]>} the log, complete
 */
function logWithTicks(ws, count) {
  const log = [];
  return new Promise((resolve) => {
    ws.on('message', (data) => {
      log.push(`message ${data}`);
      queueMicrotask(() => log.push(`microtask ${data}`));
      process.nextTick(() => log.push(`tick ${data}`));
      setImmediate(() => --count === 0 && resolve(log));
    });
  });
}

describe('messages that wait to be read', () => {
  it('come in reads of 64 KiB, each with its ticks and microtasks', async (t) => {
    const { client, server } = await openPair(t);
    client.pause();
    await new Promise((resolve) => {
      for (const text of ['a', 'b', 'c'.repeat(65_536)]) server.send(text);
      server.send('d', resolve);
    });
    const log = [];
    const last = new Promise((resolve) => {
      client.on('message', (data) => {
        const name = String.fromCharCode(data[0]);
        log.push(`message ${name}`);
        process.nextTick(() => log.push(`tick ${name}`));
        if (name === 'd') setImmediate(resolve);
      });
    });
    client.resume();
    await last;

    assert.deepStrictEqual(log, [
      ...['message a', 'message b', 'tick a', 'tick b'],
      ...['message c', 'message d', 'tick c', 'tick d']
    ]);
  });
});

describe('messages read in one chunk', () => {
  it('come one right after the other, before ticks and microtasks', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const logged = logWithTicks(server, 3);
    socket.write(together('a', 'b', 'c'));

    assert.deepStrictEqual(await logged, [
      ...['message a', 'message b', 'message c'],
      ...['tick a', 'tick b', 'tick c'],
      ...['microtask a', 'microtask b', 'microtask c']
    ]);
  });

  it('come each in a turn of its own if allowSynchronousEvents is false', async (t) => {
    const { server, socket } = await openToRawPeer(t, { allowSynchronousEvents: false });
    const logged = logWithTicks(server, 3);
    socket.write(together('a', 'b', 'c'));

    assert.deepStrictEqual(
      await logged,
      ['a', 'b', 'c'].flatMap((name) => [`message ${name}`, `tick ${name}`, `microtask ${name}`])
    );
  });

  it('come likewise for a client, and with pings and pongs among them', async (t) => {
    const { client, server } = await openPair(t, { client: { allowSynchronousEvents: false } });
    const log = [];
    const done = new Promise((resolve) => {
      for (const event of ['message', 'ping', 'pong']) {
        client.on(event, (data) => {
          log.push(`${event} ${data}`);
          queueMicrotask(() => log.push('microtask'));
          if (String(data) === 'last') setImmediate(resolve);
        });
      }
    });
    server._socket.cork();
    server.send('first');
    server.ping('second');
    server.pong('third');
    server.send('last');
    server._socket.uncork();
    await done;

    assert.deepStrictEqual(log, [
      ...['message first', 'microtask', 'ping second', 'microtask'],
      ...['pong third', 'microtask', 'message last', 'microtask']
    ]);
  });

  it('reach a listener that the first of them adds', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const seen = [];
    const done = new Promise((resolve) => {
      server.once('message', (first) => {
        seen.push(`${first}`);
        server.on('message', (data) => seen.push(`${data}`) === 3 && resolve());
      });
    });
    socket.write(together('a', 'b', 'c'));
    await done;

    assert.deepStrictEqual(seen, ['a', 'b', 'c']);
  });

  it('do not reach a listener that the first of them removes', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const seen = [];
    const listener = (data) => {
      seen.push(`${data}`);
      server.removeListener('message', listener);
    };
    server.on('message', listener);
    const all = logWithTicks(server, 2);
    socket.write(together('a', 'b'));
    await all;

    assert.deepStrictEqual(seen, ['a']);
  });
});

describe('messages of different connections', () => {
  it('are separated by the ticks and microtasks of the listeners before', async (t) => {
    const wss = await openServer(t);
    const count = 6;
    const log = [];
    let left = count;
    const done = new Promise((resolve) => {
      wss.on('connection', (ws) => {
        ws.on('message', (data) => {
          log.push(`message ${data}`);
          process.nextTick(() => log.push(`tick ${data}`));
          queueMicrotask(() => log.push(`microtask ${data}`));
          if (--left === 0) setImmediate(resolve);
        });
      });
    });
    const peers = [];
    for (let i = 0; i < count; i++) peers.push(await connectRaw(t, wss));
    for (const [index, { socket }] of peers.entries()) socket.write(together(String(index)));
    await done;

    for (let i = 0; i < log.length; i += 3) {
      const name = log[i].split(' ')[1];
      assert.deepStrictEqual(log.slice(i, i + 3), [
        `message ${name}`,
        `tick ${name}`,
        `microtask ${name}`
      ]);
    }
  });

  it('are written in the order in which the connections were sent to, also before a close frame', async () => {
    const wires = [new CapturedWire(), new CapturedWire()];
    const log = [];
    const [first, second] = wires.map((wire, index) => {
      const ws = new WebSocket(null, undefined, {});
      ws.setSocket(wire, Buffer.alloc(0), {});
      wire.receive(1).then(() => log.push(index));
      return ws;
    });
    first.send('first');
    second.send('second');
    first.close();
    await Promise.all([wires[0].receive(2), wires[1].receive(1)]);
    for (const ws of [first, second]) ws.terminate();

    assert.deepStrictEqual(log, [0, 1]);
  });

  it('come to one just made first, and again in the next turns', { skip: byThread }, async (t) => {
    const wss = await openServer(t);
    const log = [];
    const client = startClient(t, urlOf(wss));
    const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    const done = new Promise((resolve) => {
      const answer = (name, ws) => {
        ws.on('message', () => {
          if (log.push(name) === 8) resolve();
          else setImmediate(() => ws.send('answer'));
        });
      };
      answer('client', client);
      answer('server', server);
    });
    client.send('from the client');
    server.send('from the server');
    await done;

    assert.deepStrictEqual(log, Array(4).fill(['client', 'server']).flat());
  });

  it('come and go in the same turns each time, while the loop does not wait', async (t) => {
    const { client, server } = await openPair(t);
    let turns = 0;
    const log = [];
    server.on('message', (data) => server.send(data));
    client.on('message', (data) => log.push([String(data), turns]));
    client.on('close', (code) => log.push([code, turns]));
    await turn();
    for (let i = 0; i <= 20; i++) {
      turns = 0;
      client.send(`message ${i}`);
      while (log.length === i) {
        await turn();
        turns++;
      }
    }
    // A thread that has come to the first one finishes with it.
    assert.deepStrictEqual(
      log.splice(0).slice(1),
      Array.from({ length: 20 }, (_, i) => [`message ${i + 1}`, 1])
    );

    turns = 0;
    server.send('last');
    server.terminate();
    while (log.length < 2) {
      await turn();
      turns++;
    }
    assert.deepStrictEqual(log, [
      ['last', 0],
      [1006, 2]
    ]);
  });

  it('keep the async context that each connection was made in', async (t) => {
    const wss = await openServer(t);
    const storage = new AsyncLocalStorage();
    const clients = await Promise.all(
      [1, 2, 3].map((id) =>
        storage.run(id, async () => {
          const client = startClient(t, urlOf(wss));
          client.on('message', (data) => {
            client.seen = [storage.getStore(), String(data)];
            client.emit('seen');
          });
          await once(client, 'open');
          return client;
        })
      )
    );
    const seen = Promise.all(clients.map((client) => once(client, 'seen')));
    for (const ws of wss.clients) ws.send('to all');
    await seen;

    assert.deepStrictEqual(
      clients.map((client) => client.seen),
      [1, 2, 3].map((id) => [id, 'to all'])
    );
  });
});

describe('what is sent on different connections', () => {
  const areSeveral = byThread && Number(process.env.OXWS_IO_THREADS) > 1;
  const skip = areSeveral && 'threads write and read side by side';

  it('comes in the order in which it was sent, whichever was opened first', { skip }, async (t) => {
    const pairs = [await openPair(t), await openPair(t)];
    let swapped = 0;
    for (let round = 0; round < 100; round++) {
      const [first, second] = round % 2 === 0 ? pairs : [...pairs].reverse();
      const order = [];
      first.client.once('message', () => order.push(1));
      second.client.once('message', () => order.push(2));
      // The kernel forgets the order of the last round when it is asked again.
      await turn();
      await new Promise((resolve) => setTimeout(resolve, 2));
      first.server.send('first');
      second.server.send('second');
      // The loop does not wait for what it has yet to read.
      while (order.length < 2) await turn();
      if (order[0] === 2) swapped++;
    }
    // A thread may come between.
    assert.ok(swapped < (byThread ? 15 : 1), `${swapped} times not`);
  });
});

describe('the async context', () => {
  /** What a server's connection sees, of which the handshake is finished in a context of its own. */
  async function openWithin(t, storage, store, onConnection) {
    const server = await openHttpServer(t);
    const wss = new WebSocket.WebSocketServer({ noServer: true });
    server.on('upgrade', (...args) =>
      storage.run(store, () => wss.handleUpgrade(...args, onConnection))
    );
    const client = startClient(t, urlOf(server));
    await once(client, 'open');
    return client;
  }

  it('of messages is not that in which the handshake was finished', async (t) => {
    const storage = new AsyncLocalStorage();
    let seen;
    const client = await openWithin(t, storage, 'request', (ws) => {
      ws.on('message', () => {
        seen = [storage.getStore()];
        ws.close();
      });
    });
    client.send('what do you see?');
    await once(client, 'close');
    assert.deepStrictEqual(seen, [undefined]);
  });

  it('of a large compressed message, and of its callback, is not that of another connection', async (t) => {
    const storage = new AsyncLocalStorage();
    const perMessageDeflate = { threshold: 0 };
    const options = { server: { perMessageDeflate }, client: { perMessageDeflate } };
    const noise = randomBytes(100_000);
    const seen = [];
    for (const store of ['first', 'second']) {
      const { server, client } = await openPair(t, options);
      server.on('message', () => seen.push(`message ${storage.getStore()}`));
      const received = once(server, 'message');
      await new Promise((resolve) => {
        storage.run(store, () => client.send(noise, resolve));
      }).then(() => received);
      await new Promise((resolve) => {
        storage.run(store, () =>
          server.send(noise, () => resolve(seen.push(`callback ${storage.getStore()}`)))
        );
      });
    }
    assert.deepStrictEqual(seen, [
      'message undefined',
      'callback first',
      'message undefined',
      'callback second'
    ]);
  });

  const isLeft = major >= 24 && 'in this Node it ends with the callback';
  it('that a listener enters is that of what follows', { skip: isLeft }, async (t) => {
    const storage = new AsyncLocalStorage();
    const { server, client } = await openPair(t);
    const log = [];
    server.on('message', (data) => {
      log.push(`${data} ${storage.getStore()}`);
      if (String(data) === 'login') storage.enterWith('user');
    });
    server.on('close', () => log.push(`close ${storage.getStore()}`));
    client.send('login');
    await once(server, 'message');
    client.send('more');
    client.close();
    await once(server, 'close');
    assert.deepStrictEqual(log, ['login undefined', 'more user', 'close user']);
  });

  it('of a callback that has to wait is that of its send()', async (t) => {
    const storage = new AsyncLocalStorage();
    const { server, client } = await openPair(t);
    client.pause();
    let isFull = false;
    const sent = new Promise((resolve) => {
      storage.run('request', () =>
        server.send(Buffer.alloc(30_000_000), () => resolve(storage.getStore()))
      );
      isFull = server.bufferedAmount > 0;
    });
    assert.ok(isFull);
    client.resume();
    assert.strictEqual(await sent, 'request');
  });
});

describe('a message that is sent before an HTTP request', () => {
  const moments = {
    'by a listener': (send) => send(),
    'in a tick': (send) => process.nextTick(send),
    'in a microtask': (send) => queueMicrotask(send),
    'by a timer': (send) => setTimeout(send, 1),
    'in setImmediate()': (send) => setImmediate(send)
  };
  const agent = new http.Agent({ keepAlive: true });
  after(() => agent.destroy());
  const requests = {
    'http.get()': async (port) => {
      const [response] = await once(http.get({ port, agent }), 'response');
      await once(response.resume(), 'end');
    },
    'fetch()': async (port) => (await fetch(`http://localhost:${port}`)).arrayBuffer()
  };

  for (const [name, request] of Object.entries(requests)) {
    for (const [moment, plan] of Object.entries(moments)) {
      const skip = name === 'http.get()' && isOxws && !tellsOfRequests && 'this Node does not tell';
      it(`arrives before ${name}, sent ${moment}`, { skip }, async (t) => {
        const { url, server, peer } = await serveRaw(t);
        const log = [];
        server.on('request', (_, response) => {
          log.push('request');
          response.end();
        });
        const { port } = server.address();
        // From now on there is a connection that takes a request at once.
        await request(port);
        log.length = 0;
        const client = startClient(t, url);
        const { socket } = await peer();
        await once(client, 'open');
        const arrived = new Promise((resolve) => {
          socket.on('data', () => resolve(log.push('message')));
        });
        const asked = new Promise((resolve) => {
          client.on('message', () => {
            plan(() => {
              client.send('text');
              resolve(request(port));
            });
          });
        });
        socket.write(frame({ payload: 'now' }));
        await Promise.all([arrived, asked]);

        assert.deepStrictEqual(log, ['message', 'request']);
      });
    }
  }
});

describe('the events of a connection', () => {
  it('of a client come as upgrade, open, messages, close', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (ws) => {
      ws.send('1');
      ws.ping();
      ws.send('2');
      ws.close(1000);
    });
    const client = startClient(t, urlOf(wss));
    const log = logEvents(client, ['upgrade', 'open', 'message', 'ping', 'error', 'close']);
    await once(client, 'close');

    assert.deepStrictEqual(log, ['upgrade', 'open', 'message', 'ping', 'message', 'close']);
  });

  it('of a server come as headers, connection, messages, close', async (t) => {
    const wss = await openServer(t);
    const log = [];
    wss.on('headers', () => log.push('headers'));
    const closed = new Promise((resolve) => {
      wss.on('connection', (ws) => {
        log.push('connection');
        ws.on('message', (data) => log.push(`message ${data}`));
        ws.on('close', () => resolve(log.push('close')));
      });
    });
    await connectRaw(t, wss, {
      follow: Buffer.concat([
        together('early', 'next'),
        maskedFrame({ opcode: OPCODE.CLOSE, payload: closePayload(1000) })
      ])
    });
    await closed;

    const expected = ['headers', 'connection', 'message early', 'message next', 'close'];
    assert.deepStrictEqual(log, expected);
  });

  it('include every message for who starts to listen on open or connection', async (t) => {
    const { url } = await serveRaw(t, { follow: frame({ payload: 'early' }) });
    const client = startClient(t, url);
    const received = new Promise((resolve) => {
      client.on('open', () => client.on('message', (data) => resolve(String(data))));
    });
    assert.strictEqual(await received, 'early');

    const wss = await openServer(t);
    const there = new Promise((resolve) => {
      wss.on('connection', (ws) => ws.on('message', (data) => resolve(String(data))));
    });
    await connectRaw(t, wss, { follow: together('early') });
    assert.strictEqual(await there, 'early');
  });
});

describe('a listener that throws', () => {
  for (const event of ['open', 'message', 'ping', 'close']) {
    it(`on ${event} makes an uncaught exception`, async (t) => {
      const { stdout, stderr } = await runInChild(
        t,
        function main(WebSocket) {
          const wss = new WebSocket.Server({ port: 0 }, () => {
            const ws = new WebSocket(`ws://localhost:${wss.address().port}`);
            ws.on(process.env.EVENT, () => {
              throw new Error(`thrown on ${process.env.EVENT}`);
            });
          });
          wss.on('connection', (ws) => {
            ws.send('text');
            ws.ping();
            ws.close();
          });
          process.on('uncaughtException', (error) => {
            console.log(error.message);
            process.exit();
          });
        },
        { env: { EVENT: event } }
      );

      assert.strictEqual(stdout, `thrown on ${event}\n`, stderr);
    });
  }

  it('ends the process if nothing catches that', async (t) => {
    const { code, stderr } = await runInChild(t, function main(WebSocket) {
      const wss = new WebSocket.Server({ port: 0 }, () => {
        const ws = new WebSocket(`ws://localhost:${wss.address().port}`);
        ws.on('message', () => {
          throw new Error('nobody catches this');
        });
      });
      wss.on('connection', (ws) => ws.send('text'));
    });

    assert.strictEqual(code, 1);
    assert.match(stderr, /nobody catches this/);
  });

  it('does not keep messages from other connections', async (t) => {
    const { stdout, stderr } = await runInChild(t, function main(WebSocket) {
      const seen = [];
      process.on('uncaughtException', (error) => seen.push(error.message));
      const wss = new WebSocket.Server({ port: 0 }, async () => {
        for (const name of ['a', 'b', 'c']) {
          const ws = new WebSocket(`ws://localhost:${wss.address().port}`);
          await new Promise((resolve) => ws.on('open', resolve));
          ws.send(name);
        }
      });
      wss.on('connection', (ws) => {
        ws.on('message', (data) => {
          if (seen.length < 2) throw new Error(`thrown at ${data}`);
          console.log([...seen, `message ${data}`].join());
          process.exit();
        });
      });
    });

    assert.strictEqual(stdout, 'thrown at a,thrown at b,message c\n', stderr);
  });
});
