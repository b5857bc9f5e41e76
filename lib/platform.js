'use strict';

const { readFileSync } = require('fs');

/** How musl is mapped: it is its own loader, which some distributions have as a link to `libc.so`. */
const MUSL = /\/(ld-musl-[^/\n]*|libc\.so)$/m;

/**
 * Whether this process runs on musl instead of glibc: the C library is mapped into it.
 *
 * @returns {boolean}
 */
function usesMusl() {
  try {
    return MUSL.test(readFileSync('/proc/self/maps', 'latin1'));
  } catch {
    // No /proc here. The report says the same and takes some milliseconds longer.
    const { header } = process.report.getReport();
    return header.glibcVersionRuntime === undefined;
  }
}

/**
 * The name under which this platform's binary is built and published, such as `linux-x64-gnu`: what
 * Node calls the system and the processor, and the C library where a system has several.
 *
 * @returns {string}
 */
function platformName() {
  const name = `${process.platform}-${process.arch}`;

  if (process.platform === 'linux') return `${name}-${usesMusl() ? 'musl' : 'gnu'}`;
  if (process.platform === 'win32') return `${name}-msvc`;
  return name;
}

module.exports = { platformName };
