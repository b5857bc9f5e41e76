'use strict';

/*
 * Which transport plain sockets get, as the environment variables OXWS_TRANSPORT and OXWS_IO_THREADS say.
 */

/** More I/O threads than that make nothing faster; the Rust side has the same bound. */
const MOST_THREADS = 64;

/**
 * How many I/O threads there are to be.
 *
 * @param {string|undefined} value of OXWS_IO_THREADS
 * @returns {number}
 * @throws {RangeError} if it is not a number of threads
 */
function parseThreads(value) {
  if (value === undefined || value === '') return 1;
  const count = Number(value);
  if (/^\d+$/.test(value) && count >= 1 && count <= MOST_THREADS) return count;
  throw new RangeError(
    `The environment variable OXWS_IO_THREADS must be an integer from 1 to ${MOST_THREADS}, not "${value}"`
  );
}

const { OXWS_TRANSPORT, OXWS_IO_THREADS } = process.env;

module.exports = {
  /** Whether Rust may read and write sockets. */
  isNative: OXWS_TRANSPORT !== 'stream',
  /** On how many threads of its own it does so; 0: on the thread that runs JavaScript. */
  threads: OXWS_TRANSPORT === 'threads' ? parseThreads(OXWS_IO_THREADS) : 0
};
