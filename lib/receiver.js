'use strict';

const { Writable } = require('stream');

const {
  cells,
  BINARY,
  BINARY_IN_CHUNK,
  CLOSE,
  COMPRESSED,
  FAILED,
  FETCHED,
  FIN,
  INPUT,
  IN_CHUNK,
  IN_STORE,
  KIND_MASK,
  MORE,
  PING,
  POSITION,
  STOPPED,
  STRIDE,
  SUPPLIED,
  TEXT,
  TEXT_IN_CHUNK,
  TOP,
  USED_UP,
  WAITING
} = require('./inbox');
const native = require('./native');
const PerMessageDeflate = require('./permessage-deflate');
const { FastBuffer, toArrayBuffer } = require('./buffers');
const { beginDelivery, endDelivery } = require('./outbox');
const { BINARY_TYPES, EMPTY_BUFFER, kUntracked, kWebSocket } = require('./constants');
const { failure, throwLater } = require('./failure');
const { areLost, owned, place } = require('./items');
const { keepRest, restore } = require('./pending-items');
const { defineLimits, limitError, limitsOf } = require('./receiver-limits');
const { setTimeout } = require('./timers');

/**
 * After a listener has thrown, the rest of its chunk waits this long, in milliseconds: whoever handles the exception may
 * want to end the connection or the process first.
 */
const AFTER_EXCEPTION = 100;

const NONE = Object.freeze([]);

/** The position in a chunk of which nothing was decoded. An item without bytes may come at its very beginning. */
const NOT_BEGUN = -1;

/** The values of `_state` that something outside may ask for, as in ws. */
const GET_INFO = 0;
const INFLATING = 5;

const GIVEN_AWAY = 'A listener has given away the memory of a message that was not delivered yet';

/**
 * Turns bytes received from the peer into messages, pings, pongs and the close frame.
 *
 * A Writable: write to it what the socket delivers. It emits `'message'` (data, isBinary), `'ping'`, `'pong'` (data),
 * `'conclude'` (code, reason) for a close frame, and `'error'` when the peer breaks the protocol or a limit. The
 * decoding itself is done in Rust, one call for each chunk; here its findings become views and events.
 */
class Receiver extends Writable {
  /**
   * @param {object} [options]
   * @param {boolean} [options.allowSynchronousEvents=true] whether several events may be emitted in one tick
   * @param {string} [options.binaryType='nodebuffer'] what binary messages are delivered as
   * @param {object} [options.extensions] the negotiated extensions, by name
   * @param {boolean} [options.isServer=false] whether frames must be masked
   * @param {number} [options.maxBufferedChunks=0] most chunks held for an unfinished frame; 0: no limit
   * @param {number} [options.maxFragments=0] most fragments of a message; 0: no limit
   * @param {number} [options.maxPayload=0] most bytes of a message; 0: no limit
   * @param {boolean} [options.skipUTF8Validation=false] whether text is accepted unchecked
   */
  constructor(options = {}) {
    super();

    this._allowSynchronousEvents = options.allowSynchronousEvents ?? true;
    this._binaryType = options.binaryType || BINARY_TYPES[0];
    this._extensions = options.extensions || {};
    this._isServer = !!options.isServer;
    this._limits = limitsOf(options);
    this[kWebSocket] = undefined;

    this._deflateAllowed = this._allowsDeflate();
    this._id = native.createReceiver(
      this._isServer,
      this._deflateAllowed,
      this._limits.skipUTF8Validation,
      this._limits.maxPayload,
      this._limits.maxFragments,
      this._limits.maxBufferedChunks
    );
    /** What gives the Rust half back when it is collected. */
    this._tracker = null;
    if (!options[kUntracked]) this._track();

    /** The native connection whose input this receiver decodes; whether the chunk at hand stands for such input. */
    this._connection = null;
    this._isInput = false;
    /** Where the payloads of the input at hand lie: small ones in an arena, others in buffers of their own. */
    this._arena = EMPTY_BUFFER;
    this._fetched = NONE;
    /** What was left of the input at hand when its native connection ended. */
    this._rest = EMPTY_BUFFER;
    /** Items of the input at hand that are described but not delivered. */
    this._pending = null;
    /** The listener of `'message'` that passes messages on to the WebSocket, if there is one. */
    this._onMessage = null;
    /** Whether a listener has just thrown. */
    this._hasThrown = false;
    /** The inflated contents of the last compressed frame. */
    this._contents = EMPTY_BUFFER;
    this._isInflating = false;
    /** Whether a limit was changed since the chunk at hand was decoded. */
    this._limitsChanged = false;
    this._errored = false;
    /** The chunk at hand, how far it is decoded, and whom to tell when it is done. */
    this._chunk = EMPTY_BUFFER;
    this._position = NOT_BEGUN;
    this._done = null;
    /** Chunks that still wait because of an error before them; what is written next comes after them. */
    this._backlog = NONE;
    /** Whether an error has left nothing to be decoded any more. */
    this._ignoring = false;
    /** After an error, how many bytes ws would unmask next with a key that it has dropped. */
    this._keyless = 0;
  }

