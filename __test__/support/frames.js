'use strict';

/**
 * Frames as bytes, built and taken apart by hand. It knows nothing of the package under test, so a
 * test can say what must be on the wire (RFC 6455 section 5, RFC 7692 section 7).
 */

const zlib = require('node:zlib');

const OPCODE = Object.freeze({
  CONTINUATION: 0x0,
  TEXT: 0x1,
  BINARY: 0x2,
  CLOSE: 0x8,
  PING: 0x9,
  PONG: 0xa
});

const DEFAULT_KEY = Buffer.from([0x9f, 0x07, 0xe1, 0x3c]);
/** What a sync flush ends with and a compressed message leaves out. */
const SYNC_TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);

/**
 * @typedef {Object} FrameOptions
 * @property {number} [opcode]
 * @property {string|Buffer} [payload] What the receiver is to see: masking happens here
 * @property {boolean} [fin=true]
 * @property {boolean} [rsv1]
 * @property {boolean} [rsv2]
 * @property {boolean} [rsv3]
 * @property {boolean|Buffer} [mask] `true` masks with a fixed key, a Buffer is the key
 * @property {7|16|64} [lengthBits] Form of the length field; the shortest when absent
 * @property {number|bigint} [declaredLength] What the header claims, when that is not the truth
 */

/** XOR with the key, starting at the key's first byte. */
function applyMask(data, key) {
  const masked = Buffer.from(data);
  for (let i = 0; i < masked.length; i++) masked[i] ^= key[i % 4];
  return masked;
}

function lengthField(length, bits) {
  if (bits === 7) return { low: Number(length), extra: Buffer.alloc(0) };
  const extra = Buffer.alloc(bits / 8);
  if (bits === 16) extra.writeUInt16BE(Number(length));
  else extra.writeBigUInt64BE(BigInt(length));
  return { low: bits === 16 ? 126 : 127, extra };
}

function shortestForm(length) {
  if (length < 126) return 7;
  return length < 65536 ? 16 : 64;
}

function keyOf(mask) {
  if (!mask) return null;
  return mask === true ? DEFAULT_KEY : mask;
}

/**
 * The header alone, for frames whose payload never comes.
 *
 * @param {FrameOptions} options
 * @returns {Buffer}
 */
function header(options) {
  const length = options.declaredLength ?? Buffer.byteLength(options.payload ?? '');
  const { low, extra } = lengthField(length, options.lengthBits ?? shortestForm(length));
  const first =
    (options.fin === false ? 0 : 0x80) |
    (options.rsv1 ? 0x40 : 0) |
    (options.rsv2 ? 0x20 : 0) |
    (options.rsv3 ? 0x10 : 0) |
    (options.opcode ?? OPCODE.TEXT);
  const key = keyOf(options.mask);
  return Buffer.concat([
    Buffer.from([first, (key ? 0x80 : 0) | low]),
    extra,
    key ?? Buffer.alloc(0)
  ]);
}

/**
 * A whole frame.
 *
 * @param {FrameOptions} options
 * @returns {Buffer}
 */
function frame(options) {
  const payload = Buffer.from(options.payload ?? '');
  const key = keyOf(options.mask);
  return Buffer.concat([header(options), key ? applyMask(payload, key) : payload]);
}

/** The same, as a client must send it. */
const maskedFrame = (options) => frame({ mask: true, ...options });

const text = (payload, options) => frame({ opcode: OPCODE.TEXT, payload, ...options });
const binary = (payload, options) => frame({ opcode: OPCODE.BINARY, payload, ...options });
const continuation = (payload, options) =>
  frame({ opcode: OPCODE.CONTINUATION, payload, ...options });
const ping = (payload, options) => frame({ opcode: OPCODE.PING, payload, ...options });
const pong = (payload, options) => frame({ opcode: OPCODE.PONG, payload, ...options });

/** The payload of a close frame. */
function closePayload(code, reason = '') {
  if (code === undefined) return Buffer.alloc(0);
  const status = Buffer.alloc(2);
  status.writeUInt16BE(code);
  return Buffer.concat([status, Buffer.from(reason)]);
}

const close = (code, reason, options) =>
  frame({ opcode: OPCODE.CLOSE, payload: closePayload(code, reason), ...options });

/**
 * A message cut into frames: the first carries the opcode (and RSV1), the last carries FIN.
 *
 * @param {Array<string|Buffer>} parts Payload of each frame
 * @param {FrameOptions} [options]
 * @returns {Buffer[]}
 */
function fragmented(parts, options = {}) {
  return parts.map((payload, i) =>
    frame({
      ...options,
      opcode: i === 0 ? (options.opcode ?? OPCODE.TEXT) : OPCODE.CONTINUATION,
      rsv1: i === 0 && options.rsv1,
      fin: i === parts.length - 1,
      payload
    })
  );
}

