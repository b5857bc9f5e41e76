'use strict';

/*
 * Modules of Node's that ws does not use itself, or not in this way, for what it leaves to Node. A test that puts a mock in
 * place of one of them, or a clock of its own in place of Node's, means the program it tests, not Node: here they are as
 * Node has them.
 */

/** Some environments do not have it; some test frameworks have a process object of their own, but with it. */
const { getBuiltinModule: get } = process;

const { performance } = get?.('perf_hooks') ?? require('perf_hooks');

module.exports = {
  diagnosticsChannel: get?.('diagnostics_channel') ?? require('diagnostics_channel'),
  net: get?.('net') ?? require('net'),
  performance,
  process: get?.('process') ?? require('process'),
  timers: get?.('timers') ?? require('timers'),
  tls: get?.('tls') ?? require('tls')
};
