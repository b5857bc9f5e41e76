'use strict';

const { Writable } = require('stream');

const native = require('./native');
const { FastBuffer } = require('./buffers');
const { diagnosticsChannel } = require('./builtins');
const { NOOP } = require('./constants');
const { inContext } = require('./context');
const { callEach } = require('./failure');
const { beginGathering, leavesAtOnce } = require('./gathering');
const { whileOpen } = require('./open-connections');
const { nextTick } = require('./timers');

/** Frames are written into shared pieces of memory of this size; a frame that waits pins no more than one. */
const SLAB_SIZE = 8 * 1024;

/** A frame above this size gets memory of its own. */
const OWN_MEMORY = 4 * 1024;

/**
 * A payload above this size is not copied but handed on at once, and waits as a reference when the peer is slow, as it
 * does in ws. Up to it the caller may change the data as soon as `send()` has returned.
 */
const BY_REFERENCE = 64 * 1024;

/**
 * Payloads up to this size are not looked at as if they could be enough for a socket, which is 16 KiB or 64 in Node, unless
 * somebody has made it less.
 */
const MAY_FILL = 4 * 1024;

/** When this much is waiting for the end of the turn, it is written at once. */
const FLUSH_AT = 64 * 1024;

/** Masking costs a call into Rust from this many bytes on; below it a loop is cheaper. */
const MASK_IN_RUST = 32;

/** The largest header: 2 bytes, 8 of length, 4 of masking key. */
const MAX_HEAD = 14;

/** Where Node tells of HTTP requests, before it writes them: those of `http` and those of `fetch()`. */
const REQUESTS = [
  'http.client.request.created',
  'http.client.request.start',
  'undici:request:create'
];

const kExitActions = Symbol.for('oxws.exitActions');

/** How streams are written to. All sockets inherit it, unless somebody has put another in its place. */
const { write: WRITE } = Writable.prototype;

/** What a socket does only after the frames that were sent before it. */
const WATCHABLE = ['write', 'end', 'destroy', 'cork'];

let slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
let slabUsed = 0;

/** Outboxes that hold something; they are emptied together. */
let dirty = [];
/** How many chunks are being delivered right now, one inside the other. */
let delivering = 0;
let scheduled = false;
let exiting = false;

/** Says that a chunk is being delivered: what its listeners send leaves when it is done. */
function beginDelivery() {
  delivering++;
}

function endDelivery() {
  if (--delivering === 0 && dirty.length > 0) flushAll();
}

function flushLater() {
  if (scheduled) return;
  scheduled = true;
  nextTick(flushInTick);
}

function flushInTick() {
  scheduled = false;
  flushAll();
}

/** Writes what every outbox holds. */
function flushAll() {
  if (dirty.length === 0) return;
  const outboxes = dirty;
  dirty = [];
  let begun = 0;
  try {
    while (begun < outboxes.length) outboxes[begun++].write();
  } finally {
    // A socket may throw. What others were sent leaves in the next tick, if there is one.
    if (begun < outboxes.length) {
      dirty = [...outboxes.slice(begun), ...dirty];
      if (exiting) flushAll();
      else flushLater();
    }
  }
}

/** Runs `action` when the process, or the worker, exits: one listener for all copies of this package. */
function atExit(action) {
  if (!process[kExitActions]) {
    const actions = new Set();
    const run = () => callAll([...actions]);
    Object.defineProperty(process, kExitActions, { value: { actions, run }, configurable: true });
    process.on('exit', run);
  }
  process[kExitActions].actions.add(action);
}

/** Also when one of them throws. */
function callAll([action, ...rest]) {
  try {
    action();
  } finally {
    if (rest.length > 0) callAll(rest);
  }
}

function notAtExit(action) {
  const { actions, run } = process[kExitActions];
  actions.delete(action);
  if (actions.size > 0) return;
  process.off('exit', run);
  delete process[kExitActions];
}

/**
 * While there are open WebSockets, what was sent before process.exit() is on its way, and before an HTTP request ahead of
 * it, as it is in ws.
 *
 * @param {() => void} flushOnExit
 * @param {() => void} flushBefore
 */
function flushInTime(flushOnExit, flushBefore) {
  const onRequest = () => flushBefore();
  const hold = () => {
    atExit(flushOnExit);
    for (const name of REQUESTS) diagnosticsChannel.subscribe(name, onRequest);
  };
  const letGo = () => {
    notAtExit(flushOnExit);
    for (const name of REQUESTS) diagnosticsChannel.unsubscribe(name, onRequest);
  };
  whileOpen(letGo, hold);
}