/**
 * Takes frames off a stream of bytes. Payloads come back unmasked.
 */
class FrameParser {
  constructor() {
    this.rest = Buffer.alloc(0);
  }

  /**
   * @param {Buffer} chunk
   * @returns {Array<{fin: boolean, rsv1: boolean, rsv2: boolean, rsv3: boolean, opcode: number,
   *     masked: boolean, key: Buffer|null, payload: Buffer, raw: Buffer}>}
   */
  push(chunk) {
    this.rest = Buffer.concat([this.rest, chunk]);
    const frames = [];
    for (let one = this.#take(); one; one = this.#take()) frames.push(one);
    return frames;
  }

  #take() {
    const bytes = this.rest;
    if (bytes.length < 2) return null;
    const low = bytes[1] & 0x7f;
    const extra = low === 126 ? 2 : low === 127 ? 8 : 0;
    const masked = (bytes[1] & 0x80) !== 0;
    const headerLength = 2 + extra + (masked ? 4 : 0);
    if (bytes.length < headerLength) return null;
    let length = low;
    if (extra === 2) length = bytes.readUInt16BE(2);
    if (extra === 8) length = Number(bytes.readBigUInt64BE(2));
    if (bytes.length < headerLength + length) return null;
    const key = masked ? bytes.subarray(headerLength - 4, headerLength) : null;
    const body = bytes.subarray(headerLength, headerLength + length);
    this.rest = bytes.subarray(headerLength + length);
    return {
      fin: (bytes[0] & 0x80) !== 0,
      rsv1: (bytes[0] & 0x40) !== 0,
      rsv2: (bytes[0] & 0x20) !== 0,
      rsv3: (bytes[0] & 0x10) !== 0,
      opcode: bytes[0] & 0x0f,
      masked,
      key,
      payload: key ? applyMask(body, key) : body,
      raw: bytes.subarray(0, headerLength + length)
    };
  }
}

/** All complete frames of a buffer, and the bytes after them. */
function parse(bytes) {
  const parser = new FrameParser();
  return { frames: parser.push(bytes), rest: parser.rest };
}

/**
 * A message as permessage-deflate sends it, without context.
 *
 * @param {string|Buffer} data
 * @param {zlib.ZlibOptions & {finalBlock?: boolean}} [options] `finalBlock` ends the DEFLATE stream
 *     with the message, which a sender may do
 * @returns {Buffer}
 */
function deflate(data, { finalBlock = false, ...options } = {}) {
  if (finalBlock) return zlib.deflateRawSync(Buffer.from(data), options);
  const bytes = zlib.deflateRawSync(Buffer.from(data), {
    ...options,
    finishFlush: zlib.constants.Z_SYNC_FLUSH
  });
  return bytes.subarray(0, bytes.length - SYNC_TAIL.length);
}

/**
 * The content of a compressed message without context.
 *
 * @param {Buffer} data
 * @param {zlib.ZlibOptions} [options]
 * @returns {Buffer}
 */
function inflate(data, options = {}) {
  return zlib.inflateRawSync(Buffer.concat([data, SYNC_TAIL]), {
    ...options,
    finishFlush: zlib.constants.Z_SYNC_FLUSH
  });
}

/** A compressor whose messages share one window, as with context takeover. */
class ContextDeflater {
  constructor(options) {
    this.output = [];
    this.stream = zlib.createDeflateRaw(options);
    this.stream.on('data', (chunk) => this.output.push(chunk));
  }

  /**
   * @param {string|Buffer} data
   * @returns {Promise<Buffer>}
   */
  async message(data) {
    this.stream.write(Buffer.from(data));
    await new Promise((resolve) => this.stream.flush(zlib.constants.Z_SYNC_FLUSH, resolve));
    const bytes = Buffer.concat(this.output);
    this.output = [];
    return bytes.subarray(0, bytes.length - SYNC_TAIL.length);
  }
}

/** The other side of `ContextDeflater`. */
class ContextInflater {
  constructor(options) {
    this.output = [];
    this.stream = zlib.createInflateRaw(options);
    this.stream.on('data', (chunk) => this.output.push(chunk));
  }

  /**
   * @param {Buffer} data
   * @returns {Promise<Buffer>}
   */
  async message(data) {
    this.stream.write(Buffer.concat([data, SYNC_TAIL]));
    await new Promise((resolve) => this.stream.flush(resolve));
    const bytes = Buffer.concat(this.output);
    this.output = [];
    return bytes;
  }
}

module.exports = {
  ContextDeflater,
  ContextInflater,
  FrameParser,
  OPCODE,
  SYNC_TAIL,
  applyMask,
  binary,
  close,
  closePayload,
  continuation,
  deflate,
  fragmented,
  frame,
  header,
  inflate,
  maskedFrame,
  parse,
  ping,
  pong,
  text
};
