'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after } = require('node:test');

/**
 * Compiles a C file of this folder to a shared library, which is gone when the tests of the calling file are over.
 *
 * @param {string} name without the ending
 * @param {string} ending of the library's name
 * @returns {string|null} where it is; null if there is no C compiler
 */
function compile(name, ending) {
  if (process.platform === 'win32') return null;
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'oxws-'));
  after(() => fs.rmSync(directory, { recursive: true }));
  const target = path.join(directory, `${name}.${ending}`);
  const source = path.join(__dirname, `${name}.c`);
  const link = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [];
  const options = ['-shared', '-fPIC', ...link, '-o', target, source];
  return spawnSync('cc', options, { stdio: 'inherit' }).status === 0 ? target : null;
}

module.exports = { compile };
