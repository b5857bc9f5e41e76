'use strict';

const { constants } = require('os');

const { net } = require('./builtins');
const { EMPTY_BUFFER, NOOP } = require('./constants');
const { inContext } = require('./context');
const { callEach, systemError } = require('./failure');

const [major, minor] = process.versions.node.split('.').map(Number);

/** Whether Node calls a write cancelled when its socket is destroyed. */
const CANCELS = major > 22 || (major === 22 && minor >= 9);

/** Who writes what waits: Rust; after a hand-back the socket; nobody any more, for it is known what became of it. */
const WITH_RUST = 0;
const WITH_SOCKET = 1;
const KNOWN = 2;

const NOBODY = Object.freeze([]);

/**
 * What was sent on a native connection and no kernel has taken: what counts as waiting, who is told when it is written, and
 * what becomes of it when the stream is handed back, the connection breaks or the socket is destroyed. How much Rust holds
 * (`queued()`), and how much it was not told of yet (`collecting()`), knows the outbox.
 */
class NativeBacklog {
  /** @param {import('net').Socket} socket */
  constructor(socket) {
    this.socket = socket;
    /** How many bytes were sent so far. */
    this.sent = 0;
  }

  /**
   * See {@link import('./outbox').Outbox#waiting}; here it is part of the length of the socket's writable state, unless
   * that is ending and what waits will still be written.
   */
  get waiting() {
    this.noteBacklog();
    return this.isHidden() ? this.backlog() : 0;
  }

  /** Whoever looks at the socket's writable state is to find a backlog there, if there ever is one. */
  noteBacklog() {
    if (!this.isShown && this.queued() > 0) this.showBacklog();
  }

  /** A stream that ends looks only at what it holds itself; `_final` waits for the rest. */
  isHidden() {
    return this.socket._writableState.ending && this.fate !== KNOWN;
  }

  /** Has the socket's writable state count the backlog, as if the socket held it itself. */
  showBacklog() {
    this.isShown = true;
    const state = this.socket._writableState;
    let own = state.length;
    const shown = () => (this.isHidden() ? 0 : this.backlog());
    Object.defineProperty(state, 'length', {
      configurable: true,
      enumerable: true,
      get: () => own + shown(),
      set: (length) => {
        own = length - shown();
      }
    });
  }

  /** How many bytes wait, or count as waiting. */
  backlog() {
    if (this.fate === KNOWN) return this.lost;
    if (this.fate === WITH_SOCKET || this.queued() === 0) return 0;
    return this.queued() + this.collecting();
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

  /** How many bytes were written, unless somebody else writes them. */
  written() {
    if (this.fate === KNOWN) return this.lostFrom;
    return this.fate === WITH_SOCKET ? 0 : this.sent - this.queued();
  }

  /** A frame was not written when its callback was due. */
  wait(mark, callback) {
    if (this.waiters.length === 0) this.noteInFlight(this.written(), mark);
    if (this.waiters === NOBODY) this.waiters = [];
    this.waiters.push({ mark, callback: inContext(callback), error: null });
  }

  /**
   * From now on the socket writes, first the bytes that no kernel has taken, in pieces as ws has them: what is on its way,
   * and what ends where somebody waits.
   *
   * @param {Buffer} unsent
   * @param {(error?: Error|null) => void} whenWritten
   */
  move(unsent, whenWritten) {
    if (this.fate === KNOWN) {
      // A write has failed, which is told in the next tick.
      whenWritten(this.error);
      return;
    }
    const written = this.sent - unsent.length;
    const { inFlight, socket, waiters } = this;
    this.fate = WITH_SOCKET;
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
    // What was sent last comes behind those who wait, also if all of it is written.
    if (unsent.length > 0 || waiters.length > 0) {
      writeBeforeEnd(socket, unsent.subarray(start), settle);
    } else {
      settle(null);
    }
  }

  /** Everything was written, or nothing more will be: whoever waits is told. */
  settle(error) {
    if (this.fate === KNOWN) return;
    this.fate = KNOWN;
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
    this.fate = KNOWN;
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
    if (this.fate === KNOWN) return;
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

/** What few connections ever change takes no memory in the others. */
Object.assign(NativeBacklog.prototype, {
  /** It leads back to those that lead here: `JSON.stringify()` sees nothing of it. */
  toJSON: NOOP,
  /** Callbacks behind a backlog, with the number of bytes that must be written before. */
  waiters: NOBODY,
  /** Up to where ws would have handed to the kernel what waits; what was sent later it would have kept. */
  inFlight: 0,
  /** Who writes what waits. */
  fate: WITH_RUST,
  /** Whether the socket's writable state counts the backlog. */
  isShown: false,
  /** The error if what waited was not written. */
  error: null,
  /** How much of it counts as waiting although it will not be written. */
  lost: 0,
  /** How much had been written when the connection broke or its socket was destroyed, and with which error. */
  lostFrom: Infinity,
  destroyedBy: null,
  /** The error of what was on its way then, if it is one. */
  cancelled: null
});

/** Writes what was sent before the socket was ended, if it was, or before somebody put another `write()` on it. */
function writeBeforeEnd(socket, bytes, callback) {
  const { _writableState: state } = socket;
  const { ending } = state;
  state.ending = false;
  try {
    net.Socket.prototype.write.call(socket, bytes, callback);
  } finally {
    if (ending) state.ending = true;
  }
}

module.exports = { KNOWN, NativeBacklog, WITH_RUST };
