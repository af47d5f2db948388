// The flows of the interface in a real browser: node test/e2e.mjs [BASE_URL]
// With a base URL it runs against that server's demo (services wotr-api and wotr-consumer); without one it starts the
// mock, which also lets it see failing and empty states. Exits 1 on the first failed expectation, with a picture in
// node_modules/.cache/e2e.png.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { launch } from "./browser.mjs";
import { logSteps } from "./e2e_logs.mjs";
import { startMock } from "./mock.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const CACHE = new URL("../node_modules/.cache/", import.meta.url).pathname;
const WAIT_MS = 15_000;

const given = process.argv[2];
let failing = false;
const mock = given ? null : await startMock(0, () => failing);
/** A demo that has just been started has nothing to draw in the wide steps of an hour. */
const recently = given ? "now-5m" : "now-1h";
const origin = new URL(given ?? mock.url).origin;
const ui = `${(given ?? mock.url).replace(/\/$/, "")}/ui/`;

const browser = await launch();
if (!browser) process.exit(0);

/** Errors and foreign requests of every page; a 4xx/5xx the test provokes on purpose is announced first. */
const complaints = [];
let expected = null;

async function newPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.on("pageerror", (e) => complaints.push(`exception: ${e.message}`));
  page.on("console", (m) => {
    if (m.type() === "error" && !(expected && expected.test(m.text()))) complaints.push(`console: ${m.text()} ${m.location().url}`);
  });
  page.on("request", (r) => {
    if (new URL(r.url()).origin !== origin) complaints.push(`foreign request: ${r.url()}`);
  });
  return page;
}

const params = (page) => new URL(page.url()).searchParams;
const path = (page) => new URL(page.url()).pathname.replace(new URL(ui).pathname, "");
const api = async (page, url) => page.evaluate(async (u) => (await fetch(new URL(`../${u}`, document.baseURI))).json(), url);

/** Time (s) of the highest rate of failed requests in the last hour. */
async function spike(page) {
  const end = Math.floor(Date.now() / 1000);
  const query = encodeURIComponent('sum(rate(http_requests_total{status=~"5.."}[1m]))');
  const answer = await api(page, `api/v1/query_range?query=${query}&start=${end - 3600}&end=${end}&step=15`);
  const values = answer.data.result[0]?.values ?? [];
  assert.ok(values.length > 0, "the demo has failed requests to look at");
  return values.reduce((best, v) => (Number(v[1]) > Number(best[1]) ? v : best))[0];
}

async function homeShowsServices(page) {
  await page.goto(`${ui}?from=now-1h`);
  await page.locator(".service-link", { hasText: "wotr-api" }).waitFor();
  assert.ok((await page.locator("h1").first().innerText()).length > 0);
  await page.locator(".stats").waitFor();
}

async function metricToPoint(page) {
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await page.locator(".card").first().waitFor();
  assert.equal(path(page), "metrics");
  await page.getByLabel("Filter metrics by name or help").fill("http_requests_total");
  await page.locator(".card a", { hasText: /^http_requests_total$/ }).click();
  await page.locator(".chip", { hasText: /^status/ }).click();
  await page.locator(".legend tbody tr").first().waitFor();
  assert.equal(params(page).get("by"), "status");
  const at = await spike(page);
  const over = page.locator(".u-over").first();
  const box = await over.boundingBox();
  const view = await page.evaluate(() => Date.now() / 1000);
  const x = box.width * (1 - (view - at) / 3600);
  await over.click({ position: { x: Math.max(4, Math.min(box.width - 4, x)), y: box.height - 30 } });
  await page.locator(".tip.pinned").waitFor();
  return at;
}

