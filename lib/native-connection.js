'use strict';

const { AsyncResource } = require('async_hooks');
const { getDefaultHighWaterMark } = require('stream');

const { net } = require('./builtins');
const {
  cells,
  FETCHED,
  ARENA_USED,
  BUSY,
  KEPT,
  IN_INPUT,
  LENT,
  PLACE_MASK,
  PLACE_SHIFT,
  STRIDE,
  TOP
} = require('./inbox');
const { noteStores, putStoresBack } = require('./handle-stores');
const native = require('./native');
const { takeInput } = require('./native-input');
const NativeOutbox = require('./native-outbox');
const { whileOpen } = require('./open-connections');
const { EMPTY_BUFFER, NOOP } = require('./constants');
const { systemError } = require('./failure');
const {
  deliverAhead,
  deliverHead,
  deliverLate,
  flowOn,
  keepForTick,
  putBack,
  readOn,
  rescue,
  rescueReceived
} = require('./native-leftovers');
const { isReadingWatched, kNative, takeOff } = require('./native-socket');
const { flushAll } = require('./outbox');
const { attachOutbox, countBefore, kBeforeDestroyed } = require('./stream-transport');
const { isNative, threads } = require('./transport-choice');
const { nextTick } = require('./timers');

const Inherited = net.Socket.prototype;

/** What the Rust side tells (see `src/binding/transport/tell.rs`). */
const READ = 0;
const WRITABLE = 1;
const EOF = 2;
const ERROR = 3;
const WRITE_ERROR = 4;

/** Small payloads are copied into shared memory of this size, which is what keeping one of them costs at most. */
const ARENA_SIZE = 8 * 1024;

/** How many bytes Node reads at once. */
const NODE_READS = 64 * 1024;

const NOTHING_FETCHED = Object.freeze([]);

let arena = EMPTY_BUFFER;

/** By the numbers the Rust side knows them under. */
const connections = [];

/** Whether the Rust side can ever serve this copy of the package, as far as that is known. */
let isPossible = isNative;

/** @returns {boolean} whether there is a native transport in this environment, for this copy of the package */
function start() {
  if (NativeOutbox.isStarted || !isPossible) return NativeOutbox.isStarted;
  if (arena === EMPTY_BUFFER) arena = Buffer.allocUnsafeSlow(ARENA_SIZE);
  const onBroken = (id, errno) => dispatch(id, WRITE_ERROR, errno);
  const enough = getDefaultHighWaterMark(false);
  try {
    isPossible = NativeOutbox.start(dispatch, onBroken, arena, threads, enough);
  } catch {
    // There is no descriptor left; there may be when the next connection is opened.
  }
  return NativeOutbox.isStarted;
}

function rest() {
  NativeOutbox.rest();
  // What was delivered may still lie in it.
  if (!NativeOutbox.isStarted) arena = EMPTY_BUFFER;
}

whileOpen(rest);

/** Whether Node has filled the memory that it reads into, most likely: then it reads again right away. */
function hasFilledItsRoom({ bytesRead }) {
  return bytesRead > 0 && bytesRead % NODE_READS === 0;
}

function dispatch(id, event, detail) {
  const connection = connections[id];
  if (connection !== undefined) connection.on(event, detail);
}

/**
 * From Node 24 on what an `AsyncLocalStorage` stores is no property of a handle, and Node accepts connections outside of
 * any context, whatever the context is that their handshake is finished in.
 */
const HAS_FRAMES = parseInt(process.versions.node, 10) >= 24;
const outside = HAS_FRAMES ? new AsyncResource('oxws', { requireManualDestroy: true }) : null;
// It can be used all the same, and nobody finds it among what is left open.
outside?.emitDestroy();

function openOutside(...args) {
  return outside.runInAsyncScope(native.nativeOpen, native, ...args);
}

/**
 * A connection whose socket Rust reads and writes.
 */
