'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { describe, it } = require('node:test');

const WebSocket = require('./support/package.js');
const { OPCODE, closePayload, frame, maskedFrame } = require('./support/frames.js');
const { failureOf, logEvents, openPair, openServer, startClient } = require('./support/pair.js');
const { connectRaw, serveRaw } = require('./support/raw-peer.js');

/**
 * What a peer may get wrong: the frames (built for either role by `build`), and the code, close code,
 * class and message with which the connection ends.
 */
const VIOLATIONS = [
  {
    what: 'a control frame in fragments',
    frames: (build) => build({ opcode: OPCODE.PING, fin: false }),
    code: 'WS_ERR_EXPECTED_FIN',
    closeCode: 1002,
    message: 'Invalid WebSocket frame: FIN must be set'
  },
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000].map((status) => ({
    what: `the status ${status} in a close frame`,
    frames: (build) => build({ opcode: OPCODE.CLOSE, payload: closePayload(status) }),
    code: 'WS_ERR_INVALID_CLOSE_CODE',
    closeCode: 1002,
    message: `Invalid WebSocket frame: invalid status code ${status}`
  })),
  ...[126, 127].map((length) => ({
    what: `a control frame with the length ${length}`,
    frames: (build) => build({ opcode: OPCODE.PING, declaredLength: length === 126 ? 126 : 65536 }),
    code: 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH',
    closeCode: 1002,
    message: `Invalid WebSocket frame: invalid payload length ${length}`
  })),
  {
    what: 'a close frame of one byte',
    frames: (build) => build({ opcode: OPCODE.CLOSE, payload: 'x' }),
    code: 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH',
    closeCode: 1002,
    message: 'Invalid WebSocket frame: invalid payload length 1'
  },
  ...[3, 7, 11, 15].map((opcode) => ({
    what: `the opcode ${opcode}`,
    frames: (build) => build({ opcode }),
    code: 'WS_ERR_INVALID_OPCODE',
    closeCode: 1002,
    message: `Invalid WebSocket frame: invalid opcode ${opcode}`
  })),
  {
    what: 'a continuation of nothing',
    frames: (build) => build({ opcode: OPCODE.CONTINUATION }),
    code: 'WS_ERR_INVALID_OPCODE',
    closeCode: 1002,
    message: 'Invalid WebSocket frame: invalid opcode 0'
  },
  ...[OPCODE.TEXT, OPCODE.BINARY].map((opcode) => ({
    what: `a new message (opcode ${opcode}) inside another`,
    frames: (build) => Buffer.concat([build({ fin: false }), build({ opcode })]),
    code: 'WS_ERR_INVALID_OPCODE',
    closeCode: 1002,
    message: `Invalid WebSocket frame: invalid opcode ${opcode}`
  })),
  {
    what: 'text that is not UTF-8',
    frames: (build) => build({ payload: Buffer.from([0xce, 0xba, 0xe1, 0xbd]) }),
    code: 'WS_ERR_INVALID_UTF8',
    closeCode: 1007,
    message: 'Invalid WebSocket frame: invalid UTF-8 sequence',
    type: Error
  },
  {
    what: 'a reason that is not UTF-8',
    frames: (build) =>
      build({
        opcode: OPCODE.CLOSE,
        payload: Buffer.concat([closePayload(1000), Buffer.from([0xff])])
      }),
    code: 'WS_ERR_INVALID_UTF8',
    closeCode: 1007,
    message: 'Invalid WebSocket frame: invalid UTF-8 sequence',
    type: Error
  },
  {
    what: 'RSV1 without an extension that gives it a meaning',
    frames: (build) => build({ rsv1: true }),
    code: 'WS_ERR_UNEXPECTED_RSV_1',
    closeCode: 1002,
    message: 'Invalid WebSocket frame: RSV1 must be clear'
  },
  ...['rsv2', 'rsv3'].map((bit) => ({
    what: bit.toUpperCase(),
    frames: (build) => build({ [bit]: true }),
    code: 'WS_ERR_UNEXPECTED_RSV_2_3',
    closeCode: 1002,
    message: 'Invalid WebSocket frame: RSV2 and RSV3 must be clear'
  })),
  {
    what: 'a length beyond 2^53 - 1',
    frames: (build) => build({ opcode: OPCODE.BINARY, declaredLength: 2n ** 53n }),
    code: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
    closeCode: 1009,
    message: 'Unsupported WebSocket frame: payload length > 2^53 - 1'
  },
  {
    what: 'a length of all ones',
    frames: (build) => build({ opcode: OPCODE.BINARY, declaredLength: 2n ** 64n - 1n }),
    code: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
    closeCode: 1009,
    message: 'Unsupported WebSocket frame: payload length > 2^53 - 1'
  },
  {
    what: 'a message longer than maxPayload',
    frames: (build) => build({ opcode: OPCODE.BINARY, declaredLength: 104_857_601 }),
    code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
    closeCode: 1009,
    message: 'Max payload size exceeded'
  }
];

/** Asserts how a connection ends on which the peer's bytes were in error. */
async function assertViolation(ws, { socket, frames }, violation, bytes) {
  const failed = failureOf(ws);
  socket.write(bytes);
  const { error, code, reason, order, states } = await failed;
  const [close, ...others] = await frames.rest();

  assert.strictEqual(error.constructor, violation.type ?? RangeError);
  assert.strictEqual(error.code, violation.code);
  assert.strictEqual(error.message, violation.message);
  assert.deepStrictEqual(order, ['error', 'close']);
  assert.deepStrictEqual(states, [WebSocket.CLOSING, WebSocket.CLOSED]);
  assert.strictEqual(code, 1006);
  assert.deepStrictEqual(reason, Buffer.alloc(0));
  assert.strictEqual(close.opcode, OPCODE.CLOSE);
  assert.deepStrictEqual(close.payload, closePayload(violation.closeCode));
  assert.deepStrictEqual(others, []);
}

