'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { extension } = require('./support/package.js');
const { lib } = require('./support/internals.js');

/** The offers as plain objects, so that they can be compared. */
function parsed(header) {
  const offers = extension.parse(header);
  return Object.fromEntries(
    Object.entries(offers).map(([name, list]) => [name, list.map((params) => ({ ...params }))])
  );
}

const unexpected = (index) => ({
  name: 'SyntaxError',
  message: `Unexpected character at index ${index}`
});
const END = { name: 'SyntaxError', message: 'Unexpected end of input' };

describe('extension', () => {
  test('has parse and format, also as a file of the package', () => {
    assert.deepEqual(Object.keys(extension).sort(), ['format', 'parse']);
    assert.equal(lib('extension'), extension);
  });
});

describe('extension.parse', () => {
  const accepted = {
    foo: { foo: [{}] },
    'foo;bar': { foo: [{ bar: [true] }] },
    'foo;bar=1': { foo: [{ bar: ['1'] }] },
    'foo;bar="1"': { foo: [{ bar: ['1'] }] },
    'foo; bar; baz=2': { foo: [{ bar: [true], baz: ['2'] }] },
    'foo;bar;bar=1;bar': { foo: [{ bar: [true, '1', true] }] },
    'foo,bar': { foo: [{}], bar: [{}] },
    'foo, foo;a, foo;a=1': { foo: [{}, { a: [true] }, { a: ['1'] }] },
    'foo;a=1,bar;b=2': { foo: [{ a: ['1'] }], bar: [{ b: ['2'] }] },
    'foo;a="1",bar;b="2"': { foo: [{ a: ['1'] }], bar: [{ b: ['2'] }] },
    'foo ;\tbar\t; baz=2': { foo: [{ bar: [true], baz: ['2'] }] },
    'foo\t,\t bar': { foo: [{}], bar: [{}] },
    'foo;bar=1 ;baz="2" , qux': { foo: [{ bar: ['1'], baz: ['2'] }], qux: [{}] },
    'foo;bar="a\\b\\c"': { foo: [{ bar: ['abc'] }] },
    'foo;bar="\\a\\b"': { foo: [{ bar: ['ab'] }] },
    'foo;bar="a\\b", foo;bar="a"': { foo: [{ bar: ['ab'] }, { bar: ['a'] }] },
    "!#$%&'*+-.^_`|~09azAZ": { "!#$%&'*+-.^_`|~09azAZ": [{}] },
    'Foo;BAR': { Foo: [{ BAR: [true] }] }
  };

  for (const [header, expected] of Object.entries(accepted)) {
    test(`reads ${JSON.stringify(header)}`, () => assert.deepEqual(parsed(header), expected));
  }

  test('takes names that objects inherit as names like any other', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf']) {
      const offers = extension.parse(`${name};${name};a=1, ${name}`);
      assert.deepEqual(Object.keys(offers), [name]);
      assert.equal(offers[name].length, 2);
      const [params] = offers[name];
      assert.deepEqual(Object.keys(params), [name, 'a']);
      assert.deepEqual(params[name], [true]);
      assert.equal(Object.getPrototypeOf(offers), null);
      assert.equal(Object.getPrototypeOf(params), null);
    }
    assert.equal({}.a, undefined);
  });

  test('has nothing of what was not in the header', () => {
    const offers = extension.parse('foo');
    assert.equal(offers.constructor, undefined);
    assert.equal(offers.foo[0].toString, undefined);
  });

  const refused = {
    '': END,
    ' ': unexpected(0),
    ',': unexpected(0),
    ';': unexpected(0),
    '=': unexpected(0),
    '"foo"': unexpected(0),
    ' foo': unexpected(0),
    '\tfoo': unexpected(0),
    'foo ': END,
    'foo\t': END,
    'foo,': END,
    'foo, ': END,
    'foo;': END,
    'foo; ': END,
    'foo,,bar': unexpected(4),
    'foo, ,bar': unexpected(5),
    'foo;;bar': unexpected(4),
    'foo;,bar': unexpected(4),
    'foo bar': unexpected(4),
    'foo=bar': unexpected(3),
    'foo;bar baz': unexpected(8),
    'foo;bar =1': unexpected(8),
    'foo;=1': unexpected(4),
    'foo;bar=': END,
    'foo;bar=;': unexpected(8),
    'foo;bar=,': unexpected(8),
    'foo;bar= 1': unexpected(8),
    'foo;bar=1 2': unexpected(10),
    'foo;bar=1=2': unexpected(9),
    'foo;bar=1 ': END,
    'foo;bar=""': unexpected(9),
    'foo;bar="': END,
    'foo;bar="1': END,
    'foo;bar="1 2"': unexpected(10),
    'foo;bar="1;"': unexpected(10),
    'foo;bar="1"2': unexpected(11),
    'foo;bar="1""': unexpected(11),
    'foo;bar=1"2"': unexpected(9),
    'foo;bar="\\"': unexpected(10),
    'foo;bar="\\ "': unexpected(10),
    'foo;bar="\\\\"': unexpected(10),
    'foo;bar="1\\': END,
    'foo\0': unexpected(3),
    'foo\r\nbar': unexpected(3),
    'fo\u00f6': unexpected(2),
    'fo\u2028': unexpected(2),
    'foo;b\u00e4r': unexpected(5),
    'foo;bar=\u00fc': unexpected(8),
    'foo(bar)': unexpected(3),
    'foo;bar="1" "2"': unexpected(12)
  };

  for (const [header, error] of Object.entries(refused)) {
    test(`refuses ${JSON.stringify(header)}: ${error.message}`, () => {
      assert.throws(() => extension.parse(header), error);
    });
  }

  test('refuses every character that is no token character', () => {
    for (let code = 0; code < 300; code++) {
      const character = String.fromCharCode(code);
      const isToken = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(character);
      if (isToken)
        assert.deepEqual(Object.keys(extension.parse(`a${character}`)), [`a${character}`]);
      else assert.throws(() => extension.parse(`a${character}`), SyntaxError);
    }
  });

  test('reads a megabyte in a time that grows with its length only', { timeout: 20000 }, () => {
    const million = 1_000_000;
    assert.throws(() => extension.parse(`a${' '.repeat(million)}b`), unexpected(million + 1));
    assert.throws(() => extension.parse(`a;b="${'\\a'.repeat(million / 2)}`), END);
    assert.equal(extension.parse('a;'.repeat(million / 2) + 'a').a[0].a.length, million / 2);
    assert.equal(extension.parse('a,'.repeat(million / 2) + 'a').a.length, million / 2 + 1);
  });
});

describe('extension.format', () => {
  test('writes extensions, offers and parameters in their order', () => {
    const cases = [
      [{}, ''],
      [{ foo: {} }, 'foo'],
      [{ foo: [] }, ''],
      [{ foo: [{}] }, 'foo'],
      [{ foo: [{}, {}] }, 'foo, foo'],
      [{ foo: { bar: true } }, 'foo; bar'],
      [{ foo: { bar: 10 } }, 'foo; bar=10'],
      [{ foo: { bar: ['1', true, '2'] } }, 'foo; bar=1; bar; bar=2'],
      [{ foo: { b: '1', a: '2' } }, 'foo; b=1; a=2'],
      [{ foo: [{ a: ['1'] }, { b: true }], bar: {} }, 'foo; a=1, foo; b, bar'],
      [{ foo: { bar: false } }, 'foo; bar=false']
    ];
    for (const [extensions, header] of cases) assert.equal(extension.format(extensions), header);
  });

  test('writes what parse reads', () => {
    for (const header of ['foo', 'foo; a', 'foo; a=1; b, foo, bar; c=2; c=3']) {
      assert.equal(extension.format(extension.parse(header)), header);
    }
  });
});
