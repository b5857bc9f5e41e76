'use strict';

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { PerMessageDeflate, extension } = require('./support/package.js');

/** The offers in a Sec-WebSocket-Extensions header. */
const parsed = (header) => extension.parse(header)['permessage-deflate'];

/** What a side with these options makes of the header of the other side. */
function accepted(options, parameters) {
  const deflate = new PerMessageDeflate(options);
  const header = ['permessage-deflate', parameters].filter(Boolean).join('; ');
  return { ...deflate.accept(parsed(header)) };
}

/** The same, when the header holds several offers. */
function acceptedOf(options, ...offers) {
  const header = offers.map((offer) => ['permessage-deflate', offer].filter(Boolean).join('; '));
  return { ...new PerMessageDeflate(options).accept(parsed(header.join(', '))) };
}

describe('PerMessageDeflate', () => {
  test('has the name of the extension', () => {
    assert.equal(PerMessageDeflate.extensionName, 'permessage-deflate');
  });

  test('needs no options, is then a client, and has agreed on nothing', () => {
    for (const deflate of [new PerMessageDeflate(), new PerMessageDeflate({})]) {
      assert.equal(deflate.params, null);
      assert.equal(deflate._isServer, false);
      assert.equal(deflate._maxPayload, 0);
      assert.equal(deflate._threshold, 1024);
      deflate.cleanup();
    }
  });

  test('does not change the options object it gets', () => {
    const options = Object.freeze({
      clientMaxWindowBits: 10,
      isServer: true,
      serverNoContextTakeover: true,
      zlibDeflateOptions: Object.freeze({ level: 1 })
    });
    accepted(options, 'client_max_window_bits');
  });
});

describe('PerMessageDeflate.offer', () => {
  const offered = (options) => new PerMessageDeflate(options).offer();

  test('offers to accept a client window by default', () => {
    for (const options of [
      undefined,
      {},
      { clientMaxWindowBits: undefined },
      { clientMaxWindowBits: null }
    ]) {
      assert.deepEqual(offered(options), { client_max_window_bits: true });
    }
    assert.deepEqual(offered({ clientMaxWindowBits: true }), { client_max_window_bits: true });
  });

  test('offers nothing about the client window when told not to', () => {
    assert.deepEqual(offered({ clientMaxWindowBits: false }), {});
  });

  test('offers what the options say', () => {
    assert.deepEqual(
      offered({
        serverNoContextTakeover: true,
        clientNoContextTakeover: true,
        serverMaxWindowBits: 10,
        clientMaxWindowBits: 11
      }),
      {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 10,
        client_max_window_bits: 11
      }
    );
    const off = {
      serverNoContextTakeover: false,
      clientNoContextTakeover: false,
      serverMaxWindowBits: false
    };
    assert.deepEqual(offered(off), { client_max_window_bits: true });
  });

  test('is written in this order', () => {
    const offer = offered({
      clientMaxWindowBits: 9,
      clientNoContextTakeover: true,
      serverMaxWindowBits: 8,
      serverNoContextTakeover: true
    });
    assert.equal(
      extension.format({ 'permessage-deflate': offer }),
      'permessage-deflate; server_no_context_takeover; client_no_context_takeover; ' +
        'server_max_window_bits=8; client_max_window_bits=9'
    );
  });
});