/**
 * Both ends of a connection of a server with a bare client.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 */
async function openToRawClient(t, options) {
  const wss = await openServer(t, options);
  const [[server], peer] = await Promise.all([once(wss, 'connection'), connectRaw(t, wss)]);
  return { server, ...peer };
}

/**
 * Both ends of a connection of a client with a bare server.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 */
async function openToRawServer(t, options) {
  const { url, peer } = await serveRaw(t);
  const client = startClient(t, url, options);
  const [raw] = await Promise.all([peer(), once(client, 'open')]);
  return { client, ...raw };
}

describe('a server closes the connection', () => {
  for (const violation of VIOLATIONS) {
    it(`with ${violation.closeCode} and ${violation.code} for ${violation.what}`, async (t) => {
      const { server, ...peer } = await openToRawClient(t);
      await assertViolation(server, peer, violation, violation.frames(maskedFrame));
    });
  }

  it('with 1002 and WS_ERR_EXPECTED_MASK for a frame that is not masked', async (t) => {
    const { server, ...peer } = await openToRawClient(t);
    const violation = {
      code: 'WS_ERR_EXPECTED_MASK',
      closeCode: 1002,
      message: 'Invalid WebSocket frame: MASK must be set'
    };
    await assertViolation(server, peer, violation, frame({ payload: 'clear' }));
  });
});

describe('a client closes the connection', () => {
  for (const violation of VIOLATIONS) {
    it(`with ${violation.closeCode} and ${violation.code} for ${violation.what}`, async (t) => {
      const { client, ...peer } = await openToRawServer(t);
      await assertViolation(client, peer, violation, violation.frames(frame));
    });
  }

  it('with 1002 and WS_ERR_UNEXPECTED_MASK for a frame that is masked', async (t) => {
    const { client, ...peer } = await openToRawServer(t);
    const violation = {
      code: 'WS_ERR_UNEXPECTED_MASK',
      closeCode: 1002,
      message: 'Invalid WebSocket frame: MASK must be clear'
    };
    await assertViolation(client, peer, violation, maskedFrame({ payload: 'masked' }));
  });
});

describe('an error', () => {
  it('is found as soon as the header shows it', async (t) => {
    const { server, socket } = await openToRawClient(t);
    const failed = failureOf(server);
    socket.write(Buffer.from([0x93]));
    socket.write(Buffer.from([0x80]));

    assert.strictEqual((await failed).error.code, 'WS_ERR_UNEXPECTED_RSV_2_3');
  });

  it('comes after the messages before it, and none comes after', async (t) => {
    const { server, socket } = await openToRawClient(t);
    const log = logEvents(server, ['message', 'ping', 'error', 'close']);
    const closed = failureOf(server);
    socket.write(
      Buffer.concat([
        maskedFrame({ payload: 'good' }),
        maskedFrame({ opcode: OPCODE.PING }),
        maskedFrame({ opcode: 3 }),
        maskedFrame({ payload: 'too late' })
      ])
    );
    await closed;

    assert.deepStrictEqual(log, ['message', 'ping', 'error', 'close']);
  });

  it('is emitted once, however much else is wrong', async (t) => {
    const { client, server } = await openPair(t);
    const logs = [client, server].map((ws) => logEvents(ws, ['error', 'close']));
    const failed = Promise.all([failureOf(client), failureOf(server)]);
    client._socket.write(Buffer.from([0x93, 0x80, 0, 0, 0, 0]));
    client._socket.write(Buffer.from([0x93, 0x80, 0, 0, 0, 0]));
    server._socket.write(Buffer.from([0x93, 0x00]));
    server._socket.write(Buffer.from([0x93, 0x00]));
    await failed;

    assert.deepStrictEqual(logs, [
      ['error', 'close'],
      ['error', 'close']
    ]);
  });

  it('lets the connection close although the rest of the bad message keeps coming', async (t) => {
    const { server, socket } = await openToRawClient(t, { maxPayload: 1000 });
    const failed = failureOf(server);
    socket.write(maskedFrame({ payload: Buffer.alloc(8 * 1024 * 1024) }));
    socket.end();

    assert.strictEqual((await failed).error.code, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
  });

  it('may be answered by terminate() or close() in its listener', async (t) => {
    for (const method of ['terminate', 'close']) {
      const { server, socket } = await openToRawClient(t);
      server.once('error', () => server[method]());
      const failed = failureOf(server);
      socket.write(maskedFrame({ opcode: 3 }));

      assert.strictEqual((await failed).code, 1006);
    }
  });
});

describe('skipUTF8Validation', () => {
  const invalid = Buffer.from([0x61, 0xff, 0x62]);

  it('lets text and reasons pass as they are, at both ends', async (t) => {
    const { server, socket: client } = await openToRawClient(t, { skipUTF8Validation: true });
    const { client: ws, socket } = await openToRawServer(t, { skipUTF8Validation: true });

    for (const [end, peer, build] of [
      [server, client, maskedFrame],
      [ws, socket, frame]
    ]) {
      peer.write(build({ payload: invalid }));
      assert.deepStrictEqual(await once(end, 'message'), [invalid, false]);
      peer.write(build({ opcode: OPCODE.CLOSE, payload: Buffer.from([0x03, 0xe8, 0xff]) }));
      assert.deepStrictEqual(await once(end, 'close'), [1000, Buffer.from([0xff])]);
    }
  });
});
