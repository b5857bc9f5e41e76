'use strict';

const native = require('./native');
const { whileOpen } = require('./open-connections');
const { clearInterval, setInterval } = require('./timers');

/*
 * Which compressed connections keep their states, and which only what is needed to make them anew.
 */

/**
 * This many connections keep their states, 60 to 340 KiB each. The others keep only the text that their contexts
 * consist of; making the states anew from it takes about 5 µs.
 */
const MOST_AWAKE = 80;

/** A connection that has not used its states for this long, in milliseconds, gives them back, too. */
const IDLE_AFTER = 1000;

/** Instances that hold compressors. */
const awake = new Set();

let sweeper = null;

/** @param {PerMessageDeflate} instance has not been awake */
function keepAwake(instance) {
  awake.add(instance);
  if (awake.size > MOST_AWAKE) putToSleep(leastUsed());
}

/** Forgets an instance that has given its states back. */
function keepNoMore(instance) {
  awake.delete(instance);
}

/** Has the states looked after as long as there are any. */
function startSweeping() {
  sweeper ??= setInterval(sweep, IDLE_AFTER).unref();
}

/** Finds one that was not used since it was last looked at. */
function leastUsed() {
  for (const instance of awake) {
    if (!instance._wasUsed) return instance;
    instance._wasUsed = false;
    // Behind all others, where this loop comes to it again.
    awake.delete(instance);
    awake.add(instance);
  }
}

function putToSleep(instance) {
  awake.delete(instance);
  instance._sleep();
}

/** Puts those to sleep that were not used since the last time. */
function sweep() {
  for (const instance of awake) {
    if (instance._wasUsed) instance._wasUsed = false;
    else putToSleep(instance);
  }
  native.trimPool(awake.size === 0);
  if (awake.size === 0) stopSweeping();
}

function stopSweeping() {
  clearInterval(sweeper);
  sweeper = null;
}

/** Nobody has use for the states in the pool. */
function empty() {
  if (sweeper === null || awake.size > 0) return;
  native.trimPool(true);
  stopSweeping();
}

whileOpen(empty);

module.exports = { keepAwake, keepNoMore, startSweeping };
