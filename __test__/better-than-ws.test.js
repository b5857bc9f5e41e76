'use strict';

/** Where this package is better than ws, on purpose. */

const assert = require('node:assert');
const { describe, it } = require('node:test');
const vm = require('node:vm');

const { runInChild } = require('./support/child.js');
const frames = require('./support/frames.js');
const { isOxws } = require('./support/internals.js');
const { closeOf, openPair } = require('./support/pair.js');

const skip = !isOxws && 'the package under test is ws';

describe('a message listener that throws', { skip }, () => {
  /** A server whose clients send three messages in one chunk; its listener throws at the first. */
  function main(WebSocket) {
    const perMessageDeflate = process.env.COMPRESSED === 'yes' && { threshold: 0 };
    const log = [];
    process.on('uncaughtException', (error) => log.push(error.message));
    const wss = new WebSocket.Server({ port: 0, perMessageDeflate }, () => {
      const ws = new WebSocket(`ws://localhost:${wss.address().port}`, { perMessageDeflate });
      ws.on('open', () => {
        ws._socket.cork();
        for (const text of ['first', 'second', 'third']) ws.send(text);
        ws._socket.uncork();
        ws.on('close', (code) => {
          console.log([...log, code].join());
          wss.close();
        });
      });
    });
    wss.on('connection', (ws) => {
      ws.on('message', (data) => {
        log.push(`${data}`);
        if (String(data) === 'first') throw new Error('thrown');
        if (String(data) === 'third') ws.close(1000);
      });
    });
  }

  for (const COMPRESSED of ['no', 'yes']) {
    it(`makes an uncaught exception, and the next message is delivered all the same; compressed: ${COMPRESSED}`, async (t) => {
      const { stdout, stderr } = await runInChild(t, main, { env: { COMPRESSED } });
      assert.strictEqual(stdout, 'first,thrown,second,third,1000\n', stderr);
    });
  }
});

describe('a message listener that throws when chunks have waited for one before', { skip }, () => {
  /** The first message is compressed and takes time, meanwhile the others arrive, each in a chunk of its own. */
  function main({ Receiver, PerMessageDeflate }) {
    const log = [];
    process.on('uncaughtException', (error) => log.push(error.message));
    const extension = new PerMessageDeflate();
    extension.accept([{}]);
    const receiver = new Receiver({ extensions: { 'permessage-deflate': extension } });
    receiver.on('message', (data) => {
      log.push(`${data}`);
      if (String(data) === 'b') throw new Error('thrown');
    });
    receiver.on('finish', () => console.log([...log, 'finish'].join()));
    receiver.write(Buffer.from([0xc1, 7, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]));
    for (const text of ['a', 'b', 'c', 'd'])
      receiver.write(Buffer.from(`\x81\x01${text}`, 'latin1'));
    receiver.end();
  }

  it('makes an uncaught exception, and all of them are delivered', async (t) => {
    const { stdout, stderr } = await runInChild(t, main);
    assert.strictEqual(stdout, 'Hello,a,b,thrown,c,d,finish\n', stderr);
  });
});

describe('what follows a refused payload on a connection', { skip }, () => {
  const masked = { mask: true };
  const refused = {
    'a close code': [[frames.close(1004, '', masked)], 'WS_ERR_INVALID_CLOSE_CODE'],
    'text that is no UTF-8': [
      [frames.text(Buffer.from([0xff, 0xff]), masked)],
      'WS_ERR_INVALID_UTF8'
    ],
    'a fragment too many': [
      [
        frames.text('a', { mask: true, fin: false }),
        frames.continuation('bc', { mask: true, fin: false })
      ],
      'WS_ERR_TOO_MANY_BUFFERED_PARTS'
    ]
  };

  // As a peer has it: its chunks pile up behind a message that is being inflated.
  for (const [what, [chunks, code]] of Object.entries(refused)) {
    it(`throws nothing, although its key is gone: ${what}`, async (t) => {
      const { server } = await openPair(t, {
        client: { perMessageDeflate: true },
        server: { perMessageDeflate: true, maxFragments: 1 }
      });
      const socket = server._socket;
      const seen = [];
      server.on('message', (data) => seen.push(data.length));
      server.on('error', (error) => seen.push(error.code));

      socket.emit(
        'data',
        frames.text(frames.deflate('x'.repeat(100_000)), { ...masked, rsv1: true })
      );
      for (const chunk of chunks) socket.emit('data', chunk);
      socket.emit('data', Buffer.from('what comes instead of it'));
      await closeOf(server);
      assert.deepStrictEqual(seen, [100_000, code]);
    });
  }
});

describe('masking', { skip }, () => {
  it('changes no memory of the sender, not even what ws masks in place', async (t) => {
    const { client } = await openPair(t);
    const values = [new SharedArrayBuffer(64), vm.runInNewContext('new ArrayBuffer(64)')];

    for (const value of values) {
      await new Promise((resolve) => client.send(value, resolve));
      assert.deepStrictEqual(Buffer.from(value), Buffer.alloc(64));
    }
  });
});