function flushOnExit() {
  // Listeners that come later may send too: from now on nothing waits.
  exiting = true;
  flushAll();
}

flushInTime(flushOnExit, flushAll);

/**
 * Collects the frames sent to one socket in one turn of the loop, so that they leave in one write.
 */
class Outbox {
  /**
   * @param {import('stream').Duplex} socket
   * @param {{ write: Function }} base where the socket's own `write()` is, if nobody has put one in its place
   * @param {object} guard what its methods are called through, if nobody has put others in their place
   * @param {boolean} writesAtOnce whether the socket hands what it is given to the kernel before `write()` returns
   */
  constructor(socket, base, guard, writesAtOnce) {
    this.socket = socket;
    this.base = base;
    this.guard = guard;
    this.writesAtOnce = writesAtOnce;
    this.bytes = 0;
    this.segments = [];
    /** What the frames in it are told together, if somebody waits for one of them. */
    this.batch = null;
    this.mayFill = mayFill(socket);
    /** Whether one of the frames is as large as what the socket calls enough. */
    this.isFilling = false;
    /** The piece of shared memory that the last segment lies in, and where it ends there. */
    this.memory = null;
    this.end = 0;
  }

  /**
   * Adds a frame.
   *
   * @param {number} first the first byte of its header
   * @param {Buffer|string} data
   * @param {number} length of `data` in bytes
   * @param {Buffer|null} key the masking key
   * @param {boolean} readOnly whether `data` are the caller's
   * @param {Function} [callback] called when the frame was written
   */
  frame(first, data, length, key, readOnly, callback) {
    if (length > BY_REFERENCE) {
      this.large(first, data, length, key, readOnly, callback);
      return;
    }

    const size = headSize(length, key);
    const memory = this.reserve(size + length);
    const at = this.end;
    writeHead(memory, at, first, length, key);
    const payload = at + size;
    if (length > 0) {
      if (typeof data === 'string') memory.utf8Write(data, payload, length);
      else memory.set(data, payload);
      if (key !== null) maskBytes(memory, payload, length, key);
    }
    this.extend(memory, size + length);
    if (length > this.mayFill && hasTwoParts(data, key, readOnly)) this.noteFilling(size + length);
    this.added(callback);
  }

  /** A payload that is not copied is written before the caller can change it. */
  large(first, data, length, key, readOnly, callback) {
    const isInParts = hasTwoParts(data, key, readOnly);
    this.flushAwaited();
    if (typeof data === 'string' || key !== null) data = Buffer.from(data);
    if (key !== null) maskBytes(data, 0, length, key);
    const size = headSize(length, key);
    const memory = this.reserve(size);
    writeHead(memory, this.end, first, length, key);
    this.extend(memory, size);
    this.append(data);
    if (isInParts) this.noteFilling(size + length);
    this.added(callback, true);
  }

  /**
   * Adds a frame that was built elsewhere.
   *
   * @param {(Buffer|string)[]} list its parts, which may be shared with other sockets
   * @param {Function} [callback]
   */
  list(list, callback) {
    const parts = list.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
    const large = parts.some((bytes) => bytes.length > BY_REFERENCE);
    if (large) this.flushAwaited();
    let size = 0;
    for (const bytes of parts) {
      size += bytes.length;
      if (bytes.length > BY_REFERENCE) {
        this.append(bytes);
      } else {
        const memory = this.reserve(bytes.length);
        memory.set(bytes, this.end);
        this.extend(memory, bytes.length);
      }
    }
    if (list.length === 2) this.noteFilling(size);
    this.added(callback, large);
  }

  /** Whether somebody has put a method of their own on the socket, which is to see each frame when it is sent. */
  givesWay() {
    const { guard, socket } = this;
    return (
      socket.write !== guard.write ||
      socket.end !== guard.end ||
      socket.destroy !== guard.destroy ||
      socket.cork !== guard.cork
    );
  }

  /** From now on a sender writes to the socket. */
  giveWay(sender) {
    this.flush();
    sender._outbox = null;
  }

  /** Memory with room for `size` bytes at `this.end`. */
  reserve(size) {
    if (size > OWN_MEMORY) {
      this.memory = null;
      this.end = 0;
      return Buffer.allocUnsafeSlow(size);
    }
    if (slabUsed + size > SLAB_SIZE) {
      slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
      slabUsed = 0;
    }
    if (this.memory !== slab || this.end !== slabUsed) {
      // Somebody else wrote in between: a new segment begins.
      this.memory = null;
      this.end = slabUsed;
    }
    return slab;
  }

