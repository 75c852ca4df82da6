#!/usr/bin/env node
// Makes a component of a plugin: `node build.mjs [--tools DIR] SOURCE OUTPUT`, in the plugin's folder.
//
// Bundles the source and what it imports (TypeScript too) and puts it into an engine with the interface of wit/v1. The
// tools are those of tools/package.json, installed in DIR or where Node.js finds them from here.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { builtinModules, createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const sdk = dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({ options: { tools: { type: 'string' }, wit: { type: 'string', default: 'wit/v1' } }, allowPositionals: true });
const [source, output] = positionals;
if (positionals.length !== 2) fail('usage: build.mjs [--tools DIR] [--wit DIR] SOURCE OUTPUT');

/** A tool, from where the tools are. */
async function tool(name) {
  const from = createRequire(values.tools ? join(resolve(values.tools), 'package.json') : import.meta.url);
  // A package whose exports have no `require` is not resolved by its name; its folder is.
  for (const folder of from.resolve.paths(name)) {
    try {
      const manifest = createRequire(join(folder, name, 'package.json'))('./package.json');
      const entry = manifest.exports?.import ?? manifest.main;
      return await import(pathToFileURL(join(folder, name, entry)));
    } catch (error) {
      if (!['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'].includes(error.code) || !error.message.includes('package.json')) throw error;
    }
  }
  return fail(`\`${name}\` is not installed: \`lapwing plugin build\` does it, or copy vendor/lapwing-plugin/tools/package.json beside your plugin and run \`npm install\``);
}

function fail(text) {
  console.error(text);
  process.exit(1);
}

/** What the component exports: the plugin's `checker`, and its check of configs. */
function entry(plugin) {
  const from = JSON.stringify(plugin);
  return `import { checker } from ${from};
    export { checker };
    export const configCheck = checker.configCheck ?? { validate: () => [] };`;
}

const { default: esbuild } = await tool('esbuild');
const { componentize } = await tool('@bytecodealliance/componentize-js');
const work = await mkdtemp(join(tmpdir(), 'lapwing-plugin-'));
try {
  const bundle = join(work, 'plugin.js');
  const { errors } = await esbuild.build({
    stdin: { contents: entry(resolve(source)), resolveDir: sdk },
    outfile: bundle,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    alias: { 'lapwing-plugin': join(sdk, 'index.js') },
    external: ['lapwing:plugin/*'],
    logLevel: 'warning',
  });
  if (errors.length > 0) fail(`\`${source}\` cannot be bundled`);
  // stdio stays, so that what goes wrong in the engine is seen; a plugin is no server, and asks for `fetch` only to use it.
  const fetches = /\bfetch\s*\(/.test(await readFile(bundle, 'utf8'));
  const { component } = await componentize({
    sourcePath: bundle,
    witPath: resolve(values.wit),
    worldName: 'plugin-validating',
    disableFeatures: fetches ? ['fetch-event'] : ['fetch-event', 'http'],
  });
  await mkdir(dirname(resolve(output)), { recursive: true });
  await writeFile(output, component);
} catch (error) {
  // The bundler has told its errors itself.
  const wanted = (error.errors ?? []).map(({ text }) => /^Could not resolve "(.*)"$/.exec(text)?.[1]);
  const nodes = wanted.find((name) => name?.startsWith('node:') || builtinModules.includes(name));
  if (nodes) fail(`\`${nodes}\` is Node.js's, and a plugin does not run in it: no files, processes or environment; \`http\`, \`tcp\`, \`udp\` and \`dns\` of lapwing-plugin reach the network`);
  fail(error.errors ? `\`${source}\` cannot be bundled` : `\`${source}\`: ${error.message}`);
} finally {
  await rm(work, { recursive: true, force: true });
}