  /** Has the Rust half given back when this one is collected, if it is dropped without having been ended. */
  _track() {
    if (this._id !== -1) this._tracker = native.trackReceiver(this._id);
  }

  /**
   * Changes a limit while frames are arriving.
   *
   * @param {string} name
   * @param {number|boolean} value
   */
  _limit(name, value) {
    this._limits = { ...this._limits, [name]: value };
    this._limitsChanged = true;
    this._configure();
  }

  _allowsDeflate() {
    return this._extensions[PerMessageDeflate.extensionName] !== undefined;
  }

  /** Whether the extension was put in place, or taken away, since Rust was told. */
  _isOutdated() {
    return this._allowsDeflate() !== this._deflateAllowed;
  }

  _configure() {
    if (this._id === -1) return;
    this._deflateAllowed = this._allowsDeflate();
    const { skipUTF8Validation, maxPayload, maxFragments, maxBufferedChunks } = this._limits;
    native.configureReceiver(
      this._id,
      this._deflateAllowed,
      skipUTF8Validation,
      maxPayload,
      maxFragments,
      maxBufferedChunks
    );
  }

  /** How many bytes of an unfinished message have arrived. */
  get _totalPayloadLength() {
    return this._id === -1 ? 0 : native.messageLength(this._id);
  }

  /** Two of the values that it has in ws: 5 after a compressed frame, else 0. */
  get _state() {
    return this._isInflating ? INFLATING : GET_INFO;
  }

  /**
   * @param {Buffer} chunk
   * @param {string} encoding
   * @param {(error?: Error) => void} done
   */
  _write(chunk, encoding, done) {
    this._done = done;
    if (this._isInput && chunk !== INPUT) {
      // A listener writes it while input is delivered past the stream: it comes behind that.
      this._backlog = [chunk];
      return;
    }
    if (this._hasThrown) {
      this._isInput = true;
      this._goOnAfterException();
      return;
    }
    if (this._errored && this._hasTooManyChunks()) {
      this._fail(limitError('Too many buffered chunks', 'WS_ERR_TOO_MANY_BUFFERED_PARTS', 1008));
      return;
    }
    if (this._backlog === NONE) this._backlog = [chunk];
    else this._backlog.push(chunk);
    if (this._keyless > 0) this._refuseKeyless();
    this._nextChunk();
    beginDelivery();
    try {
      this._advance();
    } catch (error) {
      // A stream that works off what it has collected loses track of it when something is thrown through it.
      if (!this._writableState.bufferProcessing) throw error;
      throwLater(error);
    } finally {
      endDelivery();
    }
  }

  /** What is left of input that was delivered past the stream, or of what was written meanwhile, takes its turn. */
  _goOnAsStream() {
    if (this._hasThrown) {
      this._goOnAfterException();
      return;
    }
    if (!this._isInput) this._nextChunk();
    this._advance();
  }

