'use strict';

const zlib = require('zlib');

const Limiter = require('./limiter');
const native = require('./native');
const { EMPTY_BUFFER, kStatusCode } = require('./constants');
const { toBuffer } = require('./buffers');

const EXTENSION_NAME = 'permessage-deflate';

/** The window that RFC 7692 assumes where none was agreed on. */
const DEFAULT_WINDOW_BITS = 15;

/**
 * Data up to this many bytes are compressed where they are, larger ones on the runtime: compressing costs 4 to 6 µs
 * per KiB, the trip there and back about 60 µs of latency.
 */
const DEFLATE_IN_PLACE = 8 * 1024;

/** The same for decompressing, in compressed bytes (see `INFLATE_IN_PLACE` in `src/reactor/inbound.rs`). */
const INFLATE_IN_PLACE = 32 * 1024;

/** How many jobs leave the thread at once: one number for the whole process, as the first instance asks for it. */
const DEFAULT_CONCURRENCY = 10;

/** Gives the Rust half of an instance back when the instance is collected. */
const forgotten = new FinalizationRegistry((id) => native.releaseCodec(id));

/**
 * The permessage-deflate extension (RFC 7692) of one connection: what is agreed on, and the compression itself.
 */
class PerMessageDeflate {
  /** Jobs that leave the thread wait here for their turn. */
  static limiter = null;

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
    this._checked = false;

    /** What was agreed on, by name; null before. */
    this.params = null;

    PerMessageDeflate.limiter ??= new Limiter(
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
    const { parameters, error, isTypeError } = native.acceptDeflate(
      this._isServer,
      this._negotiable(),
      configurations.map(listParameters)
    );
    if (error != null) throw new (isTypeError ? TypeError : Error)(error);

    this.params = collect(parameters, Object.create(Object.getPrototypeOf(configurations[0])));
    return this.params;
  }

  /** Gives back everything this instance holds. */
  cleanup() {
    if (this._id !== -1) {
      forgotten.unregister(this);
      native.releaseCodec(this._id);
      this._id = -1;
    }

    const pending = this._pendingCompression;
    this._pendingCompression = null;
    if (pending) {
      pending(new Error('The deflate stream was closed while data was being processed'));
    }
  }

  /**
   * Compresses a frame.
   *
   * @param {Buffer|string} data
   * @param {boolean} fin whether it is the last frame of its message
   * @param {(error: Error|null, data?: Buffer) => void} callback
   */
  compress(data, fin, callback) {
    const bytes = toBuffer(data);
    const settle = (error, result) => {
      if (this._pendingCompression !== settle) return;
      this._pendingCompression = null;
      callback(error, result);
    };
    PerMessageDeflate.limiter.add((release) => {
      this._pendingCompression = settle;
      const deliver = (result) => {
        release();
        settle(null, result);
      };
      if (bytes.length <= DEFLATE_IN_PLACE) {
        process.nextTick(deliver, this._compressNow(bytes, fin));
      } else {
        native.deflateOnRuntime(this._codec(), bytes, fin, deliver);
      }
    });
  }

  /**
   * Decompresses a frame.
   *
   * @param {Buffer} data
   * @param {boolean} fin whether it is the last frame of its message
   * @param {(error: Error|null, data?: Buffer) => void} callback
   */
  decompress(data, fin, callback) {
    PerMessageDeflate.limiter.add((release) => {
      const deliver = (result) => {
        release();
        if (result === false) callback(inflateError());
        else callback(null, result);
      };
      const limit = Math.max(this._maxPayload, 0);
      if (data.length <= INFLATE_IN_PLACE) {
        const length = native.inflate(this._codec(), data, fin, limit);
        if (length === -1) {
          const error = inflateError();
          process.nextTick(() => {
            release();
            callback(error);
          });
        } else {
          process.nextTick(deliver, takeResult(length));
        }
      } else {
        native.inflateBytesOnRuntime(this._codec(), data, fin, limit, deliver);
      }
    });
  }

  /**
   * Compresses a small frame at once.
   *
   * @param {Buffer} data
   * @param {boolean} fin
   * @returns {Buffer}
   */
  _compressNow(data, fin) {
    return takeResult(native.deflate(this._codec(), data, fin));
  }

  /**
   * The number of this instance's Rust half, which is made when it is first needed and takes up next to nothing until
   * a message is compressed.
   *
   * @returns {number}
   */
  _codec() {
    if (this._id === -1) {
      const { zlibDeflateOptions: deflate = {}, zlibInflateOptions: inflate = {} } = this._options;
      const [ours, theirs] = this._isServer ? ['server', 'client'] : ['client', 'server'];
      this._id = native.createCodec(
        this._windowBits(theirs),
        !!this.params[`${theirs}_no_context_takeover`],
        dictionaryOf(inflate),
        this._windowBits(ours),
        !!this.params[`${ours}_no_context_takeover`],
        dictionaryOf(deflate),
        tuning(deflate)
      );
      forgotten.register(this, this._id, this);
    }
    return this._id;
  }

  _windowBits(endpoint) {
    const bits = this.params[`${endpoint}_max_window_bits`];
    return typeof bits === 'number' ? bits : DEFAULT_WINDOW_BITS;
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

PerMessageDeflate.prototype._pendingCompression = null;

/** The methods as they are here, to tell when somebody has replaced them. */
PerMessageDeflate.builtIn = {
  compress: PerMessageDeflate.prototype.compress,
  decompress: PerMessageDeflate.prototype.decompress
};

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

function collect(parameters, target) {
  for (const { name, value } of parameters) target[name] = value;
  return target;
}

/** Numbers that node:zlib would refuse are left to it, so that its error says what is wrong. */
function tuning(options) {
  const { level = -1, memLevel = 8, strategy = 0 } = options;
  const within = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  if (!within(level, -1, 9) || !within(memLevel, 1, 9) || !within(strategy, 0, 4)) {
    zlib.createDeflateRaw(options).close();
  }
  return (level + 1) | (memLevel << 8) | (strategy << 16);
}

function dictionaryOf({ dictionary }) {
  return dictionary === undefined ? EMPTY_BUFFER : toBuffer(dictionary);
}

function takeResult(length) {
  if (length === 0) return EMPTY_BUFFER;
  const result = Buffer.allocUnsafe(length);
  native.takeResult(result, 0);
  return result;
}

/** @returns {Error} why the last decompression failed */
function inflateError() {
  const [isRangeError, message, code, closeCode, errno] = native.failure();
  const error = isRangeError ? new RangeError(message) : new Error(message);
  if (errno !== 0) error.errno = errno;
  error.code = code;
  error[kStatusCode] = closeCode;
  return error;
}

module.exports = PerMessageDeflate;
