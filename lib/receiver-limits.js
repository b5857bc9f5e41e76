'use strict';

const { kStatusCode } = require('./constants');

/*
 * The limits of receivers: what options make of them, how they are changed, and the error for one that the decoder
 * cannot notice.
 */

const integer = (value) => value | 0;

/** What makes a value of each limit's option. */
const LIMITS = Object.entries({
  maxBufferedChunks: integer,
  maxFragments: integer,
  maxPayload: integer,
  skipUTF8Validation: Boolean
});

/** Those of the receiver that was made last, which are most often those of the next one as well. */
let last = null;

/**
 * @param {object} options of a receiver
 * @returns {object} the limits they ask for; receivers share the object, and nobody changes it
 */
function limitsOf(options) {
  const maxBufferedChunks = integer(options.maxBufferedChunks);
  const maxFragments = integer(options.maxFragments);
  const maxPayload = integer(options.maxPayload);
  const skipUTF8Validation = Boolean(options.skipUTF8Validation);
  if (
    last === null ||
    last.maxBufferedChunks !== maxBufferedChunks ||
    last.maxFragments !== maxFragments ||
    last.maxPayload !== maxPayload ||
    last.skipUTF8Validation !== skipUTF8Validation
  ) {
    last = { maxBufferedChunks, maxFragments, maxPayload, skipUTF8Validation };
  }
  return last;
}

/**
 * Makes each limit a field that may be changed at any time.
 *
 * @param {object} prototype of receivers
 */
function defineLimits(prototype) {
  for (const [name, convert] of LIMITS) {
    Object.defineProperty(prototype, `_${name}`, {
      configurable: true,
      get() {
        return this._limits[name];
      },
      set(value) {
        this._limit(name, convert(value));
      }
    });
  }
}

/**
 * @param {string} message
 * @param {string} code
 * @param {number} closeCode
 * @returns {RangeError}
 */
function limitError(message, code, closeCode) {
  const error = new RangeError(message);
  error.code = code;
  error[kStatusCode] = closeCode;
  return error;
}

module.exports = { defineLimits, limitError, limitsOf };