  /** Something cannot be told. Nor is what comes behind that gap. */
  _lose() {
    if (this._connection !== null) this._connection.discard();
    this[kWebSocket]?._socket.destroy();
  }

  _destroy(error, done) {
    // The chunk at hand is delivered to its end nevertheless, if it has one.
    if (this._done === null && (!this._isInput || this._errored)) this._release();
    done(error);
  }

  _release() {
    if (this._id === -1) return;
    // Somebody may have destroyed it: its number may be another's soon.
    if (this._connection !== null) this._connection.discard();
    if (this._tracker !== null) native.untrack(this._tracker);
    native.releaseReceiver(this._id);
    this._id = -1;
    this._chunk = EMPTY_BUFFER;
    this._backlog = NONE;
  }

  /**
   * Never finishes the chunk at hand, so that what was written behind it waits for ever. This is for a WebSocket that is
   * terminated. While a native connection decodes for this receiver, nothing happens.
   */
  _abandon() {
    if (this._connection === null) this._release();
  }

  /** Bounds what waits after an error, which Rust does not know of. */
  _hasTooManyChunks() {
    const { maxBufferedChunks } = this._limits;
    return maxBufferedChunks > 0 && this._backlog.length >= maxBufferedChunks;
  }

  /** Turns to the first of the chunks that wait. */
  _nextChunk() {
    const chunk = this._backlog.shift();
    if (this._backlog.length === 0) this._backlog = NONE;
    this._isInput = chunk === INPUT;
    this._chunk = this._isInput ? EMPTY_BUFFER : chunk;
    this._position = NOT_BEGUN;
  }

  /** Decodes on from where the chunk at hand was left, and delivers what is found. */
  _advance() {
    for (;;) {
      if (this._id === -1) return;
      // The extension may be put in place later.
      if (this._isOutdated()) this._configure();
      const base = cells[TOP];
      // What was kept was described before.
      if (this._pending === null) this._limitsChanged = false;
      const count = this._decode(base);
      const stopped = cells[STOPPED];

      if (count > 0 && !this._deliver(base, count)) return;
      if (stopped === WAITING) return;
      if (stopped === USED_UP && !this._hasRest()) {
        if (this._backlog.length === 0) break;
        this._nextChunk();
      }
    }

    this._finishChunk();
  }

  /** Whether a native connection that has ended left the beginning of a message behind what was described. */
  _hasRest() {
    return this._isInput && this._connection === null && this._rest.length > 0;
  }

  /**
   * Has Rust describe what is in the chunk at hand.
   *
   * @param {number} base where in the inbox
   * @returns {number} how many descriptors there are
   */
  _decode(base) {
    const single = !this._allowSynchronousEvents;
    if (this._pending !== null) return restore(this, base, single);
    if (this._isInput) {
      if (this._connection !== null) return this._connection.fill(base, single);
      // The connection is gone; this is what it had still read.
      this._isInput = false;
      this._chunk = this._rest;
      this._rest = EMPTY_BUFFER;
      this._position = NOT_BEGUN;
      if (this._chunk.length === 0) {
        cells[STOPPED] = USED_UP;
        return 0;
      }
    }
    if (this._connection !== null) this._connection.endLoan();
    const count = native.decode(this._id, this._chunk, this._position, base, single);
    this._position = cells[POSITION];
    return count;
  }

  /**
   * Tells the stream that the chunk at hand is done with. After an error it is not told, as in ws, and so writes no more;
   * unless there is nothing to be decoded.
   */
  _finishChunk() {
    const { _connection: connection, _done: done, _isInput: wasInput } = this;
    this._chunk = EMPTY_BUFFER;
    this._isInput = false;
    this._done = null;
    if (this.destroyed) this._release();
    if (done !== null && (!this._errored || this._ignoring)) done();
    if (connection !== null) connection.chunkDone(wasInput);
  }

