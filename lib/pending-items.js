'use strict';

const { cells, MORE, STOPPED, STRIDE } = require('./inbox');
const { areLost, fetchAll } = require('./items');

/*
 * Items that are described in the inbox and cannot be delivered yet: something else takes time first, or a listener has
 * thrown. Others would write over their descriptors, so a receiver keeps a copy of these.
 */

/**
 * Keeps descriptors. What was kept before comes behind them.
 *
 * @param {import('./receiver')} receiver
 * @param {number} at where in the inbox
 * @param {number} end
 * @param {number} stopped how decoding has stopped behind them
 * @param {boolean} [isInput] whether they describe input of a native connection
 */
function keep(receiver, at, end, stopped, isInput = true) {
  const { _arena: arena, _fetched: fetched, _pending: next } = receiver;
  // Most often it is one compressed frame, for which an array of its own is several times as small as a view.
  const items =
    end - at === STRIDE
      ? [cells[at], cells[at + 1], cells[at + 2], cells[at + 3]]
      : cells.slice(at, end);
  const all = isInput ? fetchAll(items, arena, fetched) : fetched;
  receiver._pending = { items, stopped, fetched: all, next };
}

/** As {@link keep}, but behind what was kept before. */
function keepLast(receiver, at, end) {
  const before = receiver._pending;
  receiver._pending = null;
  keep(receiver, at, end, MORE);
  if (before === null) return;
  let last = before;
  while (last.next !== null) last = last.next;
  last.next = receiver._pending;
  receiver._pending = before;
}

/**
 * Keeps what is left when a listener has thrown. If a listener has given the memory away in which that lies, it is lost, so
 * the connection ends.
 */
function keepRest(receiver, memory, at, end, stopped, isInput) {
  if (areLost(cells, at, end, memory)) receiver._lose();
  else keep(receiver, at, end, stopped, isInput);
}

/**
 * Puts descriptors that were kept into the inbox again.
 *
 * @param {import('./receiver')} receiver
 * @param {number} base where in the inbox
 * @param {boolean} single whether to keep all but one
 * @returns {number} how many there are
 */
function restore(receiver, base, single) {
  let { items, stopped } = receiver._pending;
  const { fetched, next } = receiver._pending;
  receiver._fetched = fetched;
  receiver._pending = next;
  if (single && items.length > STRIDE) {
    receiver._pending = { items: items.subarray(STRIDE), stopped, fetched, next };
    items = items.subarray(0, STRIDE);
  }
  if (receiver._pending !== null) stopped = MORE;
  cells.set(items, base);
  cells[STOPPED] = stopped;
  return items.length / STRIDE;
}

module.exports = { keep, keepLast, keepRest, restore };
