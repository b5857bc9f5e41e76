'use strict';

const native = require('./native');
const { EMPTY_BUFFER } = require('./constants');
const { beginGathering, leavesAtOnce } = require('./gathering');
const { KNOWN, NativeBacklog, WITH_RUST } = require('./native-backlog');
const {
  BY_REFERENCE,
  MAX_HEAD,
  fills,
  flushInTime,
  hasTwoParts,
  headSize,
  maskBytes,
  mayFill,
  writeHead
} = require('./outbox');
const { isSendingWatched, kNative } = require('./native-socket');
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

/** How many connections the array of backlogs is made for at first. */
const FIRST_CAPACITY = 1024;

/** Is told the numbers and the errors of connections that broke. */
let tell = null;

/** What `nativeStart()` returns: there cannot be a native transport; there is. Else another copy of the package has it now. */
const IMPOSSIBLE = 0;
const STARTED = 1;

/** Whether the Rust side serves this copy of the package. */
let isStarted = false;

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
class NativeOutbox extends NativeBacklog {
  /**
   * Has the native transport of this environment serve this copy of the package.
   *
   * @param {(id: number, event: number, detail: number) => void} dispatch is told what happens to connections
   * @param {(id: number, errno: number) => void} onBroken is told that something could not be written
   * @param {Buffer} arena where small payloads are put
   * @param {number} threads how many I/O threads there are to be
   * @param {number} highWaterMark with how many bytes a stream has enough
   * @returns {boolean} whether it ever can
   */
  static start(dispatch, onBroken, arena, threads, highWaterMark) {
    slab ??= Buffer.allocUnsafeSlow(SLAB_SIZE);
    control ??= new Int32Array(FIRST_RECORD + RECORD * MOST_RECORDS);
    queued ??= new Float64Array(FIRST_CAPACITY);
    tell = onBroken;
    const outcome = native.nativeStart(
      dispatch,
      slab,
      control,
      queued,
      arena,
      threads,
      highWaterMark
    );
    isStarted = outcome === STARTED;
    return outcome !== IMPOSSIBLE;
  }

  /** Whether it serves this copy now. */
  static get isStarted() {
    return isStarted;
  }

  /** Has it serve others, unless there are connections. */
  static rest() {
    if (isStarted) isStarted = !native.nativeRest();
  }

  /**
   * @param {number} id of the connection
   * @param {import('net').Socket} socket
   * @param {boolean} isClient
   */
  constructor(id, socket, isClient) {
    super(socket);
    if (id >= queued.length) {
      const more = new Float64Array(Math.max(queued.length * 2, id + 1));
      more.set(queued);
      queued = more;
      native.nativeSetQueued(queued);
    }
    this.id = id;
    this.isClient = isClient;
    this.mayFill = mayFill(socket);
    /** The flush in which something was sent last, and how many bytes. */
    this.inFlush = -1;
    this.collected = 0;
  }

  /** How many bytes Rust holds because the peer does not take them. */
  queued() {
    return queued[this.id];
  }

  /** How many bytes Rust was not told of yet. */
  collecting() {
    return control[COUNT] > 0 && this.inFlush === flush ? this.collected : 0;
  }

