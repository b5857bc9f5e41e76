'use strict';

const Limiter = require('./limiter');
const native = require('./native');
const { checkDeflateOptions, checkInflateOptions, setupOf } = require('./codec-setup');
const { EMPTY_BUFFER } = require('./constants');
const { callEach, failure } = require('./failure');
const { FastBuffer, toBuffer } = require('./buffers');
const { clearInterval, nextTick, setImmediate, setInterval } = require('./timers');

const EXTENSION_NAME = 'permessage-deflate';

/**
 * Data up to this many bytes are compressed on this thread, larger ones on the runtime: compressing costs 4 to 30 µs
 * per KiB, the trip there and back about 60 µs of latency. Either way it is done in a later turn of the loop, as users
 * of ws know it: a socket destroyed right after `send()` sends nothing, and no listener runs inside `send()`.
 */
const DEFLATE_IN_PLACE = 8 * 1024;

/**
 * The same for decompressing, in bytes of what comes out: about 1 to 2 µs per KiB. How many those will be is guessed
 * from the message before.
 */
const INFLATE_IN_PLACE = 12 * 1024;

/** Where what was compressed in place lies for those who do not keep it; incompressible data grow by a few bytes. */
const passing = Buffer.allocUnsafeSlow(DEFLATE_IN_PLACE + 64);

/** How many times as long as a frame its contents are likely to be, as long as there was no other frame to learn from. */
const LIKELY_EXPANSION = 4;

/** How many jobs leave the thread at once: one number for the whole process, as the first instance asks for it. */
const DEFAULT_CONCURRENCY = 10;

/**
 * This many connections keep their zlib states, some 340 KiB each. The others keep only the text that their contexts
 * consist of; making the states anew from it takes about 10 µs.
 */
const MOST_AWAKE = 80;

/** A connection that has not used its states for this long, in milliseconds, gives them back, too. */
const IDLE_AFTER = 1000;

/**
 * When a job is done, the next one of its connection follows in the same turn of the loop, after ticks and microtasks,
 * so that what belongs together leaves together. With so many jobs, or bytes, the others have their turn. Only the
 * first job of a connection is alone in its turn: when a peer that was sent much right after the handshake leaves, the
 * rest of it fails, as with ws.
 */
const MOST_JOBS_IN_A_TURN = 16;
const MOST_BYTES_IN_A_TURN = 64 * 1024;

/** Jobs that leave the thread wait here for their turn; made with the first instance. */
let limiter = null;

/** Instances that hold compressors. */
const awake = new Set();

let sweeper = null;

/** @param {PerMessageDeflate} instance has not been awake */
function keepAwake(instance) {
  awake.add(instance);
  if (awake.size > MOST_AWAKE) putToSleep(leastUsed());
}

/** Has the states looked after as long as there are any. */
function startSweeping() {
  sweeper ??= setInterval(sweep, IDLE_AFTER).unref();
}

/** Finds one that was not used since it was last looked at. */
function leastUsed() {
  for (const instance of awake) {
    if (!instance._wasUsed) return instance;
    instance._wasUsed = false;
    // Behind all others, where this loop comes to it again.
    awake.delete(instance);
    awake.add(instance);
  }
}

function putToSleep(instance) {
  awake.delete(instance);
  instance._sleep();
}

/** Puts those to sleep that were not used since the last time. */
function sweep() {
  for (const instance of awake) {
    if (instance._wasUsed) instance._wasUsed = false;
    else putToSleep(instance);
  }
  native.trimPool(awake.size === 0);
  if (awake.size > 0) return;
  clearInterval(sweeper);
  sweeper = null;
}

/** Gives the Rust half of an instance back when the instance is collected. */
const forgotten = new FinalizationRegistry((id) => native.releaseCodec(id));

/**
 * The permessage-deflate extension (RFC 7692) of one connection: what is agreed on, and the compression itself.
 */
