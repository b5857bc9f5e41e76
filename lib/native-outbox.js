'use strict';

const { AsyncResource } = require('async_hooks');
const net = require('net');
const { constants } = require('os');

const native = require('./native');
const { EMPTY_BUFFER } = require('./constants');
const {
  BY_REFERENCE,
  MAX_HEAD,
  MAY_FILL,
  atExit,
  beforeRequests,
  fills,
  headSize,
  maskBytes,
  writeHead
} = require('./outbox');
const { callEach, systemError } = require('./failure');
const { nextTick } = require('./timers');

/** Frames of all connections are written into this much memory, to be handed over once in a turn of the loop. */
const SLAB_SIZE = 1024 * 1024;

/**
 * Numbers in the control array: how many records there are, how many connections broke when these were handed over,
 * whether somebody waits for any of the records, and from `FIRST_RECORD` on four for each record: the connection, where
 * its frames begin and end in the slab, and whether somebody waits for them.
 */
const COUNT = 0;
const BROKEN = 1;
const URGENT = 2;
const FIRST_RECORD = 4;
const RECORD = 4;
const MOST_RECORDS = 16 * 1024;

const [major, minor] = process.versions.node.split('.').map(Number);

/** Whether Node calls a write cancelled when its socket is destroyed. */
const CANCELS = major > 22 || (major === 22 && minor >= 9);

/** How many connections the array of backlogs is made for at first. */
const FIRST_CAPACITY = 1024;

const NOBODY = Object.freeze([]);

/** Is told the numbers and the errors of connections that broke. */
let tell = null;

let slab = null;
let control = null;
let queued = null;

/** How far the slab is used, and the number of the flush that will empty it. */
let slabUsed = 0;
let flush = 0;
/** Whether the process is exiting, so that no turn of the loop will come to flush. */
let exiting = false;
const head = Buffer.alloc(MAX_HEAD);

/**
 * Collects the frames of one native connection in the memory that Rust writes from.
 */
class NativeOutbox {
  /**
   * Starts the native transport in this environment.
   *
   * @param {(id: number, event: number, detail: number) => void} dispatch is told what happens to connections
   * @param {(id: number, errno: number) => void} onBroken is told that something could not be written
   * @param {Buffer} arena where small payloads are put
   * @param {number} threads how many I/O threads there are to be
   * @param {number} highWaterMark with how many bytes a stream has enough
   * @returns {boolean} whether there is one
   */
  static start(dispatch, onBroken, arena, threads, highWaterMark) {
    slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
    control = new Int32Array(FIRST_RECORD + RECORD * MOST_RECORDS);
    queued = new Float64Array(FIRST_CAPACITY);
    tell = onBroken;
    const isStarted = native.nativeStart(
      dispatch,
      slab,
      control,
      queued,
      arena,
      threads,
      highWaterMark
    );
    if (isStarted) {
      atExit(flushOnExit);
      beforeRequests(handOverNow);
    }
    return isStarted;
  }

  /**
   * @param {number} id of the connection
   * @param {import('net').Socket} socket
   * @param {boolean} isClient
   */
  constructor(id, socket, isClient) {
    if (id >= queued.length) {
      const more = new Float64Array(Math.max(queued.length * 2, id + 1));
      more.set(queued);
      queued = more;
      native.nativeSetQueued(queued);
    }
    this.id = id;
    this.socket = socket;
    this.isClient = isClient;
    /** How many bytes were sent so far, and how many of them in the flush that is being collected. */
    this.sent = 0;
    this.collected = 0;
    this.inFlush = -1;
  }

  /** How many bytes Rust holds because the peer does not take them. */
  queued() {
    return queued[this.id];
  }

  /**
   * See {@link import('./outbox').Outbox#waiting}; here it is part of the length of the socket's writable state, unless
   * that is ending and what waits will still be written.
   */
  get waiting() {
    if (!this.isShown && queued[this.id] > 0) this.showBacklog();
    return this.socket._writableState.ending && !this.isSettled ? this.backlog() : 0;
  }

