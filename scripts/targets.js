'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { StepError, root } = require('./steps');

/** The platforms of npm/, as Rust calls them. */
const TARGETS = {
  'darwin-arm64': 'aarch64-apple-darwin',
  'darwin-x64': 'x86_64-apple-darwin',
  'linux-arm64-gnu': 'aarch64-unknown-linux-gnu',
  'linux-arm64-musl': 'aarch64-unknown-linux-musl',
  'linux-x64-gnu': 'x86_64-unknown-linux-gnu',
  'linux-x64-musl': 'x86_64-unknown-linux-musl',
  'win32-arm64-msvc': 'aarch64-pc-windows-msvc',
  'win32-x64-msvc': 'x86_64-pc-windows-msvc'
};

/** The glibc that Node.js itself asks for, from Node.js 18 on: RHEL 8, Debian 10 and Ubuntu 20.04 have it. */
const GLIBC = [2, 28];

/**
 * @param {string} platform
 * @returns {string} Rust's name of it
 */
function targetOf(platform) {
  const target = TARGETS[platform];
  if (!target) {
    throw new StepError(
      `There is no package for ${platform}: npm/ has none and lib/native.js no line`
    );
  }
  return target;
}

/**
 * @param {string} platform
 * @returns {string[]} the command and options with which cargo builds for it, from Linux for any Linux
 */
function commandFor(platform) {
  const target = targetOf(platform);
  if (!platform.startsWith('linux-')) return ['build', '--target', target];
  return [
    'zigbuild',
    '--target',
    platform.endsWith('-gnu') ? `${target}.${GLIBC.join('.')}` : target
  ];
}

/**
 * A binary asks for the glibc of the machine it was linked on, where that has a newer version of some function.
 *
 * @param {string} binary the path from the project's folder
 */
function checkGlibc(binary) {
  const text = fs.readFileSync(path.join(root, binary), 'latin1');
  const minors = Array.from(text.matchAll(/GLIBC_2\.(\d+)/g), ([, minor]) => Number(minor));
  const newest = Math.max(...minors);
  if (newest > GLIBC[1]) {
    throw new StepError(
      `${binary} needs glibc 2.${newest}, newer than the ${GLIBC.join('.')} of systems that Node.js runs on: build ` +
        'it by the name of its platform, see npm/README.md'
    );
  }
}

module.exports = { TARGETS, checkGlibc, commandFor, targetOf };
