'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { announce, npm, root } = require('./steps');

/**
 * The packages a lock file lists, or none when it cannot be read.
 *
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean }>}
 */
function lockedPackages(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, file), 'utf8')).packages;
  } catch {
    return {};
  }
}

/**
 * Whether node_modules holds what package-lock.json asks for. npm keeps a lock file of what it installed
 * inside node_modules; an optional package may be missing from it, as some are for other platforms.
 *
 * @returns {boolean}
 */
function isInstalled() {
  const wanted = lockedPackages('package-lock.json');
  const installed = lockedPackages('node_modules/.package-lock.json');

  return Object.entries(wanted).every(
    ([location, { version, optional }]) =>
      location === '' ||
      (location in installed ? installed[location].version === version : optional)
  );
}

/** Installs the development dependencies unless they are there. */
function setup() {
  if (isInstalled()) return;
  announce('Installing development dependencies');
  npm(['ci', '--no-audit', '--no-fund']);
}

module.exports = { setup };
