'use strict';

const fs = require('node:fs');
const { createRequire, isBuiltin } = require('node:module');
const path = require('node:path');
const vm = require('node:vm');

const { entry } = require('./internals.js');

const names = ['Blob', 'Buffer', 'URL', 'process', 'queueMicrotask', 'setImmediate', 'setTimeout'];
const globals = { clearTimeout };
for (const name of names) globals[name] = globalThis[name];

/**
 * Loads the package under test in a context of its own, as test frameworks do for each of their files: with other
 * intrinsics, and all modules anew but those of Node.
 *
 * @returns {{ WebSocket: any, realm: object }} the package, and an object that lives as long as the context
 */
function loadInContext() {
  const context = vm.createContext({ ...globals });
  const loaded = new Map();
  const load = (file) => {
    if (file.endsWith('.node')) return require(file);
    if (loaded.has(file)) return loaded.get(file).exports;
    const module = { exports: {} };
    loaded.set(file, module);
    const { resolve } = createRequire(file);
    const requireFrom = (id) => (isBuiltin(id) ? require(id) : load(resolve(id)));
    const code = fs.readFileSync(file, 'utf8');
    const wrapped = `(function (exports, require, module, __filename, __dirname) {${code}\n})`;
    const body = vm.runInContext(wrapped, context, { filename: file });
    body(module.exports, requireFrom, module, file, path.dirname(file));
    return module.exports;
  };
  return { WebSocket: load(entry), realm: vm.runInContext('globalThis.realm = {}', context) };
}

module.exports = { loadInContext };
