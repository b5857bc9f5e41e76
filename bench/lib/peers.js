'use strict';

const fs = require('node:fs');
const path = require('node:path');

const folder = path.join(__dirname, '..');
const servers = path.join(folder, 'servers');
const architecture = process.arch === 'arm64' ? 'aarch64' : process.arch;
const bun = path.join(folder, `node_modules/@oven/bun-linux-${architecture}/bin/bun`);
const eiowsAddon = path.join(folder, `node_modules/eiows/dist/eiows_${process.version}.node`);
const projectFolder = path.join(folder, '..');

/**
 * @typedef {object} Peer
 * @property {string} title
 * @property {() => string[]} command starts the server, without what it is to do
 * @property {Record<string, string>} [env]
 * @property {() => string | undefined} missing why the peer cannot run here, if so
 * @property {(scenario: import('./scenarios').Scenario) => string | undefined} lacks why the peer
 *     cannot take part in a scenario, if so
 */

const everything = () => undefined;
const needs = (file, sentence) => () => (fs.existsSync(file) ? undefined : sentence);
const node = (script) => () => [process.execPath, '--expose-gc', path.join(servers, script)];
const underBun = (script) => () => [bun, path.join(servers, script)];
const bunIsMissing = needs(bun, 'there is no Bun for this platform in bench/node_modules');

function oxws(transport) {
  return {
    title: `oxws, ${transport}`,
    command: node('ws.js'),
    env: { BENCH_PACKAGE: projectFolder, OXWS_TRANSPORT: transport },
    missing: needs(path.join(projectFolder, 'index.js'), 'the package is not built yet'),
    lacks: everything
  };
}

/** @type {Record<string, Peer>} */
const peers = {
  ws: {
    title: 'ws',
    command: node('ws.js'),
    env: { BENCH_PACKAGE: 'ws', WS_NO_BUFFER_UTIL: '1' },
    missing: everything,
    lacks: everything
  },
  'oxws-loop': oxws('loop'),
  'oxws-stream': oxws('stream'),
  'oxws-threads': oxws('threads'),
  'ws-bufferutil': {
    title: 'ws with bufferutil',
    command: node('ws.js'),
    env: { BENCH_PACKAGE: 'ws' },
    missing: everything,
    lacks: everything
  },
  eiows: {
    title: 'eiows',
    command: node('eiows.js'),
    missing: needs(
      eiowsAddon,
      `it does not compile here (see bench/node_modules/eiows/build-${process.version}.log)`
    ),
    lacks: ({ deflate }) =>
      deflate === 'takeover'
        ? 'it agrees to context takeover, but fails at the first message that makes use of it'
        : undefined
  },
  'bun-ws': {
    title: 'Bun, its ws',
    command: underBun('ws.js'),
    env: { BENCH_PACKAGE: 'ws' },
    missing: bunIsMissing,
    lacks: everything
  },
  'bun-serve': {
    title: 'Bun.serve',
    command: underBun('bun-serve.js'),
    missing: bunIsMissing,
    lacks: everything
  },
  'bun-publish': {
    title: 'Bun.serve, publish()',
    command: underBun('bun-serve.js'),
    env: { BENCH_BROADCAST: 'publish' },
    missing: bunIsMissing,
    lacks: ({ mode }) => (mode === 'broadcast' ? undefined : 'it differs in broadcasts only')
  },
  'epoll-echo': {
    title: 'bare Rust epoll (limit)',
    command: () => [path.join(targetFolder(), 'release', 'epoll-echo')],
    missing: everything,
    lacks: ({ mode, deflate }) =>
      mode === 'broadcast' || mode === 'push' || deflate !== 'off'
        ? 'it does nothing but echo, uncompressed'
        : undefined
  }
};

/** Where cargo puts the binaries of bench/loadgen. */
function targetFolder() {
  return path.resolve(process.env.CARGO_TARGET_DIR || path.join(folder, 'loadgen', 'target'));
}

module.exports = { peers, targetFolder };
