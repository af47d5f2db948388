// Scrolls the list of log lines through a million rows and tells what it cost: node test/scroll.mjs [ROWS] [ROWS_PER_FRAME]
// Frames are counted by requestAnimationFrame, work by Chromium's own clocks; the mock answers, so this is the page alone.
import { pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";
import { startMock } from "./mock.mjs";

/** Runs in the page: scrolls by `step` pixels per frame until `rows` rows are behind, waiting where pages are not there yet. */
async function scrollBy({ rows, step }) {
  const list = document.querySelector(".log-scroll");
  const count = () => Number(list.getAttribute("aria-rowcount"));
  const top = () => Number(list.querySelector(".log-row[data-row]")?.dataset.row ?? 0);
  const deltas = [];
  let [last, waited, blank, stuck] = [performance.now(), 0, 0, 0];
  while (top() < rows && stuck < 600) {
    const before = list.scrollTop;
    list.scrollTop += step;
    const now = await new Promise(requestAnimationFrame);
    const moved = Math.abs(list.scrollTop - before) > 1;
    stuck = moved ? 0 : stuck + 1;
    if (moved) deltas.push(now - last);
    else waited++;
    if (list.querySelector(".log-row.waiting")) blank++;
    last = now;
  }
  return { deltas, waited, blank, reached: top(), known: count(), elements: list.querySelectorAll("*").length, heap: performance.memory?.usedJSHeapSize ?? 0 };
}

const quantile = (xs, q) => [...xs].sort((a, b) => a - b)[Math.min(xs.length - 1, Math.floor(q * xs.length))] ?? 0;

/** Figures of one run: frames, those dropped at 60 a second, work per frame in milliseconds. */
export async function measureScroll(page, rows, step) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable");
  const root = await page.context().browser().newBrowserCDPSession();
  // CPU time, not wall time: machines that run tests are busy with other things too.
  const cpu = async () => (await root.send("SystemInfo.getProcessInfo")).processInfo.filter((p) => p.type === "renderer").reduce((n, p) => n + p.cpuTime, 0);
  const cpuBefore = await cpu();
  const clocks = async () => Object.fromEntries((await cdp.send("Performance.getMetrics")).metrics.map((m) => [m.name, m.value]));
  const before = await clocks();
  const run = await page.evaluate(scrollBy, { rows, step });
  const after = await clocks();
  const cpuUsed = (await cpu()) - cpuBefore;
  const frames = run.deltas.length;
  const perFrame = (name) => Number((((after[name] - before[name]) * 1000) / Math.max(1, frames + run.waited)).toFixed(2));
  return {
    reached: run.reached,
    known: run.known,
    frames,
    dropped: run.deltas.reduce((n, d) => n + Math.max(0, Math.round(d / (1000 / 60)) - 1), 0),
    waited: run.waited,
    blank: run.blank,
    p50: Number(quantile(run.deltas, 0.5).toFixed(1)),
    p99: Number(quantile(run.deltas, 0.99).toFixed(1)),
    cpuMsPerFrame: Number(((cpuUsed * 1000) / Math.max(1, frames + run.waited)).toFixed(2)),
    wallMsPerFrame: { task: perFrame("TaskDuration"), script: perFrame("ScriptDuration"), layout: perFrame("LayoutDuration"), style: perFrame("RecalcStyleDuration") },
    elements: run.elements,
    heapMiB: Math.round(run.heap / 2 ** 20),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [rows, perFrame] = [Number(process.argv[2] ?? 1_000_000), Number(process.argv[3] ?? 30)];
  const mock = await startMock();
  const browser = await launch();
  if (!browser) process.exit(0);
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.on("pageerror", (e) => console.error(e.message));
  await page.goto(`${mock.url}/ui/logs?tenant=million&from=now-2h&fields=0&refresh=off`);
  await page.locator(".log-row").first().waitFor();
  console.log("down", JSON.stringify(await measureScroll(page, rows, perFrame * 22)));
  console.log("back through 20 000 rows that were let go", JSON.stringify(await page.evaluate(async () => {
    const list = document.querySelector(".log-scroll");
    list.scrollTop -= 20_000 * 22;
    await new Promise((done) => setTimeout(done, 1500));
    return { waiting: list.querySelectorAll(".log-row.waiting").length, rows: list.querySelectorAll(".log-row").length };
  })));
  await browser.close();
  await mock.close();
}
