'use strict';

const { FrameParser } = require('./frames.js');

/**
 * Cuts what a peer writes into frames again.
 */
class FrameReader {
  #parser = new FrameParser();
  #frames = [];
  #waiting = [];
  #ended = false;

  /**
   * @param {import('node:stream').Duplex} stream
   * @param {Buffer} [head] bytes of the stream that were read already
   */
  constructor(stream, head = Buffer.alloc(0)) {
    this.#accept(head);
    stream.on('data', (chunk) => this.#accept(chunk));
    for (const event of ['end', 'close']) stream.on(event, () => this.#end());
  }

  /**
   * The next frame, or null when the stream has ended.
   *
   * @returns {Promise<ReturnType<FrameParser['push']>[number] | null>}
   */
  next() {
    if (this.#frames.length > 0) return Promise.resolve(this.#frames.shift());
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /**
   * @param {number} count
   * @returns {Promise<Array<Awaited<ReturnType<FrameReader['next']>>>>}
   */
  async take(count) {
    const frames = [];
    while (frames.length < count) frames.push(await this.next());
    return frames;
  }

  /** Whatever frames come until the stream ends. */
  async rest() {
    const frames = [];
    for (let frame = await this.next(); frame; frame = await this.next()) frames.push(frame);
    return frames;
  }

  #accept(chunk) {
    for (const frame of this.#parser.push(chunk)) {
      if (this.#waiting.length > 0) this.#waiting.shift()(frame);
      else this.#frames.push(frame);
    }
  }

  #end() {
    this.#ended = true;
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }
}

module.exports = { FrameReader };