async function pointToLogs(page, at) {
  await page.locator(".tip.pinned a", { hasText: "Logs of this moment" }).click();
  await page.locator(".log-row").first().waitFor();
  assert.equal(path(page), "logs");
  const [from, to] = [Date.parse(params(page).get("from")) / 1000, Date.parse(params(page).get("to")) / 1000];
  assert.ok(from < at + 30 && to > at - 30 && to - from <= 1800, `range ${from}..${to} holds the spike at ${at}`);
  // A server's demo may have two services with this metric; then there is no single one to carry along.
  const carried = params(page).get("service");
  assert.ok(carried === "wotr-api" || (!mock && carried === null), `the service of the metric travels along, got ${carried}`);
}

async function logToTrace(page) {
  // The list holds the newest lines of a busy service; the volume above it counts them all.
  await page.locator('section[aria-label="Volume"] button', { hasText: /^error/ }).click();
  // Of the lines of a failure, the one that was written where it happened carries the stack trace.
  await page.locator(".log-row.l-error", { hasNotText: "request failed" }).first().click();
  await page.locator(".peek .stack").first().waitFor();
  await page.locator(".peek a", { hasText: /^Trace$/ }).click();
  await page.locator(".wf-row").first().waitFor();
  assert.match(path(page), /^trace\/[0-9a-f]{32}$/);
  assert.ok(params(page).get("span"), "the trace opens at the span of the line");
  await page.locator(".peek").waitFor();
}

async function traceToLogs(page) {
  assert.ok((await page.locator(".wf-row").count()) >= 2, "a tree of spans");
  const failed = page.locator(".wf-row", { has: page.locator(".wf-name > svg") }).last();
  await failed.click();
  await page.locator(".peek .stack").first().waitFor();
  const trace = path(page);
  await page.locator(".peek a", { hasText: "Logs of this span" }).click();
  await page.locator(".log-row").first().waitFor();
  assert.ok(params(page).get("q").includes(trace.slice("trace/".length)), "the query names the trace");
  await page.goBack();
  await page.locator(".wf-row").first().waitFor();
  assert.equal(path(page), trace, "Back returns to the trace");
  await page.locator(".peek a", { hasText: "Metrics at this moment" }).click();
  await page.locator(".card").first().waitFor();
  assert.match(params(page).get("service"), /^wotr-/);
  assert.ok(params(page).get("from") && params(page).get("to"));
}

async function tracesSearch(page) {
  await page.goto(`${ui}traces?service=wotr-api&from=now-1h`);
  await page.locator(".trace-list tbody tr").first().waitFor();
  await page.getByLabel("Tags").fill("error=true");
  await page.keyboard.press("Enter");
  await page.waitForURL(/tags=error/);
  await page.locator(".trace-list .status.error").first().waitFor();
  await page.keyboard.press("Escape");
  await page.locator("body").press("j");
  await page.locator("body").press("Enter");
  await page.locator(".wf-row").first().waitFor();
}

async function chartZoom(page) {
  await page.goto(`${ui}metrics?metric=http_requests_total&from=now-1h`);
  const over = page.locator(".u-over").first();
  await over.waitFor();
  const box = await over.boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 60, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=2/);
  const width = Date.parse(params(page).get("to")) - Date.parse(params(page).get("from"));
  assert.ok(Math.abs(width - 720_000) < 60_000, `a fifth of the hour was marked, got ${width} ms`);
  await page.goBack();
  assert.equal(params(page).get("from"), "now-1h", "Back undoes the zoom");
}

async function keyboard(page) {
  await page.goto(ui);
  await page.locator(".service-link").first().waitFor();
  await page.keyboard.press("?");
  await page.locator("dialog.help").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog.help").waitFor({ state: "detached" });
  await page.keyboard.press("Control+k");
  await page.locator("dialog.command input").fill("consumer_err");
  await page.locator("dialog.command [role=option]", { hasText: "consumer_errors_total" }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/metric=consumer_errors_total/);
  await page.locator(".legend").waitFor();
  await page.keyboard.press("t");
  await page.keyboard.press("ArrowLeft");
  await page.waitForURL(/to=2/);
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await page.waitForURL(/logs/);
  assert.ok(params(page).get("to"), "the range travels along");
}

