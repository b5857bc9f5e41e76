'use strict';

/**
 * What a server of the benchmark is asked to do: `node SERVER ROLE DEFLATE SIZE`.
 *
 * - role `echo`: every message goes back to its sender, with its type
 * - role `broadcast`: every message goes to all clients, the sender included
 * - role `push`: from its first message on, a client is sent binary messages of SIZE bytes as fast as
 *   `bufferedAmount` allows
 * - deflate `off`, `takeover` or `no-takeover`: permessage-deflate, for messages of any size
 */
const [role = 'echo', deflate = 'off', size = '128'] = process.argv.slice(2);

/** The `perMessageDeflate` option in ws's terms. */
const perMessageDeflate = deflate !== 'off' && {
  threshold: 0,
  serverNoContextTakeover: deflate === 'no-takeover',
  clientNoContextTakeover: deflate === 'no-takeover'
};

/** The message of the `push` role, which the load generator knows: the alphabet, repeated. */
const pushed = Buffer.alloc(Number(size), 'abcdefghijklmnopqrstuvwxyz');

/**
 * Tells the benchmark that the server is ready.
 *
 * @param {number} port
 */
function ready(port) {
  console.log(`listening ${port}`);
}

// The load generator asks for this before it looks at memory.
process.on('SIGUSR2', () => {
  if (process.versions.bun) globalThis.Bun.gc(true);
  else globalThis.gc();
});

module.exports = { role, deflate, perMessageDeflate, pushed, ready };