  /** See {@link import('./outbox').Outbox#frame}. */
  frame(first, data, length, key, readOnly, callback) {
    if (length > BY_REFERENCE) {
      this.large(first, data, length, key, readOnly, callback);
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
    if (length > this.mayFill && hasTwoParts(data, key, readOnly)) this.noteFilling(size + length);
    const isUrgent = leavesAtOnce() || exiting;
    if (isUrgent || typeof callback === 'function') this.hurry();
    if (typeof callback === 'function') nextTick(callBack, this, this.sent, callback);
    if (isUrgent) handOver();
  }

  /**
   * What was noted last is written on this thread: it is to be on its way when `send()` returns, or somebody waits for it
   * and the callback is to be in time.
   */
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
      beginGathering();
    }
    if (this.inFlush !== flush) {
      this.inFlush = flush;
      this.collected = 0;
      this.noteBacklog();
      this.noteActivity();
    }
    return slabUsed;
  }

  /** Bytes have moved: the socket's timeout begins anew. */
  noteActivity() {
    if (this.socket.timeout > 0) this.socket._unrefTimer();
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
  large(first, data, length, key, readOnly, callback) {
    let payload = data;
    if (typeof data === 'string' || key !== null) payload = Buffer.from(data);
    if (key !== null) maskBytes(payload, 0, length, key);
    writeHead(head, 0, first, length, key);
    const size = headSize(length, key);
    if (hasTwoParts(data, key, readOnly)) this.noteFilling(size + length);
    this.sendNow(head, size, payload);
    if (typeof callback === 'function') nextTick(callBack, this, this.sent, callback);
  }

  /** See {@link import('./outbox').Outbox#list}. Such frames are masked already where they must be. */
  list(list, callback) {
    const parts = list.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
    const bytes = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    if (list.length === 2) this.noteFilling(bytes.length);
    this.sendNow(EMPTY_BUFFER, 0, bytes);
    if (typeof callback === 'function') nextTick(callBack, this, this.sent, callback);
  }

  /** See {@link import('./outbox').Outbox#givesWay}. */
  givesWay() {
    return this.isRefusing || isSendingWatched(this.socket);
  }

  /** From now on the socket has its stream, and another outbox if it may have one. */
  giveWay() {
    this.socket[kNative].handBack();
  }

  sendNow(front, frontSize, rest) {
    this.noteActivity();
    const before = this.sent;
    native.nativeSendLarge(this.id, front, frontSize, rest);
    this.sent += frontSize + rest.length;
    this.noteBacklog();
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

  /** How many bytes no kernel has taken, once it was asked to take them all. */
  unwritten() {
    if (this.fate !== WITH_RUST) return this.socket.writableLength;
    this.flush();
    native.nativeSettle(this.id);
    return this.queued();
  }
}

/** Whether `'drain'` is due in a tick, if everything is written by then. Takes memory only where it ever is. */
NativeOutbox.prototype.isFilling = false;
/** Whether the socket was ended, and is to refuse what is sent by itself. */
NativeOutbox.prototype.isRefusing = false;
/** How much had been sent when that was told. */
NativeOutbox.prototype.drainedAt = 0;

/** Hands over what was collected, and finds out which connections are broken. */
function handOver() {
  if (!isStarted) return;
  if (control[COUNT] > 0) native.nativeFlush();
  if (control[BROKEN] > 0) tellBroken();
}

/** Writes what was collected, for something comes that must not overtake it. No thread has any of it left then. */
function handOverNow() {
  if (!isStarted) return;
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
  if (isStarted) native.nativeSettle();
}

flushInTime(flushOnExit, handOverNow);

/** What was enough for the socket was sent. If anything is not written yet, `'drain'` comes later. */
function tellFilled(outbox) {
  const { error, fate, isFilling, socket } = outbox;
  if (!isFilling) return;
  outbox.isFilling = false;
  const { _writableState: state } = socket;
  const isOpen = error === null && !socket.destroyed && !state.ending;
  if (!isOpen || socket.listenerCount('drain') === 0) return;
  if (outbox.unwritten() > 0) {
    // The stream was handed back meanwhile, and holds the rest.
    if (fate !== WITH_RUST) state.needDrain = true;
    return;
  }
  outbox.drainedAt = outbox.sent;
  // Once for all that is written, also for what the stream has written since it was handed back.
  state.needDrain = false;
  socket.emit('drain');
}

/** The tick in which a callback is due if the kernel takes at once what it is given, as ws has it. */
function callBack(outbox, mark, callback) {
  try {
    // It comes before the callbacks.
    tellFilled(outbox);
  } finally {
    callBackNow(outbox, mark, callback);
  }
}

function callBackNow(outbox, mark, callback) {
  if (outbox.fate !== KNOWN) handOver();
  // An I/O thread may have written for whom others wait who are not told yet; they come first.
  const isBehind = outbox.fate === WITH_RUST && outbox.waiters.length > 0;
  if (mark <= outbox.written() && !isBehind) callback(null);
  else if (outbox.error) callback(outbox.error);
  else outbox.wait(mark, callback);
}

module.exports = NativeOutbox;