async function completion(page) {
  await page.goto(`${ui}metrics`);
  const box = page.getByLabel("PromQL query");
  await box.waitFor();
  await page.locator(".card").first().waitFor();
  await box.pressSequentially("sum(rate(http_requests_t");
  await page.locator(".complete [role=option][aria-selected=true]", { hasText: "http_requests_total" }).waitFor();
  await page.keyboard.press("Tab");
  await box.pressSequentially("[1m]))");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=/);
  await page.locator(".legend").waitFor();
  assert.equal(params(page).get("q"), "sum(rate(http_requests_total[1m]))");
}

/** Filters narrow the browser; its list has types and help; only what is near the screen is drawn. */
async function browseMetrics(page) {
  await page.goto(`${ui}metrics?from=${recently}`);
  await page.locator(".card .u-over").first().waitFor();
  await page.getByRole("button", { name: /^counter/ }).click();
  await page.waitForURL(/kind=counter/);
  await page.getByTitle("Narrow by a label").click();
  await page.locator(".filter-pop .menu-item", { hasText: /^status$/ }).click();
  await page.locator(".filter-pop .menu-item", { hasText: /^50\d$/ }).first().click();
  await page.waitForURL(/f=status/);
  await page.locator(".card", { hasText: "http_requests_total" }).waitFor();
  assert.equal(await page.locator(".card", { hasText: "consumer_lag" }).count(), 0, "metrics without the label are gone");
  await page.getByRole("button", { name: "List" }).click();
  await page.locator("table.names td", { hasText: "counter" }).first().waitFor();
  await page.locator("table.names a", { hasText: /^http_requests_total$/ }).click();
  await page.locator(".legend tbody tr").first().waitFor();
  assert.match(params(page).get("f"), /^status="50\d"$/, "the filter travels along");
}

/** One small chart per value; a click on a value filters for it. */
async function breakDown(page) {
  await page.goto(`${ui}metrics?metric=http_requests_total&by=status&from=${recently}`);
  await page.locator(".breakdown .part .u-over").first().waitFor();
  const parts = page.locator(".breakdown .part");
  assert.ok((await parts.count()) >= 2, "a part per status");
  const value = (await parts.first().locator(".head a").innerText()).trim();
  await parts.first().locator(".head a").click();
  await page.waitForURL(/f=status/);
  assert.equal(params(page).get("f"), `status="${value}"`);
  assert.equal(params(page).get("by"), null);
  await page.locator(".filters .chip").click();
  await page.waitForURL((u) => !u.searchParams.has("f"));
}

/** Two queries, switched, formatted, recalled; the picture's options stand in the URL. */
async function severalQueries(page) {
  await page.goto(`${ui}metrics?from=${recently}&q=${encodeURIComponent("sum by(status)(rate(http_requests_total[5m]))")}`);
  await page.locator(".legend tbody tr").first().waitFor();
  await page.getByTitle("Format the query").click();
  await page.waitForFunction(() => document.querySelector(".editor textarea").value.includes("by (status)"));
  await page.getByRole("button", { name: "Add query" }).click();
  await page.getByLabel("PromQL query B").fill("sum(rate(http_requests_total[5m]))");
  await page.keyboard.press("Enter");
  await page.waitForURL((u) => u.searchParams.getAll("q").length === 2);
  await page.locator(".legend .name", { hasText: /^\s*B\b/ }).waitFor();
  await page.getByTitle("Switch query A off").click();
  await page.waitForURL(/off=A/);
  await page.waitForFunction(() => document.querySelectorAll(".legend tbody tr").length === 1);
  await page.getByRole("button", { name: "Stacked" }).click();
  await page.waitForURL(/style=stacked/);
  await page.getByLabel("step").selectOption("15s");
  await page.waitForURL(/step=15s/);
  await page.getByRole("group", { name: "View" }).getByRole("button", { name: "Table" }).click();
  await page.locator("table.data td.num").first().waitFor();
  await page.getByRole("button", { name: "Over the range" }).click();
  // A server that has just been started has few steps to show.
  await page.locator(".points tbody tr").first().waitFor();
  await page.getByTitle("Remove query A").click();
  await page.waitForURL((u) => u.searchParams.getAll("q").length === 1);
  await page.getByTitle("Queries run before").click();
  assert.ok((await page.locator(".recall .menu-item").count()) >= 2, "what was run is remembered");
  await page.keyboard.press("Escape");
}

