'use strict';

const { now } = require('./timers');

/*
 * Frames that are gathered share one system call; a frame that leaves at once costs one of its own. A process that sends
 * little gains nothing by gathering, and its peers may lose: when it computes or blocks after `send()`, they hear of that
 * late. So its frames leave at once, as in ws.
 */

/** A process may send so many frames in a millisecond that each leaves at once. With 5 µs for each, that is 2.5 % of the time. */
const ALLOWED = 5;
/** What it has not made use of adds up to so many. */
const MOST_ALLOWED = 200;
/** Frames that are gathered are counted over so many milliseconds, at least. */
const WINDOW = 20;
/**
 * The clock is looked at for one in so many of them, for that takes as long as a tenth of an echo: of the first of those
 * that are to leave together, and when they took longer than `QUICK`, in milliseconds; then for ever fewer, down to one in
 * so many.
 */
const LOOK_FIRST = 8;
const LOOK_LAST = 64;
const QUICK = 0.5;
/** If as many take longer than this, in milliseconds, the process is busy with something else. */
const LONG = 5;

let allowance = MOST_ALLOWED;
let lastLook = now();
/** Whether frames are gathered; if so, since when they are counted, and how many there were. */
let isMuch = false;
let windowStart = 0;
let counted = 0;
/** After how many the clock is looked at again, and with which of them. */
let lookEach = LOOK_FIRST;
let lookAt = LOOK_FIRST;

/** To be called when the first of the frames is sent that will leave together. */
function beginGathering() {
  if (!isMuch) return;
  look(now());
  lookAfter(LOOK_FIRST);
}

/**
 * To be called for each frame that was sent.
 *
 * @returns {boolean} whether it is to leave at once, with what was gathered before
 */
function leavesAtOnce() {
  if (isMuch) return ++counted >= lookAt && look(now());
  const time = now();
  allowance = Math.min(allowance + (time - lastLook) * ALLOWED, MOST_ALLOWED);
  lastLook = time;
  if (allowance >= 1) {
    allowance--;
    return true;
  }
  isMuch = true;
  windowStart = time;
  counted = 0;
  lookAfter(LOOK_FIRST);
  return false;
}

/** Looks whether the process still sends much. Returns whether what was gathered is to leave. */
function look(time) {
  const sinceLast = time - lastLook;
  const elapsed = time - windowStart;
  lastLook = time;
  if (elapsed >= WINDOW) {
    isMuch = counted > elapsed * ALLOWED;
    allowance = MOST_ALLOWED;
    windowStart = time;
    counted = 0;
  }
  lookAfter(sinceLast < QUICK ? Math.min(lookEach * 2, LOOK_LAST) : LOOK_FIRST);
  return sinceLast > LONG || !isMuch;
}

function lookAfter(frames) {
  lookEach = frames;
  lookAt = counted + frames;
}

module.exports = { beginGathering, leavesAtOnce };
