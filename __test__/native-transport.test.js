'use strict';

/**
 * Sockets that Rust cannot take over.
 */

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { isOxws, lib } = require('./support/internals.js');
const { openPair } = require('./support/pair.js');

const LIMIT = { timeout: 30_000 };

describe(
  'A socket whose descriptor cannot be shared, for there is none left',
  { skip: !isOxws },
  () => {
    test('is read and written by Node', LIMIT, async (t) => {
      const native = lib('native');
      const { nativeOpen } = native;
      t.after(() => (native.nativeOpen = nativeOpen));
      native.nativeOpen = () => {
        throw new Error('Too many open files (os error 24)');
      };
      const { client, server } = await openPair(t);
      server.on('message', (data) => server.send(data));
      for (const text of ['first', 'second']) {
        const message = once(client, 'message');
        client.send(text);
        assert.equal((await message)[0].toString(), text);
      }
      const closed = Promise.all([once(server, 'close'), once(client, 'close')]);
      client.terminate();
      await closed;
    });
  }
);