/** Complaints while typing, values of labels completed, help under the pointer. */
async function editorHelps(page) {
  await page.goto(`${ui}metrics`);
  const box = page.getByLabel("PromQL query");
  await page.locator(".card").first().waitFor();
  await box.pressSequentially("sum(rate(http_requests_total{status=\"");
  await page.locator(".complete [role=option]", { hasText: /^\d\d\d/ }).first().waitFor();
  await page.keyboard.press("Tab");
  assert.match(await box.inputValue(), /status="\d\d\d"$/);
  await page.keyboard.press("Escape");
  await box.focus();
  await page.locator(".editor-line", { hasText: /unclosed|expected|unexpected/i }).waitFor();
  await page.locator(".editor pre .wrong").first().waitFor();
  await box.pressSequentially("}[$__rate_interval]))");
  await page.waitForFunction(() => document.querySelector(".editor-line").textContent === "");
  const rate = await page.locator(".editor pre span", { hasText: /^rate$/ }).boundingBox();
  await page.mouse.move(rate.x + 3, rate.y + 4);
  await page.mouse.move(rate.x + 6, rate.y + 6);
  await page.locator(".hover-help", { hasText: "rate(range vector)" }).waitFor();
}

/** With exemplars: a diamond's trace is one click away; the heat map has them too. */
async function exemplarsOpenTraces(page) {
  await page.goto(`${ui}metrics?metric=http_request_duration_seconds&view=heat&from=now-1h`);
  const canvas = page.locator(".heatmap canvas");
  await canvas.waitFor();
  await canvas.hover({ position: { x: 400, y: 200 } });
  await page.locator(".heatmap .tip", { hasText: "of this moment" }).waitFor();
  await page.getByRole("button", { name: "Graph" }).click();
  const list = page.locator("details.exemplars");
  await list.locator("summary").click();
  await list.locator("tbody a").first().waitFor();
  const over = page.locator(".graph .u-over");
  const box = await over.boundingBox();
  // Diamonds are canvas: the pointer sweeps until one answers.
  sweep: for (let y = 12; y < box.height; y += 16) {
    for (let x = box.width * 0.45; x < box.width * 0.65; x += 12) {
      await page.mouse.move(box.x + x, box.y + y);
      if ((await page.locator(".exemplar-tip").count()) > 0) break sweep;
    }
  }
  await page.locator(".exemplar-tip", { hasText: "trace_id" }).waitFor();
  await page.mouse.down();
  await page.mouse.up();
  await page.locator(".wf-row").first().waitFor();
  assert.match(path(page), /^trace\/[0-9a-f]{32}$/);
  await page.goBack();
  await list.locator("summary").click();
  await list.locator("tbody a").first().click();
  await page.locator(".wf-row").first().waitFor();
}

/** Clicks narrow; the path of clicks is the URL. */
async function cardinality(page) {
  await page.goto(`${ui}metrics/cardinality?from=now-1h`);
  await page.getByRole("region", { name: "Metrics" }).getByRole("link", { name: "http_requests_total", exact: true }).click();
  await page.waitForURL(/match=/);
  await page.getByRole("region", { name: "Labels" }).getByRole("link", { name: "status" }).waitFor();
  await page.getByRole("region", { name: "Label and value" }).getByRole("link", { name: /^status=/ }).first().click();
  await page.waitForURL((u) => u.searchParams.getAll("match").length === 2);
  await page.getByRole("link", { name: "Show http_requests_total" }).click();
  await page.locator(".legend").waitFor();
  await page.goBack();
  await page.goBack();
  assert.equal(params(page).getAll("match").length, 1, "Back takes one step back");
}

