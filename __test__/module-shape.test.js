'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');
const { pathToFileURL } = require('node:url');

const WebSocket = require('./support/package.js');
const { runInChild } = require('./support/child.js');
const { directory, entry, lib } = require('./support/internals.js');
const { openServer, startClient, urlOf } = require('./support/pair.js');

const manifest = require(path.join(directory, 'package.json'));

/** What `ws` exports beside the class, and the file of lib/ that each comes from. */
const EXPORTS = {
  createWebSocketStream: 'stream',
  extension: 'extension',
  PerMessageDeflate: 'permessage-deflate',
  Receiver: 'receiver',
  Sender: 'sender',
  subprotocol: 'subprotocol',
  WebSocket: 'websocket',
  WebSocketServer: 'websocket-server'
};

/**
 * A folder in which the package is installed under the name `ws`, as an npm alias installs it.
 *
 * @param {import('node:test').TestContext} t
 * @returns {string}
 */
function installAsWs(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'module-shape-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(directory, path.join(folder, 'node_modules', 'ws'), 'junction');
  return folder;
}

describe('require', () => {
  it('gives the WebSocket class itself', () => {
    assert.strictEqual(typeof WebSocket, 'function');
    assert.strictEqual(WebSocket.name, 'WebSocket');
    assert.match(Function.prototype.toString.call(WebSocket), /^class /);
  });

  it('does not look like a transpiled ES module, which would change what interop helpers import', () => {
    assert.strictEqual('__esModule' in WebSocket, false);
    assert.strictEqual('default' in WebSocket, false);
  });

  it('hangs the other exports on the class, where they can be enumerated', () => {
    const names = Object.keys(WebSocket);
    for (const name of [...Object.keys(EXPORTS), 'Server']) assert.ok(names.includes(name), name);

    assert.strictEqual(WebSocket.WebSocket, WebSocket);
    assert.strictEqual(WebSocket.Server, WebSocket.WebSocketServer);
    assert.strictEqual(WebSocket.WebSocketServer.name, 'WebSocketServer');
  });

  it('lets a subclass inherit the exports and the ready states', () => {
    class Sub extends WebSocket {}

    assert.strictEqual(Sub.Server, WebSocket.WebSocketServer);
    assert.strictEqual(Sub.OPEN, 1);
  });

  it('finds each file of lib by absolute path, holding the very object the package exports', () => {
    for (const [name, file] of Object.entries(EXPORTS)) {
      assert.strictEqual(lib(file), WebSocket[name], file);
    }
    assert.strictEqual(typeof lib('constants').kWebSocket, 'symbol');
  });
});

describe('import', () => {
  it('finds exactly nine exports in wrapper.mjs, the same objects that require gives', async () => {
    const namespace = await import(pathToFileURL(path.join(directory, 'wrapper.mjs')));

    assert.deepStrictEqual(
      Object.keys(namespace).sort(),
      [...Object.keys(EXPORTS), 'default'].sort()
    );
    assert.strictEqual(namespace.default, WebSocket);
    for (const name of Object.keys(EXPORTS)) assert.strictEqual(namespace[name], WebSocket[name]);
  });

  it('connects a client with a server when only the ES module was loaded', async (t) => {
    const folder = installAsWs(t);
    const file = path.join(folder, 'main.mjs');
    fs.writeFileSync(
      file,
      `import WebSocket, { WebSocketServer } from 'ws';
       const wss = new WebSocketServer({ port: 0 }, () => {
         const ws = new WebSocket('ws://localhost:' + wss.address().port);
         ws.on('message', (data) => { console.log(String(data)); ws.close(); wss.close(); });
       });
       wss.on('connection', (ws) => ws.send('imported'));`
    );
    const { stdout, stderr } = await runInChild(
      t,
      function main() {
        import(process.env.MAIN_FILE);
      },
      { env: { MAIN_FILE: pathToFileURL(file).href } }
    );

    assert.strictEqual(stdout, 'imported\n', stderr);
  });
});