  /** Takes `size` bytes of `memory` at `this.end` into the outbox. */
  extend(memory, size) {
    if (memory !== slab) {
      this.append(memory);
      return;
    }
    const last = this.segments.length - 1;
    if (this.memory === memory && last >= 0) {
      this.segments[last].length += size;
    } else {
      this.segments.push({ memory, start: this.end, length: size });
      this.memory = memory;
    }
    this.end += size;
    slabUsed = this.end;
    this.grow(size);
  }

  /** Takes a whole buffer into the outbox. */
  append(buffer) {
    this.segments.push({ memory: buffer, start: 0, length: buffer.length });
    this.memory = null;
    this.grow(buffer.length);
  }

  grow(size) {
    if (this.bytes === 0) {
      if (dirty.length === 0) beginGathering();
      dirty.push(this);
      if (delivering === 0) flushLater();
    }
    this.bytes += size;
  }

  /** A frame of so many bytes may be followed by `'drain'`, for which somebody may be waiting. */
  noteFilling(size) {
    if (fills(this.socket, size)) this.isFilling = true;
  }

  added(callback, isLarge = false) {
    const isAwaited = typeof callback === 'function';
    const isAlone = this.batch === null;
    if (isAwaited) this.batch ??= new Batch();
    const { batch } = this;
    const isUrgent = leavesAtOnce() || isLarge || exiting || this.socket.destroyed;
    // In this order: what Node does in a tick when it has written comes before the callback.
    if (isUrgent || this.bytes >= FLUSH_AT) this.flush();
    if (!isAwaited) return;
    const { ending, errored } = this.socket._writableState;
    const hasFailed = batch !== this.batch && !batch.isTold && errored && !ending;
    // The stream tells of that in the next tick, and then destroys itself. With others before it, it has to wait for theirs.
    if (isAlone && hasFailed) batch.await(callback);
    else nextTick(callBack, this, batch, callback);
  }

  /** How many bytes wait that ws would have had to keep as well. */
  get waiting() {
    // What an idle socket is given, the kernel has at once; only behind a backlog does it wait.
    const { corked, length } = this.socket._writableState;
    if (this.writesAtOnce && length === 0 && corked === 0) return 0;
    return this.bytes;
  }

  /** Writes what was collected, and what others have, in order: one of them may be the other end of this socket. */
  flush() {
    if (this.bytes === 0) return;
    flushAll();
    // Unless it is about to be written right now, somewhere below on the stack.
    this.write();
  }

  /** What is large may wait long for its peer: those who wait for what was sent before do not wait for that. */
  flushAwaited() {
    if (this.batch !== null) this.flush();
  }

  write() {
    if (this.bytes === 0) return;
    const { base, batch, isFilling, segments, socket } = this;
    this.batch = null;
    this.isFilling = false;
    this.bytes = 0;
    this.segments = [];
    this.memory = null;

    const last = segments.length - 1;
    // Only what is held back counts as so much that the socket says when it is written.
    const state = socket._writableState;
    const isHeldBack = last > 0 || isFilling;
    const isToDrain = isFilling || state.needDrain;
    // What was uncorked in this tick is written, but those who wait for it are not told yet; they come first.
    const isBehind = state.pendingcb > 0;
    // What somebody has put there since sees only what is sent behind these.
    const write = Reflect.get(base, 'write', socket);
    const whenWritten = batch === null ? undefined : (error) => batch.tell(error);
    if (isHeldBack) Reflect.get(base, 'cork', socket).call(socket);
    for (let i = 0; i <= last; i++) {
      const { memory, start, length } = segments[i];
      const bytes = new FastBuffer(memory.buffer, memory.byteOffset + start, length);
      if (i < last || whenWritten === undefined) write.call(socket, bytes);
      else write.call(socket, bytes, whenWritten);
    }
    if (isHeldBack) socket.uncork();
    // What another method was given may be anywhere.
    if (write !== WRITE || !isIdle(state)) return;
    if (!isToDrain) state.needDrain = false;
    if (batch !== null && !isBehind) batch.isWritten = true;
  }
}

/** It leads back to those that lead here: `JSON.stringify()` sees nothing of it. */
Outbox.prototype.toJSON = NOOP;

