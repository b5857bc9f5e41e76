'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { cargo } = require('./steps');

/** The files in which a crate says under which terms it may be passed on. */
const NOTICE = /^(copying|copyright|licen[cs]e|notice|unlicense)([-.].*)?$/i;

/**
 * What the licenses of the crates ask for that are part of the binary: who wrote them, and the terms.
 *
 * @param {string} target what Rust calls the platform of the binary
 * @returns {string} for a file beside the binary
 */
function notices(target) {
  const crates = linkedCrates(target).map(({ name, version, license, manifest_path: manifest }) => {
    const folder = path.dirname(manifest);
    const files = fs
      .readdirSync(folder)
      .filter((file) => NOTICE.test(file) && fs.statSync(path.join(folder, file)).isFile())
      .sort();
    // Where there is a choice of licenses, one is enough.
    const chosen = /^(MIT OR [^()]*|[^()]* OR MIT)$/.test(license)
      ? files.filter((file) => /mit/i.test(file))
      : [];
    const texts = (chosen.length > 0 ? chosen : files).map((file) =>
      fs.readFileSync(path.join(folder, file), 'utf8').trim()
    );
    // Some crates leave the text to their repository.
    const terms = texts.length > 0 ? texts : [`License: ${license}`];
    return { title: `${name} ${version} (${license})`, terms: terms.join('\n\n') };
  });

  // Most crates of one family have the same text.
  const titles = new Map();
  for (const { title, terms } of crates) titles.set(terms, [...(titles.get(terms) ?? []), title]);
  const parts = [...titles].map(([terms, names]) => `${names.join('\n')}\n\n${terms}`);
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  return `${['The binary contains these Rust crates.', ...parts].join(rule)}\n`;
}

/**
 * @param {string} target
 * @returns {object[]} the crates that are linked into the binary, as cargo describes them
 */
function linkedCrates(target) {
  const options = ['--locked', '--format-version', '1', '--filter-platform', target];
  const { stdout } = cargo(['metadata', ...options], {
    stdio: 'pipe',
    maxBuffer: 256 * 1024 * 1024
  });
  const { packages, resolve } = JSON.parse(stdout.toString());

  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const crates = new Map(packages.map((crate) => [crate.id, crate]));
  const found = new Set([resolve.root]);
  // What is added meanwhile is visited, too.
  for (const id of found) {
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) {
      if (kinds.some(({ kind }) => kind === null) && !isMacro(crates.get(pkg))) found.add(pkg);
    }
  }
  found.delete(resolve.root);
  return packages.filter(({ id }) => found.has(id)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A macro runs in the compiler and is not part of what that makes, nor is what it needs itself. */
function isMacro({ targets }) {
  return targets.some(({ kind }) => kind.includes('proc-macro'));
}

module.exports = { notices };
