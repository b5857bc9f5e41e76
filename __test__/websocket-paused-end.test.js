'use strict';

/** How a connection ends that is paused: what had come before is not lost, and nobody waits for an end that has come. */

const assert = require('node:assert');
const { once } = require('node:events');
const { getDefaultHighWaterMark } = require('node:stream');
const { describe, it } = require('node:test');

const { maskedFrame, frame } = require('./support/frames.js');
const { byThread } = require('./support/internals.js');
const { openPair, openServer, startClient, turn, urlOf } = require('./support/pair.js');
const { connectRaw, openToRawPeer, serveRaw } = require('./support/raw-peer.js');
const { messageOf, startWaitingWorker } = require('./support/worker.js');

const text = (string) => maskedFrame({ opcode: 1, payload: Buffer.from(string) });

/** Notes what a connection tells, and says when it has closed. */
function watch(ws) {
  const log = [];
  ws.on('message', (data) => log.push(String(data)));
  ws.on('error', (error) => log.push(error.code));
  return { log, closed: once(ws, 'close') };
}

/** The next connection of a server, paused before anything else. */
const nextPaused = (wss) =>
  new Promise((resolve) => {
    wss.once('connection', (ws) => {
      ws.pause();
      resolve({ ws, ...watch(ws) });
    });
  });

/**
 * Gives what was sent the time to be read ahead, of which no event tells: some turns of the loop, and where a thread reads
 * also some time.
 */
async function readAhead() {
  for (let i = 0; i < 10; i++) await turn();
  if (byThread) await new Promise((resolve) => setTimeout(resolve, 100));
}

/** The ways in which a connection ends without a close frame: by the peer, or here. */
const ENDS = {
  'the peer ends': (peer) => peer.end(),
  'the peer resets it': (peer) => peer.resetAndDestroy(),
  'it is terminated': (peer, ws) => ws.terminate()
};

describe('a connection that is paused before it has got what came with its handshake', () => {
  const moments = { 'at once': (act) => act(), 'a little later': (act) => setTimeout(act, 10) };
  const ends = {
    ...ENDS,
    'it is resumed and terminated': (peer, ws) => {
      ws.resume();
      ws.terminate();
    }
  };

  for (const [how, end] of Object.entries(ends)) {
    for (const [when, plan] of Object.entries(moments)) {
      it(`gets it as a server when ${how} ${when}`, async (t) => {
        const wss = await openServer(t);
        const paused = nextPaused(wss);
        const follow = Buffer.concat([text('a'), text('b')]);
        const { socket: peer } = await connectRaw(t, wss, { follow });
        const { ws, log, closed } = await paused;
        plan(() => end(peer, ws));
        // The end of a stream is noticed when what stands before it has been read.
        if (how === 'the peer ends') setTimeout(() => ws.resume(), 30);
        await closed;
        assert.deepStrictEqual(
          log.filter((entry) => entry !== 'ECONNRESET'),
          ['a', 'b']
        );
      });
    }

    it(`gets it as a client when ${how}`, async (t) => {
      const follow = frame({ opcode: 1, payload: Buffer.from('a') });
      const { url, peer } = await serveRaw(t, { follow });
      const ws = startClient(t, url);
      const { log, closed } = watch(ws);
      ws.once('open', () => ws.pause());
      await once(ws, 'open');
      end((await peer()).socket, ws);
      if (how === 'the peer ends') setTimeout(() => ws.resume(), 30);
      await closed;
      assert.deepStrictEqual(
        log.filter((entry) => entry !== 'ECONNRESET'),
        ['a']
      );
    });
  }

  it('gets nothing that was not read, for there was enough', { skip: byThread }, async (t) => {
    // Node reads 64 KiB at once, until it has 16 KiB, or in newer versions 64.
    const most = getDefaultHighWaterMark(false) < 65536 ? 65536 : 2 * 65536;
    const message = Buffer.alloc(most + 30_000, frame({ opcode: 1, payload: Buffer.from('a') }));
    const { url, peer } = await serveRaw(t, { follow: message });
    const ws = startClient(t, url);
    let count = 0;
    ws.on('message', () => count++);
    ws.once('open', () => ws.pause());
    await once(ws, 'open');
    const { socket } = await peer();
    const error = once(socket, 'error');
    await readAhead();
    ws.terminate();
    await once(ws, 'close');
    assert.ok(count * 3 < most, `${count} messages`);
    assert.strictEqual((await error)[0].code, 'ECONNRESET');
  });

  it('does not take the second half of a frame for another frame', async (t) => {
    const wss = await openServer(t);
    const paused = nextPaused(wss);
    const bytes = text('one message that comes in two parts');
    const { socket: peer } = await connectRaw(t, wss, { follow: bytes.subarray(0, 12) });
    const { ws, log, closed } = await paused;
    peer.write(bytes.subarray(12));
    await readAhead();
    ws.terminate();
    await closed;
    assert.deepStrictEqual(log, ['one message that comes in two parts']);
  });
});

