'use strict';

const { execFile } = require('node:child_process');
const path = require('node:path');

const packageModule = path.join(__dirname, 'package.js');

/**
 * Runs a function in a Node process of its own, with the package under test as its argument. The
 * function travels as text, so it can refer to nothing around it.
 *
 * @param {import('node:test').TestContext} t
 * @param {(WebSocket: any) => any} body
 * @param {object} [setup]
 * @param {Record<string, string>} [setup.env] added to the environment
 * @returns {Promise<{code: number | null, signal: string | null, stdout: string, stderr: string}>}
 */
function runInChild(t, body, { env } = {}) {
  const script = `(${body})(require(${JSON.stringify(packageModule)}))`;
  const options = { env: { ...process.env, ...env }, signal: t.signal };

  return new Promise((resolve) => {
    const child = execFile(process.execPath, ['-e', script], options, (error, stdout, stderr) => {
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr });
    });
  });
}

module.exports = { runInChild };
