'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const { openServer } = require('./support/pair.js');
const { connectRaw } = require('./support/raw-peer.js');

const NAME = 'permessage-deflate';

/** Has a client offer something; returns the answer and what the server's connection has agreed on. */
async function negotiate(t, wss, offers) {
  const headers = { 'Sec-WebSocket-Extensions': offers };
  const [[ws], { response }] = await Promise.all([
    once(wss, 'connection'),
    connectRaw(t, wss, { headers })
  ]);
  const [, answer] = /Sec-WebSocket-Extensions: (.*)\r\n/.exec(response) ?? [];
  return { answer, deflate: ws._extensions?.[NAME], params: ws._extensions?.[NAME]?.params };
}

describe('what is agreed on with clients that offer the same', () => {
  it('is the same, but each connection has it for itself', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    const offers = `${NAME}; client_max_window_bits=12; server_no_context_takeover`;

    const first = await negotiate(t, wss, offers);
    first.params.client_max_window_bits = 9;
    first.params.mine = true;
    const second = await negotiate(t, wss, offers);
    delete second.params.server_no_context_takeover;
    const third = await negotiate(t, wss, offers);

    for (const { answer } of [first, second, third]) {
      assert.strictEqual(answer, first.answer);
    }
    assert.deepStrictEqual(
      { ...third.params },
      { client_max_window_bits: 12, server_no_context_takeover: true }
    );
    assert.strictEqual(Object.getPrototypeOf(third.params), Object.getPrototypeOf(first.params));
    assert.notStrictEqual(second.deflate, third.deflate);
  });

  it("follows the server's options when these are changed in between", async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    const options = wss.options.perMessageDeflate;

    assert.strictEqual((await negotiate(t, wss, NAME)).answer, NAME);
    options.serverNoContextTakeover = true;
    assert.strictEqual(
      (await negotiate(t, wss, NAME)).answer,
      `${NAME}; server_no_context_takeover`
    );
    delete options.serverNoContextTakeover;
    assert.strictEqual((await negotiate(t, wss, NAME)).answer, NAME);
    wss.options.perMessageDeflate = { serverMaxWindowBits: 10 };
    assert.strictEqual(
      (await negotiate(t, wss, NAME)).answer,
      `${NAME}; server_max_window_bits=10`
    );
    wss.options.maxPayload = 1000;
    assert.strictEqual((await negotiate(t, wss, NAME)).deflate._maxPayload, 1000);
    wss.options.perMessageDeflate = false;
    assert.strictEqual((await negotiate(t, wss, NAME)).answer, undefined);
  });

  it('is not what another offer leads to', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    const plain = await negotiate(t, wss, NAME);
    const small = await negotiate(t, wss, `${NAME}; server_max_window_bits=9`);
    const none = await negotiate(t, wss, 'x-other');
    const again = await negotiate(t, wss, NAME);

    assert.deepStrictEqual(
      [plain, small, none, again].map(({ answer }) => answer),
      [NAME, `${NAME}; server_max_window_bits=9`, undefined, NAME]
    );
  });

  it('is asked for anew where somebody has put another method in place', async (t) => {
    const wss = await openServer(t, { perMessageDeflate: true });
    const { deflate } = await negotiate(t, wss, NAME);
    const Class = deflate.constructor;
    const { accept } = Class.prototype;
    t.after(() => {
      Class.prototype.accept = accept;
    });
    Class.prototype.accept = function (...args) {
      accept.apply(this, args);
      this.params.server_no_context_takeover = true;
      return this.params;
    };

    const changed = `${NAME}; server_no_context_takeover`;
    assert.strictEqual((await negotiate(t, wss, NAME)).answer, changed);
    assert.strictEqual((await negotiate(t, wss, NAME)).answer, changed);
    Class.prototype.accept = accept;
    assert.strictEqual((await negotiate(t, wss, NAME)).answer, NAME);
  });

  it('is told as it stands when the answer is written', async (t) => {
    const wss = await openServer(t, {
      perMessageDeflate: true,
      // Whoever decides on a request late may have changed what was agreed on.
      verifyClient: (info, decide) => setImmediate(decide, true)
    });
    const { completeUpgrade } = wss;
    let limit = false;
    wss.completeUpgrade = function (extensions, ...rest) {
      if (limit) extensions[NAME].params.server_max_window_bits = 11;
      return completeUpgrade.call(this, extensions, ...rest);
    };

    assert.strictEqual((await negotiate(t, wss, NAME)).answer, NAME);
    limit = true;
    assert.strictEqual(
      (await negotiate(t, wss, NAME)).answer,
      `${NAME}; server_max_window_bits=11`
    );
  });
});