class NativeConnection {
  /**
   * @param {net.Socket} socket
   * @param {Buffer|null} head what Node has read already
   * @param {import('./receiver')} receiver
   * @param {import('./sender')} sender
   * @param {Function} onData the listener of `'data'` to use when the stream is handed back
   * @throws {Error} if the socket's descriptor cannot be duplicated, or a hook has closed it
   */
  constructor(socket, head, receiver, sender, onData) {
    this.socket = socket;
    this.receiver = receiver;
    this.sender = sender;
    this.onData = onData;
    const { _handle: handle } = socket;
    const stores = noteStores(handle);
    const open = receiver._isServer && HAS_FRAMES ? openOutside : native.nativeOpen;
    this.id = open(
      handle.fd,
      receiver._id,
      !receiver._isServer,
      head === null && receiver._allowSynchronousEvents,
      head !== null && hasFilledItsRoom(handle),
      handle
    );
    if (socket._handle !== handle) {
      native.nativeClose(this.id);
      throw new Error('A hook has destroyed the socket');
    }
    try {
      putStoresBack(handle, stores);
      this.outbox = new NativeOutbox(this.id, socket, !receiver._isServer);
    } catch (error) {
      // There may be no memory left. Nobody would be told of what Rust reads.
      native.nativeClose(this.id);
      throw error;
    }
    /** Whether the receiver is being told about input right now. */
    this.isTelling = false;
    if (head !== null) this.head = head;
    connections[this.id] = this;
  }

  /** Something happened to the connection. */
  on(event, detail) {
    switch (event) {
      case READ:
        this.onInput(detail);
        break;
      case WRITABLE:
        this.outbox.noteActivity();
        this.onProgress(detail === 0);
        break;
      case EOF:
        this.hasEnded = true;
        if (this.isDiscarding || (detail === 0 && this.head === null && this.isIdle())) {
          this.tellEnd();
        } else {
          this.handBack();
        }
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
    if (this.isBehindHead) {
      this.outbox.noteActivity();
      cells[BUSY] = KEPT;
      return;
    }
    if (count > 0) this.secure(cells[TOP], count);
    try {
      this.tellReceiver(count);
    } finally {
      if (this.isBusy()) cells[BUSY] = 1;
    }
  }

  /** Has the receiver take its input, be it in a call of Rust's, which asks whether it is busy, or in a tick. */
  tellReceiver(count) {
    const { receiver } = this;
    this.outbox.noteActivity();
    this.isTelling = true;
    try {
      takeInput(receiver, count);
    } finally {
      this.isTelling = false;
      if (this.late !== null) deliverLate(this);
    }
    if (this.isLeaving) this.leaveWhenIdle();
    else if (this.socket[kNative] === this && isReadingWatched(this.socket)) this.handBack();
  }

  /** Whether the receiver has not finished. A listener that has thrown leaves it so: the rest comes a little later. */
  isBusy() {
    return this.receiver._writableState.length > 0;
  }

  /** The socket was resumed: in the next tick it says so and flows, as a stream of Node's does. */
  resume(isWaiting) {
    if (isWaiting) this.isFlowing = true;
    if (this.isResuming) return;
    this.isResuming = true;
    nextTick(() => this.onResumed());
  }

  onResumed() {
    const { isFlowing, socket } = this;
    this.isResuming = false;
    this.isFlowing = false;
    try {
      if (socket[kNative]) deliverHead(this);
      socket.emit('resume');
      if (isFlowing && socket[kNative]) this.flow();
      else flowOn(this);
    } finally {
      if (this.ahead !== null) deliverAhead(this);
    }
  }

  /** Delivers what was read while the socket was paused, before its turn. */
  flow() {
    const { id } = this;
    // What the receiver is busy with comes first.
    let goesOn = this.isIdle() && native.nativeFlow(id, false, false);
    this.isFlowing = true;
    try {
      while (goesOn) {
        try {
          this.tellReceiver(-1);
        } finally {
          // What a listener that has thrown leaves is told in its turn.
          goesOn = connections[id] === this && native.nativeFlow(id, true, !this.isBusy());
        }
      }
    } finally {
      this.isFlowing = false;
    }
  }

  /** Memory for a large message, of which a good part has arrived. Without it the message is put together in Rust. */
  onLend(size) {
    // The socket would time out, for nobody hears of what is read into it.
    if (this.socket.timeout > 0) return;
    try {
      this.lent = Buffer.allocUnsafeSlow(size);
    } catch {
      return;
    }
    native.nativeLend(this.id, this.lent);
  }

  /** Somebody else writes to the receiver, and may go on with the message that the memory is for. */
  endLoan() {
    if (this.lent === null) return;
    this.lent = null;
    native.nativeEndLoan(this.id);
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
      const fresh = Buffer.allocUnsafeSlow(ARENA_SIZE);
      native.nativeSetArena(fresh);
      arena = fresh;
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
      if (fetched === NOTHING_FETCHED) fetched = [bytes];
      else fetched.push(bytes);
      cells[at + 1] = fetched.length - 1;
    }
    this.receiver._fetched = fetched;
  }

