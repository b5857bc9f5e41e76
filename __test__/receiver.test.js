'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { Writable } = require('node:stream');
const { describe, test } = require('node:test');

const { Receiver } = require('./support/package.js');
const frames = require('./support/frames.js');
const { comparable, feed, record, singleBytes, writeChunk } = require('./support/receiver-feed.js');

const { OPCODE } = frames;

/** What a receiver with these options makes of these chunks. */
async function received(options, chunks) {
  const receiver = new Receiver(options);
  const log = record(receiver);
  await feed(receiver, chunks);
  return log;
}

describe('Receiver', () => {
  test('is a Writable that needs no options and then reads as a client', async () => {
    const receiver = new Receiver();
    assert.ok(receiver instanceof Writable);
    const log = record(receiver);
    await feed(receiver, [frames.text('hi')]);
    assert.deepEqual(log, [['message', Buffer.from('hi'), false]]);
  });

  test('emits what a chunk completes before write() returns', () => {
    const receiver = new Receiver();
    const log = record(receiver);
    receiver.write(Buffer.concat([frames.text('a'), frames.ping('b'), frames.binary('c')]));
    assert.deepEqual(
      log.map(([event]) => event),
      ['message', 'ping', 'message']
    );
  });

  for (const [role, options] of [
    ['client', {}],
    ['server', { mask: true }]
  ]) {
    const isServer = role === 'server';

    test(`as a ${role} hands over text and binary messages, pings, pongs and the close`, async () => {
      const log = await received({ isServer }, [
        frames.text('grüße', options),
        frames.binary(Buffer.from([0, 255, 1]), options),
        frames.ping('pi', options),
        frames.pong('po', options),
        frames.close(1000, 'done', options)
      ]);
      assert.deepEqual(log, [
        ['message', Buffer.from('grüße'), false],
        ['message', Buffer.from([0, 255, 1]), true],
        ['ping', Buffer.from('pi')],
        ['pong', Buffer.from('po')],
        ['conclude', 1000, Buffer.from('done')]
      ]);
    });

    test(`as a ${role} hands over empty messages, pings, pongs and an empty close`, async () => {
      const log = await received({ isServer }, [
        frames.text('', options),
        frames.binary('', options),
        frames.ping('', options),
        frames.pong('', options),
        frames.close(undefined, '', options)
      ]);
      const nothing = Buffer.alloc(0);
      assert.deepEqual(log, [
        ['message', nothing, false],
        ['message', nothing, true],
        ['ping', nothing],
        ['pong', nothing],
        ['conclude', 1005, nothing]
      ]);
    });

    test(`as a ${role} reads every form of the length, minimal or not`, async () => {
      for (const [length, bits] of [
        [0, 16],
        [0, 64],
        [5, 16],
        [5, 64],
        [125, 7],
        [126, 16],
        [126, 64],
        [65535, 16],
        [65536, 64]
      ]) {
        const payload = Buffer.alloc(length, 'x');
        const [message] = await received({ isServer }, [
          frames.binary(payload, { ...options, lengthBits: bits })
        ]);
        assert.deepEqual(message, ['message', payload, true], `${length} bytes in ${bits} bits`);
      }
    });
  }

  test('unmasks payloads of every length, wherever the frame starts in the chunk', async () => {
    const key = Buffer.from([0x01, 0x80, 0xff, 0x7e]);
    for (let length = 0; length <= 70; length++) {
      const payload = Buffer.from(Array.from({ length }, (_, i) => i + 1));
      const padding = frames.ping(Buffer.alloc(length % 9), { mask: true });
      const receiver = new Receiver({ isServer: true });
      const log = record(receiver);
      await feed(receiver, [
        Buffer.concat([padding, frames.binary(payload, { mask: key })]),
        ...singleBytes(frames.binary(payload, { mask: key }))
      ]);
      assert.deepEqual(log.slice(1), [
        ['message', payload, true],
        ['message', payload, true]
      ]);
    }
  });

  test('reads a payload masked with the key 0, and one of only key bytes', async () => {
    const zero = Buffer.alloc(4);
    const key = Buffer.from('keys');
    const log = await received({ isServer: true }, [
      frames.text('plain', { mask: zero }),
      frames.binary('keyskeysk', { mask: key })
    ]);
    assert.deepEqual(log, [
      ['message', Buffer.from('plain'), false],
      ['message', Buffer.from('keyskeysk'), true]
    ]);
  });

  test('puts fragments together and lets control frames pass between them', async () => {
    const [first, second, third] = frames.fragmented(['Hel', 'l', 'o']);
    const log = await received({}, [
      first,
      frames.ping('1'),
      second,
      frames.pong('2'),
      frames.ping('3'),
      third,
      frames.binary('next')
    ]);
    assert.deepEqual(log, [
      ['ping', Buffer.from('1')],
      ['pong', Buffer.from('2')],
      ['ping', Buffer.from('3')],
      ['message', Buffer.from('Hello'), false],
      ['message', Buffer.from('next'), true]
    ]);
  });

  test('puts fragments together when some or all of them are empty', async () => {
    const log = await received({}, [
      ...frames.fragmented(['', 'a', '', 'b', '']),
      ...frames.fragmented(['', '', ''], { opcode: OPCODE.BINARY })
    ]);
    assert.deepEqual(log, [
      ['message', Buffer.from('ab'), false],
      ['message', Buffer.alloc(0), true]
    ]);
  });

  test('accepts a character cut by a fragment and by a chunk', async () => {
    const euro = Buffer.from('€');
    const bytes = Buffer.concat(frames.fragmented([euro.subarray(0, 1), euro.subarray(1)]));
    for (const chunks of [[bytes], singleBytes(bytes)]) {
      assert.deepEqual(await received({}, chunks), [['message', euro, false]]);
    }
  });

  test('takes empty chunks in the midst of a frame', async () => {
    const bytes = frames.text('abc');
    const chunks = singleBytes(bytes).flatMap((byte) => [Buffer.alloc(0), byte]);
    assert.deepEqual(await received({}, chunks), [['message', Buffer.from('abc'), false]]);
  });

  test('takes bytes as a string or a Uint8Array too, like every Writable', async () => {
    const log = await received({}, [
      new Uint8Array(frames.text('view')),
      frames.text('text').toString('latin1')
    ]);
    assert.deepEqual(log[0], ['message', Buffer.from('view'), false]);
  });

  test('hands over payloads that later chunks do not change', async () => {
    const receiver = new Receiver({ isServer: true });
    const log = record(receiver);
    for (let i = 0; i < 50; i++) {
      await writeChunk(receiver, frames.text(`message ${i}`, { mask: true }));
    }
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      Array.from({ length: 50 }, (_, i) => `message ${i}`)
    );
  });

  test('passes what a listener throws to the writer', () => {
    const receiver = new Receiver();
    receiver.on('message', () => {
      throw new Error('from the listener');
    });
    assert.throws(() => receiver.write(frames.text('a')), /^Error: from the listener$/);
  });
});

