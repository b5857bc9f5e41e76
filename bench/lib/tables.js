'use strict';

const { best, ratio } = require('./statistics.js');

/** From here on the load generator itself is the limit. */
const GENERATOR_SATURATED = 0.95;

function number(value) {
  if (value === undefined) return '-';
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits
  });
}

/** A ratio needs more digits the smaller it is: bars go down to 0.025. */
function factor(value) {
  if (value === undefined) return '-';
  return value >= 10 ? value.toFixed(1) : value >= 0.2 ? value.toFixed(2) : value.toFixed(3);
}

/** One column: its heading, and what it shows of a peer. */
const median = (figure) => (row) => number(row.summaries[figure]?.median);
const spread = (figure) => (row) => {
  const summary = row.summaries[figure];
  return summary ? `${number(summary.min)} to ${number(summary.max)}` : '-';
};
const xWs = (figure) => (row) => factor(ratio(row.summaries, row.ws, figure));

const loadColumns = ([one, many]) => [
  [`${many}/s`, (row) => median('throughput')(row) + (isSaturated(row.summaries) ? '*' : '')],
  ['min to max', spread('throughput')],
  ['x ws', xWs('throughput')],
  ['x best rival', (row) => factor(ratio(row.summaries, row.bestRival, 'throughput'))],
  ['p50 us', median('p50')],
  ['p99 us', median('p99')],
  [`CPU us/${one}`, median('cpu')],
  ['x ws', xWs('cpu')],
  ['main thread us', median('mainThread')],
  ['x ws', xWs('mainThread')],
  ['RSS MB', median('rss')]
];

const memoryColumns = [
  ['KB per connection', median('memory')],
  ['min to max', spread('memory')],
  ['x ws', xWs('memory')],
  ['RSS MB', median('rss')]
];

/** What is counted, one and many, where it is not simply messages. */
const units = { broadcast: ['delivery', 'deliveries'], handshakes: ['handshake', 'handshakes'] };

function columnsOf({ mode }) {
  return mode === 'idle' ? memoryColumns : loadColumns(units[mode] ?? ['msg', 'msgs']);
}

function isSaturated(summaries) {
  return summaries.generatorLoad?.median >= GENERATOR_SATURATED;
}

/**
 * The result of a scenario as a Markdown table.
 *
 * @param {import('./scenarios').Scenario} scenario
 * @param {Map<string, import('./statistics').Summaries>} results
 * @param {string[]} rivals
 */
function scenarioTable(scenario, results, rivals) {
  const columns = columnsOf(scenario);
  const figure = scenario.mode === 'idle' ? 'memory' : 'throughput';
  const rows = [...results].map(([name, summaries]) => ({
    name,
    summaries,
    ws: results.get('ws'),
    bestRival: best(
      rivals.filter((rival) => rival !== name).map((rival) => results.get(rival)),
      'throughput'
    )
  }));
  const order = scenario.mode === 'idle' ? 1 : -1;
  const value = (row) => row.summaries[figure]?.median ?? 0;
  rows.sort((a, b) => order * (value(a) - value(b)));

  const lines = [
    ['peer', ...columns.map(([heading]) => heading)],
    ...rows.map((row) => [row.name, ...columns.map(([, show]) => show(row))])
  ];
  const notes = rows.some((row) => isSaturated(row.summaries))
    ? ['* The load generator was busy all the time: the server may be able to do more.']
    : [];
  return [`### ${scenario.name}`, '', ...markdown(lines), ...notes].join('\n');
}

function markdown(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const format = (line) => {
    const cells = line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
    );
    return `| ${cells.join(' | ')} |`;
  };
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`
  );
  return [format(lines[0]), format(rule), ...lines.slice(1).map(format)];
}

const names = {
  throughput: 'throughput',
  cpu: 'CPU per message',
  mainThread: 'main-thread CPU per message',
  p99: 'p99 latency',
  memory: 'memory per connection'
};

/**
 * One line for a bar: whether it is met, and by how much.
 *
 * @param {ReturnType<import('./statistics').judge>[number]} verdict
 */
function barLine({ bar, value, met }) {
  const against = bar.against === 'ws' ? 'ws' : 'the best rival';
  const bound =
    bar.atLeast === undefined ? `at most ${factor(bar.atMost)}` : `at least ${factor(bar.atLeast)}`;
  const word = met === undefined ? 'open  ' : met ? 'met   ' : 'MISSED';
  return `${word} ${bar.peer}: ${names[bar.figure]} ${factor(value)} x ${against} (bar: ${bound})`;
}

module.exports = { barLine, number, scenarioTable };