describe('the package', () => {
  it('can be installed under the name ws', (t) => {
    const require = createRequire(path.join(installAsWs(t), 'main.js'));

    assert.strictEqual(fs.realpathSync(require.resolve('ws')), fs.realpathSync(entry));
    assert.strictEqual(require('ws/package.json').version, manifest.version);
  });

  it('keeps its files out of reach by name, as its exports map says', (t) => {
    const require = createRequire(path.join(installAsWs(t), 'main.js'));

    for (const file of ['ws/lib/receiver', 'ws/lib/receiver.js', 'ws/index.js']) {
      assert.throws(() => require(file), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' });
    }
  });

  it('satisfies the ranges that dependents of ws declare', () => {
    const [major, minor] = manifest.version.split('.').map(Number);
    assert.strictEqual(major, 8);
    assert.ok(minor >= 23);
  });

  it('needs no other package at run time and runs nothing when it is installed', () => {
    assert.deepStrictEqual(Object.keys(manifest.dependencies ?? {}), []);
    for (const script of ['preinstall', 'install', 'postinstall']) {
      assert.strictEqual(manifest.scripts?.[script], undefined);
    }
  });

  it('explains in a browser bundle that the browser has a WebSocket of its own', () => {
    const browser = require(path.join(directory, 'browser.js'));

    assert.strictEqual(manifest.browser, 'browser.js');
    assert.strictEqual(manifest.exports['.'].browser, './browser.js');
    assert.throws(() => browser(), {
      name: 'Error',
      message:
        'ws does not work in the browser. Browser clients must use the native WebSocket object'
    });
  });

  it('asks for modules of Node by names that resolvers older than the node: scheme know', async (t) => {
    const { stdout, stderr } = await runInChild(
      t,
      function main() {
        const Module = require('module');
        const { require: original } = Module.prototype;
        Module.prototype.require = function (id) {
          if (id.startsWith('node:')) throw new Error(`${this.filename} requires ${id}`);
          return original.call(this, id);
        };
        for (const file of Object.keys(require.cache)) delete require.cache[file];
        console.log(typeof require(process.env.ENTRY_FILE));
      },
      { env: { ENTRY_FILE: entry } }
    );

    assert.strictEqual(stdout, 'function\n', stderr);
  });

  for (const name of ['WS_NO_BUFFER_UTIL', 'WS_NO_UTF_8_VALIDATE']) {
    it(`works alike with ${name} set`, async (t) => {
      const { stdout, stderr } = await runInChild(
        t,
        function main(WebSocket) {
          const wss = new WebSocket.Server({ port: 0 }, () => {
            const ws = new WebSocket(`ws://localhost:${wss.address().port}`);
            ws.on('open', () => ws.send('é'.repeat(100)));
          });
          wss.on('connection', (ws) => {
            ws.on('message', (data) => {
              console.log(data.length);
              ws.close();
              wss.close();
            });
          });
        },
        { env: { [name]: '1' } }
      );

      assert.strictEqual(stdout, '200\n', stderr);
    });
  }

  it('can be loaded twice in a process, and the two copies talk to each other', async (t) => {
    const loaded = Object.keys(require.cache).filter((file) => file.startsWith(directory));
    const kept = loaded.map((file) => [file, require.cache[file]]);
    for (const file of loaded) delete require.cache[file];
    const Copy = require(entry);
    for (const file of Object.keys(require.cache)) {
      if (file.startsWith(directory)) delete require.cache[file];
    }
    for (const [file, module] of kept) require.cache[file] = module;
    assert.notStrictEqual(Copy, WebSocket);

    const wss = await openServer(t);
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(`${data}!`)));
    const client = new Copy(urlOf(wss));
    t.after(() => client.terminate());
    await once(client, 'open');
    client.send('from the other copy');
    const [answer] = await once(client, 'message');

    assert.strictEqual(answer.toString(), 'from the other copy!');
    assert.strictEqual(client instanceof WebSocket, false);
  });

  it('makes EventEmitters', async (t) => {
    const { EventEmitter } = require('node:events');
    const wss = await openServer(t);

    assert.ok(wss instanceof EventEmitter);
    assert.ok(startClient(t, urlOf(wss)) instanceof EventEmitter);
  });
});
