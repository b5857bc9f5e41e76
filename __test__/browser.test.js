'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const { after, before, describe, it } = require('node:test');

const { WebSocketServer } = require('./support/package.js');
const { findChromium, launchChromium } = require('./support/chromium.js');
const { closeOf, openHttpServer, urlOf } = require('./support/pair.js');

const executable = findChromium();
const skip = executable
  ? false
  : 'no Chromium was found in PATH; install one, or name it in CHROMIUM_PATH';

describe('A page in Chromium', { skip }, () => {
  let browser;

  before(async () => {
    browser = await launchChromium(executable);
  });

  after(() => browser?.close());

  /**
   * A page served beside a WebSocket server, with an open connection between the two. On the server it
   * is the result. In the page it is `socket`, with `nextMessage()` and `ending`.
   *
   * @param {import('node:test').TestContext} t
   * @param {object} [options] of the server
   * @param {string[]} [protocols]
   */
  async function openPage(t, options, protocols = []) {
    const server = await openHttpServer(
      t,
      http.createServer((_request, response) => {
        response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>test</title>');
      })
    );
    const wss = new WebSocketServer({ server, ...options });
    const page = await browser.newPage();
    t.after(() => page.close());
    await page.goto(urlOf(server).replace('ws', 'http'));

    const connected = once(wss, 'connection');
    await page.evaluate(openInPage, [urlOf(server), protocols]);
    const [peer] = await connected;
    t.after(() => peer.terminate());

    return { page, peer, server, wss };
  }

  /** Runs in the page. */
  function openInPage([url, protocols]) {
    const socket = new WebSocket(url, protocols);
    const next = (event) => new Promise((resolve) => (socket[`on${event}`] = resolve));

    globalThis.socket = socket;
    globalThis.nextMessage = async () => (await next('message')).data;
    globalThis.ending = next('close').then(({ code, reason, wasClean }) => ({
      code,
      reason,
      wasClean
    }));
    return next('open');
  }

  /** Sends back whatever comes. */
  function echo(peer) {
    peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary }));
  }

  it('exchanges text, also beyond ASCII', async (t) => {
    const { page, peer } = await openPage(t);
    echo(peer);

    const answers = await page.evaluate(async () => {
      const received = [];
      for (const text of ['', 'plain', 'Grüße, 世界 🐂', 'x'.repeat(70_000)]) {
        globalThis.socket.send(text);
        const data = await globalThis.nextMessage();
        received.push(data === text);
      }
      return received;
    });

    assert.deepStrictEqual(answers, [true, true, true, true]);
  });

  it('exchanges binary data in every form the page can send', async (t) => {
    const { page, peer } = await openPage(t);
    const received = [];
    peer.on('message', (data, isBinary) => {
      received.push([[...data], isBinary]);
      peer.send(data);
    });

    const answers = await page.evaluate(async () => {
      const bytes = Uint8Array.from([0, 1, 127, 128, 255]);
      const answered = [];
      globalThis.socket.binaryType = 'arraybuffer';
      for (const form of [
        bytes,
        bytes.buffer,
        new DataView(bytes.buffer, 1, 2),
        new Blob([bytes])
      ]) {
        globalThis.socket.send(form);
        const data = await globalThis.nextMessage();
        answered.push([...new Uint8Array(data)]);
      }
      return answered;
    });

    const whole = [0, 1, 127, 128, 255];
    assert.deepStrictEqual(answers, [whole, whole, [1, 127], whole]);
    assert.deepStrictEqual(
      received,
      answers.map((bytes) => [bytes, true])
    );
  });

  it('gets a Blob for binary data, and for a Blob that the server sends', async (t) => {
    const { page, peer } = await openPage(t);
    peer.once('message', () => peer.send(new Blob(['from ', 'the server'])));

    const received = await page.evaluate(async () => {
      globalThis.socket.send('a Blob, please');
      const data = await globalThis.nextMessage();
      return [data instanceof Blob, data.size, await data.text()];
    });

    assert.deepStrictEqual(received, [true, 15, 'from the server']);
  });

  it('takes turns with large messages, which the browser sends in fragments', async (t) => {
    const { page, peer } = await openPage(t, { maxPayload: 16 * 1024 * 1024 });
    echo(peer);

    const same = await page.evaluate(async () => {
      const bytes = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31) >> 3);
      globalThis.socket.binaryType = 'arraybuffer';
      globalThis.socket.send(bytes);
      const data = await globalThis.nextMessage();
      const answer = new Uint8Array(data);
      return answer.length === bytes.length && answer.every((byte, i) => byte === bytes[i]);
    });

    assert.strictEqual(same, true);
  });

  for (const [name, perMessageDeflate, answer] of [
    ['with defaults', { threshold: 0 }, 'permessage-deflate'],
    [
      'without context takeover',
      { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover'
    ],
    [
      'with small windows',
      { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
      'permessage-deflate; client_max_window_bits=9; server_max_window_bits=9'
    ]
  ]) {
    it(`negotiates compression ${name}, and both sides understand each other`, async (t) => {
      const { page, peer } = await openPage(t, { perMessageDeflate });
      const { bytesRead, bytesWritten } = peer._socket;
      echo(peer);

      const { extensions, same } = await page.evaluate(async () => {
        const results = [];
        for (let round = 0; round < 5; round++) {
          const text = `round ${round}, `.repeat(4000);
          globalThis.socket.send(text);
          const data = await globalThis.nextMessage();
          results.push(data === text);
        }
        return { extensions: globalThis.socket.extensions, same: results };
      });

      assert.strictEqual(extensions, answer);
      assert.strictEqual(peer.extensions, 'permessage-deflate');
      assert.deepStrictEqual(same, [true, true, true, true, true]);
      const read = peer._socket.bytesRead - bytesRead;
      const written = peer._socket.bytesWritten - bytesWritten;
      assert.ok(read < 10_000, `what the page sent was compressed, to ${read} bytes`);
      assert.ok(written < 10_000, `what the server sent was compressed, to ${written} bytes`);
    });
  }

  it('learns which subprotocol was chosen', async (t) => {
    const handleProtocols = (protocols) => (protocols.has('second') ? 'second' : false);
    const { page, peer } = await openPage(t, { handleProtocols }, ['first', 'second']);

    assert.strictEqual(await page.evaluate(() => globalThis.socket.protocol), 'second');
    assert.strictEqual(peer.protocol, 'second');
  });

  it('answers a ping', async (t) => {
    const { peer } = await openPage(t);
    const answered = once(peer, 'pong');

    peer.ping('are you there?');

    assert.strictEqual((await answered)[0].toString(), 'are you there?');
  });

  it("sees the server's close code and reason", async (t) => {
    const { page, peer } = await openPage(t);
    const closed = closeOf(peer);

    peer.close(4002, 'the server wählte das');
    const seen = await page.evaluate(() => globalThis.ending);
    const [code] = await closed;

    const expected = { code: 4002, reason: 'the server wählte das', wasClean: true };
    assert.deepStrictEqual(seen, expected);
    assert.strictEqual(code, 4002);
  });

  it('has its close code and reason seen by the server', async (t) => {
    const { page, peer } = await openPage(t);
    const closed = closeOf(peer);

    const seen = await page.evaluate(() => {
      globalThis.socket.close(3001, 'the page wählte das');
      return globalThis.ending;
    });
    const [code, reason] = await closed;

    assert.deepStrictEqual([code, reason.toString()], [3001, 'the page wählte das']);
    assert.strictEqual(seen.code, 3001);
    assert.strictEqual(seen.wasClean, true);
  });

  it('says 1001 when it goes to another address', async (t) => {
    const { page, peer } = await openPage(t);
    const closed = closeOf(peer);

    await page.goto('about:blank');

    assert.strictEqual((await closed)[0], 1001);
  });

  it('sees 1006 when the server drops the connection', async (t) => {
    const { page, peer } = await openPage(t);

    peer.terminate();
    const { code, wasClean } = await page.evaluate(() => globalThis.ending);

    assert.deepStrictEqual([code, wasClean], [1006, false]);
  });

  it('is refused by a server that does not verify it', async (t) => {
    const { page, server, wss } = await openPage(t);
    wss.options.verifyClient = ({ origin }) => origin === 'https://elsewhere.example';

    const seen = await page.evaluate(async (url) => {
      const events = [];
      const refused = new WebSocket(url);
      refused.onopen = () => events.push('open');
      refused.onerror = () => events.push('error');
      const { code } = await new Promise((resolve) => (refused.onclose = resolve));
      return [...events, code];
    }, urlOf(server));

    assert.deepStrictEqual(seen, ['error', 1006]);
  });
});