  /** The receiver is done with a chunk, which may have been the input it was told about. */
  chunkDone(wasInput) {
    if (this.receiver._connection === null) return;
    if (!wasInput) this.isBehindHead = false;
    if (!wasInput && this.receiver._allowSynchronousEvents) native.nativeDescribe(this.id, true);
    if (this.isLeaving) this.leaveWhenIdle();
    else if (!this.isTelling && this.receiver._writableState.length === 0) {
      native.nativeGoOn(this.id);
    }
  }

  /** The receiver will not say that it is done. */
  receiverFailed() {
    if (this.isLeaving) nextTick(() => this.leaveWhenIdle());
  }

  /** A part of the backlog was written, or all of it: as in Node, `'drain'` comes before the callbacks. */
  onProgress(isAll) {
    const { outbox, socket } = this;
    const isTold = outbox.sent === outbox.drainedAt || socket._writableState.ending;
    try {
      if (isAll && !isTold) socket.emit('drain');
    } finally {
      outbox.onProgress();
      if (isAll) this.takeWhenDrained()?.();
    }
  }

  takeWhenDrained() {
    const { whenDrained } = this;
    this.whenDrained = null;
    return whenDrained;
  }

  /** As in Node, the callbacks of what is lost come first. */
  onWriteError(error) {
    const { outbox, socket } = this;
    outbox.fail(error, native.nativeCounters(this.id)[1]);
    nextTick(() => {
      socket._writableState.errored ??= error;
      socket._readableState.errored ??= error;
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
    countBefore(socket, native.nativeCounters(this.id));
    takeOff(socket);
    const whenDrained = this.takeWhenDrained();
    outbox.move(unsent, (error) => whenDrained?.(error));
    attachOutbox(sender, socket);
    if (!this.isDiscarding) Inherited.on.call(socket, 'data', this.onData);
    socket[kBeforeDestroyed] = () => this.leaveDestroyed();
    nextTick(() => this.leaveWhenIdle());
  }

  /** The socket is being destroyed before it got everything back. */
  leaveDestroyed() {
    this.socket[kBeforeDestroyed] = undefined;
    this.leaveWhenIdle(true);
    if (this.socket[kNative] === this) this.close();
  }

  /** Whether in ws there would be a listener of the socket's `'data'`, and there is none here. */
  hearsData() {
    return !this.isLeaving && !this.isDiscarding;
  }

  /** Whether the receiver has finished with all it was given. */
  isIdle() {
    const { receiver } = this;
    return receiver._writableState.length === 0 && !receiver._isInput;
  }

  /** The peer has ended: the socket's readable half does so. What is sent still goes out through Rust. */
  tellEnd() {
    Inherited.push.call(this.socket, null);
    Inherited.read.call(this.socket, 0);
  }

  /** Nobody wants what still comes. */
  discard() {
    this.isDiscarding = true;
    if (this.isLeaving) return;
    this.head = null;
    native.nativeDiscard(this.id);
  }

  /**
   * What the receiver is busy with comes first.
   *
   * @param {boolean} [isInCall] whether somebody is calling the socket right now
   */
  leaveWhenIdle(isInCall = false) {
    if (this.socket[kNative] !== this) return;
    if (this.isIdle() || this.receiver._errored) {
      this.leave(isInCall);
    } else if (this.hasEnded) {
      // The end is told behind what is read ahead; what the receiver is busy with goes on without this connection.
      rescueReceived(this);
      this.leave(isInCall);
    }
  }

  /** Lets the socket read again. */
  leave(isInCall) {
    const { socket } = this;
    const unread = native.nativeUnread(this.id);
    if (native.nativeHungUp(this.id)) this.hasEnded = true;
    this.forget();
    this.receiver._track();
    socket[kNative] = undefined;
    socket[kBeforeDestroyed] = undefined;
    const handle = socket._handle;
    if (handle) {
      delete handle.readStart;
      handle.reading = false;
    }
    if (isInCall) {
      this.flowLater();
      keepForTick(this, unread);
    } else {
      putBack(this, unread);
    }
    if (!this.hasEnded) readOn(socket);
    else if (isInCall) nextTick(() => this.tellEnd());
    else this.tellEnd();
  }

  /** A new socket flows in the next tick. */
  beginLater() {
    this.isBeginning = true;
    nextTick(() => this.begin());
  }

  begin() {
    this.isBeginning = false;
    try {
      deliverHead(this);
      flowOn(this);
    } finally {
      if (this.ahead !== null) deliverAhead(this);
    }
  }

  /** What the socket is given back flows in a tick, in the one that is due if there is one. */
  flowLater() {
    if (!this.isBeginning && !this.isResuming) nextTick(flowOn, this);
  }

  forget() {
    const [read, written] = native.nativeClose(this.id);
    countBefore(this.socket, [read, written + this.outbox.lostInFlight()]);
    connections[this.id] = undefined;
    this.receiver._connection = null;
  }

  /** The socket is being destroyed. */
  close() {
    const { socket } = this;
    flushAll();
    this.outbox.flush();
    if (!this.isLeaving) {
      takeOff(socket);
      this.outbox.abandon();
      this.sender._outbox = null;
    }
    socket[kNative] = undefined;
    // Its listeners find a socket that is not native any more.
    if (!this.isDiscarding && !socket._readableState.ended) rescue(this);
    this.head = null;
    this.forget();
  }
}

/** What few connections ever change takes no memory in the others. */
Object.assign(NativeConnection.prototype, {
  /** It leads back to those that lead here: `JSON.stringify()` sees nothing of it. */
  toJSON: NOOP,
  /** What has arrived and was not told: see `native-leftovers.js`. */
  head: null,
  /** Whether the receiver is busy with that and takes no more until it is done: the socket keeps what is read. */
  isBehindHead: false,
  ahead: null,
  late: null,
  /** Whether the byte stream was asked for and reading moves over when the input at hand is used up. */
  isLeaving: false,
  /** Whether what still comes is thrown away. */
  isDiscarding: false,
  /** Whether the peer has sent all it will send. */
  hasEnded: false,
  /** Whether the tick is due in which a new socket flows. */
  isBeginning: false,
  /** Whether the tick is due in which the socket says that it was resumed. */
  isResuming: false,
  /** Whether what was read while the socket was paused flows in that tick, or does so now. */
  isFlowing: false,
  /** Memory that Rust reads a large message into. */
  lent: null,
  /** Whom to tell that everything sent is written. */
  whenDrained: null
});

module.exports = { NativeConnection, start };
