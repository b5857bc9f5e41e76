'use strict';

/**
 * Lets at most a given number of jobs run at the same time; the others wait in order.
 */
class Limiter {
  /** @param {number} [concurrency] the most jobs that run at once; no limit when it is 0 or missing */
  constructor(concurrency) {
    this.concurrency = concurrency || Infinity;
    this.running = 0;
    this.waiting = [];
  }

  /**
   * Runs `job` now, or as soon as one of those that run has ended.
   *
   * @param {(release: () => void) => void} job must call `release` once, when it has ended
   */
  add(job) {
    if (this.running >= this.concurrency) {
      this.waiting.push(job);
      return;
    }
    this.running++;
    job(() => {
      this.running--;
      if (this.waiting.length > 0) this.add(this.waiting.shift());
    });
  }
}

module.exports = Limiter;
