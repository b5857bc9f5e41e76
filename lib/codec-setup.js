'use strict';

const zlib = require('zlib');

const { EMPTY_BUFFER } = require('./constants');
const { toBuffer } = require('./buffers');

/** The parameters of either side. */
const SERVER = { windowBits: 'server_max_window_bits', noTakeover: 'server_no_context_takeover' };
const CLIENT = { windowBits: 'client_max_window_bits', noTakeover: 'client_no_context_takeover' };

const NO_OPTIONS = Object.freeze({});

/** The window that RFC 7692 assumes where none was agreed on. */
const DEFAULT_WINDOW_BITS = 15;

/** What the connection before was set up with, most often the same. */
let lastSetup = null;

/**
 * What the Rust half of an instance is made from. It is found out when something is to be compressed, or decompressed,
 * for that is where options that node:zlib refuses are to throw.
 *
 * @param {import('./permessage-deflate')} instance
 * @returns {object} one that instances share, most often
 */
function setupOf({ _isServer: isServer, _options: options, params }) {
  const { zlibDeflateOptions: deflate = NO_OPTIONS, zlibInflateOptions: inflate = NO_OPTIONS } =
    options;
  const ours = isServer ? SERVER : CLIENT;
  const theirs = isServer ? CLIENT : SERVER;
  const setup = {
    inflateBits: agreedBits(params[theirs.windowBits]),
    inflateForgets: !!params[theirs.noTakeover],
    inflateDictionary: dictionaryOf(inflate),
    deflateBits: agreedBits(params[ours.windowBits]),
    deflateForgets: !!params[ours.noTakeover],
    deflateDictionary: dictionaryOf(deflate),
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

function dictionaryOf({ dictionary }) {
  return dictionary === undefined ? EMPTY_BUFFER : toBuffer(dictionary);
}

module.exports = setupOf;
