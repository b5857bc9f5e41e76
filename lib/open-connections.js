'use strict';

/*
 * What this copy of the package holds in the process only as long as it has open WebSockets. There may be many copies, as
 * in a test framework that loads modules anew for each file, and none that has nothing open is to be kept in memory.
 */

let count = 0;
const holders = [];

/**
 * @param {() => void} hold called when there are open WebSockets, from the first on
 * @param {() => void} letGo called when there are none any more
 */
function whileOpen(hold, letGo) {
  holders.push({ hold, letGo });
}

/** A WebSocket is given its socket. */
function opened() {
  count++;
  if (count === 1) holders.forEach(({ hold }) => hold());
}

/** The socket of a WebSocket has closed. */
function closed() {
  count--;
  if (count === 0) holders.forEach(({ letGo }) => letGo());
}

/** @returns {boolean} whether there are open WebSockets */
function isAnyOpen() {
  return count > 0;
}

module.exports = { closed, isAnyOpen, opened, whileOpen };
