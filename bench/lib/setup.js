'use strict';

const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { targetFolder } = require('./peers.js');

const folder = path.join(__dirname, '..');
const modules = path.join(folder, 'node_modules');

/** Installs the peers and builds the load generator, where that is not done yet. */
function setUp() {
  if (process.platform !== 'linux') {
    throw new Error('The benchmark needs Linux: its load generator is built on epoll.');
  }
  installPeers();
  buildEiows();
  buildLoadGenerator();
}

/** Installs with `npm ci` when the lock file is not the one that was installed last. */
function installPeers() {
  const lock = fs.readFileSync(path.join(folder, 'package-lock.json'));
  const digest = crypto.createHash('sha256').update(lock).digest('hex');
  const stamp = path.join(modules, '.installed-lock');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === digest) return;

  say('Installing the peers into bench/node_modules (Bun alone has about 100 MB) ...');
  // No package needs its install script: bufferutil and Bun come with binaries, and that of eiows
  // would clone Node's whole source.
  run('npm', ['ci', '--ignore-scripts'], { stdio: 'inherit' });
  fs.writeFileSync(stamp, digest);
}

/** Compiles eiows; where that fails, the benchmark goes on without it. */
function buildEiows() {
  const eiows = path.join(modules, 'eiows');
  const log = path.join(eiows, `build-${process.version}.log`);
  if (!fs.existsSync(eiows) || fs.existsSync(log)) return;

  say('Compiling eiows ...');
  const headers = path.join(eiows, 'nodejs', 'src', 'node', 'src', 'crypto');
  fs.mkdirSync(headers, { recursive: true });
  fs.copyFileSync(
    path.join(folder, 'servers', 'eiows-tls-stub.h'),
    path.join(headers, 'crypto_tls.h')
  );
  const result = spawnSync('npm', ['run', 'build-eiows'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, ...nodeHeaders() }
  });
  fs.writeFileSync(log, `${result.stdout}${result.stderr}`);
}

/** Points node-gyp to the headers that came with this Node, if any: then it need not download. */
function nodeHeaders() {
  const prefix = path.resolve(fs.realpathSync(process.execPath), '..', '..');
  const found = fs.existsSync(path.join(prefix, 'include', 'node', 'node.h'));
  return found ? { npm_config_nodedir: prefix } : {};
}

function buildLoadGenerator() {
  const manifest = path.join(folder, 'loadgen', 'Cargo.toml');
  const to = ['--manifest-path', manifest, '--target-dir', targetFolder()];
  run('cargo', ['build', '--release', '--locked', ...to], { stdio: 'inherit' });
}

function run(command, args, options) {
  const { error, status } = spawnSync(command, args, { cwd: folder, ...options });
  if (error) throw new Error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}

/** Progress goes to standard error, so that standard output holds nothing but the tables. */
function say(sentence) {
  process.stderr.write(`${sentence}\n`);
}

module.exports = { say, setUp };
