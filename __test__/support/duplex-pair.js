'use strict';

const { Duplex } = require('node:stream');

/**
 * Two streams of which each reads what the other writes. They are no sockets: they have no
 * setTimeout, no setNoDelay, no descriptor.
 *
 * @returns {[Duplex, Duplex]}
 */
function duplexPair() {
  const [left, right] = [0, 1].map(
    () =>
      new Duplex({
        read() {
          this.wanted?.();
        },
        write(chunk, encoding, callback) {
          const other = this.other;
          if (other.push(chunk)) callback();
          else {
            other.wanted = () => {
              other.wanted = null;
              callback();
            };
          }
        },
        final(callback) {
          this.other.push(null);
          callback();
        }
      })
  );

  left.other = right;
  right.other = left;

  return [left, right];
}

module.exports = { duplexPair };