  /**
   * Delivers the items described in the inbox.
   *
   * @param {number} base where the first descriptor lies
   * @param {number} count how many there are
   * @param {boolean} [inflated] whether the item is a message of which the last frame was compressed
   * @returns {boolean} whether decoding may go on at once
   */
  _deliver(base, count, inflated = false) {
    const end = base + count * STRIDE;
    // Whatever decoding has stopped for, it can go on behind a frame that was inflated.
    const stopped = inflated ? MORE : cells[STOPPED];
    const { buffer: memory, byteOffset: offset } = this._isInput ? this._arena : this._chunk;
    let at = base;
    cells[TOP] = end;
    try {
      while (at < end) {
        const head = cells[at];
        const start = cells[at + 1] >>> 0;
        const length = cells[at + 2] >>> 0;
        const extra = cells[at + 3];
        if (areLost(cells, at, at + STRIDE, memory)) throw new TypeError(GIVEN_AWAY);
        at += STRIDE;

        const kind = head & KIND_MASK;
        if (
          head === TEXT_IN_CHUNK ||
          (head === BINARY_IN_CHUNK && this._binaryType === 'nodebuffer')
        ) {
          if (length > 0 && this._allowSynchronousEvents && !this._limitsChanged) {
            // By far the most frequent case.
            this._isInflating = false;
            this.emit('message', new FastBuffer(memory, offset + start, length), kind === BINARY);
            continue;
          }
        }
        if (kind <= BINARY && this._limitsChanged && this._isTooLong(length)) {
          return this._fail(
            limitError('Max payload size exceeded', 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 1009)
          );
        }
        if (kind === FAILED) {
          // A limit that was raised since, or an extension, may let the same bytes pass.
          if (extra === 1 && (this._limitsChanged || this._isOutdated())) return true;
          const error = failure(this._deliver, start | 0);
          this._passFailure();
          return this._fail(error);
        }
        if (kind === COMPRESSED) return this._inflate(head, start, length);

        const data = this._data(head, start, length, kind);
        const where = place(head);
        if (kind <= BINARY && (where === IN_CHUNK || where === FETCHED)) this._isInflating = false;
        if (kind === CLOSE) return this._conclude(extra, data);
        // Inflated text has had a turn of its own already; ws gives inflated binary messages another one.
        if (this._allowSynchronousEvents || (inflated && kind === TEXT)) {
          this._emitItem(kind, data);
        } else {
          this._deliverInTurn(kind, where === IN_CHUNK && this._isInput ? owned(data) : data);
          return false;
        }
      }
      return true;
    } catch (error) {
      keepRest(this, memory, at, end, stopped, this._isInput);
      this._goOnLater();
      throw error;
    } finally {
      cells[TOP] = base;
    }
  }

  _goOnAfterException() {
    this._hasThrown = false;
    this._goOnLater();
  }

  /** A listener has thrown: what is left is delivered a little later, when the exception was handled. */
  _goOnLater() {
    if (this._id !== -1) setTimeout(() => this._advance(), AFTER_EXCEPTION);
  }

  /** Delivers an item in a turn of its own. */
  _deliverInTurn(kind, data) {
    setImmediate(() => this._deliverLater(kind, data));
  }

  _deliverLater(kind, data) {
    try {
      this._emitItem(kind, data);
    } catch (error) {
      this._goOnLater();
      throw error;
    }
    this._advance();
  }

  _isTooLong(length) {
    return this._limits.maxPayload > 0 && length > this._limits.maxPayload;
  }

  /**
   * The bytes of an item, in the form its listeners expect.
   *
   * @returns {Buffer|ArrayBuffer|Blob|Buffer[]}
   */
  _data(head, start, length, kind) {
    const where = place(head);
    const bytes = length === 0 ? EMPTY_BUFFER : this._bytes(where, start, length);
    if (kind !== BINARY || this._binaryType === 'nodebuffer') return bytes;
    if (this._binaryType === 'arraybuffer') return toArrayBuffer(bytes);
    const fragments = length === 0 ? [] : this._fragments(where, start, bytes);
    return this._binaryType === 'blob' ? new Blob(fragments) : fragments;
  }

