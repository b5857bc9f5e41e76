'use strict';

const net = require('net');

const {
  cells,
  FETCHED,
  ARENA_USED,
  BUSY,
  IN_INPUT,
  MORE,
  LENT,
  PLACE_MASK,
  PLACE_SHIFT,
  STRIDE,
  TOP
} = require('./inbox');
const native = require('./native');
const NativeOutbox = require('./native-outbox');
const { EMPTY_BUFFER } = require('./constants');
const { systemError } = require('./failure');
const { flushAll } = require('./outbox');
const { attachOutbox } = require('./stream-transport');
const { isNative, threads } = require('./transport-choice');

/*
 * The transport for plain TCP and Unix-domain sockets: Rust reads and writes the socket's descriptor, on Node's own loop
 * or on threads of its own, past the stream machinery. The socket stays a real net.Socket, with everything that is known
 * of it told truthfully. Whoever touches its byte stream gets it back: from then on the stream transport carries on where
 * this one stood.
 */

const kNative = Symbol('native connection');
const kLate = Symbol('late input');

/** What the Rust side tells (see `src/binding/transport/driver.rs`). */
const READ = 0;
const WRITABLE = 1;
const EOF = 2;
const ERROR = 3;
const WRITE_ERROR = 4;

/** What a handle does whose bytes Rust waits for. */
const readNothing = () => 0;

/** Small payloads are copied into shared memory of this size, which is what keeping one of them costs at most. */
const ARENA_SIZE = 8 * 1024;

const NOTHING_FETCHED = Object.freeze([]);

let arena = EMPTY_BUFFER;

/** By the numbers the Rust side knows them under. */
const connections = [];

/** Whether the Rust side runs here; found out when it is first needed. */
let isStarted;

function start() {
  if (isStarted === undefined) {
    arena = Buffer.allocUnsafeSlow(ARENA_SIZE);
    const onBroken = (id, errno) => dispatch(id, WRITE_ERROR, errno);
    isStarted = isNative && NativeOutbox.start(dispatch, onBroken, arena, threads);
  }
  return isStarted;
}

function dispatch(id, event, detail) {
  const connection = connections[id];
  if (connection !== undefined) connection.on(event, detail);
}

/**
 * A socket that Rust reads and writes.
 */
class NativeConnection {
  constructor(socket, head, receiver, sender, onData) {
    this.socket = socket;
    this.receiver = receiver;
    this.sender = sender;
    /** The listener of `'data'` that the stream transport will use. */
    this.onData = onData;
    // Listeners run in the async context in which the connection is made, here.
    this.id = native.nativeOpen(
      socket._handle.fd,
      receiver._id,
      !receiver._isServer,
      head === null && receiver._allowSynchronousEvents
    );
    this.outbox = new NativeOutbox(this.id, socket, !receiver._isServer);
    /** Whether the receiver is being told about input right now. */
    this.isTelling = false;
    /** Whether the byte stream was asked for and reading moves over when the input at hand is used up. */
    this.isLeaving = false;
    this.isDiscarding = false;
    /** Whether what is unread was given to the receiver. */
    this.isRescued = false;
    /** Whether the peer has sent all it will send. */
    this.hasEnded = false;
    /** What the socket had read before, until it is delivered. */
    this.head = head;
    /** Memory that Rust reads a large message into. */
    this.lent = null;
    /** Whom to tell that everything sent is written. */
    this.whenDrained = null;
    connections[this.id] = this;
  }

  /** Something happened to the connection. */
  on(event, detail) {
    switch (event) {
      case READ:
        this.onInput(detail);
        break;
      case WRITABLE:
        this.outbox.onProgress();
        if (detail === 0) this.onDrained();
        break;
      case EOF:
        this.hasEnded = true;
        this.handBack();
        break;
      case ERROR:
        this.socket.destroy(systemError('read', detail));
        break;
      case WRITE_ERROR:
        this.onWriteError(systemError('write', detail));
        break;
      default:
        this.onLend(detail);
    }
  }

