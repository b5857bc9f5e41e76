'use strict';

const assert = require('node:assert');
const { createHash, randomBytes } = require('node:crypto');
const { once } = require('node:events');
const { PassThrough, Readable, Transform } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { describe, it } = require('node:test');
const zlib = require('node:zlib');

const { createWebSocketStream } = require('./support/package.js');
const { openPair, openServer, startClient, urlOf } = require('./support/pair.js');

const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex');

describe('A stream over a WebSocket', () => {
  it('can be piped like any other, here as a terminal that talks to an echo server', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (socket) => {
      const stream = createWebSocketStream(socket);
      stream.pipe(stream);
    });
    const stdin = new PassThrough();
    const stdout = new PassThrough({ encoding: 'utf8' });
    const stream = createWebSocketStream(startClient(t, urlOf(wss)), { encoding: 'utf8' });
    t.after(() => stream.destroy());

    stream.pipe(stdout);
    stdin.pipe(stream);
    stdin.write('first line\n');
    assert.strictEqual((await once(stdout, 'data'))[0], 'first line\n');
    stdin.write('second line\n');
    assert.strictEqual((await once(stdout, 'data'))[0], 'second line\n');
  });

  it('carries an upload whole, through back pressure, and ends it with a closing handshake', async (t) => {
    const { client, server } = await openPair(t);
    const file = randomBytes(3 * 1024 * 1024);
    const chunks = function* () {
      for (let at = 0; at < file.length; at += 50_000) yield file.subarray(at, at + 50_000);
    };
    const closed = once(client, 'close');

    const uploaded = pipeline(
      Readable.from(chunks()),
      createWebSocketStream(client, { readableHighWaterMark: 1024, writableHighWaterMark: 1024 })
    );
    const received = await createWebSocketStream(server).toArray();
    server.close();
    await uploaded;
    const [code] = await closed;

    assert.strictEqual(hashOf(Buffer.concat(received)), hashOf(file));
    assert.strictEqual(code, 1005);
  });

  it('fits between other streams', async (t) => {
    const { client, server } = await openPair(t);
    const text = 'as one says it, '.repeat(10_000);
    const shout = new Transform({
      transform(chunk, _encoding, callback) {
        callback(null, chunk.toString().toUpperCase());
      }
    });
    const received = createWebSocketStream(server).pipe(zlib.createGunzip()).pipe(shout).toArray();

    createWebSocketStream(client).end(zlib.gzipSync(text));

    assert.strictEqual(Buffer.concat(await received).toString(), text.toUpperCase());
  });
});
