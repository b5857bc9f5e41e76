'use strict';

const { isUtf8 } = require('buffer');

const { hasBlob } = require('./constants');

/** The characters of a `token` (RFC 9110, section 5.6.2), as the inside of a character class. */
const TOKEN_CHARACTERS = "!#$%&'*+\\-.^_`|~0-9A-Za-z";

const WHOLE_TOKEN = new RegExp(`^[${TOKEN_CHARACTERS}]+$`);

/** Codes within 1000-1014 that only ever describe a closure locally and never travel. */
const LOCAL_STATUS_CODES = new Set([1004, 1005, 1006]);

const BLOB_TAGS = new Set(['Blob', 'File']);

/**
 * Whether a string is a `token`.
 *
 * @param {string} value
 * @returns {boolean}
 */
function isToken(value) {
  return WHOLE_TOKEN.test(value);
}

/**
 * Whether a status code may stand in a close frame (RFC 6455, section 7.4).
 *
 * @param {number} code
 * @returns {boolean}
 */
function isValidStatusCode(code) {
  if (code >= 1000 && code <= 1014) return !LOCAL_STATUS_CODES.has(code);
  return code >= 3000 && code <= 4999;
}

/**
 * Whether a value is a `Blob` or a `File`, also one of another realm or of a polyfill.
 *
 * @param {*} value
 * @returns {boolean}
 */
function isBlob(value) {
  if (!hasBlob || typeof value !== 'object' || value === null) return false;

  return (
    BLOB_TAGS.has(value[Symbol.toStringTag]) &&
    typeof value.type === 'string' &&
    typeof value.arrayBuffer === 'function' &&
    typeof value.stream === 'function'
  );
}

module.exports = { isBlob, isToken, isValidStatusCode, isValidUTF8: isUtf8, TOKEN_CHARACTERS };
