'use strict';

const { net, tls } = require('./builtins');
const { Outbox, WATCHABLE, flushAll, isWatched } = require('./outbox');

/*
 * The transport that works on every socket: Node reads and writes, Rust decodes. What is sent in one turn of the loop
 * is collected in an outbox; whoever touches the socket in the meantime finds it as if each frame had been written when
 * it was sent.
 */

const kOutbox = Symbol('outbox');
/** On a socket that is being handed back: what must happen before it is destroyed. */
const kBeforeDestroyed = Symbol('before destroyed');
/** How many bytes were read and written by others before Node did that itself. */
const kCountsBefore = Symbol('counts before');

/** What a socket can tell truthfully only when it has been given the frames sent so far. */
const GUARDED_PROPERTIES = ['bytesWritten', 'writableLength', 'writableNeedDrain'];

/** Counters to which others have added, and which of the two counts that `countBefore()` gets belongs to each. */
const COUNTED = { bytesRead: 0, bytesWritten: 1 };

/** For each class of sockets the prototype that guarded ones have, and which prototypes are such. */
const guardedPrototypes = new WeakMap();
const guards = new WeakSet();

/** A property as the sockets of a class have it. */
function inheritedProperty(base, name) {
  for (let holder = base; holder; holder = Object.getPrototypeOf(holder)) {
    const descriptor = Object.getOwnPropertyDescriptor(holder, name);
    if (descriptor) return descriptor;
  }
  return undefined;
}

/** Whether a call does nothing to a Node socket that has ended. */
function isNeedless(base, name, args) {
  return name === 'end' && args.length === 0 && base.end === net.Socket.prototype.end;
}

function guardedMethod(base, name) {
  const guarded = function (...args) {
    // Everybody's frames, for the other end of this socket may live in this process too.
    flushAll();
    if (name === 'destroy') this[kBeforeDestroyed]?.();
    // Node would make an error that nobody gets to see.
    if (isNeedless(base, name, args) && this._writableState.finished) return this;
    return Reflect.get(base, name, this).apply(this, args);
  };
  const { enumerable } = inheritedProperty(base, name);
  return { configurable: true, enumerable, writable: true, value: guarded };
}

function guardedProperty(base, name) {
  const property = inheritedProperty(base, name);
  const isGuarded = GUARDED_PROPERTIES.includes(name);
  const count = COUNTED[name];
  return {
    configurable: true,
    enumerable: false,
    get() {
      if (isGuarded) this[kOutbox]?.flush();
      const value = property.get ? property.get.call(this) : property.value;
      const before = this[kCountsBefore];
      return before === undefined || count === undefined ? value : value + before[count];
    },
    set: property.set
  };
}

/**
 * The prototype of guarded sockets of a class. What a socket has as its own, somebody has put there: it is not guarded.
 *
 * @param {object} base the prototype of the class
 * @returns {object}
 */
function guardedPrototype(base) {
  let guarded = guardedPrototypes.get(base);
  if (guarded === undefined) {
    guarded = Object.create(base);
    for (const name of WATCHABLE) {
      if (name in base) Object.defineProperty(guarded, name, guardedMethod(base, name));
    }
    for (const name of new Set([...GUARDED_PROPERTIES, ...Object.keys(COUNTED)])) {
      if (name in base) Object.defineProperty(guarded, name, guardedProperty(base, name));
    }
    guardedPrototypes.set(base, guarded);
    guards.add(guarded);
  }
  return guarded;
}

/**
 * Collects what a sender sends.
 *
 * @param {import('./sender')} sender
 * @param {import('stream').Duplex} socket
 */
function attachOutbox(sender, socket) {
  const isPlain = socket instanceof net.Socket && !(socket instanceof tls.TLSSocket);
  const own = Object.getPrototypeOf(socket);
  const base = guards.has(own) ? Object.getPrototypeOf(own) : own;
  const guard = guardedPrototype(base);
  const outbox = isWatched(socket, base) ? null : new Outbox(socket, base, guard, isPlain);
  socket[kOutbox] = outbox;
  Object.setPrototypeOf(socket, guard);
  sender._outbox = outbox;
}

/**
 * Makes room for what a socket may be given here later. If it got properties after another prototype, V8 would make a
 * hidden class for each socket alone (before Node 24), and all that uses it would have to learn that class.
 *
 * @param {import('stream').Duplex} socket
 */
function makeRoom(socket) {
  socket[kOutbox] = undefined;
  socket[kBeforeDestroyed] = undefined;
  socket[kCountsBefore] = undefined;
}

/**
 * Has a socket's counters include what went past Node.
 *
 * @param {import('stream').Duplex} socket a guarded one
 * @param {number[]} counts how many bytes they have read, and written
 */
function countBefore(socket, counts) {
  socket[kCountsBefore] = counts;
}

module.exports = {
  attachOutbox,
  countBefore,
  guardedPrototype,
  inheritedProperty,
  kBeforeDestroyed,
  makeRoom
};
