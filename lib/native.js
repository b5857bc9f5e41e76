'use strict';

const { createRequire } = require('module');
const path = require('path');

const { platformName } = require('./platform');

/**
 * Runs one `require` of a binary.
 *
 * @param {() => object} requireBinary
 * @returns {{ binding?: object, error?: Error, missing?: boolean }} `missing` tells that there is no
 *     such file or package, as opposed to one that does not load
 */
function attempt(requireBinary) {
  try {
    return { binding: requireBinary() };
  } catch (error) {
    return { error, missing: error.code === 'MODULE_NOT_FOUND' };
  }
}

// Bundlers follow a `require` only when its argument is a literal, hence one line for each published
// platform. The last line is for platforms on which somebody built the binary.

function requireLocalFile(platform) {
  switch (platform) {
    case 'darwin-arm64':
      return require('../oxws.darwin-arm64.node');
    case 'darwin-x64':
      return require('../oxws.darwin-x64.node');
    case 'linux-arm64-gnu':
      return require('../oxws.linux-arm64-gnu.node');
    case 'linux-arm64-musl':
      return require('../oxws.linux-arm64-musl.node');
    case 'linux-x64-gnu':
      return require('../oxws.linux-x64-gnu.node');
    case 'linux-x64-musl':
      return require('../oxws.linux-x64-musl.node');
    case 'win32-arm64-msvc':
      return require('../oxws.win32-arm64-msvc.node');
    case 'win32-x64-msvc':
      return require('../oxws.win32-x64-msvc.node');
    default:
      return createRequire(__filename)(`../oxws.${platform}.node`);
  }
}

function requirePlatformPackage(platform) {
  switch (platform) {
    case 'darwin-arm64':
      return require('oxws-darwin-arm64');
    case 'darwin-x64':
      return require('oxws-darwin-x64');
    case 'linux-arm64-gnu':
      return require('oxws-linux-arm64-gnu');
    case 'linux-arm64-musl':
      return require('oxws-linux-arm64-musl');
    case 'linux-x64-gnu':
      return require('oxws-linux-x64-gnu');
    case 'linux-x64-musl':
      return require('oxws-linux-x64-musl');
    case 'win32-arm64-msvc':
      return require('oxws-win32-arm64-msvc');
    case 'win32-x64-msvc':
      return require('oxws-win32-x64-msvc');
    default:
      return createRequire(__filename)(`oxws-${platform}`);
  }
}

/**
 * Loads the addon: the file that `npm run build` leaves beside package.json, else the package that was
 * installed for this platform.
 *
 * @returns {object} what the addon exports
 */
function load() {
  const platform = platformName();
  const file = path.join(__dirname, '..', `oxws.${platform}.node`);
  const packageName = `oxws-${platform}`;

  const local = attempt(() => requireLocalFile(platform));
  if (local.binding) return local.binding;
  if (!local.missing) {
    throw new Error(
      `oxws cannot load its native binary for ${platform}: the file ${file} is there but does not ` +
        'load, so delete it and run `npm run build` again',
      { cause: local.error }
    );
  }

  const installed = attempt(() => requirePlatformPackage(platform));
  if (installed.binding) return installed.binding;
  if (!installed.missing) {
    throw new Error(
      `oxws cannot load its native binary for ${platform}: the package ${packageName} is installed ` +
        'but does not load, so delete node_modules and install again on this machine',
      { cause: installed.error }
    );
  }

  throw new Error(
    `oxws cannot load its native binary for ${platform}: there is neither the package ` +
      `${packageName} nor the file ${file}, so install again with optional dependencies included ` +
      '(npm install --include=optional), or run `npm run build` in a checkout of oxws',
    { cause: installed.error }
  );
}

module.exports = load();
