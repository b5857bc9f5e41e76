'use strict';

const { getSystemErrorName } = require('util');

const native = require('./native');
const { kStatusCode } = require('./constants');
const { nextTick } = require('./timers');

/**
 * The error for what the Rust side refused.
 *
 * @param {Function} [below] the function that its stack begins under
 * @param {number} [number] from the descriptor of the failure; without it, that of a codec is meant, which comes at once
 * @returns {Error|RangeError} with ws's message, `code` and close code; for corrupt compressed data also zlib's `errno`
 */
function failure(below = failure, number) {
  const known = number === undefined ? native.failure() : native.failure(number);
  const [isRangeError, message, code, closeCode, errno] = known;
  const error = isRangeError ? new RangeError(message) : new Error(message);
  Error.captureStackTrace(error, below);
  if (errno !== 0) error.errno = errno;
  error.code = code;
  error[kStatusCode] = closeCode;
  return error;
}

/**
 * The error of a system call, as Node makes it.
 *
 * @param {string} syscall
 * @param {number} errno as the system numbers it
 * @returns {Error} with `errno`, `code` and `syscall`
 */
function systemError(syscall, errno) {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno: -errno, code, syscall });
}

/**
 * Throws when what is under way, and must not be cut short, is over.
 *
 * @param {any} thrown by a listener
 */
function throwLater(thrown) {
  nextTick(() => {
    throw thrown;
  });
}

/**
 * Calls every callback, also when one of them throws.
 *
 * @param {Function[]} callbacks
 * @param {number} from the first to be called
 * @param {any} error what they are told
 */
function callEach(callbacks, from, error) {
  for (let i = from; i < callbacks.length; i++) {
    try {
      callbacks[i](error);
    } catch (thrown) {
      nextTick(callEach, callbacks, i + 1, error);
      throw thrown;
    }
  }
}

module.exports = { callEach, failure, systemError, throwLater };
