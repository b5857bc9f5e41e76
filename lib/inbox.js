'use strict';

const native = require('./native');

/**
 * The memory in which the Rust side describes what it found in a chunk: an Int32Array that both sides share, so that
 * a chunk full of messages costs one call. It begins with where decoding stopped and why; then come descriptors of
 * four integers each: kind and place, start, length, and one more that depends on the kind (see
 * `src/binding/receive.rs`, which holds the same constants).
 */
const STRIDE = 4;
const HEADER = 8;
const CAPACITY = HEADER + STRIDE * 4096;

/** The index of where the next call may write: above what the calls below it on the stack still read. */
const TOP = 2;

const TEXT = 0;
const BINARY = 1;
const PLACE_SHIFT = 4;
const IN_CHUNK = 0;
const FETCHED = 6;

/** The addon may serve several copies of this package; they share one inbox. */
const cells = native.inbox(CAPACITY);
if (cells[TOP] === 0) cells[TOP] = HEADER;

module.exports = {
  cells,

  /** Index of the position reached. */
  POSITION: 0,
  /** Index of whether the native transport needs a new arena. */
  ARENA_USED: 3,
  /** Index of whether a receiver has not finished with what it was just told: 1, or {@link KEPT}. */
  BUSY: 4,
  /** It was not told, for it has enough. */
  KEPT: 2,
  /** Index of how decoding stopped: one of the next three. */
  STOPPED: 1,
  USED_UP: 0,
  MORE: 1,
  WAITING: 2,

  TOP,
  STRIDE,

  /** Kinds, in the low bits of a descriptor's first integer. */
  KIND_MASK: 0x0f,
  TEXT,
  BINARY,
  PING: 2,
  PONG: 3,
  CLOSE: 4,
  COMPRESSED: 5,
  FAILED: 6,

  /** Places, above the kind; those that are not listed go back to Rust as they are. */
  PLACE_SHIFT,
  PLACE_MASK: 0x0f,
  IN_CHUNK,
  IN_STORE: 1,
  /** In the input of a connection that Rust reads itself. */
  IN_INPUT: 4,
  /** In what `supply` was given. */
  SUPPLIED: 5,
  /** In a buffer of its own, fetched from the input; the start is its index. Set by JavaScript alone. */
  FETCHED,
  /** In the memory that the connection has lent. */
  LENT: 7,

  /** The first integers of descriptors of messages that lie whole in memory. */
  TEXT_IN_CHUNK: TEXT | (IN_CHUNK << PLACE_SHIFT),
  BINARY_IN_CHUNK: BINARY | (IN_CHUNK << PLACE_SHIFT),
  TEXT_FETCHED: TEXT | (FETCHED << PLACE_SHIFT),
  BINARY_FETCHED: BINARY | (FETCHED << PLACE_SHIFT),

  /** What is written to a receiver to say that its native connection has input. */
  INPUT: Buffer.alloc(1),

  /** Set when a compressed frame is the last of its message. */
  FIN: 0x100
};
