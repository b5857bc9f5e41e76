'use strict';

const { now } = require('./timers');

/*
 * Frames that are gathered share one system call; a frame that leaves at once costs one of its own. A process that sends
 * little gains nothing by gathering, and its peers may lose: when it computes or blocks after `send()`, they hear of that
 * late. So its frames leave at once, as in ws.
 */

/** A process that sends more frames than this in a millisecond sends much. With 5 µs for each, that is 2 % of the time. */
const MUCH = 5;
/** Over so many milliseconds, at least, frames are counted. */
const WINDOW = 20;
/** Of the frames sent within a millisecond, so many leave at once; and with more than so many the process sends much. */
const BURST = 16;
const LARGE_BURST = 64;

let windowStart = now();
let counted = 0;
let isMuch = false;
let burstStart = 0;
let burst = 0;

/** To be called when the first of the frames is sent that will leave together. */
function beginGathering() {
  if (!isMuch) return;
  const time = now();
  if (time - windowStart >= WINDOW) startWindow(time);
}

function startWindow(time) {
  isMuch = counted > (time - windowStart) * MUCH;
  windowStart = time;
  counted = 0;
}

/**
 * To be called for each frame that was sent.
 *
 * @returns {boolean} whether it is to leave at once, with what was gathered before
 */
function leavesAtOnce() {
  counted++;
  return !isMuch && isTimely();
}

function isTimely() {
  const time = now();
  if (time - windowStart >= WINDOW) startWindow(time);
  if (time - burstStart >= 1) {
    burstStart = time;
    burst = 0;
  }
  if (++burst > LARGE_BURST) isMuch = true;
  return !isMuch && burst <= BURST;
}

module.exports = { beginGathering, leavesAtOnce };