  /** @param {number} count how many items are described in the inbox; -1: none yet */
  onInput(count) {
    const { receiver, socket } = this;
    if (socket.timeout > 0) socket._unrefTimer();
    if (count > 0) this.secure(cells[TOP], count);
    this.isTelling = true;
    try {
      receiver._takeInput(count);
    } finally {
      this.isTelling = false;
    }
    if (receiver._writableState.length > 0) cells[BUSY] = 1;
    if (this.isLeaving) this.leaveWhenIdle();
  }

  /** Memory for a large message, of which a good part has arrived. Without it the message is put together in Rust. */
  onLend(size) {
    try {
      this.lent = Buffer.allocUnsafeSlow(size);
    } catch {
      return;
    }
    native.nativeLend(this.id, this.lent);
  }

  /**
   * Has Rust describe what is in the input.
   *
   * @param {number} base where in the inbox
   * @param {boolean} single whether to stop after one item
   * @returns {number} how many descriptors there are
   */
  fill(base, single) {
    const count = native.nativeFill(this.id, base, single);
    this.secure(base, count);
    return count;
  }

  /** Notes where the payloads lie that were just described. */
  secure(base, count) {
    this.receiver._arena = arena;
    if (cells[ARENA_USED] === 1) {
      arena = Buffer.allocUnsafeSlow(ARENA_SIZE);
      native.nativeSetArena(arena);
      cells[ARENA_USED] = 0;
    }
    this.fetch(base, count);
  }

  /** Large payloads are fetched before anything can happen to the input. */
  fetch(base, count) {
    let fetched = NOTHING_FETCHED;
    for (let at = base; at < base + count * STRIDE; at += STRIDE) {
      const place = (cells[at] >> PLACE_SHIFT) & PLACE_MASK;
      let bytes;
      if (place === IN_INPUT) {
        bytes = Buffer.allocUnsafeSlow(cells[at + 2] >>> 0);
        native.nativeTake(this.id, cells[at + 1] >>> 0, bytes);
      } else if (place === LENT) {
        bytes = this.lent;
        this.lent = null;
      } else {
        continue;
      }
      cells[at] += (FETCHED - place) << PLACE_SHIFT;
      if (fetched === NOTHING_FETCHED) fetched = [];
      cells[at + 1] = fetched.push(bytes) - 1;
    }
    this.receiver._fetched = fetched;
  }

  /** The receiver is done with a chunk, which may have been the input it was told about. */
  chunkDone(wasInput) {
    if (this.receiver._connection === null) return;
    if (!wasInput && this.receiver._allowSynchronousEvents) native.nativeDescribe(this.id, true);
    if (this.isLeaving) this.leaveWhenIdle();
    else if (wasInput && !this.isTelling && !this.socket.isPaused()) native.nativeResume(this.id);
  }

  onDrained() {
    const { socket, whenDrained } = this;
    if (socket.timeout > 0) socket._unrefTimer();
    if (whenDrained !== null) {
      this.whenDrained = null;
      whenDrained();
    }
    socket.emit('drain');
  }

  /** As in Node, the callbacks of what is lost come first. */
  onWriteError(error) {
    const { outbox, socket } = this;
    outbox.fail(error, native.nativeCounters(this.id)[1]);
    process.nextTick(() => {
      try {
        outbox.tellWaiters();
      } finally {
        socket.destroy(error);
      }
    });
  }

  /** Hands the byte stream back to the socket. */
  handBack() {
    if (this.isLeaving) return;
    this.isLeaving = true;
    const { outbox, sender, socket } = this;
    outbox.flush();
    native.nativePause(this.id, true);
    const unsent = native.nativeUnsent(this.id);
    outbox.isMoved = true;
    restorePrototype(socket);
    if (unsent.length > 0) socket.write(unsent, (error) => outbox.settle(error));
    else outbox.settle(null);
    attachOutbox(sender, socket);
    if (!this.isDiscarding) socket.on('data', this.onData);
    process.nextTick(() => this.leaveWhenIdle());
  }