describe('a connection that is paused by the listener of a message', () => {
  const kinds = {
    'that was compressed': { perMessageDeflate: true },
    'in a turn of its own': { allowSynchronousEvents: false },
    'like any other': {}
  };

  for (const [kind, server] of Object.entries(kinds)) {
    for (const [how, end] of Object.entries(ENDS)) {
      for (const more of [[], ['second', 'third']]) {
        // Nothing of an orderly end is noticed while there is something before it.
        if (how === 'the peer ends' && more.length > 0) continue;
        it(`${kind} learns that ${how} behind ${more.length} messages`, async (t) => {
          const { client, server: ws } = await openPair(t, { server });
          const { log, closed } = watch(ws);
          client.on('error', () => {});
          ws.once('message', () => ws.pause());
          client.send('first');
          await once(ws, 'message');
          await turn();
          await Promise.all(
            more.map((message) => new Promise((sent) => client.send(message, sent)))
          );
          await readAhead();
          end(client._socket, ws);
          await closed;
          assert.deepStrictEqual(
            log.filter((entry) => entry !== 'ECONNRESET'),
            ['first', ...more]
          );
        });
      }
    }
  }
});

describe('a connection that is paused with more to come than a stream reads ahead', () => {
  it('gets that when it is resumed, although the peer has reset it meanwhile', async (t) => {
    const { server: ws, socket: peer } = await openToRawPeer(t);
    const closed = once(ws, 'close');
    const lengths = [];
    ws.on('message', (data) => {
      lengths.push(data.length);
      if (lengths.length === 1) ws.pause();
    });
    const paused = once(ws, 'message');
    const large = maskedFrame({ opcode: 2, payload: Buffer.alloc(100_000) });
    peer.write(Buffer.concat([large, text('b'), large, text('d')]));
    await paused;
    await readAhead();
    peer.resetAndDestroy();
    await once(peer, 'close');
    await readAhead();
    ws.resume();
    const [code] = await closed;
    assert.deepStrictEqual(lengths, [100_000, 1, 100_000, 1]);
    assert.strictEqual(code, 1006);
  });
});

describe('a connection that is terminated by the first message of several chunks', () => {
  const ways = {
    'in a tick': (ws) => process.nextTick(() => ws.terminate()),
    'after a short pause': (ws) => {
      ws.pause();
      ws.resume();
      ws.terminate();
    }
  };
  for (const [way, terminate] of Object.entries(ways)) {
    it(`${way}, delivers the chunk at hand and nothing behind that`, async (t) => {
      const { server: ws, socket: peer } = await openToRawPeer(t);
      peer.on('error', () => {});
      const { log, closed } = watch(ws);
      ws.once('message', () => terminate(ws));
      const first = text('first');
      // It ends where Node's first read does.
      const filling = 'x'.repeat(64 * 1024 - first.length - 8);
      peer.write(Buffer.concat([first, text(filling), text('not read')]));
      await closed;
      assert.deepStrictEqual(log, ['first', filling]);
    });
  }
});

describe('a connection that is paused and terminated by a listener of another', () => {
  it('delivers what had come before that message', async (t) => {
    const wss = await openServer(t);
    const { worker, letGo } = startWaitingWorker(
      async (WebSocketInWorker, data) => {
        const { once: happened } = require('node:events');
        const { parentPort } = require('node:worker_threads');
        const clients = [];
        for (let i = 0; i < 2; i++) {
          const client = new WebSocketInWorker(data.url);
          client.on('error', () => {});
          await happened(client, 'open');
          clients.push(client);
        }
        parentPort.postMessage('open');
        Atomics.wait(data.gate, 0, 0);
        clients[1].send('came first', () => clients[0].send('terminate'));
      },
      { url: urlOf(wss) }
    );
    t.after(() => worker.terminate());
    const servers = [];
    wss.on('connection', (ws) => servers.push(ws));
    await messageOf(worker);
    // The loop waits, so that I/O threads read, if there are any.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [killer, victim] = servers;
    killer.on('message', () => victim.terminate());
    const { log, closed } = watch(victim);

    victim.pause();
    letGo(200);
    await closed;
    assert.deepStrictEqual(log, ['came first']);
  });
});
