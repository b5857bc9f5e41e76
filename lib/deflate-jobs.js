'use strict';

const Limiter = require('./limiter');
const native = require('./native');
const { EMPTY_BUFFER, NOOP } = require('./constants');
const { inContext } = require('./context');
const { FastBuffer } = require('./buffers');
const { failure } = require('./failure');
const { nextTick, setImmediate } = require('./timers');

/*
 * What the two directions of a compressed connection have to do: when each job is done, in which turn of the loop, and on
 * which thread.
 */

/**
 * Data up to this many bytes are compressed on this thread, larger ones on the runtime: compressing costs 4 to 30 µs
 * per KiB, the trip there and back about 60 µs of latency. Either way it is done in a later turn of the loop, as users
 * of ws know it: a socket destroyed right after `send()` sends nothing, and no listener runs inside `send()`.
 */
const DEFLATE_IN_PLACE = 8 * 1024;

/**
 * The same for decompressing, in bytes of what comes out: about 1 to 2 µs per KiB. How many those will be is guessed
 * from the message before, but never as less than what goes in: that may take as long, and the peer decides on both.
 */
const INFLATE_IN_PLACE = 12 * 1024;

/** Where what was compressed in place lies for those who do not keep it; incompressible data grow by a few bytes. */
const passing = Buffer.allocUnsafeSlow(DEFLATE_IN_PLACE + 64);

/** How many times as long as a frame its contents are likely to be, as long as there was no other frame to learn from. */
const LIKELY_EXPANSION = 4;

/**
 * When a job is done, the next one of its connection follows in the same turn of the loop, after ticks and microtasks,
 * so that what belongs together leaves together. With so many jobs, or bytes, the others have their turn. Only the
 * first job of a connection is alone in its turn: when a peer that was sent much right after the handshake leaves, the
 * rest of it fails, as with ws.
 */
const MOST_JOBS_IN_A_TURN = 16;
const MOST_BYTES_IN_A_TURN = 64 * 1024;

/** How many jobs leave the thread at once: one number for the whole process, as the first instance asks for it. */
const DEFAULT_CONCURRENCY = 10;

/** Jobs that leave the thread wait here for their turn; made with the first connection. */
let limiter = null;

/**
 * Sets how many jobs leave the thread at once, if nobody has.
 *
 * @param {number} [concurrency]
 */
function limitJobs(concurrency = DEFAULT_CONCURRENCY) {
  limiter ??= new Limiter(concurrency);
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
    const job = { data, fin: !!fin, inPassing, callback, next: null };
    if (this.first !== null) {
      this.last = this.last.next = job;
      return;
    }
    this.first = this.last = job;
    this.begin(job);
  }

  /** Whether nothing is under way. */
  isOver() {
    return this.first === null;
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

  /** Has a job done on the runtime. The results of all connections come back the same way; each is told in its own context. */
  send(job) {
    const settle = inContext((error, result) => this.settle(job, error, result));
    limiter.add((release) => {
      if (this.first !== job) {
        release();
        return;
      }
      const done = (error, result) => {
        jobsInTurn = bytesInTurn = 0;
        release();
        if (this.first === job) settle(error, result);
      };
      try {
        this.workElsewhere(job, (length) => finish(length, job.inPassing, done));
      } catch (error) {
        nextTick(done, error);
      }
    });
  }

  /**
   * @param {object} job
   * @param {Error|null} error
   * @param {Buffer} [result]
   */
  settle(job, error, result) {
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

/** It leads back to its owner, which leads here: `JSON.stringify()` sees nothing of it. */
Line.prototype.toJSON = NOOP;

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
    /** How many bytes went in and came out for the message of which the last frame has not come. */
    this.begun = 0;
  }

  get direction() {
    return 2;
  }

  isOver() {
    return this.begun === 0 && super.isOver();
  }

  get stream() {
    return 'inflate';
  }

  isLarge({ data }) {
    // The message may have to be decompressed once more from its beginning.
    return this.begun + data.length * Math.max(this.expansion, 1) > INFLATE_IN_PLACE;
  }

  settle(job, error, result) {
    const { data, fin } = job;
    if (error === null && data.length > 0) this.expansion = result.length / data.length;
    this.begun = fin || error !== null ? 0 : this.begun + data.length + result.length;
    super.settle(job, error, result);
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
  let error = null;
  let result;
  jobsInTurn++;
  bytesInTurn += job.data.length;
  try {
    result = takeResult(line.work(job), job.inPassing);
    bytesInTurn += result.length;
  } catch (thrown) {
    error = thrown;
  }
  line.settle(job, error, result);
}

/** Tells what became of a job that was done elsewhere. */
function finish(length, inPassing, done) {
  let result;
  try {
    result = takeResult(length, inPassing);
  } catch (error) {
    done(error);
    return;
  }
  done(null, result);
}

/** @param {number} length -1 when the data could not be processed */
function takeResult(length, inPassing) {
  if (length === -1) throw failure(takeResult);
  if (length === 0) return EMPTY_BUFFER;
  const result =
    inPassing && length <= passing.length
      ? new FastBuffer(passing.buffer, 0, length)
      : Buffer.allocUnsafe(length);
  native.takeResult(result, 0);
  return result;
}

module.exports = { Compression, Decompression, limitJobs };
