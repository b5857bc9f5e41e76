'use strict';

/** A client with this many bytes waiting is not given more. */
const HIGH_WATER_MARK = 128 * 1024;

/** So many messages are sent to one client before the others and the event loop have their turn. */
const BATCH = 512;

/**
 * Keeps a growing set of clients supplied.
 *
 * @param {(client: any) => number} fill sends to one client what it has room for, at most `BATCH`
 *     messages, and returns how many
 * @returns {(client: any) => void} adds a client
 */
function pushLoop(fill) {
  const clients = new Set();

  function turn() {
    let sent = 0;
    for (const client of clients) sent += fill(client);
    // When all sockets are full, spinning would be charged to the messages.
    if (sent > 0) setImmediate(turn);
    else setTimeout(turn, 1);
  }

  return (client) => {
    clients.add(client);
    if (clients.size === 1) turn();
  };
}

module.exports = { BATCH, HIGH_WATER_MARK, pushLoop };
