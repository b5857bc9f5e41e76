'use strict';

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {'echo' | 'broadcast' | 'push' | 'idle' | 'handshakes'} mode what the load generator does
 * @property {number} connections
 * @property {number} depth messages in flight on each connection, or handshakes at a time
 * @property {number} size bytes of a message
 * @property {'text' | 'binary'} type
 * @property {'off' | 'takeover' | 'no-takeover'} deflate
 * @property {'free' | 'apart'} placement whether generator and server are kept on different
 *     processors, as in bench/loadgen/src/placement.rs
 */

const KiB = 1024;

/** Name, mode, connections, depth, size, and what differs from plain text messages. */
const table = [
  ['echo-1x1-64t', 'echo', 1, 1, 64, { placement: 'apart' }],
  ['echo-64x1-64t', 'echo', 64, 1, 64],
  ['echo-64x16-64t', 'echo', 64, 16, 64],
  ['echo-256x1-128t', 'echo', 256, 1, 128],
  ['echo-16x4-16KiB-t', 'echo', 16, 4, 16 * KiB],
  ['echo-4x2-1MiB-b', 'echo', 4, 2, 1024 * KiB, { type: 'binary' }],
  ['broadcast-500-128t-d1', 'broadcast', 500, 1, 128],
  ['broadcast-500-128t-d8', 'broadcast', 500, 8, 128],
  ['push-1-128', 'push', 1, 1, 128, { type: 'binary' }],
  ['push-64-128', 'push', 64, 1, 128, { type: 'binary' }],
  ['idle-5000', 'idle', 5000, 1, 64],
  ['handshakes-5000', 'handshakes', 5000, 32, 64],
  ['deflate-16x1-256t', 'echo', 16, 1, 256, { deflate: 'takeover' }],
  ['deflate-64x4-1KiB-t', 'echo', 64, 4, KiB, { deflate: 'takeover' }],
  ['deflate-64x4-1KiB-t-nct', 'echo', 64, 4, KiB, { deflate: 'no-takeover' }],
  ['deflate-16x4-16KiB-t', 'echo', 16, 4, 16 * KiB, { deflate: 'takeover' }],
  ['deflate-idle-1000', 'idle', 1000, 1, 256, { deflate: 'takeover' }],
  ['deflate-idle-1000-nct', 'idle', 1000, 1, 256, { deflate: 'no-takeover' }]
];

/** @type {Scenario[]} */
const scenarios = table.map(([name, mode, connections, depth, size, rest]) => ({
  name,
  mode,
  connections,
  depth,
  size,
  type: 'text',
  deflate: 'off',
  placement: 'free',
  ...rest
}));

module.exports = { scenarios };
