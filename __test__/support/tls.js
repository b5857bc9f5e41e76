'use strict';

const { readFileSync } = require('node:fs');
const path = require('node:path');

/**
 * Certificates for tests over TLS: an authority, a server named localhost and 127.0.0.1, and a
 * client. They protect nothing; they were made once with openssl, for a hundred years, and the
 * authority's key was thrown away.
 *
 * @param {string} name
 * @returns {Buffer}
 */
const pem = (name) => readFileSync(path.join(__dirname, 'tls', `${name}.pem`));

module.exports = {
  authority: pem('ca'),
  server: { cert: pem('server'), key: pem('server-key') },
  client: { cert: pem('client'), key: pem('client-key') }
};
