'use strict';

const { performance, process, timers } = require('./builtins');

const { clearInterval, setImmediate, setInterval, setTimeout } = timers;
const { nextTick } = process;

/** The time in milliseconds. */
const now = performance.now.bind(performance);

/*
 * Node's own timers and ticks, as they are when this package is loaded. Test frameworks replace the global ones by a
 * clock of their own, and some environments lack some of them. What ws leaves to Node's sockets and zlib must go on even
 * then, so it uses these. Where ws calls a global timer, this package does, too.
 */

module.exports = { clearInterval, nextTick, now, setImmediate, setInterval, setTimeout };