async function liveLogs(page) {
  await page.goto(`${ui}logs?live=1&from=now-5m`);
  await page.locator(".log-row").first().waitFor();
  const newest = async () => page.locator(".log-row .time").first().innerText();
  const before = await newest();
  await page.waitForFunction((old) => document.querySelector(".log-row .time")?.textContent !== old, before);
  await page.locator(".log-scroll").evaluate((e) => (e.scrollTop = 400));
  await page.locator(".log-foot button", { hasText: /Paused, [1-9]/ }).waitFor();
  await page.locator(".log-foot button", { hasText: /Paused/ }).click();
  await page.locator(".log-foot button", { hasText: "Live" }).waitFor();
}

async function logMetric(page) {
  const q = 'sum by (level) (count_over_time({service_name=~".+"} [1m]))';
  await page.goto(`${ui}logs?q=${encodeURIComponent(q)}`);
  await page.locator(".u-over").waitFor();
}

async function brokenQuery(page) {
  expected = /400 \(Bad Request\)/;
  await page.goto(`${ui}metrics?q=${encodeURIComponent("sum(rate(http_requests_total[1m])")}`);
  await page.locator(".failure").waitFor();
  assert.match(await page.locator(".failure").innerText(), /error|unclosed|expected|\d+:\d+/i);
  // The page asks again by itself; it must be gone before its refusals count as faults.
  await page.goto(ui);
  await page.locator("table").first().waitFor();
  expected = null;
}

/** With the mock only: a tenant without data is told how to begin, and the tenant travels along. */
async function emptyTenant(page) {
  await page.goto(`${ui}?tenant=empty`);
  await page.locator(".snippet").first().waitFor();
  assert.match(await page.locator(".snippet").first().innerText(), /OTEL_EXPORTER_OTLP_ENDPOINT=http/);
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.waitForURL(/traces\?tenant=empty/);
}

/** With the mock only: what a page looks like while the server fails, and that Retry brings it back. */
async function failingServer(page) {
  expected = /503/;
  failing = true;
  for (const place of ["", "metrics", "logs", "traces"]) {
    await page.goto(ui + place);
    await page.locator(".failure").first().waitFor();
  }
  failing = false;
  await page.locator(".failure button").first().click();
  await page.locator(".trace-list tbody tr").first().waitFor();
  expected = null;
}

const violations = [];

async function accessible(page, name) {
  await page.evaluate(AXE);
  const result = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"] }));
  const found = result.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} ${n.any[0]?.message ?? n.failureSummary}`).join(" | ")}`);
  violations.push(...found.map((f) => `${name}: ${f}`));
}

