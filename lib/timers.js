'use strict';

const { clearInterval, setImmediate, setInterval, setTimeout } = require('timers');

const { nextTick } = process;
const { queueMicrotask } = globalThis;

/*
 * Node's own, as they are when the package is loaded. A test that turns the clock itself puts others in their place, and
 * other environments have others or lack some; what ws leaves to Node's sockets and zlib goes on nevertheless. What ws
 * asks for by its global name is asked for by that here, too.
 */

module.exports = { clearInterval, nextTick, queueMicrotask, setImmediate, setInterval, setTimeout };
