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

/**
 * What the Rust half of an instance is made from. This is not called before something is to be compressed or
 * decompressed, because that is where options throw that node:zlib refuses, as in ws.
 *
 * @param {import('./permessage-deflate')} instance
 * @returns {object} most often one that other instances use, too
 */
function setupOf({ _isServer: isServer, _options: options, params }) {
  const deflate = options.zlibDeflateOptions ?? NO_OPTIONS;
  const inflate = options.zlibInflateOptions ?? NO_OPTIONS;
  const ours = isServer ? SERVER : CLIENT;
  const theirs = isServer ? CLIENT : SERVER;
  const setup = {
    inflateBits: agreedBits(params[theirs.windowBits]),
    inflateForgets: !!params[theirs.noTakeover],
    inflateDictionary: dictionaryOf(inflate, zlib.createInflateRaw),
    deflateBits: agreedBits(params[ours.windowBits]),
    deflateForgets: !!params[ours.noTakeover],
    deflateDictionary: dictionaryOf(deflate, zlib.createDeflateRaw),
    tuning: tuningOf(deflate)
  };
  if (!isSame(setup, lastSetup)) lastSetup = setup;
  return lastSetup;
}

/**
 * Numbers that node:zlib would refuse are left to it, so that its error says what is wrong. What is not set is -1 for the
 * level and 0 for the others.
 */
function tuningOf(options) {
  const { level = -1, memLevel, strategy = 0 } = options;
  const within = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  const isMemLevel = memLevel === undefined || within(memLevel, 1, 9);
  if (!within(level, -1, 9) || !isMemLevel || !within(strategy, 0, 4)) {
    zlib.createDeflateRaw(options).close();
  }
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

/** What node:zlib would refuse as a dictionary is left to it, too. */
function dictionaryOf(options, createStream) {
  const { dictionary } = options;
  if (dictionary === undefined) return EMPTY_BUFFER;
  if (!ArrayBuffer.isView(dictionary) && !isAnyArrayBuffer(dictionary)) {
    createStream(options).close();
  }
  return toBuffer(dictionary);
}

module.exports = setupOf;
