'use strict';

/**
 * What the project promises itself, as data. A bar compares one figure of one peer with the same
 * figure of another, or with the best of the rivals.
 *
 * @typedef {object} Bar
 * @property {string} scenario
 * @property {string} peer
 * @property {'throughput' | 'cpu' | 'mainThread' | 'p99' | 'memory'} figure
 * @property {'ws' | 'rivals'} against
 * @property {number} [atLeast]
 * @property {number} [atMost]
 */

/** `rivals` in a bar means the best of these. */
const rivals = ['bun-ws', 'eiows', 'bun-serve'];

const faster = (atLeast) => ({ figure: 'throughput', against: 'ws', atLeast });
const cheaper = (atMost) => ({ figure: 'cpu', against: 'ws', atMost });
const lessOnMainThread = (atMost) => ({ figure: 'mainThread', against: 'ws', atMost });
const smaller = (atMost) => ({ figure: 'memory', against: 'ws', atMost });
const aheadOfRivals = (atLeast) => ({ figure: 'throughput', against: 'rivals', atLeast });
const noLaterThanWs = { figure: 'p99', against: 'ws', atMost: 1 };

const barsOfPeers = {
  'oxws-loop': {
    'echo-1x1-64t': [faster(1.05), noLaterThanWs, cheaper(0.85), aheadOfRivals(1)],
    'echo-64x1-64t': [faster(1.6), cheaper(0.65), aheadOfRivals(1)],
    'echo-64x16-64t': [faster(15), cheaper(0.07), aheadOfRivals(1.3)],
    'echo-256x1-128t': [faster(1.6), cheaper(0.65), aheadOfRivals(1)],
    'echo-16x4-16KiB-t': [faster(5.5), cheaper(0.18), aheadOfRivals(1.8)],
    'echo-4x2-1MiB-b': [faster(3.5), cheaper(0.28), aheadOfRivals(1.2)],
    'broadcast-500-128t-d1': [faster(1.4), cheaper(0.7), aheadOfRivals(1)],
    'broadcast-500-128t-d8': [faster(7.5), cheaper(0.13), aheadOfRivals(5)],
    'push-1-128': [faster(30), cheaper(0.035), aheadOfRivals(20)],
    'push-64-128': [faster(30), cheaper(0.035), aheadOfRivals(20)],
    'idle-5000': [smaller(1)],
    'handshakes-5000': [faster(1)],
    'deflate-16x1-256t': [faster(4), cheaper(0.25)],
    'deflate-64x4-1KiB-t': [faster(4), cheaper(0.25)],
    'deflate-64x4-1KiB-t-nct': [faster(6), cheaper(0.16)],
    'deflate-16x4-16KiB-t': [faster(1.5), cheaper(0.75), lessOnMainThread(0.5)],
    'deflate-idle-1000': [smaller(0.15)],
    'deflate-idle-1000-nct': [smaller(0.05)]
  },
  'oxws-threads': {
    'echo-64x1-64t': [lessOnMainThread(1 / 4)],
    'echo-64x16-64t': [lessOnMainThread(1 / 40)],
    'broadcast-500-128t-d1': [lessOnMainThread(1 / 40)]
  },
  'oxws-stream': {
    'echo-1x1-64t': [faster(1)],
    'echo-64x1-64t': [faster(1)],
    'echo-64x16-64t': [faster(8)],
    'echo-256x1-128t': [faster(1)],
    'echo-16x4-16KiB-t': [faster(2.5)],
    'echo-4x2-1MiB-b': [faster(1)],
    'broadcast-500-128t-d1': [faster(1)],
    'broadcast-500-128t-d8': [faster(1)],
    'push-1-128': [faster(1)],
    'push-64-128': [faster(1)],
    'idle-5000': [smaller(1)],
    'handshakes-5000': [faster(1)],
    'deflate-16x1-256t': [faster(1)],
    'deflate-64x4-1KiB-t': [faster(1)],
    'deflate-64x4-1KiB-t-nct': [faster(1)],
    'deflate-16x4-16KiB-t': [faster(1)]
  }
};

/** @type {Bar[]} */
const bars = Object.entries(barsOfPeers).flatMap(([peer, byScenario]) =>
  Object.entries(byScenario).flatMap(([scenario, list]) =>
    list.map((bar) => ({ scenario, peer, ...bar }))
  )
);

module.exports = { bars, rivals };
