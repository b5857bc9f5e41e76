'use strict';

const { readFileSync } = require('node:fs');
const path = require('node:path');

/**
 * Certificates for tests over TLS: an authority, a server named localhost and 127.0.0.1, and a
 * client, also in one file with its key, under a passphrase. They protect nothing; they were made
 * once with openssl, for a hundred years, and the authority's key was thrown away.
 *
 * @param {string} file
 * @returns {Buffer}
 */
const read = (file) => readFileSync(path.join(__dirname, 'tls', file));
const pem = (name) => read(`${name}.pem`);

module.exports = {
  authority: pem('ca'),
  server: { cert: pem('server'), key: pem('server-key') },
  client: { cert: pem('client'), key: pem('client-key') },
  clientFile: { pfx: read('client.p12'), passphrase: 'oxws' }
};
