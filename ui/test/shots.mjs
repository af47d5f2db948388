// Pictures of every page against the mock (or a server given as argument): node test/shots.mjs OUT_DIR [BASE_URL] [FILTER]
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch } from "./browser.mjs";
import { startMock } from "./mock.mjs";

const [out = "shots", base = "", filter = ""] = process.argv.slice(2);
const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 400, height: 800 } };

const mock = base ? null : await startMock();
const root = `${base || mock.url}/ui/`;
const browser = await launch();
if (!browser) process.exit(0);
mkdirSync(out, { recursive: true });

async function firstTrace() {
  const now = Date.now() * 1000;
  const url = `${base || mock.url}/ds/jaeger/api/traces?service=wotr-api&limit=1&start=${now - 3.6e9}&end=${now}&tags={"error":"true"}`;
  return (await (await fetch(url)).json()).data[0]?.traceID ?? "";
}

const id = await firstTrace();
/** The LogQL of the two documents (docs/requirements.md W5, R5); needs a server that has their streams. */
const document = (query, more = "") => `logs?from=now-1h&q=${encodeURIComponent(query)}${more}`;
const PAGES = {
  "logs-w5-contains": [document('{service="wotr-api"} |= "error"')],
  "logs-w5-json": [document('{container="fastapi"} | json | level="ERROR"'), async (p) => p.locator(".log-row[data-row]").nth(2).click()],
  "logs-w5-format": [document('{service="wotr-consumer"} | json | line_format "{{.message}}"')],
  "logs-r5-all": [document('{service="api"}')],
  "logs-r5-level": [document('{service="api", level="error"}')],
  "logs-r5-contains": [document('{service="api"} |= "Image created"', "&cols=image_id,user_id,duration")],
  "logs-r5-patterns": [document('{service="api"}', "&view=patterns")],
  home: [""],
  empty: ["?tenant=empty"],
  metrics: ["metrics?from=now-1h"],
  explore: ["metrics?metric=http_requests_total&by=status&from=now-1h"],
  histogram: ["metrics?metric=http_request_duration_seconds&by=route&view=graph"],
  browse: ["metrics?from=now-1h"],
  queries: ["metrics?from=now-1h&q=sum%20by%20(status)%20(rate(http_requests_total%5B5m%5D))&q=sum(rate(http_requests_total%5B5m%5D))"],
  heatmap: ["metrics?metric=http_request_duration_seconds&view=heat&from=now-1h"],
  native: ["metrics?metric=http_response_size_bytes&view=heat&from=now-1h"],
  cardinality: ["metrics/cardinality?from=now-1h"],
  names: ["metrics?list=1&from=now-1h"],
  table: ["metrics?metric=http_requests_total&by=status&view=table"],
  pinned: ["metrics?metric=http_requests_total&by=status&from=now-1h", async (p) => p.locator(".u-over").first().click({ position: { x: 500, y: 120 } })],
  wrong: ["metrics?q=sum(rate(http_requests_total%5B1m%5D)"],
  logs: ["logs?from=now-1h"],
  logopen: ["logs?q=%7Bservice_name%3D%22wotr-api%22%2C%20level%3D%22error%22%7D&from=now-1h", async (p) => p.locator(".log-row").nth(2).click()],
  logpatterns: ["logs?from=now-40m&view=patterns"],
  logcolumns: ["logs?from=now-1h&cols=request,status,latency&ts=date"],
  logwrap: ["logs?from=now-1h&wrap=1"],
  logjson: ["logs?from=now-1h&detail=json", async (p) => p.locator(".log-row").nth(2).click()],
  logcontext: ["logs?from=now-1h&detail=context", async (p) => (await p.locator(".log-row").nth(12).click(), await p.locator(".context li").first().waitFor())],
  loghostile: ["logs?tenant=hostile&from=now-5m", async (p) => p.locator(".log-row").nth(12).click()],
  logview: ["logs?from=now-1h", async (p) => p.locator("button[title='How lines are shown']").click()],
  logcomplete: ["logs?from=now-1h", async (p) => { const box = p.getByLabel("LogQL query"); await box.fill(""); await box.pressSequentially('{service_name="wotr-api"} | l'); await p.locator(".complete [role=option]").first().waitFor(); }],
  logwrong: ["logs?from=now-1h", async (p) => { await p.getByLabel("LogQL query").fill('{service_name="wotr-api"} | jsn'); await p.locator(".editor pre .wrong").first().waitFor(); }],
  logsaved: ["logs?from=now-1h", async (p) => p.locator("button[title='Saved and recent searches']").click()],
  loglive: ["logs?live=1&from=now-5m", async (p) => p.waitForTimeout(2500)],
  logpartial: ["logs?tenant=partial&from=now-1h"],
  traces: ["traces?from=now-1h&limit=500"],
  trace: [`trace/${id}`, async (p) => p.locator(".wf-row").nth(3).click()],
  command: ["metrics", async (p) => (await p.keyboard.press("Control+k"), await p.keyboard.type("http"))],
  range: ["", async (p) => p.locator("button[title='Time range']").click()],
  help: ["", async (p) => p.keyboard.press("?")],
};

for (const scheme of ["dark", "light"]) {
  for (const [size, viewport] of Object.entries(SIZES)) {
    const context = await browser.newContext({ viewport, colorScheme: scheme });
    for (const [name, [path, act]] of Object.entries(PAGES)) {
      const file = `${name}-${scheme}-${size}.png`;
      if (filter && !new RegExp(filter).test(file)) continue;
      const page = await context.newPage();
      page.on("pageerror", (e) => console.log(file, "ERROR", e.message));
      page.on("console", (m) => m.type() === "error" && console.log(file, m.text()));
      await page.goto(root + path);
      await page.waitForLoadState("networkidle").catch(() => undefined);
      await page.waitForTimeout(300);
      if (act) await act(page).catch((e) => console.log(file, e.message.split("\n")[0]));
      await page.waitForTimeout(300);
      await page.screenshot({ path: join(out, file) });
      await page.close();
    }
    await context.close();
  }
}
await browser.close();
await mock?.close();
