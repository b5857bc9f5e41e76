'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, it } = require('node:test');

const ts = require('typescript');

const root = path.join(__dirname, '..');

/** How programs are compiled that use the package. */
const RESOLUTIONS = {
  node16: { module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16 },
  bundler: { module: ts.ModuleKind.Preserve, moduleResolution: ts.ModuleResolutionKind.Bundler }
};

/**
 * Makes a folder with the programs of __test__/types, in which `ws` is what `packages` says.
 *
 * @param {Record<string, string>} packages a name under node_modules -> the folder it links to
 * @returns {string}
 */
function makeProject(packages) {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'oxws-types-')));

  for (const [name, target] of Object.entries(packages)) {
    const link = path.join(folder, 'node_modules', name);
    fs.mkdirSync(path.dirname(link), { recursive: true });
    fs.symlinkSync(path.join(root, target), link, 'junction');
  }
  fs.cpSync(path.join(__dirname, 'types'), folder, { recursive: true });
  return folder;
}

/**
 * Compiles programs strictly.
 *
 * @param {string} folder
 * @param {string[]} files
 * @param {import('typescript').CompilerOptions} resolution
 * @returns {string} what the compiler complains about, in them or in the declarations of `ws`
 */
function compile(folder, files, resolution) {
  const program = ts.createProgram({
    rootNames: files.map((file) => path.join(folder, file)),
    options: {
      ...resolution,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      strict: true,
      target: ts.ScriptTarget.ES2022,
      typeRoots: [path.join(folder, 'node_modules/@types')],
      types: ['node']
    }
  });
  // The declarations of Node and of the language are not on trial, and take most of the time.
  const onTrial = program
    .getSourceFiles()
    .filter(
      ({ fileName }) => !/\/node_modules\/(@types\/node|undici-types|typescript)\//.test(fileName)
    );
  const diagnostics = [
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...onTrial.flatMap((file) => [
      ...program.getSyntacticDiagnostics(file),
      ...program.getSemanticDiagnostics(file)
    ])
  ];

  return ts.formatDiagnostics(diagnostics, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => folder,
    getNewLine: () => '\n'
  });
}

/**
 * The names of the values that a declaration file exports.
 *
 * @param {string} name
 * @returns {string[]} sorted
 */
function declaredValues(name) {
  const file = path.join(root, name);
  const program = ts.createProgram([file], { ...RESOLUTIONS.node16, types: ['node'] });
  const checker = program.getTypeChecker();
  const isTypeOnly = (symbol) => symbol.declarations?.some(ts.isTypeOnlyImportOrExportDeclaration);
  const isValue = (symbol) => {
    const aliased = symbol.flags & ts.SymbolFlags.Alias;
    const { flags } = aliased ? checker.getAliasedSymbol(symbol) : symbol;
    return (flags & ts.SymbolFlags.Value) !== 0 && !isTypeOnly(symbol);
  };

  return checker
    .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)))
    .filter(isValue)
    .map((symbol) => symbol.name)
    .sort();
}

describe('The type declarations', () => {
  let ours;
  let theirs;

  before(() => {
    const node = { '@types/node': 'node_modules/@types/node' };
    ours = makeProject({ ...node, ws: '.' });
    theirs = makeProject({ ...node, '@types/ws': 'node_modules/@types/ws' });
  });

  after(() => {
    for (const folder of [ours, theirs]) fs.rmSync(folder, { recursive: true });
  });

  for (const [name, resolution] of Object.entries(RESOLUTIONS)) {
    it(`take what compiles against @types/ws, with ${name} resolution`, () => {
      const programs = ['commonjs.cts', 'module.mts'];

      assert.strictEqual(compile(theirs, programs, resolution), '', '@types/ws itself');
      assert.strictEqual(compile(ours, programs, resolution), '');
    });

    it(`take the options and exports that arrived since, with ${name} resolution`, () => {
      assert.strictEqual(compile(ours, ['additions.cts', 'additions.mts'], resolution), '');
    });
  }

  it('name what `require` gives', () => {
    const WebSocket = require('../index.js');
    // What every class has beside its statics.
    const ofEveryClass = ['length', 'name'];
    const given = Object.getOwnPropertyNames(WebSocket).filter((n) => !ofEveryClass.includes(n));

    assert.deepStrictEqual(declaredValues('index.d.ts'), given.sort());
  });

  it('name what `import` gives', async () => {
    const given = Object.keys(await import('../wrapper.mjs'));

    assert.deepStrictEqual(declaredValues('index.d.mts'), given.sort());
  });
});