  /** What the receiver is busy with comes first. */
  leaveWhenIdle() {
    const { receiver } = this;
    const isIdle = receiver._writableState.length === 0 && !receiver._isInput;
    if (isIdle || receiver._errored) {
      this.leave();
    } else if (this.hasEnded && this.canRescue()) {
      // The end is told when it comes; what the receiver is busy with goes on without this connection.
      this.rescueInput();
      this.leave();
    }
  }

  /** Lets the socket read again. */
  leave() {
    const { socket } = this;
    if (socket[kNative] === undefined) return;
    const unread = native.nativeUnread(this.id, true);
    if (native.nativeHungUp(this.id)) this.hasEnded = true;
    this.forget();
    this.receiver._track();
    socket[kNative] = undefined;
    const handle = socket._handle;
    if (handle) {
      delete handle.readStart;
      handle.reading = !this.hasEnded;
      // As Node has it: the handle reads, and stops when the stream has enough.
      if (!this.hasEnded) handle.readStart();
    }
    if (unread.length > 0 && !this.isDiscarding && !this.isRescued) socket.unshift(unread);
    if (this.head !== null) socket.unshift(this.head);
    this.head = null;
    if (this.hasEnded) {
      socket.push(null);
      socket.read(0);
    }
  }

  /** Delivers what the socket had read before it was taken over. */
  deliverHead() {
    const { head, receiver, socket } = this;
    if (head === null || this.isLeaving || socket.isPaused()) return;
    this.head = null;
    receiver.write(head);
  }

  /** Whether nothing is described both in JavaScript and in Rust. */
  canRescue() {
    return this.receiver._pending === null || !native.nativeHolds(this.id);
  }

  /** What was read goes to the receiver, which is busy, or will not be told of it any more. */
  rescueInput() {
    const { receiver } = this;
    this.isRescued = true;
    if (receiver._isInput) {
      if (native.nativeHolds(this.id) && this.canRescue()) this.keepHeld();
      receiver._rest = native.nativeUnread(this.id, false);
      return;
    }
    const unread = native.nativeUnread(this.id, false);
    if (this.socket.isPaused()) {
      this.socket[kLate] = Buffer.concat([unread, native.nativeReadOnce(this.id)]);
    } else if (unread.length > 0 && !this.isDiscarding) {
      receiver.write(unread);
    }
  }

  /** Has an item described for which there was no room, and keeps it behind those that are being delivered. */
  keepHeld() {
    const { receiver } = this;
    const { _arena: before, _fetched: fetched } = receiver;
    const base = cells[TOP];
    const count = this.fill(base, true);
    receiver._keep(base, base + count * STRIDE, MORE);
    receiver._arena = before;
    receiver._fetched = fetched;
  }

  forget() {
    this.keepCounts();
    native.nativeClose(this.id);
    connections[this.id] = undefined;
    this.receiver._connection = null;
  }

  /** What went through Rust still counts when the socket reads and writes itself, or is gone. */
  keepCounts() {
    const [read, written] = native.nativeCounters(this.id);
    for (const [name, before] of [
      ['bytesRead', read],
      ['bytesWritten', written]
    ]) {
      const guard = Object.getOwnPropertyDescriptor(this.socket, name);
      const getter = guard ? guard.get : inheritedGetter(name);
      Object.defineProperty(this.socket, name, {
        configurable: true,
        enumerable: false,
        get() {
          return getter.call(this) + before;
        }
      });
    }
  }

