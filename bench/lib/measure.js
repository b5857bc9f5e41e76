'use strict';

const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const readline = require('node:readline');
const { promisify } = require('node:util');

const { targetFolder } = require('./peers.js');

const STARTING_TIMEOUT_MS = 20_000;
/** How much longer than its measured time a run may take: opening, settling, slow machines. */
const PATIENCE_MS = 60_000;

/**
 * One run: a fresh server process, the load generator, and what it found.
 *
 * @param {import('./peers').Peer} peer
 * @param {import('./scenarios').Scenario} scenario
 * @param {{ seconds: number, warmup: number, settle: number }} times
 * @returns {Promise<Record<string, any>>}
 */
async function measure(peer, scenario, times) {
  const server = await startServer(peer, scenario);
  try {
    return await generateLoad(server, scenario, times);
  } catch (error) {
    const note = server.lastWords();
    throw note ? new Error(`${error.message} (the server said: ${note})`, { cause: error }) : error;
  } finally {
    await server.stop();
  }
}

/** The role a server needs for a mode of the load generator. */
function roleOf({ mode }) {
  return mode === 'broadcast' || mode === 'push' ? mode : 'echo';
}

async function startServer(peer, scenario) {
  const [command, ...args] = peer.command();
  const task = [roleOf(scenario), scenario.deflate, String(scenario.size)];
  const child = spawn(command, [...args, ...task], {
    env: { ...process.env, ...peer.env },
    stdio: ['ignore', 'pipe', 'pipe']
  });
  const stop = async () => {
    process.off('exit', kill);
    kill();
    if (child.exitCode === null && child.signalCode === null && child.pid) {
      await once(child, 'exit');
    }
  };
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);

  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    words = (words + text).slice(-2000);
  });
  const lastWords = () => {
    const lines = words.split('\n').filter((line) => line.trim());
    return (lines.find((line) => /error/i.test(line)) ?? lines.at(-1) ?? '').trim();
  };

  try {
    return { port: await portOf(child), pid: child.pid, stop, lastWords };
  } catch (error) {
    await stop();
    const reason = `${error.message} ${lastWords()}`.trim();
    throw new Error(`the server did not start: ${reason}`, { cause: error });
  }
}

/** Waits for the line `listening PORT`. */
function portOf(child) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('it gave no port')), STARTING_TIMEOUT_MS);
    const settle = (settled, value) => {
      clearTimeout(timer);
      settled(value);
    };
    child.once('error', (error) => settle(reject, error));
    child.once('exit', (code, signal) => settle(reject, new Error(`exit ${signal || code}`)));
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      const match = /^listening (\d+)$/.exec(line);
      if (match) settle(resolve, Number(match[1]));
    });
  });
}

async function generateLoad(server, scenario, times) {
  const options = {
    port: server.port,
    pid: server.pid,
    connections: scenario.connections,
    depth: scenario.depth,
    size: scenario.size,
    type: scenario.type,
    deflate: scenario.deflate,
    placement: scenario.placement,
    ...times
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const loadgen = path.join(targetFolder(), 'release', 'loadgen');
  try {
    const { stdout } = await promisify(execFile)(loadgen, [scenario.mode, ...args], {
      timeout: times.seconds * 1000 + PATIENCE_MS
    });
    return JSON.parse(stdout);
  } catch (error) {
    throw new Error(error.stderr ? error.stderr.trim() : error.message, { cause: error });
  }
}

module.exports = { measure };