  /** Has the socket's writable state count the backlog, as if the socket held it itself. */
  showBacklog() {
    this.isShown = true;
    const state = this.socket._writableState;
    let own = state.length;
    const shown = () => (state.ending && !this.isSettled ? 0 : this.backlog());
    Object.defineProperty(state, 'length', {
      configurable: true,
      enumerable: true,
      // A stream that ends looks only at what it holds itself; `_final` waits for the rest.
      get: () => own + shown(),
      set: (length) => {
        own = length - shown();
      }
    });
  }

  backlog() {
    if (this.isSettled) return this.lost;
    if (this.isMoved || queued[this.id] === 0) return 0;
    return queued[this.id] + (control[COUNT] > 0 && this.inFlush === flush ? this.collected : 0);
  }

  /** See {@link import('./outbox').Outbox#frame}. */
  frame(first, data, length, key, callback) {
    if (length > BY_REFERENCE) {
      this.large(first, data, length, key, callback);
      return;
    }
    const size = headSize(length, key);
    const at = this.reserve(size + length);
    writeHead(slab, at, first, length, key);
    if (length > 0) {
      if (typeof data === 'string') slab.utf8Write(data, at + size, length);
      else slab.set(data, at + size);
      // Rust masks what a client sends when it hands it over.
      if (key !== null && !this.isClient) maskBytes(slab, at + size, length, key);
    }
    this.note(at, at + size + length);
    if (length > MAY_FILL) this.noteFilling(size + length);
    if (typeof callback === 'function') {
      this.hurry();
      nextTick(callBack, this, this.sent, callback);
    }
    if (exiting) {
      this.hurry();
      native.nativeFlush();
    }
  }

  /** Somebody waits for what was noted last: it is written on this thread, so that the callback is in time. */
  hurry() {
    control[FIRST_RECORD + RECORD * (control[COUNT] - 1) + 3] = 1;
    control[URGENT] = 1;
  }

  /** Writes what was collected, as {@link import('./outbox').Outbox#flush} does. */
  flush() {
    handOver();
  }

  /** Room in the slab. */
  reserve(size) {
    let count = control[COUNT];
    if (count > 0 && (slabUsed + size > SLAB_SIZE || count === MOST_RECORDS)) {
      handOver();
      count = control[COUNT];
    }
    if (count === 0) {
      slabUsed = 0;
      flush++;
    }
    if (this.inFlush !== flush) {
      this.inFlush = flush;
      this.collected = 0;
      if (this.socket.timeout > 0) this.socket._unrefTimer();
    }
    return slabUsed;
  }

  /**
   * Has a frame sent that was written to the slab. Not before it is whole: a worker is terminated anywhere, and the stack
   * can overflow anywhere, but what was noted is sent.
   */
  note(at, end) {
    const count = control[COUNT];
    const last = FIRST_RECORD + RECORD * (count - 1);
    if (count > 0 && control[last] === this.id) {
      control[last + 2] = end;
    } else {
      control[last + RECORD] = this.id;
      control[last + RECORD + 1] = at;
      control[last + RECORD + 2] = end;
      control[last + RECORD + 3] = 0;
      control[COUNT] = count + 1;
    }
    slabUsed = end;
    this.sent += end - at;
    this.collected += end - at;
  }

  /** A large payload is written before the caller can change it. */
  large(first, data, length, key, callback) {
    let payload = data;
    if (typeof data === 'string' || key !== null) payload = Buffer.from(data);
    if (key !== null) maskBytes(payload, 0, length, key);
    writeHead(head, 0, first, length, key);
    const size = headSize(length, key);
    this.sendNow(head, size, payload);
    if (typeof callback === 'function') nextTick(callBack, this, this.sent, callback);
  }

  /** See {@link import('./outbox').Outbox#list}. Such frames are masked already where they must be. */
  list(list, callback) {
    const parts = list.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
    const bytes = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    this.sendNow(EMPTY_BUFFER, 0, bytes);
    if (typeof callback === 'function') nextTick(callBack, this, this.sent, callback);
  }

  sendNow(front, frontSize, rest) {
    const before = this.sent;
    native.nativeSendLarge(this.id, front, frontSize, rest);
    this.sent += frontSize + rest.length;
    this.noteFilling(frontSize + rest.length);
    const written = this.written();
    if (written >= before && written < this.sent) this.noteInFlight(written, this.sent);
    if (control[BROKEN] > 0) tellBroken();
  }

