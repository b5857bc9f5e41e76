'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const reference = require('ws');

const oxws = require('./support/package.js');
const { ContextDeflater, ContextInflater } = require('./support/frames.js');
const { seededRandom } = require('./support/random.js');

const BITS = [undefined, 8, 9, 11, 15];
const WORDS = 'order invoice pending shipped customer berlin account total "id": {"a":[1,2]}'.split(
  ' '
);

/** A message: text of a few words, a document that differs little from the last one, noise, runs, or nothing. */
function messages(random, count) {
  const document = Array.from({ length: 40 }, (_, id) => ({ id, name: random.pick(WORDS) }));
  const makers = [
    () => Array.from({ length: random.int(80) }, () => random.pick(WORDS)).join(' '),
    () => {
      document[random.int(40)].name = random.pick(WORDS);
      return JSON.stringify(document);
    },
    () => random.bytes(random.int(700)),
    () => Buffer.alloc(random.int(20000), random.bytes(1 + random.int(3))),
    () => Array.from({ length: random.int(6000) }, () => random.pick(WORDS)).join(),
    () => ''
  ];
  return Array.from({ length: count }, () => {
    const message = random.pick(makers)();
    return { data: Buffer.from(message), isBinary: typeof message !== 'string' };
  });
}

/** What arrives, until there are so many messages. */
function received(ws, count) {
  return new Promise((resolve, reject) => {
    const all = [];
    ws.on('message', (data, isBinary) => {
      all.push({ data, isBinary });
      if (all.length === count) resolve(all);
    });
    ws.on('error', reject);
    ws.on('close', (code) => reject(new Error(`closed with ${code} after ${all.length}`)));
  });
}

/** Sends messages, in one piece or several, some of them after a pause. */
async function sendAll(ws, random, list) {
  for (const { data, isBinary } of list) {
    if (data.length > 10 && random.int(5) === 0) {
      const cut = random.int(data.length);
      ws.send(data.subarray(0, cut), { binary: isBinary, fin: false });
      ws.send(data.subarray(cut), { binary: isBinary, fin: true });
    } else {
      ws.send(data, { binary: isBinary, compress: random.int(10) > 0 });
    }
    if (random.int(3) === 0) await new Promise(setImmediate);
  }
}

/** Opens a connection between two implementations, and has both sides say something. */
async function converse(random, { server, client, serverOptions, clientOptions }) {
  const wss = new server.WebSocketServer({
    host: '127.0.0.1',
    port: 0,
    perMessageDeflate: { threshold: 0, ...serverOptions }
  });
  await once(wss, 'listening');
  const ours = new client.WebSocket(`ws://127.0.0.1:${wss.address().port}`, {
    perMessageDeflate: { threshold: 0, ...clientOptions }
  });
  try {
    const opened = once(ours, 'open');
    const [theirs] = await once(wss, 'connection');
    const lists = [messages(random, 12), messages(random, 12)];
    const arriving = [received(theirs, 12), received(ours, 12)];
    await opened;
    assert.equal(ours.extensions, 'permessage-deflate');
    await Promise.all([sendAll(ours, random, lists[0]), sendAll(theirs, random, lists[1])]);
    assert.deepEqual(await Promise.all(arriving), lists);
  } finally {
    for (const ws of wss.clients) ws.terminate();
    ours.terminate();
    wss.close();
  }
}

const isWindow = (bits) => bits !== undefined;

describe('permessage-deflate with ws', () => {
  for (const [role, server, client] of [
    ['server', oxws, reference],
    ['client', reference, oxws]
  ]) {
    for (const serverNoContextTakeover of [undefined, true]) {
      for (const clientNoContextTakeover of [undefined, true]) {
        const takeover = [
          serverNoContextTakeover ? 'without' : 'with',
          clientNoContextTakeover ? 'without' : 'with'
        ];
        const title =
          `understands each other as a ${role}, every window, ` +
          `server ${takeover[0]} and client ${takeover[1]} takeover`;
        test(title, async (t) => {
          const random = seededRandom(t);
          for (const serverMaxWindowBits of BITS) {
            for (const clientMaxWindowBits of BITS) {
              const options = {
                serverNoContextTakeover,
                clientNoContextTakeover,
                ...(isWindow(serverMaxWindowBits) && { serverMaxWindowBits }),
                ...(isWindow(clientMaxWindowBits) && { clientMaxWindowBits })
              };
              try {
                await converse(random, {
                  server,
                  client,
                  serverOptions: options,
                  clientOptions: options
                });
              } catch (error) {
                error.message += ` (windows ${serverMaxWindowBits}, ${clientMaxWindowBits})`;
                throw error;
              }
            }
          }
        });
      }
    }
  }
});

describe('permessage-deflate with node:zlib', () => {
  /** One side, which compresses in this way and decompresses in the other. */
  function negotiated(isServer, parameters, zlibDeflateOptions) {
    const deflate = new oxws.PerMessageDeflate({
      isServer,
      clientMaxWindowBits: true,
      zlibDeflateOptions
    });
    deflate.accept([parameters]);
    return deflate;
  }

  const call = (deflate, method, data) =>
    new Promise((resolve, reject) => {
      deflate[method](data, true, (error, result) => (error ? reject(error) : resolve(result)));
    });

  for (const isServer of [true, false]) {
    for (const noTakeover of [false, true]) {
      const title =
        `${isServer ? 'server' : 'client'} ${noTakeover ? 'without' : 'with'} takeover: ` +
        `each understands the other, in every window`;
      test(title, async (t) => {
        const random = seededRandom(t);
        for (let windowBits = 8; windowBits <= 15; windowBits++) {
          const parameters = {
            server_max_window_bits: [String(windowBits)],
            client_max_window_bits: [String(windowBits)],
            ...(noTakeover && {
              server_no_context_takeover: [true],
              client_no_context_takeover: [true]
            })
          };
          const level = random.pick([undefined, undefined, 1, 6, 9]);
          const deflate = negotiated(isServer, parameters, { level });
          const inOneContext = [
            new ContextInflater({ windowBits }),
            new ContextDeflater({
              windowBits,
              level: random.int(10),
              strategy: random.int(5),
              memLevel: 1 + random.int(9)
            })
          ];
          for (const { data } of messages(random, 12)) {
            const [inflater, deflater] = noTakeover
              ? [new ContextInflater({ windowBits }), new ContextDeflater({ windowBits })]
              : inOneContext;
            const payload = await call(deflate, 'compress', data);
            assert.deepEqual(await inflater.message(payload), data, `${windowBits} bits`);
            const theirs = await deflater.message(data);
            assert.deepEqual(await call(deflate, 'decompress', theirs), data);
          }
          deflate.cleanup();
        }
      });
    }
  }
});