  /** The socket is being destroyed. */
  close(error) {
    const { socket } = this;
    flushAll();
    this.outbox.flush();
    // It had arrived before.
    this.rescueInput();
    this.sender._outbox = null;
    if (!this.isLeaving) {
      restorePrototype(socket);
      this.outbox.abandon();
    }
    this.forget();
    socket[kNative] = undefined;
    const { whenDrained } = this;
    if (whenDrained !== null) whenDrained(error);
  }
}

const Inherited = net.Socket.prototype;

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

/** What does something else while the connection is native. */
const INSTEAD = {
  pause() {
    native.nativePause(this[kNative].id, false);
    if (this._readableState.flowing) {
      this._readableState.flowing = false;
      this.emit('pause');
    }
    return this;
  },

  resume() {
    native.nativeResume(this[kNative].id);
    if (!this._readableState.flowing) {
      this._readableState.flowing = true;
      process.nextTick(() => {
        if (this[kNative]) this[kNative].deliverHead();
        this.emit('resume');
      });
    }
    return this;
  },

  /** `read(0)` is how the stream prods itself. */
  read(size) {
    if (size === 0) return null;
    this[kNative].handBack();
    return this.read(size);
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
    if (data != null && typeof data !== 'function') this[kNative].handBack();
    return Inherited.end.apply(this, args);
  },

  /** The socket ends when what was sent is written. */
  _final(callback) {
    const connection = this[kNative];
    connection.outbox.flush();
    native.nativeSettle(connection.id);
    if (connection.outbox.queued() === 0) Inherited._final.call(this, callback);
    else {
      connection.whenDrained = (error) => {
        if (error) callback(error);
        else Inherited._final.call(this, callback);
      };
    }
  },

  _destroy(error, callback) {
    const connection = this[kNative];
    connection.close(error);
    Inherited._destroy.call(this, error, callback);
    // After the socket's own `'error'` event.
    process.nextTick(() => connection.outbox.tellAbandoned());
  }
};

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
    if (!outbox.isShown) outbox.showBacklog();
    return 0;
  }
};

/** The prototype of native sockets. */
const NativeSocket = Object.create(net.Socket.prototype);

function inheritedGetter(name) {
  for (let holder = Inherited; holder; holder = Object.getPrototypeOf(holder)) {
    const property = Object.getOwnPropertyDescriptor(holder, name);
    if (property) return property.get;
  }
  return undefined;
}

/** These methods may be called long after the socket has got its own back. */
function takeBack(socket) {
  const connection = socket[kNative];
  if (!connection) return;
  connection.handBack();
  connection.leaveWhenIdle();
}

/** A method; putting another one in its place takes the stream, for somebody wants to see what goes through it. */
function defineMethod(name, method) {
  Object.defineProperty(NativeSocket, name, {
    configurable: true,
    enumerable: false,
    get() {
      return method;
    },
    set(value) {
      takeBack(this);
      Object.defineProperty(this, name, {
        configurable: true,
        enumerable: true,
        writable: true,
        value
      });
    }
  });
}

for (const name of TAKES_THE_STREAM) {
  if (Inherited[name] === undefined) continue;
  defineMethod(name, function (...args) {
    takeBack(this);
    return Inherited[name].apply(this, args);
  });
}

for (const name of TAKES_THE_STREAM_FOR) {
  const inherited = Inherited[name];
  defineMethod(name, function (event, ...args) {
    if (event === 'data' || event === 'readable' || (event === undefined && name !== 'emit')) {
      // Listeners that are added together all see what comes next.
      if (this[kNative]) this[kNative].handBack();
    }
    return inherited.call(this, event, ...args);
  });
}

for (const [name, method] of Object.entries(INSTEAD)) {
  defineMethod(name, function (...args) {
    return (this[kNative] ? method : Inherited[name]).apply(this, args);
  });
}

for (const [name, count] of Object.entries(COUNTED)) {
  const inherited = inheritedGetter(name);
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
    return this.writableLength >= this.writableHighWaterMark;
  }
});

