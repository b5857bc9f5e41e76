'use strict';

const PerMessageDeflate = require('./permessage-deflate');
const extension = require('./extension');

const { extensionName: NAME } = PerMessageDeflate;
const { accept } = PerMessageDeflate.prototype;

/**
 * A server's side of the negotiation of extensions.
 *
 * Most clients offer the same, and are to be answered in the same way, so the last answer is kept for the next client.
 */
class Negotiation {
  constructor() {
    /** The server's option `perMessageDeflate`, and what it makes of it: connections share that while nobody changes it. */
    this.wanted = null;
    this.wantedNames = [];
    this.options = null;
    /** What was offered last, and the options that it was agreed to with. */
    this.offers = '';
    this.agreedWith = null;
    /** What was agreed on, and the header that says so. */
    this.params = null;
    this.names = [];
    this.answer = '';
  }

  /**
   * The compression of a new connection, on which nothing is agreed yet.
   *
   * @param {object} options the server's
   * @returns {PerMessageDeflate}
   */
  begin({ maxPayload, perMessageDeflate }) {
    if (
      !isSame(perMessageDeflate, this.wanted, this.wantedNames) ||
      maxPayload !== this.options.maxPayload
    ) {
      this.wanted = { ...perMessageDeflate };
      this.wantedNames = Object.keys(this.wanted);
      this.options = { ...perMessageDeflate, isServer: true, maxPayload };
    }
    return new PerMessageDeflate(this.options);
  }

  /**
   * Looks for permessage-deflate among a client's offers, and agrees.
   *
   * @param {PerMessageDeflate} deflate
   * @param {string} offers the request's `Sec-WebSocket-Extensions` header
   * @returns {boolean} whether it was offered
   * @throws {Error} if the header is malformed or no offer can be accepted
   */
  agree(deflate, offers) {
    const isKnown = offers === this.offers && deflate._options === this.agreedWith;
    if (isKnown && deflate.accept === accept) {
      deflate.params = copyOf(this.params);
      return true;
    }
    const configurations = extension.parse(offers)[NAME];
    if (configurations === undefined) return false;
    deflate.accept(configurations);
    if (deflate.accept === accept) {
      this.offers = offers;
      this.agreedWith = deflate._options;
      this.params = copyOf(deflate.params);
      this.names = Object.keys(this.params);
      this.answer = headerOf(deflate.params);
    }
    return true;
  }

  /**
   * The value of the header that tells the client what was agreed on.
   *
   * @param {object} params which may have been changed since
   * @returns {string}
   */
  answerWith(params) {
    return isSame(params, this.params, this.names) ? this.answer : headerOf(params);
  }
}

/** Without a prototype, as the header's parser makes them; see `sameKind` in `permessage-deflate`. */
function copyOf(params) {
  return Object.assign(Object.setPrototypeOf({}, null), params);
}

function headerOf(params) {
  return extension.format({ [NAME]: params });
}

/**
 * Nothing is allocated here, for this is done for each connection.
 *
 * @param {object} one
 * @param {object|null} other
 * @param {string[]} names of the properties of the other one
 * @returns {boolean} whether both have the same properties in the same order
 */
function isSame(one, other, names) {
  let count = 0;
  for (const name in one) {
    if (!Object.hasOwn(one, name)) continue;
    if (name !== names[count] || one[name] !== other[name]) return false;
    count++;
  }
  return other !== null && count === names.length;
}

module.exports = Negotiation;
