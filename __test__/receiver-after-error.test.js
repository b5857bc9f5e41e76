'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { describe, test } = require('node:test');

const { Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { closed } = require('./support/receiver-feed.js');

/**
 * Writes chunks that pile up behind a ping, whose event waits for a turn of its own.
 *
 * @returns {Promise<string[]>} what was emitted, and what the callback of each write was told
 */
async function pileUp(chunks, options) {
  const receiver = new Receiver({ allowSynchronousEvents: false, ...options });
  const log = [];
  receiver.on('ping', (data) => log.push(`ping ${data}`));
  receiver.on('message', (data) => log.push(`message ${data}`));
  receiver.on('conclude', (code, reason) => log.push(`conclude ${code} ${reason}`));
  receiver.on('error', (error) => log.push(`error ${error.code}`));
  receiver.write(frames.ping('first'));
  chunks.forEach((chunk, index) => {
    receiver.write(chunk, (error) => log.push(`${index} ${error ? error.code : 'done'}`));
  });
  await closed(receiver);
  // What waits for a turn when the stream is destroyed gets it, and so does what follows.
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  return log;
}

const RSV23 = Buffer.from([0xf0, 0x00]);

describe('Receiver, written to by its stream after an error', () => {
  test('tells each write of the error that it causes, and emits the first one', async () => {
    const log = await pileUp([RSV23, frames.continuation('a').subarray(0, 2), RSV23]);
    assert.deepEqual(log, [
      'ping first',
      '0 WS_ERR_UNEXPECTED_RSV_2_3',
      '1 WS_ERR_INVALID_OPCODE',
      '2 WS_ERR_UNEXPECTED_RSV_2_3',
      'error WS_ERR_UNEXPECTED_RSV_2_3'
    ]);
  });

  test('goes on with what is left of the chunk that failed', async () => {
    const message = frames.text('whole');
    const log = await pileUp([
      Buffer.concat([RSV23, message.subarray(0, 3)]),
      message.subarray(3),
      frames.text('never written')
    ]);
    assert.equal(log.includes('message whole'), true);
    // A write that succeeds after an error is not acknowledged, so the next one is not made.
    assert.equal(
      log.some((line) => line.startsWith('1 ')),
      false
    );
    assert.equal(log.includes('message never written'), false);
  });

  test('delivers what follows to its end although the stream is destroyed by then', async () => {
    const log = await pileUp([RSV23, Buffer.concat([frames.ping('a'), frames.ping('b'), RSV23])]);
    assert.deepEqual(log, [
      'ping first',
      '0 WS_ERR_UNEXPECTED_RSV_2_3',
      'error WS_ERR_UNEXPECTED_RSV_2_3',
      'ping a',
      'ping b',
      '1 WS_ERR_UNEXPECTED_RSV_2_3'
    ]);
  });

  test('expects a payload that was refused again', async () => {
    const log = await pileUp([frames.close(1004), Buffer.from([0x03, 0xe8])]);
    assert.deepEqual(log.slice(0, 3), [
      'ping first',
      'conclude 1000 ',
      '0 WS_ERR_INVALID_CLOSE_CODE'
    ]);
  });

  test('counts the rest of every chunk that failed as a buffered chunk', async () => {
    const bad = Buffer.concat([RSV23, RSV23, RSV23]);
    const log = await pileUp([bad, bad, bad], { maxBufferedChunks: 2 });
    assert.deepEqual(log.slice(1, 4), [
      '0 WS_ERR_UNEXPECTED_RSV_2_3',
      '1 WS_ERR_UNEXPECTED_RSV_2_3',
      '2 WS_ERR_TOO_MANY_BUFFERED_PARTS'
    ]);
  });

  test('counts a chunk once that begins with an item without bytes', async () => {
    const chunks = [frames.continuation(''), frames.continuation('')];
    const invalid = frames.text(Buffer.from([0xff]), { fin: false });
    const log = await pileUp([invalid, ...chunks], { maxBufferedChunks: 1 });
    assert.deepEqual(log, [
      'ping first',
      '0 done',
      '1 WS_ERR_INVALID_UTF8',
      'error WS_ERR_INVALID_UTF8',
      'message ',
      '2 WS_ERR_INVALID_OPCODE'
    ]);
  });

  describe('when the masking key of the refused payload is gone', () => {
    const REFUSED = frames.close(1004, '', { mask: true });
    const TYPE_ERROR = {
      name: 'TypeError',
      message: "Cannot read properties of undefined (reading '0')"
    };

    /** Writes chunks that reach the receiver in one tick. */
    function writeTogether(receiver, chunks) {
      receiver.cork();
      for (const chunk of chunks) receiver.write(chunk);
      receiver.uncork();
    }

    test('throws as soon as that much has come again', async () => {
      const receiver = new Receiver({ isServer: true });
      assert.throws(() => writeTogether(receiver, [REFUSED, Buffer.from('ab')]), TYPE_ERROR);
      const [error] = await once(receiver, 'error');
      assert.equal(error.code, 'WS_ERR_INVALID_CLOSE_CODE');
    });

    test('counts what was left of the chunk that failed', async () => {
      const receiver = new Receiver({ isServer: true });
      const failing = Buffer.concat([REFUSED, Buffer.from('a')]);
      assert.throws(() => writeTogether(receiver, [failing, Buffer.from('b')]), TYPE_ERROR);
      await once(receiver, 'error');
    });

    test('does not throw before', async () => {
      const receiver = new Receiver({ isServer: true });
      writeTogether(receiver, [REFUSED, Buffer.from('a'), Buffer.from('bc')]);
      const [error] = await once(receiver, 'error');
      assert.equal(error.code, 'WS_ERR_INVALID_CLOSE_CODE');
    });

    test('throws for text that is no UTF-8 and for a fragment too many, too', async () => {
      for (const [refused, options] of [
        [[frames.text(Buffer.from([0xff]), { mask: true })], {}],
        [
          [
            frames.text('a', { mask: true, fin: false }),
            frames.continuation('b', { mask: true, fin: false })
          ],
          { maxFragments: 1 }
        ]
      ]) {
        const receiver = new Receiver({ isServer: true, ...options });
        const chunks = [...refused, Buffer.from('c')];
        assert.throws(() => writeTogether(receiver, chunks), TYPE_ERROR);
        await once(receiver, 'error');
      }
    });

    test('does not throw when frames are not masked', async () => {
      const receiver = new Receiver();
      writeTogether(receiver, [frames.close(1004), Buffer.from([0x03])]);
      const [error] = await once(receiver, 'error');
      assert.equal(error.code, 'WS_ERR_INVALID_CLOSE_CODE');
    });
  });
});