/** Methods that Node's HTTP server leaves on a socket, as its class has them. */
const LEFTOVERS = ['addListener', 'on', 'prependListener'];

function isLeftover(socket, name) {
  return LEFTOVERS.includes(name) && socket[name] === Inherited[name];
}

/** Methods that tell of somebody's interest in the stream when they are not those of the class. */
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

/** What Node's HTTP server left is replaced: a socket of which a property is deleted takes a kilobyte more. */
function replaceOwn(socket, from, to) {
  for (const name of LEFTOVERS) {
    if (Object.hasOwn(socket, name) && socket[name] === from[name]) socket[name] = to[name];
  }
}

function restorePrototype(socket) {
  Object.setPrototypeOf(socket, Inherited);
  replaceOwn(socket, NativeSocket, Inherited);
}

/**
 * Whether a socket can be taken over: a plain one, connected, that nobody has laid hands on.
 *
 * @param {import('stream').Duplex} socket
 * @returns {boolean}
 */
function isEligible(socket) {
  if (Object.getPrototypeOf(socket) !== net.Socket.prototype) return false;
  const handle = socket._handle;
  return (
    !!handle &&
    typeof handle.fd === 'number' &&
    handle.fd >= 0 &&
    !socket.destroyed &&
    !socket.writableEnded &&
    !socket.readableEnded &&
    !socket._readableState.ended &&
    socket._writableState.length === 0 &&
    !socket._writableState.corked &&
    !socket.isPaused() &&
    socket._readableState.encoding === null &&
    socket.listenerCount('data') === 0 &&
    socket.listenerCount('readable') === 0 &&
    !WATCHED.some((name) => Object.hasOwn(socket, name) && !isLeftover(socket, name))
  );
}

/**
 * Takes a socket over, if that can be done.
 *
 * @param {import('stream').Duplex} socket
 * @param {Buffer} head what it delivered beyond the handshake
 * @param {import('./receiver')} receiver
 * @param {import('./sender')} sender
 * @param {Function} onData the listener of `'data'` to use when the stream is handed back
 * @returns {boolean}
 */
function takeOver(socket, head, receiver, sender, onData) {
  if (!isEligible(socket) || !start()) return false;
  const handle = socket._handle;
  handle.readStop();
  // What resumes the stream must not make Node read the bytes that Rust waits for.
  handle.readStart = readNothing;
  const buffered = socket._readableState.length > 0 ? socket.read() : null;
  if (buffered !== null) head = Buffer.concat([head, buffered]);
  let connection;
  try {
    connection = new NativeConnection(
      socket,
      head.length > 0 ? head : null,
      receiver,
      sender,
      onData
    );
  } catch {
    // The descriptor cannot be shared (there may be none left): Node goes on reading.
    delete handle.readStart;
    handle.reading = false;
    if (buffered !== null) socket.unshift(buffered);
    return false;
  }
  Object.defineProperty(socket, kNative, { configurable: true, writable: true, value: connection });
  replaceOwn(socket, Inherited, NativeSocket);
  Object.setPrototypeOf(socket, NativeSocket);
  receiver._connection = connection;
  sender._outbox = connection.outbox;
  socket._readableState.flowing = true;
  if (connection.head !== null) process.nextTick(() => connection.deliverHead());
  return true;
}

/**
 * Hands a native socket back whose further input nobody wants.
 *
 * @param {import('stream').Duplex} socket
 */
function discard(socket) {
  const connection = socket[kNative];
  if (!connection) return;
  connection.isDiscarding = true;
  takeBack(socket);
}

/**
 * What had arrived on a paused socket when it was destroyed. As in Node, it is gone if the socket was resumed since.
 *
 * @param {import('stream').Duplex} socket
 * @returns {Buffer|undefined}
 */
function lateInput(socket) {
  return socket.isPaused() ? socket[kLate] : undefined;
}

module.exports = { discard, lateInput, takeOver };
