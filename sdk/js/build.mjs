#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// Makes a component of a guest in JavaScript: puts what it is made of into one file, and gives that to
// componentize-js. `node build.mjs --help` says how it is called.
//
// The world of a guest that is written with this SDK follows from its source: what it exports, and
// which interfaces of the host are left in it when all that is unused is gone. So a guest imports
// what it uses, and nobody writes WIT for it. A guest that is written against interfaces of its own
// choice names its world.
import { componentize } from "@bytecodealliance/componentize-js";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { argv, exit, stderr, stdout } from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";

const USAGE = `usage: build.mjs SOURCE [-o OUT.wasm] [--wit FOLDER] [--world NAME]

  SOURCE         the guest's module: JavaScript, or TypeScript, whose types are not checked
  -o OUT.wasm    the component; SOURCE's name with .wasm, unless told otherwise
  --wit FOLDER   weir's folder wit; beside this folder or two up, unless told otherwise
  --world NAME   of a guest that exports what a world of FOLDER says, and not handlers of this SDK
`;

// Interfaces come from the host, not from a file.
const IS_OF_HOST = /^(wasi|weir):/;
// What a guest of this SDK exports that is no handler of its own name.
const DEFAULT_HANDLER = "eventHandler";
const MAIN = "run";
// The name of a handler, as JavaScript writes what is `on-order` in WIT.
const HANDLER_NAME = /^[a-z][a-z0-9]*([A-Z][a-z0-9]*)*$/;

class BuildError extends Error {}

const sdk = fileURLToPath(new URL(".", import.meta.url));

function witFolder(told, world) {
  const folders = told === undefined ? [join(sdk, "../wit"), join(sdk, "../../wit")] : [told];
  const found = told !== undefined && world !== undefined ? told
    : folders.find((folder) => existsSync(join(folder, "reactive.wit")));
  if (found === undefined) {
    throw new BuildError(`weir's folder wit, with reactive.wit, is not at ${folders.join(" or ")}`);
  }
  return resolve(found);
}

/** One module of the source and all that it imports; says what it exports, and imports of the host. */
async function bundle(source) {
  const build = await rolldown({
    input: resolve(source),
    external: IS_OF_HOST,
    platform: "neutral",
    resolve: { alias: { weir: join(sdk, "index.js") } },
    onLog(level, log) {
      // What is missing would be an import of the component that nobody can give.
      if (log.code === "UNRESOLVED_IMPORT") {
        throw new BuildError(log.message);
      }
      stderr.write(`${level}: ${log.message}\n`);
    },
  });
  try {
    const { output } = await build.generate({ format: "esm", codeSplitting: false });
    const [{ code, exports, imports }] = output;
    return { code, exports, imports: imports.filter((name) => IS_OF_HOST.test(name)) };
  } finally {
    await build.close();
  }
}

const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** The world of a guest of this SDK, and the module that exports what it says. */
function worldOf({ exports, imports }) {
  const items = imports.map((name) => `import ${name};`);
  const lines = ['import * as guest from "./guest.js";'];
  for (const name of exports) {
    if (name === DEFAULT_HANDLER) {
      items.push("export weir:reactive/event-handler-or-reject@0.1.0;");
      lines.push(
        "export const eventHandlerOrReject = { handleEventOrReject: guest.eventHandler };");
    } else if (name === MAIN) {
      items.push("export run: func() -> result<_, string>;");
      lines.push("export const run = guest.run;");
    } else if (HANDLER_NAME.test(name)) {
      items.push(
        `export ${kebab(name)}: func(ev: event) -> result<option<event>, failure>;`);
      lines.push(`export const ${name} = guest.${name};`);
    } else {
      throw new BuildError(`the guest exports ${name}, which is no name of a handler such as onOrder`);
    }
  }
  if (exports.length === 0) {
    throw new BuildError(
      'the guest exports nothing; a handler is "export const eventHandler = handler(…)"');
  }
  return {
    wit: `package weir:guest-js;
      world guest {
        use weir:reactive/types@0.1.0.{event, failure};
        ${items.join("\n        ")}
      }`,
    entry: `${lines.join("\n")}\n`,
  };
}

async function build(source, out, wit, world) {
  const bundled = await bundle(source);
  const work = await mkdtemp(join(tmpdir(), "weir-build-"));
  try {
    await writeFile(join(work, "guest.js"), bundled.code);
    let entry = "guest.js", witPath = wit, worldName = world;
    if (world === undefined) {
      const made = worldOf(bundled);
      entry = "entry.js";
      witPath = join(work, "wit");
      worldName = "guest";
      await cp(join(wit, "deps"), join(witPath, "deps"), { recursive: true });
      await cp(join(wit, "reactive.wit"), join(witPath, "deps/weir-reactive/reactive.wit"));
      await writeFile(join(witPath, "guest.wit"), made.wit);
      await writeFile(join(work, entry), made.entry);
    }
    const { component } = await componentize({
      sourcePath: join(work, entry),
      witPath,
      worldName,
      // weir's HTTP is an interface of its own; what the engine's `fetch` would import is refused.
      disableFeatures: ["http", "fetch-event"],
    });
    await writeFile(out, component);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      output: { type: "string", short: "o" },
      wit: { type: "string" },
      world: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    stdout.write(USAGE);
    return;
  }
  if (positionals.length !== 1) {
    throw new BuildError(`one source is wanted\n\n${USAGE}`);
  }
  const [source] = positionals;
  await readFile(source);
  await build(source, values.output ?? source.replace(/\.[^./]*$/, "") + ".wasm",
    witFolder(values.wit, values.world), values.world);
}

try {
  await main();
} catch (error) {
  stderr.write(`build: ${error.message}\n`);
  exit(1);
}