for (const isServer of [true, false]) {
  describe(`PerMessageDeflate.accept as a ${isServer ? 'server' : 'client'}`, () => {
    const accept = (parameters) => accepted({ isServer }, parameters);

    test('takes nothing, and returns what it keeps as params', () => {
      const deflate = new PerMessageDeflate({ isServer });
      const result = deflate.accept(parsed('permessage-deflate'));
      assert.deepEqual({ ...result }, {});
      assert.equal(deflate.params, result);
    });

    test('takes parameters, also in quotes', () => {
      const all =
        'server_no_context_takeover; client_no_context_takeover; ' +
        'server_max_window_bits=10; client_max_window_bits="11"';
      assert.deepEqual(accept(all), {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 10,
        client_max_window_bits: 11
      });
    });

    for (const parameter of ['server_max_window_bits', 'client_max_window_bits']) {
      test(`takes ${parameter} from 8 to 15`, () => {
        for (let bits = 8; bits <= 15; bits++) {
          assert.deepEqual(accept(`${parameter}=${bits}`), { [parameter]: bits });
        }
      });

      test(`takes ${parameter} in any spelling of the number`, () => {
        for (const spelling of ['1e1', '10.0', '0xa', '010', '+10']) {
          assert.deepEqual(accept(`${parameter}=${spelling}`), { [parameter]: 10 });
        }
      });

      test(`refuses ${parameter} of anything else`, () => {
        for (const value of [
          '0',
          '7',
          '16',
          '99',
          '-9',
          '9.5',
          'x',
          'NaN',
          '1e9',
          '8,9',
          '999999999999'
        ]) {
          assert.throws(
            () => new PerMessageDeflate({ isServer }).accept([{ [parameter]: [value] }]),
            {
              name: 'TypeError',
              message: `Invalid value for parameter "${parameter}": ${value}`
            }
          );
        }
      });
    }

    test('refuses a server window without bits', () => {
      assert.throws(() => accept('server_max_window_bits'), {
        name: 'TypeError',
        message: 'Invalid value for parameter "server_max_window_bits": true'
      });
    });

    test('refuses a value for a parameter that takes none', () => {
      for (const parameter of ['server_no_context_takeover', 'client_no_context_takeover']) {
        for (const value of ['1', 'true', '15']) {
          assert.throws(() => accept(`${parameter}=${value}`), {
            name: 'TypeError',
            message: `Invalid value for parameter "${parameter}": ${value}`
          });
        }
      }
    });

    test('refuses a parameter that is given twice', () => {
      for (const twice of [
        ['server_no_context_takeover', 'server_no_context_takeover'],
        ['client_max_window_bits', 'client_max_window_bits=10'],
        ['server_max_window_bits=10', 'server_max_window_bits=10']
      ]) {
        const [name] = twice[0].split('=');
        assert.throws(() => accept(twice.join('; ')), {
          name: 'Error',
          message: `Parameter "${name}" must have only a single value`
        });
      }
    });

    test('refuses parameters it does not know, also those that objects inherit', () => {
      for (const name of [
        'foo',
        'constructor',
        '__proto__',
        'toString',
        'hasOwnProperty',
        'SERVER_NO_CONTEXT_TAKEOVER'
      ]) {
        for (const parameter of [name, `${name}=10`]) {
          assert.throws(() => accept(parameter), {
            name: 'Error',
            message: `Unknown parameter "${name}"`
          });
        }
      }
    });

    test('keeps no params when it refuses', () => {
      const deflate = new PerMessageDeflate({ isServer });
      assert.throws(() => deflate.accept(parsed('permessage-deflate; foo')));
      assert.equal(deflate.params, null);
    });
  });
}