/** What leaves in one write. */
class Batch {
  constructor() {
    /** Whether the socket holds nothing of it back; it tells later. */
    this.isWritten = false;
    this.isTold = false;
    this.error = null;
    /** Those who wait for the socket to tell. */
    this.callbacks = [];
  }

  /** Has somebody told when the socket tells. */
  await(callback) {
    this.callbacks.push(inContext(callback));
  }

  /** The socket tells that it is written, or never will be. */
  tell(error) {
    const { callbacks, isTold, isWritten } = this;
    if (!isTold && !isWritten) this.error = error;
    this.isTold = true;
    this.callbacks = [];
    callEach(callbacks, 0, this.error);
  }
}

/**
 * Whether a socket has a method of its own, or its class has, which is to see each frame when it is sent.
 *
 * @param {import('stream').Duplex} socket
 * @param {object} base the prototype of its class
 * @returns {boolean}
 */
function isWatched(socket, base) {
  const hasOwn = WATCHABLE.some((name) => Object.hasOwn(socket, name));
  return hasOwn || Reflect.get(base, 'write', socket) !== WRITE;
}

/**
 * Whether ws gives header and payload of a frame to the socket one after the other. It puts them together where it masks
 * what it must not change.
 */
function hasTwoParts(data, key, readOnly) {
  if (key === null || !readOnly || typeof data === 'string') return true;
  return key[0] === 0 && key[1] === 0 && key[2] === 0 && key[3] === 0;
}

/**
 * Whether a frame in two parts of so many bytes is enough for a socket: then it tells `'drain'` when that is written, be it
 * at once.
 */
function fills(socket, size) {
  return size >= socket.writableHighWaterMark;
}

/** Payloads that are not larger than this are never enough for a socket. */
function mayFill({ writableHighWaterMark: enough }) {
  return enough <= MAY_FILL + MAX_HEAD ? enough - MAX_HEAD - 1 : MAY_FILL;
}

/** Whether everything a stream was given has been written, without an error. */
function isIdle(state) {
  return state.length === 0 && !state.errored && !state.destroyed && !state.ending;
}

/** The tick in which a callback is due if the socket takes at once what it is given, as ws has it. */
function callBack(outbox, batch, callback) {
  if (batch === outbox.batch) outbox.flush();
  const { callbacks, isTold, isWritten } = batch;
  // `'drain'` comes first, and so do those who wait already.
  const isLate = callbacks.length > 0 || isAboutToDrain(outbox.socket._writableState);
  if (isTold || (isWritten && !isLate)) callback(batch.error);
  else batch.await(callback);
}

/** Whether `'drain'`, which comes before the callbacks, is due in the next tick. */
function isAboutToDrain(state) {
  return state.needDrain && isIdle(state);
}

function headSize(length, key) {
  const size = length < 126 ? 2 : length < 65536 ? 4 : 10;
  return key === null ? size : size + 4;
}

/**
 * Writes a frame's header (RFC 6455, section 5.2). This is the one place besides Rust that does: a call there would
 * cost more than the header.
 */
function writeHead(target, at, first, length, key) {
  const masked = key === null ? 0 : 0x80;
  target[at++] = first;
  if (length < 126) {
    target[at++] = masked | length;
  } else if (length < 65536) {
    target[at++] = masked | 126;
    target[at++] = length >>> 8;
    target[at++] = length & 0xff;
  } else {
    target[at++] = masked | 127;
    target.writeUInt32BE(Math.floor(length / 0x100000000), at);
    at = target.writeUInt32BE(length >>> 0, at + 4);
  }
  if (key !== null) {
    target[at++] = key[0];
    target[at++] = key[1];
    target[at++] = key[2];
    target[at] = key[3];
  }
}

/** Masks a part of `bytes` in place. */
function maskBytes(bytes, start, length, key) {
  if (length >= MASK_IN_RUST) {
    native.mask(bytes, start, length, numberOf(key));
    return;
  }
  for (let i = 0; i < length; i++) bytes[start + i] ^= key[i & 3];
}

/** A masking key, which may lie in any array of bytes, as the Rust side has it. */
function numberOf(key) {
  return key[0] | (key[1] << 8) | (key[2] << 16) | (key[3] << 24);
}

module.exports = {
  BY_REFERENCE,
  MAX_HEAD,
  Outbox,
  WATCHABLE,
  beginDelivery,
  endDelivery,
  fills,
  flushAll,
  flushInTime,
  hasTwoParts,
  headSize,
  isWatched,
  maskBytes,
  mayFill,
  numberOf,
  writeHead
};
