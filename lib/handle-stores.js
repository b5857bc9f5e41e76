'use strict';

/*
 * What an `AsyncLocalStorage` stores is a property of the object that listeners run for (before Node 24). That is the
 * socket's handle, as in Node, which must not get another store by being told so again.
 *
 * A list of an object's symbols is 400 bytes of garbage, and it takes two for each connection. A visit makes none.
 */

/** The symbols that an object had when it was visited, and what they stood for. */
class Symbols {
  constructor() {
    this.keys = [];
    this.values = [];
    this.count = 0;
    const set = (_target, key, value) => {
      if (typeof key === 'symbol') this._add(key, value);
      return true;
    };
    this._visitor = new Proxy({}, { set });
  }

  _add(key, value) {
    this.keys[this.count] = key;
    this.values[this.count] = value;
    this.count++;
  }

  visit(object) {
    this.count = 0;
    Object.assign(this._visitor, object);
  }

  /** Lets go of what they stood for. */
  forget() {
    this.values.fill(undefined);
  }
}

/** For the next one. A hook may open a connection while another is being opened; that one gets its own. */
let spare = null;

/**
 * Notes the stores of a handle.
 *
 * @param {object} handle
 * @returns {object} for `putStoresBack()`
 */
function noteStores(handle) {
  const noted = spare ?? { before: new Symbols(), after: new Symbols() };
  spare = null;
  noted.before.visit(handle);
  return noted;
}

/** What came since comes behind, and has no store then. */
function putStoresBack(handle, noted) {
  const { before, after } = noted;
  after.visit(handle);
  for (let i = 0; i < after.count; i++) {
    if (after.values[i] !== before.values[i]) handle[after.keys[i]] = before.values[i];
  }
  before.forget();
  after.forget();
  spare = noted;
}

module.exports = { noteStores, putStoresBack };