class PerMessageDeflate {
  /**
   * @param {object} [options]
   * @param {boolean|number} [options.clientMaxWindowBits] the client's window: its size as a power of two, 8 to 15;
   *     `true` (for a client: also when missing) says that any size will do
   * @param {boolean} [options.clientNoContextTakeover] whether the client forgets its context after each message
   * @param {number} [options.concurrencyLimit=10] most jobs that leave the thread at once
   * @param {boolean} [options.isServer=false]
   * @param {number} [options.maxPayload=0] most bytes a frame may inflate to; 0: no limit
   * @param {boolean|number} [options.serverMaxWindowBits] the server's window
   * @param {boolean} [options.serverNoContextTakeover] whether the server forgets its context after each message
   * @param {number} [options.threshold=1024] bytes below which a message is not compressed when its context would be
   *     forgotten anyway
   * @param {object} [options.zlibDeflateOptions] `level`, `memLevel`, `strategy`, `dictionary`, as for node:zlib
   * @param {object} [options.zlibInflateOptions] `dictionary`, as for node:zlib
   */
  constructor(options) {
    this._options = options || {};
    this._threshold = this._options.threshold !== undefined ? this._options.threshold : 1024;
    this._maxPayload = this._options.maxPayload | 0;
    this._isServer = !!this._options.isServer;
    this._id = -1;
    /** What the Rust half is made from, since it was asked for first; null before. */
    this._setup = null;
    this._isTracked = false;
    /** Frames that are being worked on, in their order; null before the first. */
    this._compression = null;
    this._decompression = null;
    /** Whether there are compressors, and whether they were used lately. */
    this._isAwake = false;
    this._wasUsed = false;
    /** In which directions a job was done: the bits of the lines. */
    this._directions = 0;

    /** What was agreed on, by name; null before. */
    this.params = null;

    limiter ??= new Limiter(
      this._options.concurrencyLimit !== undefined
        ? this._options.concurrencyLimit
        : DEFAULT_CONCURRENCY
    );
  }

  /** @type {string} */
  static get extensionName() {
    return EXTENSION_NAME;
  }

  /**
   * The parameters to offer to a server.
   *
   * @returns {object}
   */
  offer() {
    return collect(native.offerDeflate(this._negotiable()), {});
  }

  /**
   * Takes a client's offers, or a server's answer.
   *
   * @param {object[]} configurations each a map of parameter names to lists of values
   * @returns {object} what is agreed on
   * @throws {Error|TypeError} when nothing can be agreed on
   */
  accept(configurations) {
    const listed = configurations.map(listParameters);
    const { parameters, ...fault } = native.acceptDeflate(
      this._isServer,
      this._negotiable(),
      listed
    );
    throwIfRefused(fault);

    this.params = collect(parameters, sameKind(configurations[0]));
    return this.params;
  }

  /**
   * Checks the form of offers, or of an answer, and gives each parameter its one value.
   *
   * @param {object[]} configurations each a map of parameter names to lists of values
   * @returns {object[]}
   * @throws {Error|TypeError} when one is not as RFC 7692 wants it
   */
  normalizeParams(configurations) {
    const listed = configurations.map(listParameters);
    const { configurations: normal, ...fault } = native.normalizeDeflate(this._isServer, listed);
    throwIfRefused(fault);
    return normal.map((parameters, index) => collect(parameters, sameKind(configurations[index])));
  }

  /** Gives back everything this instance holds. Whoever waits for a result gets an error. */
  cleanup() {
    this._release();
    if (this._isAwake) awake.delete(this);
    this._isAwake = false;
    this._setup = null;
    const callbacks = [];
    for (const line of [this._compression, this._decompression]) {
      for (let job = line && line.clear(); job; job = job.next) {
        const { callback } = job;
        const message = `The ${line.stream} stream was closed while data was being processed`;
        callbacks.push(() => callback(new Error(message)));
      }
    }
    callEach(callbacks, 0, null);
  }

  /**
   * Compresses a frame.
   *
   * @param {Buffer|string} data
   * @param {boolean} fin whether it is the last frame of its message
   * @param {(error: Error|null, data?: Buffer) => void} callback
   */
  compress(data, fin, callback) {
    this._begin(data, fin, false, callback);
  }

  /** As {@link compress}, for a callback that does not keep the data: soon after it returns, others are in their place. */
  _compressInPassing(data, fin, callback) {
    this._begin(data, fin, true, callback);
  }

  _begin(data, fin, inPassing, callback) {
    const bytes = toBuffer(data);
    if (this._compression === null) {
      checkDeflateOptions(this._options);
      this._compression = new Compression(this);
    }
    this._setup ??= setupOf(this);
    this._compression.push(bytes, fin, inPassing, callback);
  }

  /**
   * Decompresses a frame.
   *
   * @param {Buffer} data
   * @param {boolean} fin whether it is the last frame of its message
   * @param {(error: Error|null, data?: Buffer) => void} callback
   */
  decompress(data, fin, callback) {
    if (this._decompression === null) {
      checkInflateOptions(this._options);
      this._decompression = new Decompression(this);
    }
    this._setup ??= setupOf(this);
    this._decompression.push(data, fin, false, callback);
  }

