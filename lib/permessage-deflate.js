'use strict';

const native = require('./native');
const { checkDeflateOptions, checkInflateOptions, setupOf } = require('./codec-setup');
const { Compression, Decompression, limitJobs } = require('./deflate-jobs');
const { keepAwake, keepNoMore, startSweeping } = require('./deflate-states');
const { callEach } = require('./failure');
const { toBuffer } = require('./buffers');

const EXTENSION_NAME = 'permessage-deflate';

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
    /** What gives the Rust half back when it is collected. */
    this._tracker = null;
    /** Where in a chunk of Node's zlib the Rust half stood that was given back last. */
    this._filled = 0;
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

    limitJobs(this._options.concurrencyLimit);
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
    if (this._isAwake) keepNoMore(this);
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
    if (this._compression?.isOver()) this._compression = null;
    if (this._decompression?.isOver()) this._decompression = null;
    const isBusy = this._compression !== null || this._decompression !== null;
    if (this._id === -1) return;
    const filled = native.sleepCodec(this._id);
    if (filled === -1 || isBusy) return;
    this._filled = filled;
    this._release();
  }

  /** Gives the Rust half back. */
  _release() {
    if (this._id === -1) return;
    if (this._tracker !== null) native.untrack(this._tracker);
    this._tracker = null;
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
    this._tracker ??= native.trackCodec(this._id);
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
        setup.tuning,
        this._filled
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

/** The settings of node:zlib's streams that their users read back. */
function describe(options) {
  const { level = -1, strategy = 0, chunkSize = 16 * 1024 } = options ?? {};
  return { _level: level, _strategy: strategy, _chunkSize: chunkSize };
}

module.exports = PerMessageDeflate;
