'use strict';

/** The figures of a run, by the names that bars and tables use. */
const figures = {
  throughput: 'messages_per_second',
  cpu: 'cpu_us_per_message',
  mainThread: 'main_thread_us_per_message',
  p50: 'p50_us',
  p99: 'p99_us',
  rss: 'rss_mb',
  memory: 'kb_per_connection',
  generatorLoad: 'generator_load'
};

/**
 * @typedef {{ median: number, min: number, max: number }} Summary
 * @typedef {Record<string, Summary>} Summaries summaries of a peer's runs, by figure
 */

/**
 * @param {number[]} values
 * @returns {Summary | undefined}
 */
function summarize(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

/**
 * @param {Record<string, any>[]} runs what the load generator said, once a round
 * @returns {Summaries}
 */
function summarizeRuns(runs) {
  const entries = Object.entries(figures).map(([figure, field]) => [
    figure,
    summarize(runs.map((run) => run[field] ?? NaN))
  ]);
  return Object.fromEntries(entries.filter(([, summary]) => summary));
}

/**
 * The median of one peer over that of another.
 *
 * @param {Summaries | undefined} ours
 * @param {Summaries | undefined} theirs
 * @param {string} figure
 */
function ratio(ours, theirs, figure) {
  const [a, b] = [ours?.[figure]?.median, theirs?.[figure]?.median];
  return a !== undefined && b > 0 ? a / b : undefined;
}

/**
 * The summaries of the peer that has most of a figure.
 *
 * @param {(Summaries | undefined)[]} candidates
 * @param {string} figure
 * @returns {Summaries | undefined}
 */
function best(candidates, figure) {
  const median = (summaries) => summaries?.[figure]?.median ?? -Infinity;
  return candidates.reduce((a, b) => (median(b) > median(a) ? b : a), undefined);
}

/**
 * What became of the bars of one scenario.
 *
 * @param {import('../bars').Bar[]} bars
 * @param {string[]} rivals
 * @param {Map<string, Summaries>} results by name of the peer
 */
function judge(bars, rivals, results) {
  return bars
    .filter((bar) => results.has(bar.peer))
    .map((bar) => {
      const other =
        bar.against === 'rivals'
          ? best(
              rivals.map((name) => results.get(name)),
              bar.figure
            )
          : results.get(bar.against);
      const value = ratio(results.get(bar.peer), other, bar.figure);
      const met = value === undefined ? undefined : value >= (bar.atLeast ?? -Infinity);
      return { bar, value, met: met && value <= (bar.atMost ?? Infinity) };
    });
}

module.exports = { best, judge, ratio, summarizeRuns };
