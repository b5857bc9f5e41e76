'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');
const zlib = require('node:zlib');

const WebSocket = require('./support/package.js');
const { OPCODE, maskedFrame } = require('./support/frames.js');
const {
  closeOf,
  collect,
  failureOf,
  openPair,
  openServer,
  startClient,
  turn,
  urlOf
} = require('./support/pair.js');
const { connectRaw, serveRaw } = require('./support/raw-peer.js');

const PMD = 'permessage-deflate';
const offer = (parameters = '') => ({ 'Sec-WebSocket-Extensions': `${PMD}${parameters}` });
const repetitive = Buffer.alloc(5000, 'repetitive ');

/** The payload of a compressed message (RFC 7692, section 7.2.1). */
const deflate = (data) =>
  zlib.deflateRawSync(data, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);

/** What a compressed payload stands for. */
const inflate = (data) =>
  zlib.inflateRawSync(Buffer.concat([data, Buffer.from([0, 0, 0xff, 0xff])]), {
    finishFlush: zlib.constants.Z_SYNC_FLUSH
  });

/**
 * A server's end of a connection that compresses, and its bare peer.
 *
 * @param {import('node:test').TestContext} t
 * @param {object | boolean} [perMessageDeflate]
 * @param {string} [parameters] of the peer's offer
 */
async function openToRawPeer(t, perMessageDeflate = true, parameters = '') {
  const wss = await openServer(t, { perMessageDeflate });
  const [[server], peer] = await Promise.all([
    once(wss, 'connection'),
    connectRaw(t, wss, { headers: offer(parameters) })
  ]);
  return { server, ...peer };
}

