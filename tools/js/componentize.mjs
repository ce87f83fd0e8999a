// SPDX-License-Identifier: Apache-2.0
//
// Makes a component of a guest in JavaScript: componentize.mjs SOURCE WIT WORLD OUT. It runs beside
// the packages that are installed for it, which is where they are looked for.
import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";
import { argv } from "node:process";

const [sourcePath, witPath, worldName, outPath] = argv.slice(2);

const { component } = await componentize({
  sourcePath,
  witPath,
  worldName,
  // A guest does not ask the host for HTTP that it does not use; that would be an import of its
  // component, and refused.
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(outPath, component);
