'use strict';

const {
  COMPRESSED,
  FAILED,
  FETCHED,
  IN_CHUNK,
  KIND_MASK,
  PLACE_MASK,
  PLACE_SHIFT,
  STRIDE
} = require('./inbox');

/*
 * Where the bytes of items lie. Native connections share the arena, and a listener of any of them may give its memory away.
 * So only what is delivered in the same call lies there; what waits has memory of its own.
 */

/** Where the bytes lie that a descriptor speaks of. */
function place(head) {
  return (head >> PLACE_SHIFT) & PLACE_MASK;
}

/** Whether the bytes of an item lie in a chunk, or in the arena. */
function liesInChunk(items, at) {
  return place(items[at]) === IN_CHUNK && items[at + 2] !== 0 && (items[at] & KIND_MASK) !== FAILED;
}

/** Whether items are lost because a listener has given their memory away. */
function areLost(items, at, end, memory) {
  if (memory.byteLength > 0) return false;
  while (at < end && !liesInChunk(items, at)) at += STRIDE;
  return at < end;
}

/**
 * Gives what kept descriptors find in the arena memory of its own.
 *
 * @param {number[]|Int32Array} items is changed
 * @param {Buffer} arena
 * @param {Buffer[]} fetched
 * @returns {Buffer[]} with those, too
 */
function fetchAll(items, arena, fetched) {
  let all = fetched;
  for (let at = 0; at < items.length; at += STRIDE) {
    if (!liesInChunk(items, at)) continue;
    const start = items[at + 1] >>> 0;
    const bytes = arena.subarray(start, start + (items[at + 2] >>> 0));
    const isMessage = (items[at] & KIND_MASK) !== COMPRESSED;
    const kept = isMessage ? owned(bytes) : Buffer.from(bytes);
    items[at] += (FETCHED - IN_CHUNK) << PLACE_SHIFT;
    items[at + 1] = all.length;
    // Most often it is the only one, and what is pushed leaves room for more.
    if (all.length === 0) all = [kept];
    else if (all === fetched) all = fetched.concat([kept]);
    else all.push(kept);
  }
  return all;
}

/** A copy of what lies in the arena that its listener may give away as it may give away that. */
function owned(data) {
  if (Array.isArray(data)) return data.map(owned);
  if (!Buffer.isBuffer(data) || data.length === 0) return data;
  const copy = Buffer.allocUnsafeSlow(data.length);
  copy.set(data);
  return copy;
}

module.exports = { areLost, fetchAll, owned, place };
