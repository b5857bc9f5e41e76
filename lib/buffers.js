'use strict';

// The global of that name is an accessor, too slow for what happens with every message.
const { Buffer } = require('buffer');
const { isAnyArrayBuffer } = require('util').types;

/** The class of every Buffer, without the checks of `Buffer.from`. */
const FastBuffer = Buffer[Symbol.species];

const TypedArray = Object.getPrototypeOf(Uint8Array);
const { get: getLength } = Object.getOwnPropertyDescriptor(TypedArray.prototype, 'length');

/**
 * How many bytes a buffer has, whatever a `length` of its own says: so many are copied.
 *
 * @type {(buffer: Buffer) => number}
 */
const lengthOf = Function.prototype.call.bind(getLength);

/**
 * The bytes of whatever may be sent. A buffer, a view or an array buffer is not copied.
 *
 * @param {*} data
 * @returns {Buffer}
 * @throws {TypeError} Node's, when the value has no bytes
 */
function toBuffer(data) {
  if (Buffer.isBuffer(data)) return data;
  if (ArrayBuffer.isView(data))
    return new FastBuffer(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.from(data);
}

/**
 * Whether the bytes of a value belong to the caller, so that they must not be changed.
 *
 * @param {*} data
 * @returns {boolean}
 */
function isCallersMemory(data) {
  return ArrayBuffer.isView(data) || isAnyArrayBuffer(data);
}

/**
 * An ArrayBuffer that holds the bytes of `buffer` and nothing else.
 *
 * @param {Buffer} buffer
 * @returns {ArrayBuffer}
 */
function toArrayBuffer(buffer) {
  const { buffer: memory, byteOffset, byteLength } = buffer;
  if (byteLength === memory.byteLength) return memory;
  return memory.slice(byteOffset, byteOffset + byteLength);
}

module.exports = { FastBuffer, isCallersMemory, lengthOf, toArrayBuffer, toBuffer };