  /** Gives back what the contexts do not need: everything if they are empty. */
  _sleep() {
    this._isAwake = false;
    if (this._compression?.first === null) this._compression = null;
    if (this._decompression?.first === null) this._decompression = null;
    const isBusy = this._compression !== null || this._decompression !== null;
    if (this._id !== -1 && native.sleepCodec(this._id) && !isBusy) this._release();
  }

  /** Gives the Rust half back. */
  _release() {
    if (this._id === -1) return;
    if (this._isTracked) forgotten.unregister(this);
    this._isTracked = false;
    native.releaseCodec(this._id);
    this._id = -1;
  }

  /**
   * Notes that there are compressors.
   *
   * @param {boolean} isGreeting whether it was the first job of its direction, and none follows: many connections that are
   *     greeted, and say no more, are not to hold states
   */
  _used(isGreeting) {
    startSweeping();
    this._wasUsed = true;
    if (this._isAwake || this._id === -1) return;
    if (isGreeting) {
      this._sleep();
    } else {
      this._isAwake = true;
      keepAwake(this);
    }
    if (this._id !== -1) this._track();
  }

  /** Has the Rust half given back when this instance is collected. Those that live for one message do without. */
  _track() {
    if (this._isTracked) return;
    this._isTracked = true;
    forgotten.register(this, this._id, this);
  }

  /**
   * The number of this instance's Rust half, which is made when a job is begun: if many connections are told something at
   * once, few of their jobs are under way at a time.
   *
   * @returns {number}
   */
  _codec() {
    if (this._id === -1) {
      const setup = this._setup;
      this._id = native.createCodec(
        setup.inflateBits,
        setup.inflateForgets,
        setup.inflateDictionary,
        setup.deflateBits,
        setup.deflateForgets,
        setup.deflateDictionary,
        setup.tuning
      );
    }
    return this._id;
  }

  /** How the compressor is set up, once there is one. */
  get _deflate() {
    return this._setup === null ? null : describe(this._options.zlibDeflateOptions);
  }

  /** How the decompressor is set up, once there is one. */
  get _inflate() {
    return this._setup === null ? null : describe(this._options.zlibInflateOptions);
  }

  _negotiable() {
    const options = this._options;
    return {
      serverNoContextTakeover: flag(options.serverNoContextTakeover),
      clientNoContextTakeover: flag(options.clientNoContextTakeover),
      serverMaxWindowBits: windowBits(options.serverMaxWindowBits),
      clientMaxWindowBits: windowBits(options.clientMaxWindowBits)
    };
  }
}

/** The line whose job is being settled, and what its turn of the loop has brought already. */
let settling = null;
let jobsInTurn = 0;
let bytesInTurn = 0;

const settled = Promise.resolve();

/** Lines and their jobs that follow in the same turn. */
const upcoming = [];

/**
 * The jobs of one direction of a connection, one for each frame. They depend on each other, so they are done one after the
 * other.
 */
class Line {
  /** @param {PerMessageDeflate} owner */
  constructor(owner) {
    this.owner = owner;
    /** The job that is being worked on, which knows the next one. */
    this.first = null;
    this.last = null;
  }

  /** Whether no job was done in this direction. */
  get isNew() {
    return (this.owner._directions & this.direction) === 0;
  }

  /**
   * @param {Buffer} data
   * @param {boolean} fin
   * @param {boolean} inPassing whether the callback does not keep the result
   * @param {(error: Error|null, data?: Buffer) => void} callback
   */
  push(data, fin, inPassing, callback) {
    const job = { data, fin, inPassing, callback, next: null };
    if (this.first !== null) {
      this.last = this.last.next = job;
      return;
    }
    this.first = this.last = job;
    this.begin(job);
  }

  /** @returns {object|null} the first of the jobs that were waiting */
  clear() {
    const { first } = this;
    this.first = this.last = null;
    return first;
  }

  begin(job) {
    if (this.isLarge(job)) {
      this.send(job);
    } else if (
      settling === this &&
      !this.isNew &&
      jobsInTurn < MOST_JOBS_IN_A_TURN &&
      bytesInTurn < MOST_BYTES_IN_A_TURN
    ) {
      workNext(this, job);
    } else {
      setImmediate(workInTurn, this, job);
    }
  }

  /** Has a job done on the runtime. */
  send(job) {
    limiter.add((release) => {
      if (this.first !== job) {
        release();
        return;
      }
      this.workElsewhere(job, (length) => {
        jobsInTurn = bytesInTurn = 0;
        const result = length === -1 ? null : takeResult(length, false);
        release();
        if (this.first === job) this.settle(job, result);
      });
    });
  }