  /** See {@link import('./outbox').fills}. */
  noteFilling(size) {
    if (this.isFilling || !fills(this.socket, size)) return;
    this.isFilling = true;
    nextTick(tellFilled, this);
  }

  /** With nothing else on its way, what ends at `mark` is what ws would be handing to the kernel now. */
  noteInFlight(written, mark) {
    if (this.inFlight <= written) this.inFlight = mark;
  }

  /** A part of the backlog was written. */
  onProgress() {
    const written = this.written();
    if (written >= this.inFlight) this.inFlight = this.sent;
    let due = 0;
    while (due < this.waiters.length && this.waiters[due].mark <= written) due++;
    if (due === 0) return;
    const callbacks = this.waiters.splice(0, due).map((waiter) => waiter.callback);
    callEach(callbacks, 0, null);
  }

  /** How many bytes no kernel has taken, once it was asked to take them all. */
  unwritten() {
    if (this.isMoved) return this.socket.writableLength;
    this.flush();
    native.nativeSettle(this.id);
    return this.queued();
  }

  /** How many bytes were written, unless somebody else writes them. */
  written() {
    if (this.isSettled) return this.lostFrom;
    return this.isMoved ? 0 : this.sent - queued[this.id];
  }

  /** A frame was not written when its callback was due. */
  wait(mark, callback) {
    if (this.waiters.length === 0) this.noteInFlight(this.written(), mark);
    if (this.waiters === NOBODY) this.waiters = [];
    this.waiters.push({ mark, callback: AsyncResource.bind(callback), error: null });
  }

  /**
   * From now on the socket writes, first the bytes that no kernel has taken, in pieces as ws has them: what is on its way,
   * and what ends where somebody waits.
   *
   * @param {Buffer} unsent
   * @param {(error?: Error|null) => void} whenWritten
   */
  move(unsent, whenWritten) {
    const written = this.sent - unsent.length;
    const { inFlight, socket, waiters } = this;
    this.isMoved = true;
    this.waiters = NOBODY;
    let start = 0;
    for (let i = 0; i < waiters.length;) {
      // More may be written than is told.
      const end = Math.max(waiters[i].mark - written, inFlight - written, start);
      const callbacks = [];
      for (; i < waiters.length && waiters[i].mark - written <= end; i++) {
        callbacks.push(waiters[i].callback);
      }
      writeBeforeEnd(socket, unsent.subarray(start, end), (error) => callEach(callbacks, 0, error));
      start = end;
    }
    const settle = (error) => {
      try {
        this.settle(error ?? null);
      } finally {
        whenWritten(error);
      }
    };
    if (unsent.length > 0) writeBeforeEnd(socket, unsent.subarray(start), settle);
    else settle(null);
  }

  /** Everything was written, or nothing more will be: whoever waits is told. */
  settle(error) {
    if (this.isSettled) return;
    this.isSettled = true;
    this.error = error;
    if (error) this.lostFrom = 0;
    this.tellWaiters();
  }

  tellWaiters() {
    this.callWaiters((waiter) => waiter.callback(this.error));
  }

  /** Calls whoever waits, and with each what ws would have kept until then counts as waiting no more. */
  callWaiters(callOne) {
    const { inFlight, sent, waiters } = this;
    this.waiters = NOBODY;
    const calls = waiters.map((waiter) => () => {
      if (this.lost > 0) this.lost = sent - Math.max(waiter.mark, inFlight);
      callOne(waiter);
    });
    const end = () => {
      this.lost = 0;
    };
    callEach([...calls, end], 0, null);
  }

  /** What waits will not be written. It counts as waiting until whoever waits is told. */
  lose() {
    const lost = this.backlog();
    if (lost > 0 && !this.isShown) this.showBacklog();
    this.isSettled = true;
    this.lost = lost;
  }

  /** A write has failed. Whoever waits is told when the socket is destroyed because of it. */
  fail(error, written) {
    this.lose();
    this.error = error;
    this.lostFrom = written;
  }

