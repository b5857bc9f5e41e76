'use strict';

/** What becomes of what a peer does not take, when its connection ends. */

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { isCancelledByNode } = require('./support/cancelled.js');
const { closeOf, openServer, startClient, turn, urlOf } = require('./support/pair.js');
const { connectRaw, serveRaw } = require('./support/raw-peer.js');
const { startPausedClient } = require('./support/worker.js');

/** More than the kernel takes from a connection whose peer does not read. */
const LARGE = 16 * 1024 * 1024;

const OPEN = {
  async server(t) {
    const wss = await openServer(t);
    const [[ws], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
    return { ws, peer: peer.socket };
  },
  async client(t) {
    const { url, peer } = await serveRaw(t);
    const ws = startClient(t, url);
    const [{ socket }] = await Promise.all([peer(), once(ws, 'open')]);
    socket.removeAllListeners('end');
    return { ws, peer: socket };
  }
};

/** Long enough for what is under way to arrive. */
async function turns(count = 10) {
  for (let i = 0; i < count; i++) await turn();
}

/**
 * An end of a connection with a large message on its way that its peer does not read, and a log of what happens to it.
 *
 * @param {import('node:test').TestContext} t
 * @param {'server'|'client'} role
 */
async function openWithBacklog(t, role) {
  const { ws, peer } = await OPEN[role](t);
  peer.pause();
  const log = [];
  /** A callback that notes its result. What is cancelled (since Node 22.9) was on its way, as what is done. */
  const note = (name) => (error) => {
    const isDone = error == null || error.code === 'ECANCELED';
    log.push(isDone ? name : `${name}: ${error.code}`);
  };
  const { _socket: socket } = ws;
  ws.on('error', () => {});
  for (const event of ['error', 'finish', 'drain', 'close']) {
    socket.on(event, (error) => log.push(error?.code ? `${event}: ${error.code}` : `'${event}'`));
  }
  ws.send(Buffer.alloc(LARGE), note('large'));
  await turns();
  assert.ok(ws.bufferedAmount > 0);
  return { ws, peer, socket, log, note };
}

/** What is noted of what is lost: the error with which Node cancels what is on its way is also that of the rest. */
async function lostCode(t) {
  return (await isCancelledByNode(t)) ? '' : ': ERR_STREAM_DESTROYED';
}

/** How many bytes a peer gets until its connection ends. */
async function countRest(peer) {
  let count = 0;
  peer.on('data', (chunk) => (count += chunk.length));
  peer.resume();
  await Promise.race([once(peer, 'end'), once(peer, 'close')]);
  return count;
}

describe('a backlog behind which the socket was ended', () => {
  for (const role of ['server', 'client']) {
    it(`arrives, although the peer of a ${role} has ended before`, async (t) => {
      const { ws, peer, socket, log, note } = await openWithBacklog(t, role);
      ws.send('last', note('last'));
      socket.end();
      await turns();
      peer.end();
      await turns(50);
      const closed = closeOf(ws);
      const count = await countRest(peer);
      await closed;

      assert.ok(count > LARGE + 4, `${count}`);
      assert.deepStrictEqual(log, ['large', 'last', "'finish'", "'close'"]);
    });

    it(`arrives, although somebody listens to the bytes of a ${role}`, async (t) => {
      const { ws, peer, socket, log, note } = await openWithBacklog(t, role);
      ws.send('last', note('last'));
      socket.end(note('end'));
      socket.on('data', () => {});
      const count = await countRest(peer);
      peer.end();
      await once(socket, 'close');

      assert.ok(count > LARGE + 4, `${count}`);
      assert.deepStrictEqual(log, ['large', 'last', 'end', "'finish'", "'close'"]);
    });
  }

  it('needs no drain, for nothing can be sent behind it', async (t) => {
    const { ws, socket } = await openWithBacklog(t, 'server');
    const before = ws.bufferedAmount;
    socket.end();
    assert.strictEqual(socket.writableNeedDrain, false);
    assert.strictEqual(socket.writableLength, before);
    assert.strictEqual(ws.bufferedAmount, before);
  });

  it('is lost with the error of the destroyed socket, and who has ended it is told last', async (t) => {
    const { ws, socket, log, note } = await openWithBacklog(t, 'server');
    ws.send('last', note('last'));
    socket.end(note('end'));
    await turns();
    ws.terminate();
    await closeOf(ws);

    const code = await lostCode(t);
    assert.deepStrictEqual(log, ['large', `last${code}`, `end${code}`, "'close'"]);
  });
});

describe('a backlog whose socket is destroyed', () => {
  it('is lost but for what was on its way, also if nobody waits for that', async (t) => {
    const { ws, peer } = await OPEN.server(t);
    peer.pause();
    const results = [];
    ws.send(Buffer.alloc(LARGE));
    for (let i = 0; i < 2; i++) ws.send('more', (error) => results.push(error?.code));
    await turns();
    ws.terminate();
    await closeOf(ws);

    const code = (await isCancelledByNode(t)) ? 'ECANCELED' : 'ERR_STREAM_DESTROYED';
    assert.deepStrictEqual(results, Array(2).fill(code));
  });

  it('is lost message by message, also if somebody listens to the bytes', async (t) => {
    const { ws, socket, log, note } = await openWithBacklog(t, 'server');
    for (const name of ['first', 'second']) {
      ws.send(name, note(name));
      await turns();
    }
    socket.on('data', () => {});
    await turns();
    ws.terminate();
    await closeOf(ws);

    const code = await lostCode(t);
    assert.deepStrictEqual(log, ['large', `first${code}`, `second${code}`, "'close'"]);
  });

  it('counts as written as far as it was on its way', async (t) => {
    const { ws, socket } = await openWithBacklog(t, 'server');
    ws.terminate();
    assert.ok(socket.bytesWritten > LARGE, `${socket.bytesWritten}`);
  });
});

it('a backlog that is taken is told to who waits for room first, then to who waits for it', async (t) => {
  const { ws, peer, log } = await openWithBacklog(t, 'server');
  peer.resume();
  while (log.length < 2) await turn();

  assert.deepStrictEqual(log, ["'drain'", 'large']);
  assert.strictEqual(ws.bufferedAmount, 0);
});

it('what waits for a paused connection is written while the loop does not wait', async (t) => {
  const { ws, peer } = await OPEN.server(t);
  ws.pause();
  peer.pause();
  // More than is read ahead.
  peer.write(Buffer.alloc(100_000, 0x82));
  await turns(500);
  ws.send(Buffer.alloc(LARGE));
  await turns();
  peer.resume();
  while (ws.bufferedAmount > 0) await turn();
  assert.strictEqual(ws.readyState, WebSocket.OPEN);
});

describe('what waits, and is written while this thread is busy', () => {
  const STEPS = {
    'what is sent then': () => {},
    'what is sent then, although its socket is corked': (socket) => {
      socket.cork();
      setImmediate(() => socket.uncork());
    }
  };

  for (const [name, step] of Object.entries(STEPS)) {
    it(`is told before ${name}`, async (t) => {
      const wss = await openServer(t);
      const { isPaused, letGo } = startPausedClient(t, urlOf(wss));
      const [ws] = await once(wss, 'connection');
      const log = [];
      ws.send(Buffer.alloc(LARGE), () => log.push('large'));
      await isPaused;
      // The loop waits, so that I/O threads write, if there are any.
      await new Promise((resolve) => setTimeout(resolve, 20));
      letGo(500);
      ws.send('small', () => log.push('small'));
      step(ws._socket);
      while (log.length < 2) await turn();
      assert.deepStrictEqual(log, ['large', 'small']);
    });
  }
});
