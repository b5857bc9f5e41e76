'use strict';

/**
 * Files of the package under test that dependents reach by path, and which package it is.
 */

const path = require('node:path');

const entry = require.resolve(process.env.OXWS_TEST_PACKAGE || '../../index.js');
const directory = path.dirname(entry);
const { name } = require(path.join(directory, 'package.json'));

/** The live exports of `lib/<file>.js`. */
function lib(file) {
  return require(path.join(directory, 'lib', `${file}.js`));
}

/** The close code that an error of the receiver asks for. */
function closeCodeOf(error) {
  return error[lib('constants').kStatusCode];
}

/** Why a test is skipped that depends on when input is read, if there is a reason. */
const byThread =
  process.env.OXWS_TRANSPORT === 'threads' &&
  'a thread reads when it likes, not when the loop does';

/** Why a test is skipped that depends on when a write gets on, if there is a reason. */
const byNode =
  (name !== 'oxws' || process.env.OXWS_TRANSPORT === 'stream' || process.platform === 'win32') &&
  'Node writes, and looks at how far it is only when the time is up';

module.exports = { byNode, byThread, closeCodeOf, directory, entry, isOxws: name === 'oxws', lib };
