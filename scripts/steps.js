'use strict';

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** What ends a script: its message is all that somebody needs to read. */
class StepError extends Error {}

/**
 * Runs a program in the project's folder with its output going straight to the terminal.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 * @returns {import('node:child_process').SpawnSyncReturns<Buffer>} only when the exit code is 0
 */
function run(program, args, options) {
  const result = spawnSync(program, args, { cwd: root, stdio: 'inherit', ...options });

  if (result.error) throw new StepError(`${program} cannot be started: ${result.error.message}`);
  if (result.status !== 0) {
    const outcome = result.signal ? `was ended by ${result.signal}` : `failed (${result.status})`;
    throw new StepError(`${path.basename(program)} ${args.join(' ')} ${outcome}`);
  }
  return result;
}

/**
 * Runs cargo, with a sentence of help where there is none.
 *
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
function cargo(args, options) {
  const probe = spawnSync('cargo', ['--version'], { cwd: root });

  if (probe.error?.code === 'ENOENT') {
    throw new StepError(
      'cargo was not found: building oxws needs a Rust toolchain, see https://rustup.rs'
    );
  }
  return run('cargo', args, options);
}

/**
 * Runs npm: the one that started this script, where one did.
 *
 * @param {string[]} args
 */
function npm(args) {
  const script = process.env.npm_execpath;

  if (script?.endsWith('npm-cli.js')) return run(process.execPath, [script, ...args]);
  // On Windows npm is a batch file, which only a shell starts.
  return run('npm', args, { shell: process.platform === 'win32' });
}

/** @param {string} title */
function announce(title) {
  console.log(process.stdout.isTTY ? `\n\x1b[1m${title}\x1b[22m` : `\n== ${title}`);
}

/**
 * Runs a script's main function and turns what it throws into an exit code.
 *
 * @param {() => void | Promise<void>} main
 */
async function runMain(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof StepError ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}

module.exports = { StepError, announce, cargo, npm, root, run, runMain };
