'use strict';

/**
 * Random numbers that can be had again: the seed is reported with the test, OXWS_TEST_SEED sets it.
 */

/**
 * @param {import('node:test').TestContext} t The test that reports the seed
 * @returns {{int: (limit: number) => number, bytes: (length: number) => Buffer,
 *     pick: <T>(list: T[]) => T}}
 */
function seededRandom(t) {
  const seed = Number(process.env.OXWS_TEST_SEED || Math.floor(Math.random() * 2 ** 32));
  t.diagnostic(`OXWS_TEST_SEED=${seed}`);
  let state = seed >>> 0;

  // xorshift32 needs a state that is not 0.
  if (state === 0) state = 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };

  // Neighbouring seeds start out alike.
  for (let i = 0; i < 16; i++) next();

  const int = (limit) => next() % limit;
  return {
    int,
    bytes: (length) => Buffer.from(Array.from({ length }, () => int(256))),
    pick: (list) => list[int(list.length)]
  };
}

module.exports = { seededRandom };