describe('PerMessageDeflate.accept as a server', () => {
  const NONE = { name: 'Error', message: 'None of the extension offers can be accepted' };
  const server = (options) => ({ isServer: true, ...options });

  test('does not repeat a client window that is only supported', () => {
    assert.deepEqual(accepted(server(), 'client_max_window_bits'), {});
  });

  test('adds what its options ask for', () => {
    const options = server({
      serverNoContextTakeover: true,
      clientNoContextTakeover: true,
      serverMaxWindowBits: 12,
      clientMaxWindowBits: 11
    });
    assert.deepEqual(accepted(options, 'client_max_window_bits'), {
      server_no_context_takeover: true,
      client_no_context_takeover: true,
      server_max_window_bits: 12,
      client_max_window_bits: 11
    });
  });

  test('lets its own windows win over larger ones of the offer', () => {
    const options = server({ serverMaxWindowBits: 12, clientMaxWindowBits: 11 });
    const offer = 'server_max_window_bits=14; client_max_window_bits=15';
    assert.deepEqual(accepted(options, offer), {
      server_max_window_bits: 12,
      client_max_window_bits: 11
    });
  });

  test('declines an offer that forbids context takeover when its options do not allow that', () => {
    const options = server({ serverNoContextTakeover: false });
    assert.throws(() => accepted(options, 'server_no_context_takeover'), NONE);
    assert.deepEqual(accepted(options, 'client_no_context_takeover'), {
      client_no_context_takeover: true
    });
  });

  test('declines a server window when its options forbid one, or want a larger one', () => {
    const offer = 'server_max_window_bits=10';
    assert.throws(() => accepted(server({ serverMaxWindowBits: false }), offer), NONE);
    assert.throws(() => accepted(server({ serverMaxWindowBits: 11 }), offer), NONE);
    for (const serverMaxWindowBits of [10, 9]) {
      assert.deepEqual(accepted(server({ serverMaxWindowBits }), offer), {
        server_max_window_bits: serverMaxWindowBits
      });
    }
    for (const serverMaxWindowBits of [true, undefined]) {
      assert.deepEqual(accepted(server({ serverMaxWindowBits }), offer), {
        server_max_window_bits: 10
      });
    }
  });

  test('declines when it needs a client window and the client does not support one', () => {
    assert.throws(() => accepted(server({ clientMaxWindowBits: 10 }), ''), NONE);
    assert.deepEqual(accepted(server({ clientMaxWindowBits: 10 }), 'client_max_window_bits'), {
      client_max_window_bits: 10
    });
  });

  test('declines when the client offers a smaller window than it needs', () => {
    const offer = 'client_max_window_bits=9';
    assert.throws(() => accepted(server({ clientMaxWindowBits: 10 }), offer), NONE);
    assert.deepEqual(accepted(server({ clientMaxWindowBits: 9 }), offer), {
      client_max_window_bits: 9
    });
  });

  test('drops a client window when its options forbid one', () => {
    const options = server({ clientMaxWindowBits: false });
    for (const offer of ['client_max_window_bits', 'client_max_window_bits=10']) {
      assert.deepEqual(accepted(options, offer), {});
    }
  });

  test('keeps a client window that is offered when its options say nothing or true', () => {
    for (const clientMaxWindowBits of [undefined, true]) {
      assert.deepEqual(accepted(server({ clientMaxWindowBits }), 'client_max_window_bits=12'), {
        client_max_window_bits: 12
      });
    }
  });

  test('takes the first offer that it can accept', () => {
    const options = server({ serverNoContextTakeover: false, clientMaxWindowBits: 12 });
    const result = acceptedOf(
      options,
      'server_no_context_takeover; client_max_window_bits',
      'client_max_window_bits=11',
      'client_max_window_bits=13; client_no_context_takeover',
      'client_max_window_bits'
    );
    assert.deepEqual(result, { client_max_window_bits: 12, client_no_context_takeover: true });
  });

  test('refuses all offers when one of them is malformed', () => {
    assert.throws(() => acceptedOf(server(), '', 'foo'), { message: 'Unknown parameter "foo"' });
    assert.throws(() => acceptedOf(server(), '', 'server_max_window_bits=7'), TypeError);
  });

  test('declines an empty list', () => {
    assert.throws(() => new PerMessageDeflate(server()).accept([]), NONE);
  });
});

describe('PerMessageDeflate.accept as a client', () => {
  test('refuses a client window without bits', () => {
    assert.throws(() => accepted({}, 'client_max_window_bits'), {
      name: 'TypeError',
      message: 'Invalid value for parameter "client_max_window_bits": true'
    });
  });

  test('refuses client_no_context_takeover when its options do not allow that', () => {
    assert.throws(
      () => accepted({ clientNoContextTakeover: false }, 'client_no_context_takeover'),
      {
        name: 'Error',
        message: 'Unexpected parameter "client_no_context_takeover"'
      }
    );
  });

  test('refuses a client window when it offered none, or a smaller one', () => {
    const error = {
      name: 'Error',
      message: 'Unexpected or invalid parameter "client_max_window_bits"'
    };
    const answer = 'client_max_window_bits=12';
    assert.throws(() => accepted({ clientMaxWindowBits: false }, answer), error);
    assert.throws(() => accepted({ clientMaxWindowBits: 11 }, answer), error);
    for (const clientMaxWindowBits of [undefined, true, 12, 13]) {
      assert.deepEqual(accepted({ clientMaxWindowBits }, answer), { client_max_window_bits: 12 });
    }
  });

  test('keeps to the client window of its options when the server says nothing', () => {
    assert.deepEqual(accepted({ clientMaxWindowBits: 10 }, ''), { client_max_window_bits: 10 });
    for (const clientMaxWindowBits of [undefined, true, false]) {
      assert.deepEqual(accepted({ clientMaxWindowBits }, ''), {});
    }
  });

  test('takes whatever the server says of itself', () => {
    const answer = 'server_no_context_takeover; server_max_window_bits=8';
    const options = { serverNoContextTakeover: false, serverMaxWindowBits: 15 };
    assert.deepEqual(accepted(options, answer), {
      server_no_context_takeover: true,
      server_max_window_bits: 8
    });
  });
});
