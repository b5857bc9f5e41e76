'use strict';

const HeaderScanner = require('./header-scanner');

/**
 * The parameters of one offer. A parameter may be repeated, so each has a list of values; the value
 * of a parameter without one is `true`.
 *
 * @typedef {Object<string, (string|true)[]>} Parameters
 */

/**
 * Adds a value to the list kept under a key.
 *
 * @template T
 * @param {Object<string, T[]>} lists
 * @param {string} key
 * @param {T} value
 */
function append(lists, key, value) {
  (lists[key] ??= []).push(value);
}

/**
 * Reads the value of a parameter if it has one.
 *
 * @param {HeaderScanner} scanner
 * @returns {string|true}
 */
function readValue(scanner) {
  if (!scanner.skip('=')) return true;
  return scanner.next === '"' ? scanner.quotedToken() : scanner.token();
}

/**
 * Parses a `Sec-WebSocket-Extensions` header.
 *
 * @param {string} header The value of the header field
 * @returns {Object<string, Parameters[]>} The offers of each extension, in the order of the header
 * @throws {SyntaxError}
 */
function parse(header) {
  // Names come from the peer, so none of these objects has a prototype a name could collide with.
  const offers = Object.create(null);
  const scanner = new HeaderScanner(header);
  let separator;

  do {
    const name = scanner.leadingToken();
    const parameters = Object.create(null);

    separator = scanner.separator(';,');
    while (separator === ';') {
      const key = scanner.leadingToken();
      append(parameters, key, readValue(scanner));
      separator = scanner.separator(';,');
    }

    append(offers, name, parameters);
  } while (separator === ',');

  return offers;
}

/**
 * @template T
 * @param {T|T[]} value
 * @returns {T[]}
 */
function toList(value) {
  return Array.isArray(value) ? value : [value];
}

/**
 * @param {string} key
 * @param {(string|number|true)|(string|number|true)[]} values
 * @returns {string}
 */
function formatParameter(key, values) {
  return toList(values)
    .map((value) => (value === true ? key : `${key}=${value}`))
    .join('; ');
}

/**
 * @param {string} name The name of the extension
 * @param {Object} parameters
 * @returns {string}
 */
function formatOffer(name, parameters) {
  const parts = Object.entries(parameters).map(([key, values]) => formatParameter(key, values));
  return [name, ...parts].join('; ');
}

/**
 * Builds the value of a `Sec-WebSocket-Extensions` header.
 *
 * @param {Object<string, Object|Object[]>} extensions One or several sets of parameters by
 *   extension name
 * @returns {string}
 */
function format(extensions) {
  return Object.entries(extensions)
    .map(([name, offers]) =>
      toList(offers)
        .map((parameters) => formatOffer(name, parameters))
        .join(', ')
    )
    .join(', ');
}

module.exports = { format, parse };
