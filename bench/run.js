'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { bars, rivals } = require('./bars.js');
const { measure } = require('./lib/measure.js');
const { peers } = require('./lib/peers.js');
const { scenarios } = require('./lib/scenarios.js');
const { say, setUp } = require('./lib/setup.js');
const { judge, summarizeRuns } = require('./lib/statistics.js');
const { barLine, number, scenarioTable } = require('./lib/tables.js');

const usage = `usage: npm run bench -- [options]
  --scenario A,B     only these (default: all)
  --peer A,B         only these (default: all, with oxws as --transport says)
  --transport A,B    drivers of oxws: loop, stream, threads (default: loop)
  --rounds N         runs of every peer in every scenario (default: 5)
  --seconds S        measured time of a run (default: 2)
  --quick            all scenarios and the peers that bars compare, in less than five minutes
  --json FILE        where the figures go (default: bench/results/TIME.json)
  --list             show the names of scenarios and peers
  --help             show this`;

const quickPeers = ['ws', ...rivals];

function readOptions() {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string' },
      peer: { type: 'string' },
      transport: { type: 'string', default: 'loop' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false }
    }
  });
  const { quick } = values;
  const drivers = values.transport.split(',').map((transport) => `oxws-${transport}`);
  const allPeers = Object.keys(peers).filter((name) => !name.startsWith('oxws-'));
  const others = quick ? quickPeers : allPeers;
  const seconds = positive(values.seconds ?? (quick ? '0.5' : '2'), '--seconds');
  return {
    ...values,
    scenarios: choose(
      values.scenario,
      scenarios.map(({ name }) => name),
      'scenario'
    ).map((name) => scenarios.find((scenario) => scenario.name === name)),
    peers: choose(values.peer ?? [...drivers, ...others].join(','), Object.keys(peers), 'peer'),
    rounds: Math.ceil(positive(values.rounds ?? (quick ? '2' : '5'), '--rounds')),
    times: { seconds, warmup: quick ? 0.25 : 0.5, settle: quick ? 1 : 2 }
  };
}

function positive(text, name) {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} must be a number above zero\n${usage}`);
  return value;
}

/** The names of a comma-separated list, in the order of all names. */
function choose(list, all, kind) {
  if (list === undefined) return all;
  const wanted = list.split(',').map((name) => name.trim());
  const unknown = wanted.find((name) => !all.includes(name));
  if (unknown) throw new Error(`there is no ${kind} ${unknown}; there are ${all.join(', ')}`);
  return all.filter((name) => wanted.includes(name));
}

/** The peers that can run here; the others are named once. */
function availablePeers(names) {
  return names.filter((name) => {
    const reason = peers[name].missing();
    if (reason) say(`${name} is skipped: ${reason}.`);
    return !reason;
  });
}

/**
 * Runs one scenario: in every round each peer has its turn, and the round after starts with another
 * one, so that a slow minute of the machine falls on all of them.
 */
async function runScenario(scenario, names, options, progress) {
  const runs = new Map();
  const failures = new Map();
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(turn + round) % names.length];
      const label = `${scenario.name}, round ${round + 1} of ${options.rounds}, ${name}`;
      if (failures.has(name)) {
        progress(`${label}: left out after its failure`);
        continue;
      }
      try {
        const run = await measure(peers[name], scenario, options.times);
        runs.set(name, [...(runs.get(name) ?? []), run]);
        progress(`${label}: ${gist(run)}`);
      } catch (error) {
        failures.set(name, error.message);
        progress(`${label}: failed: ${error.message}`);
      }
    }
  }
  return { runs, failures };
}

function gist(run) {
  return run.kb_per_connection === undefined
    ? `${number(run.messages_per_second)} per second`
    : `${number(run.kb_per_connection)} KB per connection`;
}

function progressCounter(total) {
  let done = 0;
  return (sentence) =>
    say(`[${String(++done).padStart(String(total).length)}/${total}] ${sentence}`);
}

function environment(names) {
  const version = (folder) => {
    const file = path.join(__dirname, folder, 'package.json');
    return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')).version : undefined;
  };
  return {
    date: new Date().toISOString(),
    node: process.version,
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    processor: `${os.cpus().length} x ${os.cpus()[0]?.model.trim()}`,
    versions: {
      oxws: version('..'),
      ws: version('node_modules/ws'),
      bufferutil: version('node_modules/bufferutil'),
      eiows: version('node_modules/eiows'),
      bun:
        version('node_modules/@oven/bun-linux-x64') ??
        version('node_modules/@oven/bun-linux-aarch64')
    },
    peers: names
  };
}

function warnOfOtherLoad() {
  const load = os.loadavg()[0];
  if (load > os.cpus().length / 2) {
    say(`Other programs keep this machine busy (load ${load.toFixed(1)}): figures will be off.`);
  }
}

function printScenario(scenario, results, outcome, lacking, verdicts) {
  console.log(scenarioTable(scenario, results, rivals));
  for (const [name, reason] of lacking) console.log(`${name} takes no part: ${reason}.`);
  for (const [name, message] of outcome.failures) console.log(`${name} failed: ${message}`);
  for (const [name, runs] of outcome.runs) {
    if (runs.some((run) => run.uncompressed_replies > 0)) {
      console.log(`${name} left some replies uncompressed.`);
    }
  }
  if (verdicts.length > 0) console.log('');
  for (const verdict of verdicts) console.log(barLine(verdict));
  console.log('');
}

function printSummary(verdicts) {
  const judged = verdicts.filter(({ met }) => met !== undefined);
  if (judged.length === 0) return;
  const missed = judged.filter(({ met }) => !met);
  console.log(`### Bars: ${judged.length - missed.length} of ${judged.length} met`);
  for (const verdict of missed) console.log(`${verdict.bar.scenario}: ${barLine(verdict)}`);
}

