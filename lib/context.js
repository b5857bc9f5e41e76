'use strict';

const { AsyncResource } = require('async_hooks');

/**
 * A function for later that calls `callback` in the async context of now. `AsyncResource.bind()` takes ten times as long,
 * for it defines properties of each function that it makes.
 *
 * @param {(...args: any[]) => void} callback
 * @returns {(...args: any[]) => void}
 */
function inContext(callback) {
  const context = new AsyncResource('oxws');
  return (...args) => context.runInAsyncScope(callback, undefined, ...args);
}

module.exports = { inContext };
