'use strict';

const { afterEach, beforeEach } = require('node:test');

/** Leaves uncaught exceptions to the tests of the suite at hand: the runner, which listens too, takes each for a failure. */
function takeUncaughtExceptions() {
  let listeners;

  beforeEach(() => {
    listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
  });

  afterEach(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
  });
}

module.exports = { takeUncaughtExceptions };