function writeJson(file, content) {
  const target =
    file ??
    path.join(__dirname, 'results', `${content.environment.date.replace(/[:.]/g, '-')}.json`);
  fs.mkdirSync(path.dirname(path.resolve(target)), { recursive: true });
  fs.writeFileSync(target, `${JSON.stringify(content, null, 2)}\n`);
  say(`All figures are in ${path.relative('', target)}.`);
}

async function main() {
  const options = readOptions();
  if (options.help) return console.log(usage);
  if (options.list) {
    console.log(`scenarios:\n  ${scenarios.map(({ name }) => name).join('\n  ')}`);
    return console.log(
      `peers:\n  ${Object.entries(peers)
        .map(([name, { title }]) => `${name.padEnd(14)} ${title}`)
        .join('\n  ')}`
    );
  }

  setUp();
  const names = availablePeers(options.peers);
  warnOfOtherLoad();
  const plan = options.scenarios.map((scenario) => {
    const lacking = new Map(
      names.map((name) => [name, peers[name].lacks(scenario)]).filter(([, reason]) => reason)
    );
    return { scenario, lacking, names: names.filter((name) => !lacking.has(name)) };
  });
  const runsPlanned = plan.reduce((sum, { names }) => sum + names.length * options.rounds, 0);
  const progress = progressCounter(runsPlanned);

  const content = { environment: environment(names), times: options.times, scenarios: {} };
  const allVerdicts = [];
  for (const { scenario, lacking, names } of plan) {
    const outcome = await runScenario(scenario, names, options, progress);
    const results = new Map([...outcome.runs].map(([name, runs]) => [name, summarizeRuns(runs)]));
    const verdicts = judge(
      bars.filter((bar) => bar.scenario === scenario.name),
      rivals,
      results
    );
    allVerdicts.push(...verdicts);
    printScenario(scenario, results, outcome, lacking, verdicts);
    content.scenarios[scenario.name] = {
      runs: Object.fromEntries(outcome.runs),
      medians: Object.fromEntries(results),
      failures: Object.fromEntries(outcome.failures),
      bars: verdicts
    };
  }
  printSummary(allVerdicts);
  writeJson(options.json, content);
}

process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

main().catch((error) => {
  say(error.message);
  process.exitCode = 1;
});
