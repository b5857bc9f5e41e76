'use strict';

/**
 * Writes down what a Receiver emits, in order.
 *
 * @param {import('node:stream').Writable} receiver
 * @returns {Array<Array<unknown>>}
 */
function record(receiver) {
  const log = [];
  receiver.on('message', (data, isBinary) => log.push(['message', data, isBinary]));
  for (const event of ['ping', 'pong']) receiver.on(event, (data) => log.push([event, data]));
  receiver.on('conclude', (code, reason) => log.push(['conclude', code, reason]));
  receiver.on('error', (error) => log.push(['error', error]));
  return log;
}

/** Waits until a receiver is through, with or without an error. */
async function closed(receiver) {
  if (!receiver.closed) await new Promise((resolve) => receiver.once('close', resolve));
}

/** Writes one chunk and waits until the receiver has dealt with it. */
function writeChunk(receiver, chunk) {
  return new Promise((resolve) => receiver.write(chunk, resolve));
}

/**
 * Writes chunk after chunk, each when the one before was dealt with, until the receiver takes no
 * more.
 *
 * @returns {Promise<number>} Index of the chunk that was refused, -1 if none was
 */
async function feed(receiver, chunks) {
  for (let i = 0; i < chunks.length; i++) {
    if (receiver.writableEnded) return -1;
    const error = await writeChunk(receiver, chunks[i]);
    if (error) {
      await closed(receiver);
      return i;
    }
  }
  return -1;
}

/** Each byte of a buffer as a buffer of its own memory. */
function singleBytes(bytes) {
  return Array.from(bytes, (byte) => Buffer.from([byte]));
}

/**
 * A log whose values can be compared with deepStrictEqual whatever the binary type was.
 */
async function comparable(log) {
  const plain = [];
  for (const [event, ...values] of log) {
    const row = [event];
    for (const value of values) row.push(await plainValue(value));
    plain.push(row);
  }
  return plain;
}

async function plainValue(value) {
  if (value instanceof Blob)
    return { blob: Buffer.from(await value.arrayBuffer()).toString('hex') };
  if (value instanceof ArrayBuffer) return { arrayBuffer: Buffer.from(value).toString('hex') };
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map((part) => part.toString('hex'));
  if (value instanceof Error) return `${value.name} ${value.code}: ${value.message}`;
  return value;
}

module.exports = { closed, comparable, feed, record, singleBytes, writeChunk };
