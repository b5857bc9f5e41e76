'use strict';

const net = require('net');
const tls = require('tls');

const { Outbox, flushAll } = require('./outbox');

/*
 * The transport that works on every socket: Node reads and writes, Rust decodes. What is sent in one turn of the loop
 * is collected in an outbox; whoever touches the socket in the meantime finds it as if each frame had been written when
 * it was sent.
 */

const kOutbox = Symbol('outbox');

/** What a socket does only after the frames that were sent before it. */
const GUARDED_METHODS = ['write', 'end', 'destroy'];

/** What a socket tells only truthfully when it was given the frames sent so far. */
const GUARDED_PROPERTIES = ['bytesWritten', 'writableLength', 'writableNeedDrain'];

/** The property as the socket's class has it. */
function inherited(socket, name) {
  for (let holder = Object.getPrototypeOf(socket); holder; holder = Object.getPrototypeOf(holder)) {
    const descriptor = Object.getOwnPropertyDescriptor(holder, name);
    if (descriptor) return descriptor;
  }
  return undefined;
}

const guards = {};

for (const name of GUARDED_METHODS) {
  const guarded = function (...args) {
    // Everybody's frames, for the other end of this socket may live in this process too.
    flushAll();
    return Object.getPrototypeOf(this)[name].apply(this, args);
  };
  guards[name] = {
    configurable: true,
    enumerable: false,
    get() {
      return guarded;
    },
    // Somebody puts a method of their own in place: it sees what is sent from now on.
    set(value) {
      this[kOutbox].flush();
      Object.defineProperty(this, name, {
        configurable: true,
        enumerable: true,
        writable: true,
        value
      });
    }
  };
}

for (const name of GUARDED_PROPERTIES) {
  guards[name] = {
    configurable: true,
    enumerable: false,
    get() {
      this[kOutbox].flush();
      const property = inherited(this, name);
      return property && (property.get ? property.get.call(this) : property.value);
    }
  };
}

/**
 * Collects what a sender sends.
 *
 * @param {import('./sender')} sender
 * @param {import('stream').Duplex} socket
 */
function attachOutbox(sender, socket) {
  const isPlain = socket instanceof net.Socket && !(socket instanceof tls.TLSSocket);
  const outbox = new Outbox(socket, isPlain);
  Object.defineProperty(socket, kOutbox, { configurable: true, enumerable: false, value: outbox });
  for (const name of Object.keys(guards)) {
    // What the socket has as its own, somebody has put there.
    if (!Object.hasOwn(socket, name)) Object.defineProperty(socket, name, guards[name]);
  }
  sender._outbox = outbox;
}

module.exports = { attachOutbox };
