'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { build } = require('./build');
const { setup } = require('./setup');
const { StepError, announce, cargo, root, run, runMain } = require('./steps');

/** The transports that the tests of __test__ run under, by what selects each. */
const TRANSPORTS = [
  { name: 'the loop transport', env: { OXWS_TRANSPORT: 'loop' } },
  { name: 'the threads transport', env: { OXWS_TRANSPORT: 'threads', OXWS_IO_THREADS: '2' } },
  { name: 'the stream transport', env: { OXWS_TRANSPORT: 'stream' } }
];

/** Tests to which the transport makes no difference, or which choose it themselves: they run once. */
const WITHOUT_TRANSPORT = ['native-binary.test.js', 'transport-threads.test.js', 'types.test.js'];

/** What stands for all platforms of a system that other code is compiled for. */
const PLATFORMS = ['aarch64-apple-darwin', 'x86_64-pc-windows-msvc'];

// Far beyond what any test file takes: it only ends one that hangs.
const HANG_MS = 10 * 60 * 1000;

const USAGE = 'npm test [-- --only js|rust|lint|ws]';

const counts = { passed: 0, failed: 0 };

function lint() {
  announce('Formatting: prettier');
  run(process.execPath, ['node_modules/prettier/bin/prettier.cjs', '--check', '.']);
  announce('Lint: eslint');
  run(process.execPath, ['node_modules/eslint/bin/eslint.js', '--max-warnings=0', '.']);
  announce('Formatting: cargo fmt');
  cargo(['fmt', '--check']);
  announce('Lint: cargo clippy');
  cargo(['clippy', '--', '-D', 'warnings']);
  // The tests are built without the binding, whose Node-API symbols only a running Node has.
  cargo(['clippy', '--all-targets', '--no-default-features', '--', '-D', 'warnings']);
  for (const target of otherPlatforms()) {
    announce(`Lint: cargo clippy for ${target}`);
    cargo(['clippy', '--target', target, '--', '-D', 'warnings']);
  }
}

/**
 * Platforms of other systems that the Rust toolchain can compile for (`rustup target add` brings them): code that is not
 * for this system is at least compiled.
 *
 * @returns {string[]}
 */
function otherPlatforms() {
  const { stdout } = run('rustc', ['--print', 'sysroot'], { stdio: 'pipe' });
  const platforms = path.join(stdout.toString().trim(), 'lib', 'rustlib');
  return PLATFORMS.filter((target) => fs.existsSync(path.join(platforms, target)));
}

function rust() {
  announce('Tests of the Rust core');
  cargo(['test', '--no-default-features']);
}

/** @returns {string[]} the test files, as paths from the project's folder */
function testFiles() {
  return fs
    .readdirSync(path.join(root, '__test__'), { recursive: true })
    .filter((file) => file.endsWith('.test.js'))
    .map((file) => path.join('__test__', file))
    .sort();
}

/**
 * Reads the totals off the end of node's TAP report.
 *
 * @param {string} report
 */
function addCounts(report) {
  const total = (word) =>
    Number([...report.matchAll(new RegExp(`^# ${word} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);

  counts.passed += total('pass');
  counts.failed += total('fail') + total('cancelled');
}

/**
 * @param {string[]} files
 * @param {Record<string, string>} env
 */
function runTestFiles(files, env) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'oxws-test-'));
  const report = path.join(folder, 'report.tap');
  const reporters = [
    ['spec', 'stdout'],
    ['tap', report]
  ].flatMap(([name, to]) => [`--test-reporter=${name}`, `--test-reporter-destination=${to}`]);

  try {
    run(process.execPath, ['--test', `--test-timeout=${HANG_MS}`, ...reporters, ...files], {
      env: { ...process.env, ...env }
    });
  } catch (error) {
    // A command line of fifty files would bury what failed.
    throw error instanceof StepError ? new StepError('Tests failed, see above') : error;
  } finally {
    if (fs.existsSync(report)) addCounts(fs.readFileSync(report, 'utf8'));
    fs.rmSync(folder, { recursive: true });
  }
}

function js() {
  const files = testFiles();
  const withTransport = files.filter((file) => !WITHOUT_TRANSPORT.includes(path.basename(file)));

  for (const [index, { name, env }] of TRANSPORTS.entries()) {
    announce(`Tests on ${name}`);
    runTestFiles(index === 0 ? files : withTransport, env);
  }
}

/** The tests say what ws does: so they must pass there, too. Not a part of `npm test`, for it does not test this package. */
function ws() {
  announce('Tests on ws itself');
  runTestFiles(testFiles(), { OXWS_TEST_PACKAGE: 'ws' });
}

/** @returns {(() => void)[]} the stages to run, in order */
function selectStages() {
  const stages = { lint: [lint], rust: [rust], js: [build, js], ws: [ws] };
  let only;

  try {
    ({ only } = parseArgs({ options: { only: { type: 'string' } } }).values);
  } catch (error) {
    throw new StepError(`${error.message}\n\n${USAGE}`);
  }
  if (only === undefined) return [build, lint, rust, js];
  if (!Object.hasOwn(stages, only)) throw new StepError(USAGE);
  return stages[only];
}

runMain(() => {
  const stages = selectStages();

  if (stages.includes(js) || stages.includes(ws)) {
    // The last line, also when a stage fails.
    process.once('exit', () => console.log(`\n${counts.passed} passed, ${counts.failed} failed`));
  }
  setup();
  for (const stage of stages) stage();
});