  /** The socket is being destroyed. What was not written never will be. */
  abandon() {
    if (this.isSettled) return;
    this.lostFrom = this.written();
    this.lose();
    if (!this.hasAbandoned()) return;
    if (CANCELS) this.cancelled = systemError('write', constants.errno.ECANCELED);
    this.destroyedBy = this.socket._writableState.errored ?? this.cancelled;
  }

  /** How much of what is lost ws would have handed over: Node counts that as written. */
  lostInFlight() {
    return this.lost > 0 ? Math.max(0, this.inFlight - this.lostFrom) : 0;
  }

  /** Whether somebody waits, or something counts as waiting, that is not told yet. */
  hasAbandoned() {
    return this.lost > 0 || this.waiters.length > 0;
  }

  /** The socket is destroyed, and knows what to tell those for whom it would have kept something. */
  prepare() {
    for (const waiter of this.waiters) {
      if (waiter.mark <= this.inFlight) continue;
      if (this.destroyedBy) waiter.error = this.destroyedBy;
      else writeBeforeEnd(this.socket, EMPTY_BUFFER, (error) => (waiter.error = error));
    }
  }

  /**
   * Whoever waits is told that the socket is destroyed. What the kernel was to take next counts as written, or since Node
   * 22.9 as cancelled; unless there is another error, that is one for all, then.
   */
  tellAbandoned() {
    this.callWaiters(({ mark, callback, error }) => {
      callback(mark > this.inFlight ? error : this.cancelled);
    });
  }
}

/** What few outboxes ever change takes no memory in the others. */
Object.assign(NativeOutbox.prototype, {
  /** Whether `'drain'` is due in a tick, if everything is written by then. */
  isFilling: false,
  /** Callbacks behind a backlog, with the number of bytes that must be written before. */
  waiters: NOBODY,
  /** Up to where ws would have handed to the kernel what waits; what was sent later it would have kept. */
  inFlight: 0,
  /** Whether the stream transport writes the backlog now. */
  isMoved: false,
  /** Whether the socket's writable state counts the backlog. */
  isShown: false,
  /** Whether it is known what became of the backlog, and which error if one did. */
  isSettled: false,
  error: null,
  /** How much of it counts as waiting although it will not be written. */
  lost: 0,
  /** How much had been written when the connection broke or its socket was destroyed, and with which error. */
  lostFrom: Infinity,
  destroyedBy: null,
  /** The error of what was on its way then, if it is one. */
  cancelled: null
});

/** Writes what was sent before the socket was ended, if it was. */
function writeBeforeEnd(socket, bytes, callback) {
  const { _writableState: state } = socket;
  if (!state.ending) {
    socket.write(bytes, callback);
    return;
  }
  state.ending = false;
  try {
    net.Socket.prototype.write.call(socket, bytes, callback);
  } finally {
    state.ending = true;
  }
}

/** Hands over what was collected, and finds out which connections are broken. */
function handOver() {
  if (control[COUNT] > 0) native.nativeFlush();
  if (control[BROKEN] > 0) tellBroken();
}

/** Writes what was collected, for something comes that must not overtake it. No thread has any of it left then. */
function handOverNow() {
  native.nativeSettle();
  if (control[BROKEN] > 0) tellBroken();
}

function tellBroken() {
  const broken = native.nativeBroken();
  for (let i = 0; i < broken.length; i += 2) tell(broken[i], broken[i + 1]);
}

/** Listeners that come later may send too: from now on nothing waits. */
function flushOnExit() {
  exiting = true;
  native.nativeSettle();
}

/** What was enough for the socket was sent. If anything is not written yet, `'drain'` comes later. */
function tellFilled(outbox) {
  const { isSettled, socket } = outbox;
  outbox.isFilling = false;
  const isDue = socket.listenerCount('drain') > 0 && !socket._writableState.ending && !isSettled;
  if (isDue && outbox.unwritten() === 0) socket.emit('drain');
}

/** The tick in which a callback is due if the kernel takes at once what it is given, as ws has it. */
function callBack(outbox, mark, callback) {
  if (!outbox.isSettled) handOver();
  if (mark <= outbox.written()) callback(null);
  else if (outbox.error) callback(outbox.error);
  else outbox.wait(mark, callback);
}

module.exports = NativeOutbox;
