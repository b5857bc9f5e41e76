'use strict';

const { EventEmitter } = require('events');
const { Readable, Writable } = require('stream');

const { net } = require('./builtins');
const native = require('./native');
const { READY_STATES, kWebSocket } = require('./constants');
const { guardedPrototype, inheritedProperty, makeRoom } = require('./stream-transport');
const { nextTick } = require('./timers');

/*
 * The prototype of sockets that Rust reads and writes: what looks at the byte stream has it handed back, what looks at
 * state is told the truth, everything else is as Node has it.
 */

/** On a native socket: its connection. */
const kNative = Symbol('native connection');

const Inherited = net.Socket.prototype;
/** What a socket has that was handed back. */
const HandedBack = guardedPrototype(Inherited);

const [, OPEN] = READY_STATES.keys();

/** What shows or changes the byte stream itself. */
const TAKES_THE_STREAM = [
  'cork',
  'pipe',
  'push',
  'setEncoding',
  'uncork',
  'unpipe',
  'unshift',
  'wrap',
  'write',
  'iterator',
  Symbol.asyncIterator
];

/** What does so only for some events. */
const TAKES_THE_STREAM_FOR = [
  'addListener',
  'emit',
  'listeners',
  'on',
  'once',
  'prependListener',
  'prependOnceListener',
  'rawListeners',
  'removeAllListeners'
];

/** Methods through which what arrives can be seen. */
const TAPS = ['emit', 'push', 'read'];

/** What does something else while the connection is native. */
const INSTEAD = {
  pause() {
    const { head, id } = this[kNative];
    const hasEnough = head !== null && head.length >= this.readableHighWaterMark;
    native.nativePause(id, hasEnough);
    if (this._readableState.flowing) {
      this._readableState.flowing = false;
      this.emit('pause');
    }
    return this;
  },

  resume() {
    const connection = this[kNative];
    const isWaiting = native.nativeResume(connection.id);
    if (!this._readableState.flowing) {
      this._readableState.flowing = true;
      connection.resume(isWaiting);
    }
    return this;
  },

  /** `read(0)` is how the stream prods itself. */
  read(size) {
    // There is nothing any more that Rust could know of.
    if (this._readableState.ended) return Inherited.read.call(this, size);
    if (size === 0) return null;
    takeBack(this);
    return this.read(size);
  },

  /** As if the receiver were told of data. */
  listenerCount(event, ...listener) {
    const count = Inherited.listenerCount.call(this, event, ...listener);
    const isHeard = event === 'data' && listener.length === 0 && this[kNative].hearsData();
    return isHeard ? count + 1 : count;
  },

  eventNames() {
    const names = Inherited.eventNames.call(this);
    return this[kNative].hearsData() ? [...names, 'data'] : names;
  },

  ref() {
    native.nativeRef(this[kNative].id, true);
    return Inherited.ref.call(this);
  },

  unref() {
    native.nativeRef(this[kNative].id, false);
    return Inherited.unref.call(this);
  },

  end(...args) {
    const [data] = args;
    // Node would make an error that nobody gets to see.
    if (args.length === 0 && this._writableState.finished) return this;
    if (data != null && typeof data !== 'function') this[kNative].handBack();
    else if (this[kWebSocket].readyState === OPEN) this[kNative].outbox.isRefusing = true;
    return Inherited.end.apply(this, args);
  },

  /** The socket ends when what was sent is written. */
  _final(callback) {
    const connection = this[kNative];
    if (connection.outbox.unwritten() === 0) Inherited._final.call(this, callback);
    else {
      connection.whenDrained = (error) => {
        if (error) callback(error);
        else Inherited._final.call(this, callback);
      };
    }
  },

  _destroy(error, callback) {
    const { _handle: handle, _writableState: state, [kNative]: connection } = this;
    const { outbox } = connection;
    connection.close();
    const whenDrained = connection.takeWhenDrained();
    const isEnding = whenDrained !== null;
    // Whoever has ended the socket is told behind the others. For the stream a write is under way until then.
    if (isEnding) state.writing = true;
    Inherited._destroy.call(this, error, callback);
    if (!isEnding && !outbox.hasAbandoned()) return;
    let reason = error ?? outbox.destroyedBy;
    // After the socket's own `'error'` event.
    nextTick(() => {
      outbox.prepare();
      if (isEnding) Inherited.end.call(this, (refusal) => (reason ??= refusal));
    });
    beforeClosed(handle, () => {
      outbox.tellAbandoned();
      if (isEnding) {
        state.writing = false;
        whenDrained(reason);
      }
    });
  }
};

/**
 * Calls `action` when the loop closes handles, before it tells that this one, which was just closed, is: then Node tells
 * those who wait for something to be written.
 */
function beforeClosed(handle, action) {
  // The last one that is closed is told first.
  const later = new handle.constructor(HANDLE_OF_A_SOCKET);
  later.close(action);
}

/** What is counted on both sides. */
const COUNTED = {
  bytesRead() {
    return native.nativeCounters(this[kNative].id)[0];
  },

  bytesWritten() {
    this[kNative].outbox.flush();
    const [, written] = native.nativeCounters(this[kNative].id);
    return written + this[kNative].outbox.queued();
  },

  /** The state's own length shows the backlog. */
  writableLength() {
    const { outbox } = this[kNative];
    outbox.flush();
    return outbox.waiting;
  }
};

/** The prototype of native sockets. */
const NativeSocket = Object.create(net.Socket.prototype);

/** While a large message is read into memory that was lent for it, nobody hears of what arrives. */
NativeSocket.setTimeout = function (...args) {
  this[kNative]?.endLoan();
  return Inherited.setTimeout.apply(this, args);
};

