'use strict';

const { Duplex } = require('node:stream');

const { FrameParser } = require('./frames.js');

/**
 * A stream in place of a socket that keeps what is written to it. While `held`, it takes one write
 * and does not confirm it, as a peer that does not read.
 */
class CapturedWire extends Duplex {
  #parser = new FrameParser();
  #waiting = [];
  #unconfirmed = null;

  /** @param {{held?: boolean}} [options] */
  constructor({ held = false } = {}) {
    super();
    this.held = held;
    this.frames = [];
  }

  /** Confirms what was held and takes all that follows. */
  release() {
    this.held = false;
    this.#unconfirmed?.();
  }

  /**
   * Waits until so many frames have been written, from the first on.
   *
   * @param {number} count
   * @returns {Promise<ReturnType<FrameParser['push']>>}
   */
  async receive(count) {
    while (this.frames.length < count) {
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
    return this.frames;
  }

  _read() {}

  _write(chunk, encoding, callback) {
    this.#take([chunk], callback);
  }

  // What was corked comes at once, as with a socket.
  _writev(writes, callback) {
    this.#take(
      writes.map(({ chunk }) => chunk),
      callback
    );
  }

  #take(chunks, callback) {
    for (const chunk of chunks) this.frames.push(...this.#parser.push(chunk));
    for (const resolve of this.#waiting.splice(0)) resolve();
    if (this.held) this.#unconfirmed = callback;
    else callback();
  }
}

module.exports = { CapturedWire };
