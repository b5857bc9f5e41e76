'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { PerMessageDeflate } = require('./support/package');

function negotiated(isServer) {
  const deflate = new PerMessageDeflate({ isServer });
  deflate.accept([{}]);
  return deflate;
}

function run(deflate, method, data) {
  return new Promise((resolve, reject) => {
    deflate[method](data, true, (error, result) => (error ? reject(error) : resolve(result)));
  });
}

describe('Contexts of more connections than keep their zlib states', () => {
  test('go on where they were, message after message', async () => {
    const pairs = Array.from({ length: 100 }, () => [negotiated(true), negotiated(false)]);
    const messages = Array.from(
      { length: 6 },
      (_, i) => `{"user":"somebody","text":"message ${i}"}`
    );
    for (const [i, message] of messages.entries()) {
      for (const [server, client] of pairs) {
        const compressed = await run(server, 'compress', message);
        if (i > 0) assert.ok(compressed.length < message.length / 2, 'the context is used');
        assert.equal((await run(client, 'decompress', compressed)).toString(), message);
      }
    }
    for (const pair of pairs) for (const deflate of pair) deflate.cleanup();
  });
});
