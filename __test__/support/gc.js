'use strict';

const { setFlagsFromString } = require('node:v8');
const { runInNewContext } = require('node:vm');

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc');

/**
 * Whether garbage collection frees what the reference points to.
 *
 * @param {WeakRef<object>} reference
 * @returns {Promise<boolean>}
 */
async function isCollected(reference) {
  for (let i = 0; i < 20 && reference.deref() !== undefined; i++) {
    // A WeakRef keeps its target until the end of the turn that looked at it.
    await new Promise((resolve) => setImmediate(resolve));
    gc();
  }
  return reference.deref() === undefined;
}

module.exports = { isCollected };