describe('Receiver binaryType', () => {
  const whole = frames.binary('abc');
  const parts = frames.fragmented(['ab', '', 'c'], { opcode: OPCODE.BINARY });

  test('is nodebuffer by default: one Buffer per message', async () => {
    for (const options of [{}, { binaryType: 'nodebuffer' }]) {
      const log = await received(options, [whole, ...parts]);
      assert.deepEqual(log, [
        ['message', Buffer.from('abc'), true],
        ['message', Buffer.from('abc'), true]
      ]);
    }
  });

  test('arraybuffer gives an ArrayBuffer of just the message', async () => {
    const log = await received({ binaryType: 'arraybuffer' }, [
      Buffer.concat([whole, frames.binary('')]),
      ...parts
    ]);
    assert.ok(log.every(([, data]) => data instanceof ArrayBuffer));
    assert.deepEqual(
      log.map(([, data]) => Buffer.from(data).toString()),
      ['abc', '', 'abc']
    );
  });

  test('fragments gives the payload of each frame that has one', async () => {
    const log = await received({ binaryType: 'fragments' }, [
      whole,
      ...parts,
      ...singleBytes(Buffer.concat(parts)),
      frames.binary('')
    ]);
    const cut = [Buffer.from('ab'), Buffer.from('c')];
    assert.deepEqual(log, [
      ['message', [Buffer.from('abc')], true],
      ['message', cut, true],
      ['message', cut, true],
      ['message', [], true]
    ]);
  });

  test('blob gives a Blob', async () => {
    const log = await received({ binaryType: 'blob' }, [whole, ...parts, frames.binary('')]);
    assert.ok(log.every(([, data]) => data instanceof Blob && data.type === ''));
    const texts = await Promise.all(log.map(([, data]) => data.text()));
    assert.deepEqual(texts, ['abc', 'abc', '']);
  });

  for (const binaryType of ['nodebuffer', 'arraybuffer', 'fragments', 'blob']) {
    test(`${binaryType} leaves text and control frames Buffers`, async () => {
      const log = await received({ binaryType }, [
        ...frames.fragmented(['a', 'b']),
        frames.text(''),
        frames.ping('p'),
        frames.pong('q'),
        frames.close(1001, 'r')
      ]);
      assert.deepEqual(log, [
        ['message', Buffer.from('ab'), false],
        ['message', Buffer.alloc(0), false],
        ['ping', Buffer.from('p')],
        ['pong', Buffer.from('q')],
        ['conclude', 1001, Buffer.from('r')]
      ]);
    });
  }

  test('changed by a listener of any event counts for what follows in the same chunk', () => {
    for (const [event, frame] of [
      ['message', frames.text('first')],
      ['ping', frames.ping('first')],
      ['pong', frames.pong('first')]
    ]) {
      const receiver = new Receiver();
      receiver.once(event, () => {
        receiver._binaryType = 'arraybuffer';
      });
      let last;
      receiver.on('message', (data) => {
        last = data;
      });
      receiver.write(Buffer.concat([frame, frames.binary('second')]));
      assert.ok(last instanceof ArrayBuffer, event);
    }
  });

  test('may change between messages and inside one: the end of the message decides', async () => {
    const receiver = new Receiver({ binaryType: 'nodebuffer' });
    const log = record(receiver);
    await feed(receiver, [whole]);
    receiver._binaryType = 'arraybuffer';
    await feed(receiver, [whole, parts[0]]);
    receiver._binaryType = 'fragments';
    await feed(receiver, [parts[1], parts[2].subarray(0, 2)]);
    receiver._binaryType = 'blob';
    await feed(receiver, [parts[2].subarray(2), parts[0], parts[1]]);
    receiver._binaryType = 'fragments';
    await feed(receiver, [parts[2]]);
    assert.deepEqual(await comparable(log), [
      ['message', '616263', true],
      ['message', { arrayBuffer: '616263' }, true],
      ['message', { blob: '616263' }, true],
      ['message', ['6162', '63'], true]
    ]);
  });

  test('may change in a listener, for the messages after that in the same chunk', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    receiver.once('message', () => {
      receiver._binaryType = 'arraybuffer';
    });
    await feed(receiver, [Buffer.concat([whole, whole])]);
    assert.deepEqual(await comparable(log), [
      ['message', '616263', true],
      ['message', { arrayBuffer: '616263' }, true]
    ]);
  });
});

