// Builds src/ into dist/ and the table of embedded files in crates/ui/src/assets.rs. Reproducible: the same sources and
// the same lockfile give the same bytes on any machine; dist/MANIFEST holds the hash of every input and output.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, context } from "esbuild";

const ROOT = dirname(fileURLToPath(import.meta.url));
const DIST = join(ROOT, "dist");
const ASSETS_RS = join(ROOT, "..", "crates", "ui", "src", "assets.rs");
const INPUT_FILES = ["build.mjs", "package-lock.json"];

const FIRST_LOAD_GZIP_MAX = 60_000;
const DIST_GZIP_MAX = 300_000;

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const posix = (path) => path.split(sep).join("/");

function walk(dir) {
  return readdirSync(dir, { withFileTypes: true })
    .flatMap((e) => (e.isDirectory() ? walk(join(dir, e.name)) : [join(dir, e.name)]))
    .sort();
}

const options = {
  absWorkingDir: ROOT,
  entryPoints: { app: "src/app.tsx", theme: "src/theme.ts", style: "src/css/app.css", signals: "src/css/signals.css", metrics: "src/css/metrics.css", home: "src/css/home.css", icon: "src/icon.svg" },
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none",
  charset: "utf8",
  loader: { ".svg": "copy" },
  entryNames: "assets/[name]-[hash]",
  chunkNames: "assets/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  outdir: DIST,
  metafile: true,
  logLevel: "warning",
};

/** Path below dist/ of the output of one entry point. */
function outputOf(metafile, entry) {
  const hit = Object.entries(metafile.outputs).find(([, o]) => o.entryPoint === entry);
  if (!hit) throw new Error(`no output for ${entry}`);
  return posix(relative("dist", hit[0]));
}

function writeIndex(metafile) {
  const icon = Object.keys(metafile.outputs).find((o) => /\/icon-[^/]*\.svg$/.test(o));
  const names = {
    "%ICON%": posix(relative("dist", icon)),
    "%CSS%": outputOf(metafile, "src/css/app.css"),
    "%SIGNALS%": outputOf(metafile, "src/css/signals.css"),
    "%METRICS%": outputOf(metafile, "src/css/metrics.css"),
    "%HOME%": outputOf(metafile, "src/css/home.css"),
    "%THEME%": outputOf(metafile, "src/theme.ts"),
    "%APP%": outputOf(metafile, "src/app.tsx"),
  };
  let html = readFileSync(join(ROOT, "src", "index.html"), "utf8");
  for (const [mark, path] of Object.entries(names)) html = html.replace(mark, path);
  writeFileSync(join(DIST, "index.html"), html);
}

/** An output with everything it imports statically: what the browser fetches before it can run it. */
function closure(metafile, output, seen = new Set()) {
  if (seen.has(output)) return seen;
  seen.add(output);
  for (const i of metafile.outputs[output]?.imports ?? []) {
    if (i.kind === "import-statement") closure(metafile, i.path, seen);
  }
  return seen;
}

function checkBudgets(metafile) {
  const size = (path) => gzipSync(readFileSync(join(ROOT, path)), { level: 9 }).length;
  const entry = (source) => join("dist", outputOf(metafile, source));
  const shell = [entry("src/css/app.css"), entry("src/theme.ts"), "dist/index.html"];
  const app = closure(metafile, entry("src/app.tsx"));
  const pages = Object.entries(metafile.outputs).filter(([, o]) => /^src\/pages\/\w+\.tsx$/.test(o.entryPoint ?? ""));
  const over = [];
  for (const [path, o] of pages) {
    const owner = o.entryPoint.replace(/_\w+\.tsx$/, ".tsx");
    const style = /\/(logs|trace)/.test(owner) ? [entry("src/css/signals.css")] : [entry(/\/metrics/.test(owner) ? "src/css/metrics.css" : "src/css/home.css")];
    const first = new Set([...shell, ...style, ...app, ...closure(metafile, entry(owner)), ...closure(metafile, path)]);
    const total = [...first].reduce((sum, p) => sum + size(p), 0);
    console.log(`${basename(o.entryPoint, ".tsx").padEnd(16)} first load ${(total / 1000).toFixed(1)} kB gz, ${first.size} files`);
    if (total > FIRST_LOAD_GZIP_MAX) over.push(`${o.entryPoint}: first load of ${total} bytes is over ${FIRST_LOAD_GZIP_MAX}`);
  }
  if (over.length > 0) throw new Error(over.join("\n"));
  const all = walk(DIST).reduce((sum, p) => sum + size(relative(ROOT, p)), 0);
  console.log(`${"all".padEnd(16)} ${(all / 1000).toFixed(1)} kB gz`);
  if (all > DIST_GZIP_MAX) throw new Error(`dist of ${all} bytes is over ${DIST_GZIP_MAX}`);
}

/** Short enough for rustfmt's line limit, long enough for a strong ETag. */
const etag = (bytes) => sha256(bytes).slice(0, 32);

function assetEntry(path) {
  const name = posix(relative(DIST, path));
  const type = TYPES[extname(name)];
  if (!type) throw new Error(`no content type for ${name}`);
  return [
    "    Embedded {",
    `        path: "${name}",`,
    `        content_type: "${type}",`,
    `        etag: "\\"${etag(readFileSync(path))}\\"",`,
    `        immutable: ${name.startsWith("assets/")},`,
    `        body: include_bytes!("../../../ui/dist/${name}"),`,
    "    },",
  ].join("\n");
}

function writeAssets() {
  const files = walk(DIST).filter((p) => basename(p) !== "MANIFEST");
  const text = [
    "//! Written by ui/build.mjs: do not edit. The table of embedded files, sorted by path.",
    "",
    "use crate::Embedded;",
    "",
    "pub(crate) static ASSETS: &[Embedded] = &[",
    ...files.map(assetEntry),
    "];",
    "",
  ].join("\n");
  mkdirSync(dirname(ASSETS_RS), { recursive: true });
  writeFileSync(ASSETS_RS, text);
}

function writeManifest() {
  const inputs = [...walk(join(ROOT, "src")), ...INPUT_FILES.map((f) => join(ROOT, f))];
  const outputs = walk(DIST).filter((p) => basename(p) !== "MANIFEST");
  const line = (role, path) => `${role} ${sha256(readFileSync(path))} ${posix(relative(ROOT, path))}`;
  const lines = [
    ...inputs.map((p) => line("input", p)).sort(),
    ...[...outputs, ASSETS_RS].map((p) => line("output", p)).sort(),
  ];
  writeFileSync(join(DIST, "MANIFEST"), `${lines.join("\n")}\n`);
}

async function once() {
  rmSync(DIST, { recursive: true, force: true });
  const { metafile } = await build(options);
  writeIndex(metafile);
  checkBudgets(metafile);
  writeAssets();
  writeManifest();
}

async function watch() {
  const onEnd = { name: "index", setup: (b) => b.onEnd((r) => r.metafile && writeIndex(r.metafile)) };
  await (await context({ ...options, minify: false, plugins: [onEnd] })).watch();
}

if (process.argv.includes("--watch")) await watch();
else await once();
