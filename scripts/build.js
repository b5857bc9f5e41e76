'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { platformName } = require('../lib/platform');
const { StepError, announce, cargo, root, runMain } = require('./steps');
const { commandFor } = require('./targets');

/**
 * Finds the addon in what cargo tells, which knows about CARGO_TARGET_DIR and the like.
 *
 * @param {string} messages cargo's JSON messages, one a line
 * @returns {string}
 */
function findLibrary(messages) {
  for (const line of messages.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { reason, target, filenames } = JSON.parse(line);
    if (reason !== 'compiler-artifact' || target.name !== 'oxws') continue;
    const library = filenames.find((name) => /\.(so|dylib|dll)$/.test(name));
    if (library) return library;
  }
  throw new StepError('cargo built no shared library named oxws');
}

/**
 * Builds the addon and puts it where lib/native.js looks first.
 *
 * @param {string} [platform] for which it is released; otherwise it is for this machine
 * @returns {string} the path of the addon
 */
function build(platform) {
  announce('Building the native binary');
  const command = platform ? commandFor(platform) : ['build'];
  const options = ['--release', '--message-format=json-render-diagnostics'];
  const { stdout } = cargo([...command, ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: Infinity
  });
  const library = findLibrary(stdout.toString());
  const binary = path.join(root, `oxws.${platform ?? platformName()}.node`);

  // Renamed into place: a process that has the old binary mapped keeps it, whole.
  const fresh = `${binary}.${process.pid}.tmp`;
  fs.copyFileSync(library, fresh);
  fs.renameSync(fresh, binary);
  console.log(path.relative(root, binary));
  return binary;
}

module.exports = { build };

if (require.main === module) runMain(() => build(process.argv[2]));
