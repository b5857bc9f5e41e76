'use strict';

const zlib = require('zlib');
const { isAnyArrayBuffer } = require('util').types;

const { EMPTY_BUFFER } = require('./constants');
const { toBuffer } = require('./buffers');

/** The parameters of either side. */
const SERVER = { windowBits: 'server_max_window_bits', noTakeover: 'server_no_context_takeover' };
const CLIENT = { windowBits: 'client_max_window_bits', noTakeover: 'client_no_context_takeover' };

const NO_OPTIONS = Object.freeze({});

/** The window that RFC 7692 assumes where none was agreed on. */
const DEFAULT_WINDOW_BITS = 15;

/** What was found out last. The next connection most often has the same, and then shares it. */
let lastSetup = null;

/** Filled anew for each connection, without garbage. */
const found = {
  inflateBits: 0,
  inflateForgets: false,
  inflateDictionary: EMPTY_BUFFER,
  deflateBits: 0,
  deflateForgets: false,
  deflateDictionary: EMPTY_BUFFER,
  tuning: 0
};

/**
 * What the Rust half of an instance is made from. Options that node:zlib refuses must have been checked before they are
 * used; until then it does not matter what is made of them.
 *
 * @param {import('./permessage-deflate')} instance
 * @returns {object} most often one that other instances use, too
 */
function setupOf({ _isServer: isServer, _options: options, params }) {
  const deflate = options.zlibDeflateOptions ?? NO_OPTIONS;
  const inflate = options.zlibInflateOptions ?? NO_OPTIONS;
  const ours = isServer ? SERVER : CLIENT;
  const theirs = isServer ? CLIENT : SERVER;
  found.inflateBits = agreedBits(params[theirs.windowBits]);
  found.inflateForgets = !!params[theirs.noTakeover];
  found.inflateDictionary = dictionaryOf(inflate);
  found.deflateBits = agreedBits(params[ours.windowBits]);
  found.deflateForgets = !!params[ours.noTakeover];
  found.deflateDictionary = dictionaryOf(deflate);
  found.tuning = tuningOf(deflate);
  if (!isSame(found, lastSetup)) lastSetup = { ...found };
  return lastSetup;
}

/**
 * Throws, before something is compressed, if node:zlib would refuse the options for that. This is left to it, so that its
 * error says what is wrong.
 *
 * @param {object} options of an instance
 */
function checkDeflateOptions({ zlibDeflateOptions: options }) {
  if (options == null) return;
  const { level, memLevel, strategy, dictionary } = options;
  const isGood =
    isWithin(level, -1, 9) &&
    isWithin(memLevel, 1, 9) &&
    isWithin(strategy, 0, 4) &&
    isDictionary(dictionary);
  if (!isGood) zlib.createDeflateRaw(options).close();
}

/**
 * The same before something is decompressed.
 *
 * @param {object} options of an instance
 */
function checkInflateOptions({ zlibInflateOptions: options }) {
  if (options == null || isDictionary(options.dictionary)) return;
  zlib.createInflateRaw(options).close();
}

function isWithin(value, least, most) {
  return value === undefined || (Number.isInteger(value) && value >= least && value <= most);
}

function isDictionary(value) {
  return value === undefined || ArrayBuffer.isView(value) || isAnyArrayBuffer(value);
}

/** Three settings in one number. What is not set is -1 for the level and 0 for the others. */
function tuningOf({ level = -1, memLevel = 0, strategy = 0 }) {
  return (level + 1) | (memLevel << 8) | (strategy << 16);
}

/** The window that was agreed on; without a number it is the largest. */
function agreedBits(bits) {
  return typeof bits === 'number' ? bits : DEFAULT_WINDOW_BITS;
}

/** Whether two objects of one shape hold the same values. */
function isSame(one, other) {
  if (other === null) return false;
  for (const name in one) if (one[name] !== other[name]) return false;
  return true;
}

function dictionaryOf({ dictionary }) {
  return dictionary !== undefined && isDictionary(dictionary) ? toBuffer(dictionary) : EMPTY_BUFFER;
}

module.exports = { checkDeflateOptions, checkInflateOptions, setupOf };
