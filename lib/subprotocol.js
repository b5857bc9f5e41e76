'use strict';

const HeaderScanner = require('./header-scanner');

/**
 * Parses a `Sec-WebSocket-Protocol` header.
 *
 * @param {string} header The value of the header field
 * @returns {Set<string>} The names, in the order of the header
 * @throws {SyntaxError}
 */
function parse(header) {
  const names = new Set();
  const scanner = new HeaderScanner(header);
  let separator;

  do {
    const name = scanner.leadingToken();
    separator = scanner.separator(',');

    if (names.has(name)) throw new SyntaxError(`The "${name}" subprotocol is duplicated`);
    names.add(name);
  } while (separator);

  return names;
}

module.exports = { parse };