describe('permessage-deflate', () => {
  it('has the options the server had when the connection was opened', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: { threshold: 10 } });
    const extensions = [];
    for (const threshold of [10, 10, 2000, 10]) {
      wss.options.perMessageDeflate.threshold = threshold;
      const [[server]] = await Promise.all([
        once(wss, 'connection'),
        connectRaw(t, wss, { headers: offer() })
      ]);
      extensions.push(server._extensions[PMD]);
    }
    assert.deepStrictEqual(
      extensions.map((perMessageDeflate) => perMessageDeflate._threshold),
      [10, 10, 2000, 10]
    );
    assert.deepStrictEqual(
      extensions.map((perMessageDeflate) => perMessageDeflate._options.threshold),
      [10, 10, 2000, 10]
    );
  });

  it('is used only if the server wants it', async (t) => {
    for (const [perMessageDeflate, answer] of [
      [undefined, /^((?!Extensions).)*$/s],
      [false, /^((?!Extensions).)*$/s],
      [true, /^Sec-WebSocket-Extensions: permessage-deflate\r$/m],
      [{}, /^Sec-WebSocket-Extensions: permessage-deflate\r$/m]
    ]) {
      const wss = await openServer(t, { perMessageDeflate });
      const { response } = await connectRaw(t, wss, { headers: offer() });
      assert.match(response, answer);
    }
  });

  it('is agreed with the parameters of the server', async (t) => {
    const { server, response } = await openToRawPeer(
      t,
      { serverNoContextTakeover: true, serverMaxWindowBits: 10, clientMaxWindowBits: 11 },
      '; client_max_window_bits'
    );

    assert.match(
      response,
      /Extensions: permessage-deflate; client_max_window_bits=11; server_no_context_takeover; server_max_window_bits=10\r/
    );
    assert.strictEqual(server.extensions, PMD);
  });

  it('takes the second of two offers if it does not like the first', async (t) => {
    const { response } = await openToRawPeer(
      t,
      { clientMaxWindowBits: 12 },
      `; client_max_window_bits=10, ${PMD}; client_max_window_bits=12`
    );
    assert.match(response, /Extensions: permessage-deflate; client_max_window_bits=12\r/);
  });

  it('loses nothing that comes while it inflates', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const received = collect(server, 'message', 5);
    const deflater = server._extensions[PMD];
    const { decompress } = deflater;
    let goOn;
    deflater.decompress = (data, fin, callback) => {
      decompress.call(deflater, data, fin, (...result) => {
        goOn = () => callback(...result);
      });
    };

    let sent = server._socket.bytesRead;
    for (const chunk of [
      [{ rsv1: true, payload: deflate('inflated') }],
      ...['a', 'b', 'c', 'd'].map((name) => [
        { payload: `${name} has `, fin: false },
        { opcode: OPCODE.CONTINUATION, payload: 'parts' }
      ])
    ]) {
      const bytes = Buffer.concat(chunk.map(maskedFrame));
      socket.write(bytes);
      sent += bytes.length;
      while (server._socket.bytesRead < sent) await turn();
    }
    while (goOn === undefined) await turn();
    goOn();

    assert.deepStrictEqual(
      (await received).map(([data]) => String(data)),
      ['inflated', 'a has parts', 'b has parts', 'c has parts', 'd has parts']
    );
  });

  it('carries messages both ways, compressed on the wire', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });

    for (const sent of [repetitive, repetitive.toString(), Buffer.alloc(0), '', 'x']) {
      for (const [from, to] of [
        [client, server],
        [server, client]
      ]) {
        const before = to._socket.bytesRead;
        from.send(sent);
        const [data, isBinary] = await once(to, 'message');

        assert.ok(data.equals(Buffer.from(sent)));
        assert.strictEqual(isBinary, typeof sent !== 'string');
        if (sent.length > 1000) assert.ok(to._socket.bytesRead - before < sent.length / 10);
      }
    }
  });

  it('takes any value for whether a fragment is the last', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const message = once(server, 'message');
    for (const fin of [undefined, null, 0, '', 'the last']) {
      client.send(repetitive.toString('latin1'), { fin });
    }
    assert.strictEqual((await message)[0].length, 5 * repetitive.length);
  });

  it('marks compressed messages with RSV1 in their first frame only', async (t) => {
    const { server, frames } = await openToRawPeer(t);
    server.send(repetitive.subarray(0, 2000), { fin: false });
    server.send(repetitive.subarray(2000));
    server.send('plain', { compress: false });
    const [first, second, plain] = await frames.take(3);

    assert.deepStrictEqual(
      [first, second, plain].map(({ rsv1, fin, opcode }) => [rsv1, fin, opcode]),
      [
        [true, false, OPCODE.BINARY],
        [false, true, OPCODE.CONTINUATION],
        [false, true, OPCODE.TEXT]
      ]
    );
    assert.ok(inflate(Buffer.concat([first.payload, second.payload])).equals(repetitive));
    assert.strictEqual(plain.payload.toString(), 'plain');
  });

  it('understands what another implementation compresses, in one frame or several', async (t) => {
    const { server, socket } = await openToRawPeer(t);
    const received = collect(server, 'message', 3);
    const payload = deflate(repetitive);
    socket.write(
      Buffer.concat([
        maskedFrame({ opcode: OPCODE.BINARY, rsv1: true, payload }),
        maskedFrame({
          opcode: OPCODE.TEXT,
          rsv1: true,
          fin: false,
          payload: payload.subarray(0, 3)
        }),
        maskedFrame({ opcode: OPCODE.CONTINUATION, payload: payload.subarray(3) }),
        maskedFrame({ payload: 'plain' })
      ])
    );

    const [binary, text, plain] = await received;
    assert.ok(binary[0].equals(repetitive) && binary[1]);
    assert.ok(text[0].equals(repetitive) && !text[1]);
    assert.strictEqual(String(plain[0]), 'plain');
  });

  it('compresses small messages too, unless their context is lost after each', async (t) => {
    const text = 'x'.repeat(100);
    for (const [options, parameters, compressed] of [
      [{}, '', [true, true]],
      [{ serverNoContextTakeover: true }, '', [false, true]],
      [{ threshold: 100 }, '; server_no_context_takeover', [true, true]],
      [{ threshold: 101 }, '; server_no_context_takeover', [false, true]]
    ]) {
      const { server, frames } = await openToRawPeer(t, options, parameters);
      server.send(text);
      server.send(repetitive);
      assert.deepStrictEqual(
        (await frames.take(2)).map(({ rsv1 }) => rsv1),
        compressed
      );
    }
  });

  it('ignores compress when it was not agreed', async (t) => {
    const wss = await openServer(t);
    wss.on('connection', (ws) => ws.send(repetitive, { compress: true }));
    const { frames } = await connectRaw(t, wss);
    const frame = await frames.next();

    assert.strictEqual(frame.rsv1, false);
    assert.ok(frame.payload.equals(repetitive));
  });

  it('keeps the order of messages, whatever is compressed, large, plain or a Blob', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const large = Buffer.alloc(500_000, 'large');
    const sent = ['first', large, new Blob(['blob']), '', large, 'last'];
    const received = collect(server, 'message', 2 * sent.length);
    for (const value of sent) {
      client.send(value);
      client.send('plain', { compress: false });
    }
    const lengths = (await received).map(([data]) => data.length);

    assert.deepStrictEqual(
      lengths.filter((_, index) => index % 2 === 0),
      [5, 500_000, 4, 0, 500_000, 4]
    );
    assert.ok(lengths.every((length, index) => index % 2 === 0 || length === 5));
  });

  it('keeps pings in order with compressed messages that were sent before', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const log = [];
    const done = new Promise((resolve) => {
      server.on('message', (data) => log.push(data.length));
      server.on('ping', (data) => resolve(log.push(String(data))));
    });
    client.send(Buffer.alloc(300_000));
    client.send('x');
    client.ping('ping');
    await done;

    assert.deepStrictEqual(log, [300_000, 1, 'ping']);
  });

  it('delivers all that was sent before close()', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const lengths = [];
    server.on('message', (data) => lengths.push(data.length));
    for (let i = 0; i < 5; i++) client.send(Buffer.alloc(200_000, String(i)));
    client.close(1000);
    const [code] = await closeOf(server);

    assert.strictEqual(code, 1000);
    assert.deepStrictEqual(lengths, Array(5).fill(200_000));
  });

  it('delivers all that was received when the peer is gone without a close frame', async (t) => {
    const { client, server } = await openPair(t, { server: { perMessageDeflate: true } });
    const lengths = [];
    client.on('message', (data) => lengths.push(data.length));
    const closed = closeOf(client);
    const large = Buffer.alloc(500_000, 'large');
    for (let i = 0; i < 10; i++) server.send(large);
    await new Promise((resolve) => server.send('last', resolve));
    server.terminate();

    assert.strictEqual((await closed)[0], 1006);
    assert.deepStrictEqual(lengths, [...Array(10).fill(500_000), 4]);
  });

  it('may be terminated while messages are compressed and inflated', async (t) => {
    for (const role of ['client', 'server']) {
      const pair = await openPair(t, { server: { perMessageDeflate: true } });
      const closed = Promise.all([closeOf(pair.client), closeOf(pair.server)]);
      const results = [];
      for (let i = 0; i < 10; i++) {
        pair.client.send(Buffer.alloc(400_000, String(i)), (error) => results.push(error));
      }
      await new Promise((resolve) => setImmediate(resolve));
      pair[role].terminate();
      await closed;

      assert.strictEqual(pair.client.readyState, WebSocket.CLOSED);
    }
  });

  it('calls every callback, with an error for what could not be sent', async (t) => {
    const { client } = await openPair(t, { server: { perMessageDeflate: true } });
    const results = [];
    const all = new Promise((resolve) => {
      for (let i = 0; i < 10; i++) {
        client.send(Buffer.alloc(400_000, String(i)), (error) => {
          if (results.push(error) === 10) resolve();
        });
      }
    });
    client.terminate();
    await all;

    assert.ok(results.at(-1) instanceof Error);
  });

  it('ends the connection with 1007 for what cannot be inflated', async (t) => {
    const { server, socket, frames } = await openToRawPeer(t);
    const failed = failureOf(server);
    socket.write(maskedFrame({ rsv1: true, payload: Buffer.from([0xff, 0xff, 0xff]) }));
    const { error, code } = await failed;

    assert.strictEqual(error.code, 'Z_DATA_ERROR');
    assert.strictEqual(code, 1006);
    assert.strictEqual((await frames.next()).payload.readUInt16BE(), 1007);
  });

  it('forbids RSV1 on control frames and on continuations', async (t) => {
    for (const frames of [
      [{ opcode: OPCODE.PING, rsv1: true }],
      [{ fin: false }, { opcode: OPCODE.CONTINUATION, rsv1: true }]
    ]) {
      const { server, socket } = await openToRawPeer(t);
      const failed = failureOf(server);
      socket.write(Buffer.concat(frames.map(maskedFrame)));
      assert.strictEqual((await failed).error.code, 'WS_ERR_UNEXPECTED_RSV_1');
    }
  });

  it('is refused by a server that is offered nonsense', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    for (const parameters of [
      '; server_max_window_bits=7',
      '; server_no_context_takeover=true',
      '; unheard_of',
      '; client_max_window_bits; client_max_window_bits'
    ]) {
      const client = startClient(t, urlOf(wss), {
        headers: offer(parameters),
        perMessageDeflate: false
      });
      assert.strictEqual(
        (await failureOf(client)).error.message,
        'Unexpected server response: 400'
      );
    }
  });

  it('of a client works with any server that answers its offer', async (t) => {
    const { url, peer } = await serveRaw(t, {
      headers: offer('; server_no_context_takeover; client_max_window_bits=9')
    });
    const client = startClient(t, url);
    const [{ frames }] = await Promise.all([peer(), once(client, 'open')]);
    client.send(repetitive);
    const frame = await frames.next();

    assert.strictEqual(frame.rsv1, true);
    assert.ok(inflate(frame.payload).equals(repetitive));
  });
});
