'use strict';

const assert = require('node:assert');
const { execFile } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, it } = require('node:test');
const { pathToFileURL } = require('node:url');
const { promisify } = require('node:util');
const { Worker } = require('node:worker_threads');

const ts = require('typescript');

const { directory, entry, isOxws } = require('./support/internals.js');

const run = promisify(execFile);

describe('The native binary', { skip: isOxws ? false : 'only oxws has one' }, () => {
  const { platformName } = isOxws ? require('../lib/platform.js') : {};

  /**
   * The package as npm leaves it, without a binary.
   *
   * @param {import('node:test').TestContext} t
   */
  function copyPackage(t) {
    // The loader names the true path.
    const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oxws-native-')));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    for (const name of ['index.js', 'lib', 'package.json', 'wrapper.mjs']) {
      fs.cpSync(path.join(directory, name), path.join(folder, name), { recursive: true });
    }

    return {
      folder,
      load: (file = 'index.js') => require(path.join(folder, file)),
      localFile: path.join(folder, `oxws.${platformName()}.node`),
      packageFolder: path.join(folder, 'node_modules', `oxws-${platformName()}`)
    };
  }

  /** Puts a package for this platform in place whose binary is the text given. */
  function installPlatformPackage({ packageFolder }, main, content) {
    fs.mkdirSync(packageFolder, { recursive: true });
    fs.writeFileSync(path.join(packageFolder, 'package.json'), JSON.stringify({ main }));
    fs.writeFileSync(path.join(packageFolder, main), content);
  }

  it('is found by a program that was bundled as an ES module, which has no require', async (t) => {
    const copy = copyPackage(t);
    installPlatformPackage(copy, 'index.js', 'module.exports = { answer: 42 };');
    const bundled = fs
      .readFileSync(path.join(copy.folder, 'lib', 'native.js'), 'utf8')
      .replace(/const (.*) = require\('(module|path)'\);/g, "import $1 from '$2';")
      .replace(
        /const .* = require\('.\/platform'\);/,
        `const platformName = () => '${platformName()}';`
      )
      .replace('module.exports = load();', 'console.log(load().answer);');
    const program = path.join(copy.folder, 'bundle.mjs');
    fs.writeFileSync(program, bundled);
    const { stdout } = await run(process.execPath, [program], { cwd: os.tmpdir() });
    assert.strictEqual(stdout, '42\n');

    fs.rmSync(copy.packageFolder, { recursive: true });
    await assert.rejects(run(process.execPath, [program]), /there is neither the package oxws-/);
  });

  it('is missed with a sentence that says which platform, where it was looked for, what to do', (t) => {
    const copy = copyPackage(t);

    assert.throws(
      () => copy.load(),
      (error) => {
        assert.strictEqual(error.name, 'Error');
        assert.strictEqual(
          error.message,
          `oxws cannot load its native binary for ${platformName()}: there is neither the package ` +
            `oxws-${platformName()} nor the file ${copy.localFile}, so install again with optional ` +
            'dependencies included (npm install --include=optional), or run `npm run build` in a ' +
            'checkout of oxws'
        );
        assert.strictEqual(error.cause.code, 'MODULE_NOT_FOUND');
        return true;
      }
    );
  });

  it('is refused when the file beside package.json is no binary, with the reason as cause', (t) => {
    const copy = copyPackage(t);
    fs.writeFileSync(copy.localFile, 'this is no shared library');

    assert.throws(
      () => copy.load(),
      (error) => {
        assert.ok(error.message.includes(`native binary for ${platformName()}: the file`));
        assert.ok(error.message.includes(copy.localFile));
        assert.ok(error.message.includes('delete it and run `npm run build` again'));
        assert.strictEqual(error.cause.code, 'ERR_DLOPEN_FAILED');
        return true;
      }
    );
  });

  it('is refused when the platform package holds no binary, with the reason as cause', (t) => {
    const copy = copyPackage(t);
    installPlatformPackage(copy, 'oxws.node', 'this is no shared library');

    assert.throws(
      () => copy.load(),
      (error) => {
        assert.ok(error.message.includes(`the package oxws-${platformName()} is installed but`));
        assert.ok(error.message.includes('delete node_modules and install again'));
        assert.strictEqual(error.cause.code, 'ERR_DLOPEN_FAILED');
        return true;
      }
    );
  });

  it('is refused in one sentence where addons are forbidden, wherever it lies', async (t) => {
    const copy = copyPackage(t);
    const load = () =>
      run(process.execPath, ['--no-addons', '-e', `require(${JSON.stringify(copy.folder)})`]);
    const inOneSentence = ({ stderr }) =>
      stderr.includes(
        `Error: oxws cannot load its native binary for ${platformName()}: this process may not load ` +
          'addons, so start it without --no-addons and, if it has --permission, with --allow-addons\n'
      );

    installPlatformPackage(copy, 'oxws.node', '');
    await assert.rejects(load(), inOneSentence);
    fs.writeFileSync(copy.localFile, '');
    await assert.rejects(load(), inOneSentence);
  });

  it('is the one for musl where the process has musl mapped, however it is installed', (t) => {
    if (process.platform !== 'linux') return t.skip('only Linux has several C libraries');
    const mapped = {
      '/lib/ld-musl-x86_64.so.1': 'musl',
      '/lib/aarch64-linux-musl/libc.so': 'musl',
      '/usr/lib/libc.so': 'musl',
      '/usr/lib/x86_64-linux-gnu/libc.so.6': 'gnu',
      '/lib64/libc-2.28.so': 'gnu'
    };
    const copy = copyPackage(t);
    const file = path.join(copy.folder, 'lib/platform.js');
    const name = `${process.platform}-${process.arch}`;
    const { readFileSync } = fs;
    for (const [library, which] of Object.entries(mapped)) {
      const line = (of) => `7f0000000000-7f0000001000 r-xp 00000000 fd:00 7 ${of}\n`;
      const maps = ['/usr/local/bin/node', library, '[heap]'].map(line).join('');
      const read = t.mock.method(fs, 'readFileSync', (from, ...options) =>
        from === '/proc/self/maps' ? maps : readFileSync(from, ...options)
      );
      delete require.cache[file];
      const { platformName: namePlatform } = copy.load('lib/platform.js');
      assert.strictEqual(namePlatform(), `${name}-${which}`, library);
      read.mock.restore();
    }
  });

  it('comes from the platform package where no file lies beside package.json', (t) => {
    const copy = copyPackage(t);
    installPlatformPackage(copy, 'index.js', 'module.exports = { from: "package" };');

    assert.deepStrictEqual(copy.load('lib/native.js'), { from: 'package' });
  });

  it('comes from the file beside package.json even where the platform package is installed', (t) => {
    const copy = copyPackage(t);
    const built = path.join(directory, path.basename(copy.localFile));
    installPlatformPackage(copy, 'index.js', 'module.exports = { from: "package" };');
    fs.copyFileSync(built, copy.localFile);

    assert.notStrictEqual(copy.load('lib/native.js').from, 'package');
  });

  it('has a line in the loader, and a target, with the same names, for each platform package of npm/', () => {
    const folder = path.join(directory, 'npm');
    const platforms = fs
      .readdirSync(folder)
      .filter((name) => fs.existsSync(path.join(folder, name, 'package.json')));
    const loader = fs.readFileSync(path.join(directory, 'lib/native.js'), 'utf8');
    const named = (pattern) => [...loader.matchAll(pattern)].map((match) => match[1]).sort();

    assert.deepStrictEqual(named(/require\('\.\.\/oxws\.([\w-]+)\.node'\)/g), platforms);
    assert.deepStrictEqual(named(/require\('oxws-([\w-]+)'\)/g), platforms);
    assert.deepStrictEqual(Object.keys(require('../scripts/targets.js').TARGETS).sort(), platforms);
    for (const platform of platforms) {
      const manifest = require(path.join(folder, platform, 'package.json'));
      const [system, cpu] = platform.split('-');
      assert.strictEqual(manifest.name, `oxws-${platform}`);
      assert.strictEqual(manifest.main, `oxws.${platform}.node`);
      assert.deepStrictEqual([manifest.os, manifest.cpu], [[system], [cpu]]);
    }
  });

  it('is asked for within try alone, for bundlers forgive only there what they do not find', () => {
    const file = path.join(directory, 'lib/native.js');
    const source = ts.createSourceFile(file, fs.readFileSync(file, 'utf8'), ts.ScriptTarget.Latest);
    const outside = [];
    const visit = (node) => {
      if (ts.isTryStatement(node)) return;
      if (ts.isCallExpression(node) && node.expression.escapedText === 'require') {
        outside.push(node.arguments[0].text);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);

    assert.deepStrictEqual(outside, ['module', 'path', './platform']);
  });

  it('loads in a bundle of ES modules, where there is no __dirname', async (t) => {
    const copy = copyPackage(t);
    installPlatformPackage(copy, 'index.js', 'module.exports = { from: "package" };');
    const lib = path.join(path.dirname(copy.localFile), 'lib');
    const loader = fs.readFileSync(path.join(lib, 'native.js'), 'utf8');
    fs.writeFileSync(
      path.join(lib, 'bundle.mjs'),
      `import { createRequire } from 'node:module';
       const require = createRequire(import.meta.url);
       const module = {};
       ${loader.replace("const { createRequire } = require('module');", '')}
       export default module.exports;`
    );
    const bundle = await import(pathToFileURL(path.join(lib, 'bundle.mjs')));

    assert.deepStrictEqual(bundle.default, { from: 'package' });
  });

  it('loads in worker threads, several at once, and goes with them', async () => {
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      const WebSocket = require(workerData);
      const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
        const ws = new WebSocket('ws://127.0.0.1:' + wss.address().port);
        ws.on('message', (data) => parentPort.postMessage(String(data)));
      });
      wss.on('connection', (ws) => ws.send('from a worker'));
    `;
    // The sockets of a worker are open when it is ended.
    const workers = Array.from({ length: 3 }, () => {
      return new Worker(script, { eval: true, workerData: entry });
    });
    const messages = await Promise.all(workers.map((worker) => once(worker, 'message')));
    await Promise.all(workers.map((worker) => worker.terminate()));

    assert.deepStrictEqual(messages.flat(), Array(3).fill('from a worker'));
  });

  it('does not keep a process from its end', async () => {
    const { stdout } = await run(process.execPath, [
      '-e',
      `require(${JSON.stringify(entry)}); console.log('loaded')`
    ]);

    assert.strictEqual(stdout, 'loaded\n');
  });

  it('lets a process end with connections open', async () => {
    const script = `
      const WebSocket = require(${JSON.stringify(entry)});
      const wss = new WebSocket.Server({ host: '127.0.0.1', port: 0 }, () => {
        const ws = new WebSocket('ws://127.0.0.1:' + wss.address().port);
        ws.on('open', () => {
          for (let i = 0; i < 100; i++) ws.send('x'.repeat(10000));
          process.exit(7);
        });
      });
    `;

    await assert.rejects(run(process.execPath, ['-e', script]), { code: 7, stderr: '' });
  });
});