async function accessibleEverywhere() {
  for (const colorScheme of ["dark", "light"]) {
    for (const viewport of [{ width: 1440, height: 900 }, { width: 400, height: 800 }]) {
      const page = await newPage({ colorScheme, viewport, bypassCSP: true });
      const name = (place) => `${place} (${colorScheme}, ${viewport.width} px)`;
      const places = [
        ["", ".service-link"],
        ["metrics", ".card .u-over"],
        ["metrics?metric=http_requests_total&by=status", ".legend"],
        ["metrics?list=1", "table.names td"],
        [`metrics?q=${encodeURIComponent("sum by (status) (rate(http_requests_total[5m]))")}&q=up&style=stacked`, ".legend"],
        ["metrics?metric=http_request_duration_seconds&view=heat", ".heatmap canvas"],
        ["metrics?metric=http_requests_total&by=status&view=table&rows=range", ".points td"],
        ["metrics/cardinality", ".top td"],
        ["logs", ".log-row"],
        ...(mock ? [["logs?view=patterns&from=now-40m", ".pattern-table tbody tr"], ["logs?tenant=hostile&cols=environment&from=now-2m", ".log-row .control-char"]] : []),
        ["traces?service=wotr-api", ".trace-list tbody tr"],
      ];
      for (const [place, ready] of places) {
        await page.goto(ui + place);
        await page.locator(ready).first().waitFor();
        await accessible(page, name(place));
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${name(place)} does not scroll sideways`);
      }
      await page.locator(".trace-list a.t").first().click();
      await page.locator(".wf-row").first().click();
      await page.locator(".peek").waitFor();
      await accessible(page, name("trace"));
      await page.goto(`${ui}logs`);
      await page.locator(".log-row").first().click();
      await page.locator(".peek").waitFor();
      await accessible(page, name("log line"));
      await page.context().close();
    }
  }
  assert.deepEqual(violations, [], "no violation of WCAG 2.2 AA");
}

const page = await newPage();
let current = "";
/** Part of the names of the steps to run; all of them without. */
const only = process.env.KENNING_E2E ?? "";
const step = async (name, run) => {
  if (only && !name.includes(only)) return undefined;
  current = name;
  const began = performance.now();
  const value = await run();
  assert.deepEqual(complaints, [], `${name}: no console error, no foreign request`);
  console.log(`ok  ${name} (${Math.round(performance.now() - began)} ms)`);
  return value;
};

try {
  await step("home shows the services", () => homeShowsServices(page));
  const at = await step("a spike on a graph can be pinned", () => metricToPoint(page));
  await step("from the point to the logs of that moment", () => pointToLogs(page, at));
  await step("from an error line to its trace", () => logToTrace(page));
  await step("from a span to its logs and metrics, and back", () => traceToLogs(page));
  await step("traces are found by tag and opened by keys", () => tracesSearch(page));
  await step("dragging zooms, Back undoes it", () => chartZoom(page));
  await step("the keyboard reaches everything", () => keyboard(page));
  await step("the editor completes metric names", () => completion(page));
  await step("metrics are browsed by type, label and list", () => browseMetrics(page));
  await step("a metric is broken down, a value filtered for", () => breakDown(page));
  await step("several queries, switched, formatted, recalled", () => severalQueries(page));
  await step("the editor complains, completes values and helps", () => editorHelps(page));
  if (mock) await step("exemplars open their traces", () => exemplarsOpenTraces(page));
  await step("cardinality is narrowed by clicks", () => cardinality(page));
  await step("live lines arrive, scrolling pauses", () => liveLogs(page));
  await step("a LogQL metric query is drawn", () => logMetric(page));
  await step("a broken query says where", () => brokenQuery(page));
  if (mock) await step("an empty tenant is told how to begin", () => emptyTenant(page));
  if (mock) await step("a failing server is said, Retry recovers", () => failingServer(page));
  const foreign = () => complaints.filter((c) => c.startsWith("foreign"));
  for (const [name, run] of logSteps({ page, ui, params, mock, foreign, expect: (text) => (expected = text) })) await step(name, run);
  await step("WCAG 2.2 AA in both themes, wide and narrow", () => accessibleEverywhere());
} catch (e) {
  mkdirSync(CACHE, { recursive: true });
  const open = browser.contexts().flatMap((c) => c.pages()).at(-1);
  await open?.screenshot({ path: `${CACHE}e2e.png` }).catch(() => undefined);
  console.error(`FAILED  ${current}\n${e.message}\nat ${open?.url()}\npicture: node_modules/.cache/e2e.png`);
  if (complaints.length > 0) console.error(complaints.join("\n"));
  process.exitCode = 1;
} finally {
  await browser.close();
  await mock?.close();
}
