'use strict';

/*
 * Which transport plain sockets get, as the environment variables OXWS_TRANSPORT and OXWS_IO_THREADS say.
 */

const TRANSPORTS = ['loop', 'stream', 'threads'];

/** More I/O threads than that make nothing faster; the Rust side has the same bound. */
const MOST_THREADS = 64;

/**
 * @param {string|undefined} value of OXWS_TRANSPORT
 * @returns {string}
 * @throws {RangeError} if there is no such transport: whoever misspells it is not to measure another one
 */
function parseTransport(value) {
  if (value === undefined || value === '') return 'loop';
  if (TRANSPORTS.includes(value)) return value;
  throw new RangeError(
    `The environment variable OXWS_TRANSPORT must be one of ${TRANSPORTS.join(', ')}, not "${value}"`
  );
}

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
const transport = parseTransport(OXWS_TRANSPORT);

/** Whether there is Node's loop under Node's sockets. Bun exports libuv's functions, too, and aborts when one is called. */
const { bun, deno } = process.versions;
const isNode = bun === undefined && deno === undefined;

module.exports = {
  /** Whether Rust may read and write sockets. */
  isNative: isNode && transport !== 'stream',
  /** On how many threads of its own it does so; 0: on the thread that runs JavaScript. */
  threads: transport === 'threads' ? parseThreads(OXWS_IO_THREADS) : 0
};