describe('Receiver allowSynchronousEvents', () => {
  const chunk = Buffer.concat([
    frames.text('1'),
    frames.ping('2'),
    frames.binary('3'),
    frames.pong('4'),
    ...frames.fragmented(['5', '']),
    frames.close(1000, '6')
  ]);

  /** Events of the receiver, with a note after each when the microtasks it left behind ran. */
  async function eventsAndMicrotasks(options) {
    const receiver = new Receiver(options);
    const order = [];
    for (const event of ['message', 'ping', 'pong', 'conclude']) {
      receiver.on(event, () => {
        order.push(event);
        queueMicrotask(() => order.push('microtask'));
      });
    }
    receiver.write(chunk);
    order.push('written');
    await once(receiver, 'finish');
    return order;
  }

  test('true, the default, emits all events of a chunk in one go', async () => {
    for (const options of [{}, { allowSynchronousEvents: true }]) {
      assert.deepEqual(await eventsAndMicrotasks(options), [
        ...['message', 'ping', 'message', 'pong', 'message', 'conclude', 'written'],
        ...Array(6).fill('microtask')
      ]);
    }
  });

  test('false emits each message, ping and pong in a turn of its own', async () => {
    const turns = ['message', 'ping', 'message', 'pong', 'message'];
    assert.deepEqual(await eventsAndMicrotasks({ allowSynchronousEvents: false }), [
      'written',
      ...turns.slice(0, -1).flatMap((event) => [event, 'microtask']),
      // The close has no turn of its own.
      ...['message', 'conclude', 'microtask', 'microtask']
    ]);
  });

  test('false lets timers and I/O in between two messages', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const order = [];
    receiver.on('message', (data) => {
      order.push(data.toString());
      setImmediate(() => order.push('immediate'));
    });
    await writeChunk(receiver, Buffer.concat([frames.text('a'), frames.text('b')]));
    assert.deepEqual(order.slice(0, 3), ['a', 'immediate', 'b']);
  });

  test('false keeps chunks that come meanwhile, in order, and counts them', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    const written = [];
    for (let i = 0; i < 20; i++) {
      written.push(writeChunk(receiver, frames.text(`${i}`)));
      assert.ok(receiver.writableLength > 0);
    }
    await Promise.all(written);
    assert.equal(receiver.writableLength, 0);
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      Array.from({ length: 20 }, (_, i) => `${i}`)
    );
  });

  test('can be changed while messages arrive', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    await writeChunk(receiver, frames.text('a'));
    receiver._allowSynchronousEvents = true;
    receiver.write(frames.text('b'));
    assert.deepEqual(
      log.map(([, data]) => data.toString()),
      ['a', 'b']
    );
  });
});

