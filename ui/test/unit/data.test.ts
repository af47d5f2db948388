import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, positionIn } from "../../src/api.ts";
import { addUp, gridData, parseValue, seriesNames, stack, summarize } from "../../src/chart/data.ts";
import { niceCeil } from "../../src/chart/canvas.ts";
import { toggled } from "../../src/chart/legend.tsx";
import { jsonFields, readLine } from "../../src/logline.ts";
import { assignSlots, labelKey, levelOf } from "../../src/palette.ts";
import { escapeParts } from "../../src/widgets/basics.tsx";
import { rank } from "../../src/widgets/editor.tsx";

const line = (ns: string, text: string, stream = {}, meta = {}) => ({ ns, ms: Number(ns.slice(0, -6)), line: text, stream, meta, parsed: {} });

test("a matrix lands on the grid and gaps stay gaps", () => {
  const d = gridData([{ metric: { a: "1" }, values: [[100, "1"], [120, "3"], [130, "+Inf"], [140, "NaN"], [999, "9"]] }], 100, 140, 10);
  assert.deepEqual(d.times, [100, 110, 120, 130, 140]);
  assert.deepEqual(d.series[0]?.values, [1, null, 3, null, null]);
});

test("values of the Prometheus formats", () => {
  const cases: readonly [string, number | null][] = [["1.5", 1.5], ["+Inf", Infinity], ["-Inf", -Infinity], ["NaN", null], ["1e-3", 0.001], ["x", null]];
  for (const [text, expect] of cases) assert.equal(parseValue(text), expect);
});

test("names tell series apart and no more", () => {
  const cases: readonly [Record<string, string>[], string[]][] = [
    [[{}], ["value"]],
    [[{ __name__: "up", job: "a" }], ["up"]],
    [[{ job: "a" }], ["job=a"]],
    [[{ job: "a", s: "200" }, { job: "a", s: "500" }], ["200", "500"]],
    [[{ a: "1", b: "1" }, { a: "1", b: "2" }, { a: "2", b: "1" }], ["a=1 b=1", "a=1 b=2", "a=2 b=1"]],
    [[{ s: "x" }, {}], ["x", "(no label)"]],
  ];
  for (const [sets, expect] of cases) assert.deepEqual(seriesNames(sets), expect);
});

test("stacks and summaries", () => {
  const s = (values: (number | null)[]) => ({ key: "", name: "", labels: {}, values, slot: { color: 0, dash: 0 } });
  assert.deepEqual(stack([s([1, null]), s([2, null]), s([null, 5])]), [[3, 5], [2, 5], [null, 5]]);
  assert.deepEqual(summarize([null, 2, 4, null]), { last: 4, min: 2, max: 4, mean: 3 });
  assert.deepEqual(summarize([]), { last: null, min: null, max: null, mean: null });
});

test("series of equal labels are added up", () => {
  const m = (a: string, ...values: [number, string][]) => ({ metric: { level: a }, values });
  const d = addUp(gridData([m("error", [10, "1"], [20, "2"]), m("error", [20, "3"]), m("info", [30, "4"])], 10, 30, 10));
  assert.deepEqual(d.series.map((s) => [s.name, s.values]), [["error", [1, 5, null]], ["info", [null, null, 4]]]);
});

test("colours: equal sets get equal slots in any order, no hue twice among eight", () => {
  const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
  const forward = assignSlots(keys);
  const backward = assignSlots([...keys].reverse()).reverse();
  assert.deepEqual(forward, backward);
  assert.equal(new Set(assignSlots(keys.slice(0, 8)).map((s) => s.color)).size, 8);
  assert.equal(new Set(forward.map((s) => `${s.color} ${s.dash}`)).size, 20);
  assert.equal(labelKey({ b: "2", a: "1" }), labelKey({ a: "1", b: "2" }));
});

test("levels", () => {
  const cases: readonly [string | undefined, string][] = [["ERROR", "error"], ["warning", "warn"], ["CRITICAL", "fatal"], ["notice", "info"], [undefined, "other"], ["x", "other"]];
  for (const [text, expect] of cases) assert.equal(levelOf(text), expect);
});

test("log lines of several shapes", () => {
  const json = readLine(line("1000000000", '{"message":"hello","n":1,"level":"WARN","exception":"E\\n  at x"}', { service_name: "api" }, { trace_id: "ab12cd34ef" }));
  assert.deepEqual([json.message, json.level, json.service, json.traceId, json.extra], ["hello", "warn", "api", "ab12cd34ef", "n=1"]);
  assert.deepEqual(json.stacks, [{ name: "exception", text: "E\n  at x" }]);
  const plain = readLine(line("1000000000", "just text", { level: "info" }));
  assert.deepEqual([plain.message, plain.level, plain.extra], ["just text", "info", ""]);
  for (const odd of ["{", "[1]", "null", '{"a":{"b":1}}', ""]) assert.equal(typeof readLine(line("1000000000", odd)).message, "string");
  assert.deepEqual({ ...jsonFields('{"a":{"b":1},"c":null}') }, { a_b: "1", c: "null" });
});

test("what could deceive the eye is written out", () => {
  const shown = (s: string): string => escapeParts(s).map((p) => (p.escaped ? `<${p.text}>` : p.text)).join("");
  const cases: readonly [string, string][] = [
    ["plain", "plain"],
    ["a\u202eb", "a<\\u202e>b"],
    ["x\u0007", "x<\\x07>"],
    ["l1\nl2", "l1<\\n>l2"],
    ["z\u200bw", "z<\\u200b>w"],
    ["tab\tok é 日本", "tab\tok é 日本"],
    ["<b>", "<b>"],
  ];
  for (const [text, expect] of cases) assert.equal(shown(text), expect);
});

test("positions in error messages", () => {
  const cases: readonly [string, [number, number] | null][] = [
    ["1:5: parse error: x", [1, 5]],
    ['invalid parameter "query": 2:10: parse error', [2, 10]],
    ["parse error at line 1, col 7: syntax error", [1, 7]],
    ["no position", null],
  ];
  for (const [text, expect] of cases) {
    assert.deepEqual(positionIn(text), expect && { line: expect[0], column: expect[1] }, text);
    assert.deepEqual(new ApiError(text, 400).at, positionIn(text));
  }
});

test("legend clicks", () => {
  const all = ["a", "b", "c"];
  const set = (s: ReadonlySet<string> | undefined): string => (s ? [...s].sort().join("") : "all");
  assert.equal(set(toggled(all, undefined, "a", false)), "a");
  assert.equal(set(toggled(all, new Set(["a"]), "a", false)), "all");
  assert.equal(set(toggled(all, new Set(["a"]), "b", true)), "ab");
  assert.equal(set(toggled(all, undefined, "b", true)), "ac");
  assert.equal(set(toggled(all, new Set(["a", "b"]), "c", true)), "all");
});

test("completion ranks prefixes first", () => {
  const items = ["sum", "http_sum", "sum_over_time", "rate"].map((text) => ({ text }));
  assert.deepEqual(rank(items, "sum").map((s) => s.text), ["sum", "sum_over_time", "http_sum"]);
});

test("axis ends", () => {
  const cases: readonly [number, number][] = [[0, 1], [1, 1], [3, 5], [7, 10], [13, 20], [200, 200], [0.03, 0.05]];
  for (const [v, expect] of cases) assert.ok(Math.abs(niceCeil(v) - expect) < 1e-9, `${v} ${niceCeil(v)}`);
});
