'use strict';

/**
 * The errors of a Receiver, and tests that it raises them at the right byte.
 */

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { PerMessageDeflate, Receiver } = require('./package.js');
const frames = require('./frames.js');
const { closeCodeOf } = require('./internals.js');
const { feed, record, singleBytes } = require('./receiver-feed.js');

const FRAME = 'Invalid WebSocket frame: ';
/** [class, close code, code, message] */
const ERRORS = {
  rsv23: [RangeError, 1002, 'WS_ERR_UNEXPECTED_RSV_2_3', `${FRAME}RSV2 and RSV3 must be clear`],
  rsv1: [RangeError, 1002, 'WS_ERR_UNEXPECTED_RSV_1', `${FRAME}RSV1 must be clear`],
  fin: [RangeError, 1002, 'WS_ERR_EXPECTED_FIN', `${FRAME}FIN must be set`],
  maskSet: [RangeError, 1002, 'WS_ERR_EXPECTED_MASK', `${FRAME}MASK must be set`],
  maskClear: [RangeError, 1002, 'WS_ERR_UNEXPECTED_MASK', `${FRAME}MASK must be clear`],
  utf8: [Error, 1007, 'WS_ERR_INVALID_UTF8', `${FRAME}invalid UTF-8 sequence`],
  chunks: [RangeError, 1008, 'WS_ERR_TOO_MANY_BUFFERED_PARTS', 'Too many buffered chunks'],
  fragments: [RangeError, 1008, 'WS_ERR_TOO_MANY_BUFFERED_PARTS', 'Too many message fragments'],
  tooLong: [RangeError, 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 'Max payload size exceeded'],
  unsafeLength: [
    RangeError,
    1009,
    'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
    'Unsupported WebSocket frame: payload length > 2^53 - 1'
  ],
  opcode: (opcode) => [
    RangeError,
    1002,
    'WS_ERR_INVALID_OPCODE',
    `${FRAME}invalid opcode ${opcode}`
  ],
  controlLength: (length) => [
    RangeError,
    1002,
    'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH',
    `${FRAME}invalid payload length ${length}`
  ],
  closeCode: (code) => [
    RangeError,
    1002,
    'WS_ERR_INVALID_CLOSE_CODE',
    `${FRAME}invalid status code ${code}`
  ]
};

/** The options of a receiver that negotiated permessage-deflate. */
function withDeflate(options = {}) {
  const deflate = new PerMessageDeflate(options);
  deflate.accept([{}]);
  return { ...options, extensions: { [PerMessageDeflate.extensionName]: deflate } };
}

/** @param {Array} expected Row of `ERRORS` */
function assertError(error, [Class, closeCode, code, message]) {
  assert.equal(error.constructor, Class);
  assert.equal(error.name, Class.name);
  assert.equal(error.message, message);
  assert.equal(error.code, code);
  assert.equal(closeCodeOf(error), closeCode);
}

/**
 * The error is raised at byte `at` of `bytes`, no earlier and no later, and likewise when all comes
 * in one chunk behind a good message.
 *
 * @param {object} setup
 * @param {() => object} setup.options Options of the receiver
 * @param {Buffer} setup.bytes
 * @param {number} setup.at
 * @param {Array} setup.expected Row of `ERRORS`
 */
async function assertRaised({ options, bytes, at, expected }) {
  const slow = new Receiver(options());
  const slowLog = record(slow);
  const refused = await feed(slow, singleBytes(bytes));
  assert.equal(refused, at, 'index of the byte that raises the error');
  assertError(slowLog.at(-1)[1], expected);
  assert.equal(slow.errored, slowLog.at(-1)[1]);
  assert.ok(slow.destroyed);

  const fast = new Receiver(options());
  const fastLog = record(fast);
  const good = frames.ping('good', { mask: fast._isServer });
  await feed(fast, [Buffer.concat([good, bytes, good, good])]);
  assert.deepEqual(
    fastLog.map(([event]) => event),
    ['ping', ...slowLog.map(([event]) => event)]
  );
  assertError(fastLog.at(-1)[1], expected);
}

/** One test per row: [name, bytes, index of the raising byte, expected, options of the receiver]. */
function rows(list) {
  for (const [name, bytes, at, expected, options = {}] of list) {
    test(name, () =>
      assertRaised({
        options: typeof options === 'function' ? options : () => options,
        bytes,
        at,
        expected
      })
    );
  }
}

module.exports = { ERRORS, assertError, rows, withDeflate };