describe('Receiver skipUTF8Validation', () => {
  const bad = Buffer.from([0x61, 0xff, 0x62]);

  test('lets invalid text and an invalid close reason through', async () => {
    const log = await received({ skipUTF8Validation: true }, [
      frames.text(bad),
      frames.close(1000, bad)
    ]);
    assert.deepEqual(log, [
      ['message', bad, false],
      ['conclude', 1000, bad]
    ]);
  });

  test('can be switched on and off between messages', async () => {
    const receiver = new Receiver({});
    const log = record(receiver);
    receiver._skipUTF8Validation = true;
    await feed(receiver, [frames.text(bad)]);
    receiver._skipUTF8Validation = false;
    await feed(receiver, [frames.text(bad)]);
    assert.deepEqual(log[0], ['message', bad, false]);
    assert.equal(log[1][0], 'error');
    assert.equal(log[1][1].code, 'WS_ERR_INVALID_UTF8');
  });
});

describe('Receiver at the end', () => {
  test('finishes and closes after a close frame', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    for (const event of ['finish', 'close']) receiver.on(event, () => log.push([event]));
    receiver.write(frames.close(4000, 'bye'));
    await once(receiver, 'close');
    assert.deepEqual(log, [['conclude', 4000, Buffer.from('bye')], ['finish'], ['close']]);
    assert.ok(receiver.writableFinished);
    assert.equal(receiver.errored, null);
  });

  test('ignores bytes behind a close frame, in its chunk and in queued ones', async () => {
    const junk = Buffer.from([0xff, 0xff, 0xff, 0xff]);
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    receiver.write(frames.text('first'));
    receiver.write(Buffer.concat([frames.close(1000), junk, frames.text('late')]));
    receiver.write(junk);
    receiver.write(frames.text('later'));
    await once(receiver, 'finish');
    assert.deepEqual(log, [
      ['message', Buffer.from('first'), false],
      ['conclude', 1000, Buffer.alloc(0)]
    ]);
  });

  test('finishes without an error when it ends in the midst of a frame', async () => {
    const receiver = new Receiver();
    const log = record(receiver);
    receiver.write(frames.text('complete'));
    receiver.write(frames.text('cut').subarray(0, 4));
    receiver.end();
    await once(receiver, 'finish');
    assert.deepEqual(log, [['message', Buffer.from('complete'), false]]);
  });

  test('emits everything that was written before end()', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    for (const letter of 'abc') receiver.write(frames.text(letter));
    receiver.end(frames.text('d'));
    await once(receiver, 'finish');
    assert.equal(log.map(([, data]) => data.toString()).join(''), 'abcd');
  });

  test('emits nothing more after destroy()', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    receiver.destroy();
    receiver.write(frames.text('a'), () => {});
    await once(receiver, 'close');
    assert.deepEqual(log, []);
  });

  test('reports a write after the end as every Writable does', async () => {
    const receiver = new Receiver();
    receiver.write(frames.close(1000));
    receiver.write(frames.text('late'));
    const [error] = await once(receiver, 'error');
    assert.equal(error.code, 'ERR_STREAM_WRITE_AFTER_END');
  });
});

describe('Receiver backpressure', () => {
  test('asks the writer to wait when a chunk fills it and its events are to come', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    const bytes = frames.binary(Buffer.alloc(receiver.writableHighWaterMark, 'x'));
    assert.equal(receiver.write(bytes), false);
    assert.equal(receiver.writableNeedDrain, true);
    assert.equal(receiver.writableLength, bytes.length);
    await once(receiver, 'drain');
    assert.equal(receiver.writableNeedDrain, false);
    assert.equal(receiver.writableLength, 0);
    assert.equal(log.length, 1);
  });

  test('does not ask the writer to wait for what it can use at once', () => {
    const receiver = new Receiver();
    for (let i = 0; i < 100; i++) {
      assert.equal(receiver.write(frames.text('small')), true);
      assert.equal(receiver.writableLength, 0);
    }
  });

  test('counts chunks that wait for their turn and drains after the last', async () => {
    const receiver = new Receiver({ allowSynchronousEvents: false });
    const log = record(receiver);
    const bytes = frames.binary(Buffer.alloc(1000));
    let written = 0;
    let accepted = true;
    while (accepted) {
      accepted = receiver.write(bytes);
      written++;
    }
    assert.ok(written * bytes.length >= receiver.writableHighWaterMark);
    assert.equal(log.length, 0);
    await once(receiver, 'drain');
    assert.equal(log.length, written);
    assert.equal(receiver.writableLength, 0);
  });
});
