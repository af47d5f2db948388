// Runs test/unit/*.test.ts with Node's own runner: bundled by esbuild into a folder that npm ignores.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const OUT = join(HERE, "..", "node_modules", ".cache", "unit");

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const tests = readdirSync(join(HERE, "unit")).filter((f) => f.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((f) => join(HERE, "unit", f)),
  outdir: OUT,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  // Modules read the address and preferences when they are loaded.
  banner: {
    js: `globalThis.window ??= { location: { pathname: "/ui/", search: "" }, matchMedia: () => ({ matches: true }), localStorage: undefined };
globalThis.document ??= { baseURI: "http://test/ui/" };`,
  },
  logLevel: "warning",
});
const files = tests.map((f) => join(OUT, f.replace(/\.ts$/, ".mjs")));
// One zone for everybody: some tests are about local time.
const run = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit", env: { ...process.env, TZ: "Europe/Berlin" } });
process.exit(run.status ?? 1);
