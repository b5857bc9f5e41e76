'use strict';

/** The opcodes of RFC 6455, section 5.2. */
const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 };

/** A masking key for tests that do not care which one. */
const KEY = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/**
 * @typedef {object} FrameFields
 * @property {number} [opcode]
 * @property {string | Buffer} [payload]
 * @property {boolean} [fin]
 * @property {boolean} [rsv1]
 * @property {boolean} [rsv2]
 * @property {boolean} [rsv3]
 * @property {Buffer | null} [mask] the masking key, if the payload is to be masked
 * @property {number | bigint} [length] the length to declare instead of the payload's
 */

/**
 * The bytes of one frame, also of frames that no endpoint should send.
 *
 * @param {FrameFields} fields
 * @returns {Buffer}
 */
function buildFrame({
  opcode = OPCODE.TEXT,
  payload = '',
  fin = true,
  rsv1 = false,
  rsv2 = false,
  rsv3 = false,
  mask = null,
  length
}) {
  const body = Buffer.from(payload);
  const declared = BigInt(length ?? body.length);
  const flags = (fin && 0x80) | (rsv1 && 0x40) | (rsv2 && 0x20) | (rsv3 && 0x10);
  const extended = declared > 65535n ? 8 : declared > 125n ? 2 : 0;
  const header = Buffer.alloc(2 + extended);

  header[0] = flags | opcode;
  header[1] = { 0: Number(declared), 2: 126, 8: 127 }[extended] | (mask ? 0x80 : 0);
  if (extended === 2) header.writeUInt16BE(Number(declared), 2);
  if (extended === 8) header.writeBigUInt64BE(declared, 2);
  if (!mask) return Buffer.concat([header, body]);

  return Buffer.concat([header, mask, body.map((byte, index) => byte ^ mask[index % 4])]);
}

/**
 * The same, as a client must send it.
 *
 * @param {FrameFields} fields
 * @returns {Buffer}
 */
const maskedFrame = (fields) => buildFrame({ mask: KEY, ...fields });

/**
 * The payload of a close frame.
 *
 * @param {number} code
 * @param {string} [reason]
 * @returns {Buffer}
 */
const closePayload = (code, reason = '') =>
  Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);

/**
 * Cuts what a peer writes into frames again.
 */
class FrameReader {
  #pending = Buffer.alloc(0);
  #frames = [];
  #waiting = [];
  #ended = false;

  /**
   * @param {import('node:stream').Duplex} stream
   * @param {Buffer} [head] bytes of the stream that were read already
   */
  constructor(stream, head = Buffer.alloc(0)) {
    this.#accept(head);
    stream.on('data', (chunk) => this.#accept(chunk));
    for (const event of ['end', 'close']) stream.on(event, () => this.#end());
  }

  /**
   * The next frame, or null when the stream has ended.
   *
   * @returns {Promise<{fin: boolean, rsv1: boolean, opcode: number, mask: Buffer | null, payload: Buffer} | null>}
   */
  next() {
    if (this.#frames.length > 0) return Promise.resolve(this.#frames.shift());
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * @param {number} count
   * @returns {Promise<Array<Awaited<ReturnType<FrameReader['next']>>>>}
   */
  async take(count) {
    const frames = [];
    while (frames.length < count) frames.push(await this.next());
    return frames;
  }

  /** Whatever frames come until the stream ends. */
  async rest() {
    const frames = [];
    for (let frame = await this.next(); frame; frame = await this.next()) frames.push(frame);
    return frames;
  }

  #accept(chunk) {
    this.#pending = Buffer.concat([this.#pending, chunk]);

    for (let frame = this.#cut(); frame; frame = this.#cut()) {
      if (this.#waiting.length > 0) this.#waiting.shift()(frame);
      else this.#frames.push(frame);
    }
  }

  #cut() {
    const bytes = this.#pending;
    if (bytes.length < 2) return null;

    const short = bytes[1] & 0x7f;
    const extended = { 126: 2, 127: 8 }[short] ?? 0;
    const masked = (bytes[1] & 0x80) !== 0;
    const start = 2 + extended + (masked ? 4 : 0);
    if (bytes.length < start) return null;

    let length = short;
    if (extended === 2) length = bytes.readUInt16BE(2);
    if (extended === 8) length = Number(bytes.readBigUInt64BE(2));
    if (bytes.length < start + length) return null;

    const mask = masked ? bytes.subarray(start - 4, start) : null;
    const body = bytes.subarray(start, start + length);
    this.#pending = bytes.subarray(start + length);

    return {
      fin: (bytes[0] & 0x80) !== 0,
      rsv1: (bytes[0] & 0x40) !== 0,
      opcode: bytes[0] & 0x0f,
      mask,
      payload: mask ? Buffer.from(body.map((byte, index) => byte ^ mask[index % 4])) : body
    };
  }

  #end() {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }
}

module.exports = { OPCODE, KEY, buildFrame, maskedFrame, closePayload, FrameReader };
