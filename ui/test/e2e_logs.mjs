// The flows of the Logs page that need a world of their own; e2e.mjs runs them. Without the mock only those run that any
// server with the demo's services can answer.
import assert from "node:assert/strict";
import { measureScroll } from "./scroll.mjs";

/** Steps as [name, run, needs the mock]. */
export function logSteps({ page, ui, params, mock, foreign, expect }) {
  const rows = page.locator(".log-row[data-row]");
  const open = async (query) => {
    await page.goto(`${ui}logs?${query}`);
    await rows.first().waitFor();
  };
  const shown = () => page.locator(".log-scroll").evaluate((e) => Number(e.getAttribute("aria-rowcount")));

  async function keys() {
    await open("from=now-15m");
    await page.keyboard.press("j");
    await page.locator(".peek").waitFor();
    const first = params(page).get("line");
    await page.keyboard.press("j");
    await page.waitForFunction((old) => new URL(location.href).searchParams.get("line") !== old, first);
    await page.keyboard.press("k");
    await page.waitForFunction((old) => new URL(location.href).searchParams.get("line") === old, first);
    await page.keyboard.press("Escape");
    await page.locator(".peek").waitFor({ state: "detached" });
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "LogQL query");
    await page.keyboard.press("Escape");
  }

  /** Labels, values and stages offered by the server's parser; complaints with their place; formatted on request. */
  async function editor() {
    await open("from=now-15m");
    const box = page.getByLabel("LogQL query");
    const offered = (text) => page.locator(".complete [role=option]", { hasText: text }).first();
    const wrong = page.locator(".editor pre .wrong");
    await box.fill("");
    await box.pressSequentially("{service_");
    await offered("service_name").waitFor();
    await page.keyboard.press("Tab");
    await box.pressSequentially('="wotr-');
    await offered("wotr-api").waitFor();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Tab");
    assert.match(await box.inputValue(), /^\{service_name="wotr-[a-z]+"$/);
    await page.locator(".editor-line", { hasText: /unexpected|expected/i }).waitFor();
    await wrong.first().waitFor();
    await box.pressSequentially("} |   logf");
    await offered("logfmt").waitFor();
    await page.locator(".complete .detail", { hasText: "key=value" }).waitFor();
    await page.keyboard.press("Tab");
    await page.waitForFunction(() => document.querySelector(".editor-line").textContent === "");
    assert.equal(await wrong.count(), 0);
    await page.getByTitle("Format the query").click();
    await page.waitForFunction(() => /"\} \| logfmt$/.test(document.querySelector('[aria-label="LogQL query"]').value));
    await page.getByTitle("Run  Enter").click();
    await page.waitForFunction(() => new URL(location.href).searchParams.get("q")?.endsWith("| logfmt"));
    await rows.first().waitFor();
  }

  /** Enter runs what stands in the box, also while the answer about its last letters is on its way. */
  async function eager() {
    await open("from=now-15m");
    const box = page.getByLabel("LogQL query");
    await box.fill("");
    await box.pressSequentially('{service_name="wotr-api"} | lin');
    await page.locator(".complete [role=option]", { hasText: "line_format" }).first().waitFor();
    const held = "**/logql/complete*";
    let release = () => undefined;
    const until = new Promise((done) => (release = done));
    await page.route(held, async (route) => (await until, await route.continue().catch(() => undefined)));
    await box.pressSequentially("e=``");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => new URL(location.href).searchParams.get("q") === '{service_name="wotr-api"} | line=``');
    release();
    await page.unroute(held);
  }

  async function fields() {
    await open("from=now-15m");
    const service = page.locator(".field-list details", { has: page.locator("summary", { hasText: /^service_name/ }) });
    await service.waitFor();
    await service.locator("button.chip", { hasText: "Column" }).click();
    await page.locator(".log-row.head [role=columnheader]", { hasText: "service_name" }).waitFor();
    assert.equal(params(page).get("cols"), "service_name");
    await page.locator(".log-row.head button").click();
    await page.waitForFunction(() => !new URL(location.href).searchParams.has("cols"));
    await service.locator("button[title='Without service_name wotr-consumer']").click({ force: true });
    await page.waitForFunction(() => new URL(location.href).searchParams.get("q")?.includes('service_name!="wotr-consumer"'));
    await rows.first().waitFor();
    await page.goBack();
    await page.locator("button[title='Only service_name wotr-consumer']").click();
    await page.waitForFunction(() => new URL(location.href).searchParams.get("q")?.includes('service_name="wotr-consumer"'));
  }

  async function context() {
    await open("from=now-15m");
    await rows.nth(6).click();
    await page.locator(".peek .seg button", { hasText: "Context" }).click();
    await page.locator(".context li.here").waitFor();
    assert.ok((await page.locator(".context li").count()) > 3);
    await page.locator(".context a", { hasText: "Open in the list" }).click();
    await page.waitForURL(/[?&]at=\d+/);
    await page.locator(".log-row[aria-selected=true]").waitFor();
    await page.reload();
    await page.locator(".log-row[aria-selected=true]").waitFor();
    await page.locator(".peek .seg button", { hasText: "JSON" }).click();
    await page.locator(".peek pre.json .t-label").first().waitFor();
  }

  async function saved() {
    await open(`from=now-15m&q=${encodeURIComponent('{service_name="wotr-api"} |= "request"')}`);
    await page.locator("button[title='Saved and recent searches']").click();
    await page.getByLabel("Name of this search").fill("requests of the API");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    await open("from=now-15m");
    await page.locator("button[title='Saved and recent searches']").click();
    await page.locator(".saved .menu-item", { hasText: "requests of the API" }).click();
    await page.waitForFunction(() => new URL(location.href).searchParams.get("q")?.includes("request"));
    await page.locator("mark").first().waitFor();
  }

  async function copies() {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => undefined);
    await open("from=now-15m");
    await page.locator("button[title='Copy the query or its lines']").click();
    await page.locator(".menu-item", { hasText: "logcli command" }).click();
    await page.locator("button[title='Copy the query or its lines']", { hasText: "Copied" }).waitFor();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^logcli query --addr='http.* '\{/);
  }

  /** A slow server, a dead one, and one that is back: what is asked stays to be read, and every state has its words. */
  async function failing() {
    const query = '{service_name="wotr-api"}';
    const api = "**/loki/api/**";
    let release = () => undefined;
    const held = new Promise((done) => (release = done));
    await page.route(api, async (route) => (await held, await route.continue().catch(() => undefined)));
    await page.goto(`${ui}logs?from=now-15m&refresh=off&q=${encodeURIComponent(query)}`);
    await page.locator(".log-panel .state", { hasText: "Loading…" }).waitFor();
    assert.equal(await page.getByLabel("LogQL query").inputValue(), query, "the query does not wait for the server");
    release();
    await rows.first().waitFor();
    await page.unroute(api);
    await open(`from=now-15m&refresh=off&q=${encodeURIComponent(query)}`);
    expect(/ERR_FAILED/);
    await page.route(api, (route) => route.abort());
    await page.getByTitle("Run  Enter").click();
    await page.locator(".log-panel .failure", { hasText: "did not answer" }).waitFor();
    assert.ok((await rows.count()) > 0, "the lines of before stay");
    await page.unroute(api);
    await page.locator(".log-panel .failure button", { hasText: "Retry" }).click();
    await page.locator(".log-panel .failure").waitFor({ state: "detached" });
    expect(null);
  }

  /** A metric query has a legend that tells its lines apart and chooses among them. */
  async function metric() {
    await page.goto(`${ui}logs?from=now-15m&q=${encodeURIComponent('sum by (service_name) (count_over_time({service_name=~".+"} [1m]))')}`);
    const names = page.locator(".log-metric .legend button.name");
    await names.nth(1).waitFor();
    await names.first().click();
    await page.waitForFunction(() => new URL(location.href).searchParams.has("only"));
    await page.locator(".log-metric .legend tr.off").first().waitFor();
  }

  async function older() {
    await open("from=now-6h&fields=0&refresh=off");
    const before = await shown();
    // A young demo has one page of lines and nothing beyond.
    if ((await page.locator(".log-foot").innerText()).includes("there are more")) {
      await page.locator(".log-scroll").evaluate((e) => (e.scrollTop = e.scrollHeight));
      await page.waitForFunction((n) => Number(document.querySelector(".log-scroll").getAttribute("aria-rowcount")) > n, before);
    }
    // The other list keeps its place too.
    await page.locator("button", { hasText: /^Wrap$/ }).click();
    await page.locator(".log-scroll.wrap .log-row").first().waitFor();
    if ((await shown()) > 300) {
      await page.locator(".log-scroll").evaluate((e) => (e.scrollTop = e.scrollHeight));
      await page.waitForFunction(() => Number(document.querySelector(".log-scroll.wrap .log-row").dataset.row) > 0);
      await page.locator(".log-scroll").evaluate((e) => (e.scrollTop = 0));
      await page.waitForFunction(() => document.querySelector(".log-scroll.wrap .log-row").dataset.row === "0");
    }
  }

  /** The patterns tab; servers that mine patterns only while lines arrive may have none yet. */
  async function patterns() {
    await page.goto(`${ui}logs?from=now-40m&view=patterns`);
    await page.locator(".pattern-table tbody tr").first().waitFor();
    assert.ok((await page.locator(".pattern-table svg path").count()) > 0, "sparklines");
    await page.locator(".pattern .as-text").first().click();
    await page.waitForFunction(() => new URL(location.href).searchParams.get("q")?.includes("|> "));
    await rows.first().waitFor();
    assert.ok(params(page).get("q").includes("|> "), params(page).get("q"));
  }

  async function million() {
    await open("tenant=million&from=now-2h&fields=0&refresh=off");
    const run = await measureScroll(page, 12_000, 40 * 22);
    console.log(`    ${JSON.stringify(run)}`);
    assert.ok(run.reached >= 12_000, `scrolled to ${run.reached}`);
    assert.ok(run.elements < 1000, `${run.elements} elements in the list`);
    assert.equal(await page.locator(".log-row[data-row='12000']").count() <= 1, true);
    // Rows stand in order without a hole or a double.
    const seen = await page.locator(".log-row[data-row]").evaluateAll((all) => all.map((e) => [Number(e.dataset.row), Number(/request (\d+)/.exec(e.textContent)[1])]).sort((a, b) => a[0] - b[0]));
    for (let i = 1; i < seen.length; i++) assert.equal(seen[i - 1][1] - seen[i][1], seen[i][0] - seen[i - 1][0], `rows ${seen[i - 1]} ${seen[i]}`);
  }

  async function bothDirections() {
    const at = (BigInt(Date.now()) - 3_600_000n) * 1_000_000n;
    await open(`tenant=million&from=now-2h&fields=0&refresh=off&at=${at}`);
    await page.waitForFunction(() => document.querySelector(".log-scroll").scrollTop > 0);
    const stamps = await page.locator(".log-row[data-row]").evaluateAll((all) => all.map((e) => Number(/request (\d+)/.exec(e.textContent)[1])));
    const near = Number(at / 3_600_000n);
    assert.ok(Math.min(...stamps) <= near && Math.max(...stamps) >= near, `the list begins at the moment asked for: ${near} in ${Math.min(...stamps)}..${Math.max(...stamps)}`);
    for (let i = 0; i < 6; i++) {
      await page.locator(".log-scroll").evaluate((e) => (e.scrollTop = Math.max(0, e.scrollTop - 20_000)));
      await page.waitForTimeout(150);
    }
    const newest = await page.locator(".log-row[data-row]").first().innerText();
    assert.ok(Number(/request (\d+)/.exec(newest)[1]) > near + 1000, "newer pages are fetched upwards");
  }

  async function hostile() {
    const dialogs = [];
    page.on("dialog", (d) => (dialogs.push(d.message()), d.dismiss()));
    for (const view of ["", "&wrap=1", "&raw=1&cols=note,environment", "&view=patterns"]) {
      await page.goto(`${ui}logs?tenant=hostile&from=now-5m&refresh=off${view}`);
      await page.locator(view.includes("patterns") ? ".with-peek :is(.pattern-table tr, .state)" : ".log-row[data-row]").first().waitFor();
      await harmless(`view ${view}`);
    }
    await open("tenant=hostile&from=now-5m&refresh=off");
    for (const tab of ["", "json", "context"]) {
      for (let i = 0; i < 17; i++) {
        const id = await page.locator(".log-row[data-row]").nth(i).getAttribute("data-row");
        await page.locator(`.log-row[data-row="${id}"]`).click();
        await page.locator(".peek").waitFor();
        if (i === 0 && tab) await page.locator(".peek .seg button", { hasText: new RegExp(tab, "i") }).click();
        await harmless(`line ${i} ${tab}`);
      }
    }
    assert.deepEqual(dialogs, [], "no dialog");
    assert.deepEqual(foreign(), [], "no request to elsewhere");
  }

  /** No script ran, nothing became an element, no character that reorders or hides is on the page. */
  async function harmless(where) {
    const found = await page.evaluate(() => ({
      ran: window.ran ?? null,
      polluted: {}.polluted ?? null,
      elements: document.querySelectorAll("#app :is(script, img, iframe, object, embed, form[action], base, meta, link)").length,
      handlers: [...document.querySelectorAll("#app *")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).length,
      links: [...document.querySelectorAll("#app a")].filter((a) => a.protocol !== location.protocol || a.host !== location.host).length,
      odd: /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u3164]/.exec(document.querySelector(".with-peek").innerText.replaceAll(/\n/g, ""))?.[0]?.codePointAt(0).toString(16) ?? null,
    }));
    assert.deepEqual(found, { ran: null, polluted: null, elements: 0, handlers: 0, links: 0, odd: null }, where);
  }

  async function liveBurst() {
    await open(`live=1&from=now-5m&q=${encodeURIComponent('{service_name="wotr-api"} != "burst"')}`);
    await page.locator(".log-foot", { hasText: "lines as they arrive" }).waitFor();
    await page.waitForFunction(() => Number(document.querySelector(".log-scroll").getAttribute("aria-rowcount")) > 3000);
    await page.locator("body").press(" ");
    await page.locator(".log-foot", { hasText: /Paused, [\d\u202f]+ new/ }).waitFor();
    await page.locator(".log-foot", { hasText: /beyond 5.000 are read again/ }).waitFor();
    await page.locator(".log-foot", { hasText: "left out" }).waitFor();
    await page.locator(".log-foot button", { hasText: "Paused" }).click();
    await page.locator(".log-foot button", { hasText: /^Live$/ }).waitFor();
    await page.goto(`${ui}logs?from=now-5m`);
    await rows.first().waitFor();
  }

  async function partial() {
    await open("tenant=partial&from=now-15m");
    assert.match(await page.locator(".notice").first().innerText(), /could not be read/);
  }

  const always = [
    ["logs: keys step, open, close and reach the query", keys],
    ["logs: the editor completes, complains and formats", editor],
    ["logs: Enter runs what stands in the box", eager],
    ["logs: fields become columns and filters", fields],
    ["logs: the context of a line, opened in the list and by link", context],
    ["logs: searches are saved", saved],
    ["logs: the query is copied as a command", copies],
    ["logs: a slow and a dead server are said", failing],
    ["logs: a metric query has its legend", metric],
    ["logs: older pages come while scrolling, wrapped or not", older],
  ];
  const mocked = [
    ["logs: patterns filter", patterns],
    ["logs: a million lines are scrolled", million],
    ["logs: a list begins at a moment and grows upwards", bothDirections],
    ["logs: hostile lines neither run nor deceive", hostile],
    ["logs: a flood pauses, is counted and read again", liveBurst],
    ["logs: a partial answer is said", partial],
  ];
  return mock ? [...always, ...mocked] : always;
}