/** These methods may be called long after the socket has got its own back. */
function takeBack(socket) {
  const connection = socket[kNative];
  if (!connection) return;
  connection.handBack();
  connection.leaveWhenIdle(true);
}

/** A method; where it shows what arrives, putting another one in its place takes the stream. */
function defineMethod(name, value) {
  const { enumerable } = inheritedProperty(Inherited, name);
  const get = () => value;
  const set = function (other) {
    takeBack(this);
    Reflect.set(HandedBack, name, other, this);
  };
  const kind = TAPS.includes(name) ? { get, set } : { writable: true, value };
  Object.defineProperty(NativeSocket, name, { configurable: true, enumerable, ...kind });
}

for (const name of TAKES_THE_STREAM) {
  if (Inherited[name] === undefined) continue;
  defineMethod(name, function (...args) {
    takeBack(this);
    return HandedBack[name].apply(this, args);
  });
}

for (const name of TAKES_THE_STREAM_FOR) {
  const inherited = Inherited[name];
  defineMethod(name, function (...args) {
    const event = args[0];
    // Nobody listens for `'readable'`, or the stream would be back already.
    if (event === 'data' || (name !== 'emit' && (event === 'readable' || event === undefined))) {
      // Listeners that are added together all see what comes next, which is in a tick unless the socket is paused.
      this[kNative]?.handBack();
      if (this._readableState.flowing === false) this[kNative]?.leaveWhenIdle(true);
    }
    return inherited.apply(this, args);
  });
}

for (const [name, method] of Object.entries(INSTEAD)) {
  defineMethod(name, function (...args) {
    return (this[kNative] ? method : HandedBack[name]).apply(this, args);
  });
}

for (const [name, count] of Object.entries(COUNTED)) {
  const inherited = inheritedProperty(Inherited, name)?.get;
  Object.defineProperty(NativeSocket, name, {
    configurable: true,
    enumerable: false,
    get() {
      const more = count.call(this);
      return inherited.call(this) + more;
    }
  });
}

Object.defineProperty(NativeSocket, 'writableNeedDrain', {
  get() {
    if (this.writableEnded) return false;
    const { isFilling } = this[kNative].outbox;
    return isFilling || this.writableLength >= this.writableHighWaterMark;
  }
});

/** What `TCP` and `Pipe`, the classes of handles, are told to make: neither a server's nor a connecting one. */
const HANDLE_OF_A_SOCKET = 0;

/** Methods that Node's HTTP server leaves on a socket, as its class has them. */
const LEFTOVERS = ['addListener', 'on', 'prependListener'];

/** Whether a socket has an inherited method of its own only because an HTTP server left it there. */
function isLeftover(socket, name) {
  return LEFTOVERS.includes(name) && socket[name] === Inherited[name];
}

/** Methods that show, when they were replaced, that somebody wants to see or change the stream. */
const WATCHED = [
  'addListener',
  'destroy',
  'emit',
  'end',
  'on',
  'pause',
  'prependListener',
  'push',
  'read',
  'resume',
  'write'
];

/** The methods of all sockets that pass the byte stream on: as streams have them, or as they were at first. */
const PASSING = [
  ['push', Readable.prototype.push],
  ['write', Writable.prototype.write],
  ...['_write', '_writev', '_writeGeneric', 'read'].map((name) => [name, Inherited[name]])
];

/**
 * Whether a method was replaced, of this socket or of all, through which the byte stream can be seen or changed.
 *
 * @param {net.Socket} socket
 * @returns {boolean}
 */
function isWatched(socket) {
  for (let i = 0; i < PASSING.length; i++) {
    if (Inherited[PASSING[i][0]] !== PASSING[i][1]) return true;
  }
  if (Inherited.emit !== EventEmitter.prototype.emit) return true;
  for (let i = 0; i < WATCHED.length; i++) {
    if (Object.hasOwn(socket, WATCHED[i]) && !isLeftover(socket, WATCHED[i])) return true;
  }
  return false;
}

/** The methods that frames would go through, or that come behind what was sent. */
const { cork: CORK, end: END, write: WRITE } = NativeSocket;
/** Those that what arrives would go through, or that keep it back. */
const { emit: EMIT, pause: PAUSE, push: PUSH, read: READ, resume: RESUME } = NativeSocket;

/** Whether somebody has put a method of their own on a native socket that is to see what is sent. */
function isSendingWatched(socket) {
  return socket.write !== WRITE || socket.end !== END || socket.cork !== CORK;
}

/** The same for what arrives. */
function isReadingWatched(socket) {
  return (
    socket.pause !== PAUSE ||
    socket.resume !== RESUME ||
    socket.emit !== EMIT ||
    socket.push !== PUSH ||
    socket.read !== READ
  );
}

/** What Node's HTTP server left is replaced: a socket of which a property is deleted takes a kilobyte more. */
function replaceOwn(socket, from, to) {
  for (let i = 0; i < LEFTOVERS.length; i++) {
    const name = LEFTOVERS[i];
    if (Object.hasOwn(socket, name) && socket[name] === from[name]) socket[name] = to[name];
  }
}

/**
 * Makes a socket a native one.
 *
 * @param {net.Socket} socket
 * @param {import('./native-connection').NativeConnection} connection
 */
function putOn(socket, connection) {
  socket[kNative] = connection;
  makeRoom(socket);
  replaceOwn(socket, Inherited, NativeSocket);
  Object.setPrototypeOf(socket, NativeSocket);
}

/** Makes it one as the stream transport has them. */
function takeOff(socket) {
  Object.setPrototypeOf(socket, HandedBack);
  replaceOwn(socket, NativeSocket, Inherited);
}

module.exports = { isReadingWatched, isSendingWatched, isWatched, kNative, putOn, takeOff };
