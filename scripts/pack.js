'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { platformName } = require('../lib/platform');
const { notices } = require('./notices');
const { StepError, npm, root, runMain } = require('./steps');
const { checkGlibc, targetOf } = require('./targets');

const manifest = require('../package.json');

/** The file with what the licenses of others ask for. */
const NOTICES = 'THIRD-PARTY-NOTICES';

/** @param {string} folder of npm/ */
const platformManifest = (folder) => require(`../npm/${folder}/package.json`);

/** @returns {string[]} the folders of npm/, one for each platform */
function platforms() {
  return fs
    .readdirSync(path.join(root, 'npm'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

/**
 * Packs a folder made of files of the project and of a package.json of its own.
 *
 * @param {object} contents its package.json
 * @param {string[]} files paths from the project's folder
 * @param {Record<string, string>} [texts] further files
 */
function pack(contents, files, texts = {}) {
  const folder = path.join(root, 'dist', contents.name);

  fs.rmSync(folder, { recursive: true, force: true });
  for (const file of files) {
    fs.cpSync(path.join(root, file), path.join(folder, file), { recursive: true });
  }
  for (const [file, text] of Object.entries(texts)) {
    fs.writeFileSync(path.join(folder, file), text);
  }
  fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(contents, null, 2)}\n`);
  npm(['pack', `./dist/${contents.name}`, '--pack-destination', 'dist']);
}

/**
 * The package with a binary that was built here.
 *
 * @param {string} [name] for which platform, by the name of its folder in npm/; otherwise for that of this machine
 */
function packPlatform(name = platformName()) {
  const target = targetOf(name);
  const contents = platformManifest(name);
  if (!fs.existsSync(path.join(root, contents.main))) {
    throw new StepError(`${contents.main} is not there: run \`npm run build\` first`);
  }
  if (name.endsWith('-gnu')) checkGlibc(contents.main);

  pack({ ...contents, version: manifest.version }, [contents.main, 'LICENSE'], {
    [NOTICES]: notices(target)
  });
}

/** The package itself, which asks for the platform packages of its own version. */
function packMain() {
  // Private, because published from here it would not ask for the platform packages.
  const { devDependencies, private: _, scripts, ...contents } = manifest;
  const names = platforms().map((folder) => platformManifest(folder).name);
  // A folder goes in whole; npm leaves out what `files` does not name.
  const files = contents.files.map((file) => file.replace('/*.js', ''));

  pack(
    {
      ...contents,
      optionalDependencies: Object.fromEntries(names.map((name) => [name, manifest.version]))
    },
    [...files, 'LICENSE', 'README.md']
  );
}

runMain(() => {
  const what = { main: packMain, platform: packPlatform }[process.argv[2]];
  if (!what) throw new StepError('What to pack: npm run pack-main, or npm run pack-platform');
  what(process.argv[3]);
});
