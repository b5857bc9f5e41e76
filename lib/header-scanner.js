'use strict';

const { TOKEN_CHARACTERS } = require('./validation');

const TOKEN_RUN = new RegExp(`[${TOKEN_CHARACTERS}]*`, 'y');
const WHITESPACE_RUN = /[ \t]*/y;

/**
 * Reads the value of a list header from left to right, in one pass. Every method either moves past
 * what it read or throws a `SyntaxError` that names the offending position.
 */
class HeaderScanner {
  /**
   * @param {string} header The value of the header field
   */
  constructor(header) {
    this.header = header;
    this.index = 0;
  }

  /** Whether everything has been read. */
  get done() {
    return this.index === this.header.length;
  }

  /** The next character, or `''` at the end. */
  get next() {
    return this.header.charAt(this.index);
  }

  /** Throws because of what stands (or is missing) at the current position. */
  fail() {
    throw new SyntaxError(
      this.done ? 'Unexpected end of input' : `Unexpected character at index ${this.index}`
    );
  }

  /**
   * Moves past the next character if it is the given one.
   *
   * @param {string} character
   * @returns {boolean} Whether it was
   */
  skip(character) {
    if (this.next !== character) return false;
    this.index++;
    return true;
  }

  /**
   * @param {RegExp} pattern A sticky pattern that also matches nothing at all
   * @returns {string}
   */
  run(pattern) {
    pattern.lastIndex = this.index;
    const [text] = pattern.exec(this.header);
    this.index += text.length;
    return text;
  }

  /**
   * Reads a token.
   *
   * @returns {string}
   */
  token() {
    return this.run(TOKEN_RUN) || this.fail();
  }

  /**
   * Reads the token that opens a list element. Whitespace may precede it, except at the very start.
   *
   * @returns {string}
   */
  leadingToken() {
    if (this.index > 0) this.run(WHITESPACE_RUN);
    return this.token();
  }

  /**
   * Reads a quoted string. Once unescaped it has to be a token (RFC 6455, section 9.1).
   *
   * @returns {string} The unescaped content
   */
  quotedToken() {
    this.index++;
    let value = this.run(TOKEN_RUN);

    while (this.next === '\\') {
      this.index++;
      value += this.token();
    }

    if (value === '' || !this.skip('"')) this.fail();
    return value;
  }

  /**
   * Reads what separates two elements. Whitespace may precede a separator but may not end the
   * header.
   *
   * @param {string} separators The characters to accept
   * @returns {string} The separator, or `''` at the end of the header
   */
  separator(separators) {
    const whitespace = this.run(WHITESPACE_RUN);

    if (this.done) return whitespace ? this.fail() : '';
    if (!separators.includes(this.next)) this.fail();
    return this.header.charAt(this.index++);
  }
}

module.exports = HeaderScanner;
