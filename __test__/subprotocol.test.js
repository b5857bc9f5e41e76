'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { subprotocol } = require('./support/package.js');
const { lib } = require('./support/internals.js');

const unexpected = (index) => ({
  name: 'SyntaxError',
  message: `Unexpected character at index ${index}`
});
const duplicated = (name) => ({
  name: 'SyntaxError',
  message: `The "${name}" subprotocol is duplicated`
});
const END = { name: 'SyntaxError', message: 'Unexpected end of input' };

describe('subprotocol', () => {
  test('has parse, also as a file of the package', () => {
    assert.deepEqual(Object.keys(subprotocol), ['parse']);
    assert.equal(lib('subprotocol'), subprotocol);
  });
});

describe('subprotocol.parse', () => {
  const accepted = {
    foo: ['foo'],
    'foo,bar': ['foo', 'bar'],
    'foo, bar ,baz\t,\tqux': ['foo', 'bar', 'baz', 'qux'],
    'b,a,c': ['b', 'a', 'c'],
    'foo,Foo': ['foo', 'Foo'],
    'v1.chat+json, mqtt': ['v1.chat+json', 'mqtt'],
    "!#$%&'*+-.^_`|~09azAZ": ["!#$%&'*+-.^_`|~09azAZ"],
    'constructor,__proto__': ['constructor', '__proto__']
  };

  for (const [header, expected] of Object.entries(accepted)) {
    test(`reads ${JSON.stringify(header)} as a Set in this order`, () => {
      const protocols = subprotocol.parse(header);
      assert.ok(protocols instanceof Set);
      assert.deepEqual([...protocols], expected);
    });
  }

  const refused = {
    '': END,
    ' ': unexpected(0),
    ' foo': unexpected(0),
    '\tfoo': unexpected(0),
    ',': unexpected(0),
    'foo,': END,
    'foo, ': END,
    'foo ': END,
    'foo\t': END,
    'foo,bar ': END,
    ',foo': unexpected(0),
    'foo,,bar': unexpected(4),
    'foo, ,bar': unexpected(5),
    'foo bar': unexpected(4),
    'foo;bar': unexpected(3),
    'foo=bar': unexpected(3),
    '"foo"': unexpected(0),
    'foo/bar': unexpected(3),
    'foo\r\nbar': unexpected(3),
    'fo\0': unexpected(2),
    'fo\u00f6': unexpected(2),
    'fo\u2028': unexpected(2),
    'foo,foo': duplicated('foo'),
    'foo, bar, foo': duplicated('foo'),
    'foo,foo,bar': duplicated('foo')
  };

  for (const [header, error] of Object.entries(refused)) {
    test(`refuses ${JSON.stringify(header)}: ${error.message}`, () => {
      assert.throws(() => subprotocol.parse(header), error);
    });
  }

  test('reads a megabyte in a time that grows with its length only', { timeout: 20000 }, () => {
    const million = 1_000_000;
    assert.throws(() => subprotocol.parse(`a${' '.repeat(million)}b`), unexpected(million + 1));
    assert.throws(() => subprotocol.parse(`a${'\t '.repeat(million / 2)}`), END);
    assert.equal([...subprotocol.parse('a'.repeat(million))][0].length, million);
    const many = Array.from({ length: 100_000 }, (_, i) => `p${i}`);
    assert.equal(subprotocol.parse(many.join(' , ')).size, many.length);
  });
});
