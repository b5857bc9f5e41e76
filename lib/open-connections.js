'use strict';

const { NOOP } = require('./constants');
const { setTimeout } = require('./timers');

/*
 * What this copy of the package holds in the process only as long as it has open WebSockets. There may be many copies, as
 * in a test framework that loads modules anew for each file, and none that has nothing open is to be kept in memory.
 */

/** Another WebSocket often follows the last one within so many milliseconds. */
const PAUSE = 20;

let count = 0;
let isHeld = false;
let timer = null;
const holders = [];

/**
 * @param {() => void} letGo called soon after there are no open WebSockets any more
 * @param {() => void} [hold] called when there are, from the first on
 */
function whileOpen(letGo, hold = NOOP) {
  holders.push({ hold, letGo });
}

/** A WebSocket is given its socket. */
function opened() {
  count++;
  if (isHeld) return;
  isHeld = true;
  for (const { hold } of holders) hold();
}

/** The socket of a WebSocket has closed. */
function closed() {
  count--;
  if (count === 0) timer ??= setTimeout(letGo, PAUSE).unref();
}

function letGo() {
  timer = null;
  if (count > 0) return;
  isHeld = false;
  for (const holder of holders) holder.letGo();
}

module.exports = { closed, opened, whileOpen };