  /** @param {Buffer|null} result `null` when the data could not be processed */
  settle(job, result) {
    const error = result === null ? failure() : null;
    const { next } = job;
    this.first = next;
    if (next === null) this.last = null;
    this.owner._used(this.isNew && next === null);
    const isLarge = next !== null && this.isLarge(next);
    if (isLarge) this.begin(next);

    const outer = settling;
    settling = this;
    try {
      if (error) job.callback(error);
      else job.callback(null, result);
    } finally {
      if (next !== null && !isLarge && this.first === next) this.begin(next);
      settling = outer;
      this.owner._directions |= this.direction;
    }
  }
}

class Compression extends Line {
  get direction() {
    return 1;
  }

  get stream() {
    return 'deflate';
  }

  isLarge({ data }) {
    return data.length > DEFLATE_IN_PLACE;
  }

  work({ data, fin }) {
    return native.deflate(this.owner._codec(), data, fin);
  }

  workElsewhere({ data, fin }, done) {
    native.deflateOnRuntime(this.owner._codec(), data, fin, done);
  }
}

class Decompression extends Line {
  constructor(owner) {
    super(owner);
    this.expansion = LIKELY_EXPANSION;
  }

  get direction() {
    return 2;
  }

  get stream() {
    return 'inflate';
  }

  isLarge({ data }) {
    return data.length * this.expansion > INFLATE_IN_PLACE;
  }

  settle(job, result) {
    if (result !== null && job.data.length > 0) this.expansion = result.length / job.data.length;
    super.settle(job, result);
  }

  get limit() {
    return Math.max(this.owner._maxPayload, 0);
  }

  work({ data, fin }) {
    return native.inflate(this.owner._codec(), data, fin, this.limit);
  }

  workElsewhere({ data, fin }, done) {
    native.inflateBytesOnRuntime(this.owner._codec(), data, fin, this.limit, done);
  }
}

/** Does a job in a turn of the loop that begins with it. */
function workInTurn(line, job) {
  jobsInTurn = bytesInTurn = 0;
  work(line, job);
}

/**
 * Does a job in the same turn, after ticks and microtasks. Without closures, arguments and `queueMicrotask`, which would
 * make several times the garbage.
 */
function workNext(line, job) {
  upcoming.push(line, job);
  settled.then(workAfterTicks);
}

function workAfterTicks() {
  nextTick(workUpcoming);
}

/** Ticks come in the order in which they were asked for. */
function workUpcoming() {
  const line = upcoming.shift();
  work(line, upcoming.shift());
}

/** Does a job on this thread. */
function work(line, job) {
  if (line.first !== job) return;
  const length = line.work(job);
  jobsInTurn++;
  bytesInTurn += job.data.length + Math.max(length, 0);
  line.settle(job, length === -1 ? null : takeResult(length, job.inPassing));
}

/** `false` says something else than a missing option. */
function flag(value) {
  if (value === false) return false;
  return value ? true : undefined;
}

function windowBits(value) {
  if (value == null) return undefined;
  if (typeof value === 'boolean' || typeof value === 'number') return value;
  return { truthy: !!value, text: String(value) };
}

function listParameters(configuration) {
  return Object.keys(configuration).map((name) => ({
    name,
    values: [...configuration[name]].map((value) => (value === true ? true : String(value)))
  }));
}

/**
 * An empty object with the prototype of `object`. `Object.create(null)` would give a hash table, which is three times
 * as large.
 */
function sameKind(object) {
  return object == null ? {} : Object.setPrototypeOf({}, Object.getPrototypeOf(object));
}

function throwIfRefused({ error, isTypeError }) {
  if (error != null) throw new (isTypeError ? TypeError : Error)(error);
}

function collect(parameters, target) {
  for (const { name, value } of parameters) target[name] = value;
  return target;
}

function takeResult(length, inPassing) {
  if (length === 0) return EMPTY_BUFFER;
  const result =
    inPassing && length <= passing.length
      ? new FastBuffer(passing.buffer, 0, length)
      : Buffer.allocUnsafe(length);
  native.takeResult(result, 0);
  return result;
}

/** The settings of node:zlib's streams that their users read back. */
function describe(options) {
  const { level = -1, strategy = 0, chunkSize = 16 * 1024 } = options ?? {};
  return { _level: level, _strategy: strategy, _chunkSize: chunkSize };
}

module.exports = PerMessageDeflate;