  _bytes(where, start, length) {
    if (where === IN_CHUNK) {
      const chunk = this._isInput ? this._arena : this._chunk;
      return new FastBuffer(chunk.buffer, chunk.byteOffset + start, length);
    }
    if (where === SUPPLIED) return this._contents;
    if (where === FETCHED) return this._fetched[start];
    const bytes = Buffer.allocUnsafe(length);
    native.take(this._id, where, start, bytes);
    return bytes;
  }

  /** Cuts a message where its frames ended. */
  _fragments(where, start, bytes) {
    if (where !== IN_STORE) return [bytes];
    const fragments = [];
    let from = 0;
    for (const end of native.frameEnds(this._id, start, bytes.length)) {
      fragments.push(bytes.subarray(from, end));
      from = end;
    }
    return fragments;
  }

  _emitItem(kind, data) {
    switch (kind) {
      case TEXT:
        this.emit('message', data, false);
        break;
      case BINARY:
        this.emit('message', data, true);
        break;
      case PING:
        this.emit('ping', data);
        break;
      default:
        this.emit('pong', data);
    }
  }

  /** The peer sent a close frame: nothing that follows it counts. */
  _conclude(code, reason) {
    try {
      this.emit('conclude', code, reason);
    } finally {
      this.end();
    }
    return true;
  }

  /** @param {Error} error */
  _fail(error) {
    this._errored = true;
    const done = this._done;
    this._done = null;
    if (this.destroyed) this._release();
    done(error);
    if (this._connection !== null) this._connection.receiverFailed();
    return false;
  }

  /**
   * Chunks that wait in the stream are still written after an error. As in ws they are decoded, from behind what was at
   * fault. The input of a native connection is never followed by more.
   */
  _passFailure() {
    if (this._isInput) return;
    const position = native.goOn(this._id, this._chunk, this._position);
    if (position === -1) {
      this._ignoring = true;
      this._backlog = NONE;
      return;
    }
    if (position < this._chunk.length) {
      this._backlog = [this._chunk.subarray(position), ...this._backlog];
    }
    this._keyless = native.keylessPayload(this._id);
  }

  /**
   * A masked payload that was refused is expected again, but its key is gone. ws throws when it has arrived, and so does
   * a receiver that is used on its own. On a connection no peer may end the process like that: there, nothing more
   * is decoded.
   */
  _refuseKeyless() {
    if (this[kWebSocket] !== undefined) return;
    const arrived = this._backlog.reduce((sum, { length }) => sum + length, 0);
    if (arrived < this._keyless) return;
    this._done = null;
    throw new TypeError("Cannot read properties of undefined (reading '0')");
  }

  /**
   * Has a compressed frame inflated.
   *
   * @returns {false} decoding goes on when the contents are there
   */
  _inflate(head, start, length) {
    const where = place(head);
    let frame = length === 0 ? EMPTY_BUFFER : this._bytes(where, start, length);
    if (where === IN_CHUNK && this._isInput) frame = Buffer.from(frame);
    const fin = (head & FIN) !== 0;
    this._isInflating = true;
    this._extensions[PerMessageDeflate.extensionName].decompress(frame, fin, (error, contents) => {
      if (this._id === -1) return;
      if (error) this._fail(error);
      else this._inflated(contents);
    });
    return false;
  }

  /** @param {Buffer} contents of the frame that is being waited for */
  _inflated(contents) {
    const count = native.supply(this._id, contents, cells[TOP]);
    this._contents = contents;
    const goOn = count === 0 || this._deliver(cells[TOP], count, true);
    this._contents = EMPTY_BUFFER;
    if (goOn) this._advance();
  }
}

defineLimits(Receiver.prototype);

module.exports = Receiver;
