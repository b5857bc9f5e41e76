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
    const start = items[at + 1] >>> 0;
    const length = items[at + 2] >>> 0;
    const kind = items[at] & KIND_MASK;
    if (kind === FAILED || place(items[at]) !== IN_CHUNK || length === 0) continue;
    const bytes = arena.subarray(start, start + length);
    if (all === fetched) all = [...fetched];
    items[at] += (FETCHED - IN_CHUNK) << PLACE_SHIFT;
    items[at + 1] = all.push(kind === COMPRESSED ? Buffer.from(bytes) : owned(bytes)) - 1;
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

module.exports = { fetchAll, owned, place };
