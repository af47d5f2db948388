import assert from "node:assert/strict";
import { test } from "node:test";
import { thinned } from "../../src/chart/exemplars.ts";
import { classicHeat, nativeHeat, rowOf, ROWS_MAX, withinRow } from "../../src/chart/heat.ts";
import { pairMatcher, withFilter } from "../../src/query/filters.ts";
import { remembered } from "../../src/query/history.ts";
import { cardCaption, cardExpr, heatExpr, labelName, matchWith, selector, type Family, type Kind } from "../../src/query/promql.ts";
import { masked, restored, standIn } from "../../src/query/variables.ts";
import { completed, rank } from "../../src/widgets/editor.tsx";
import { rowsWithin } from "../../src/widgets/window.ts";

const family = (kind: Kind): Family => ({ name: "x", kind, unit: "count", help: "" });

test("variables keep their length for the parser, and come back after formatting", () => {
  for (const text of ["rate(x[$__rate_interval])", "rate(x[$__range:$__interval])", "x"]) {
    assert.equal(masked(text).length, text.length);
    assert.ok(!masked(text).includes("$"));
    // The printer writes 7919 s as 2h11m59s and so on.
    const printed = standIn(text).replace("7919s", "2h11m59s").replace("7927s", "2h12m7s").replace("7933s", "2h12m13s");
    assert.equal(restored(printed), text);
  }
});

test("filters replace the scope's matcher of the same label, and their own opposites", () => {
  assert.deepEqual(matchWith(['job="a"', 'x="1"'], ['job="b"']), ['x="1"', 'job="b"']);
  assert.deepEqual(withFilter([], "status", "=", "200"), ['status="200"']);
  assert.deepEqual(withFilter(['status="200"'], "status", "=", "500"), ['status="500"']);
  assert.deepEqual(withFilter(['status="200"'], "status", "!=", "200"), ['status!="200"']);
  assert.deepEqual(withFilter(['status!="200"'], "status", "!=", "404"), ['status!="200"', 'status!="404"']);
  assert.deepEqual(withFilter([], "http.status", "=", 'a"b'), ['"http.status"="a\\"b"']);
  assert.equal(pairMatcher("path=/a=b"), 'path="/a=b"');
});

test("names that are no identifiers are quoted", () => {
  assert.equal(selector("http.requests", ['a="b"']), '{"http.requests",a="b"}');
  assert.equal(selector("up", []), "up");
  assert.equal(labelName("http.status"), '"http.status"');
});

test("small charts are shown as their kind is best seen", () => {
  const cases: readonly [Kind, string][] = [
    ["counter", "sum (rate(x[$__rate_interval]))"],
    ["gauge", "x"],
    ["histogram", 'histogram_quantiles(sum by (le) (rate(x_bucket[$__rate_interval])), "quantile", 0.5, 0.95, 0.99)'],
    ["native_histogram", 'histogram_quantiles(sum (rate(x[$__rate_interval])), "quantile", 0.5, 0.95, 0.99)'],
  ];
  for (const [kind, expect] of cases) assert.equal(cardExpr(family(kind), []), expect);
  assert.equal(cardCaption(family("histogram")), "histogram · p50, p95, p99 over all series");
  assert.equal(heatExpr(family("histogram"), ['a="b"']), 'sum by (le) (rate(x_bucket{a="b"}[$__rate_interval]))');
});

test("cumulative buckets become cells", () => {
  const line = (le: string, ...v: number[]) => ({ metric: { le }, values: v.map((n, i): [number, string] => [10 * i, String(n)]) });
  const heat = classicHeat([line("+Inf", 6, 6), line("0.1", 1, 2), line("1", 4, 6)], 0, 10, 10);
  assert.deepEqual(heat.rows, [{ lower: 0, upper: 0.1 }, { lower: 0.1, upper: 1 }, { lower: 1, upper: Infinity }]);
  assert.deepEqual(heat.counts, [[1, 2], [3, 4], [2, 0]]);
  assert.equal(heat.max, 4);
  assert.equal(rowOf(heat, 0.5), 1);
  assert.equal(rowOf(heat, 0.1), 0);
  assert.equal(rowOf(heat, 99), 2);
});

test("rounding is no observation, empty rows at the ends are left out", () => {
  const line = (le: string, v: number) => ({ metric: { le }, values: [[0, String(v)] as [number, string]] });
  const heat = classicHeat([line("1", 0), line("2", 3), line("4", 3.0000000000001), line("+Inf", 3)], 0, 0, 10);
  assert.deepEqual(heat.rows, [{ lower: 1, upper: 2 }]);
  assert.deepEqual(classicHeat([], 0, 0, 10).rows, []);
});

test("native buckets are shared out without loss", () => {
  const buckets = Array.from({ length: 200 }, (_, i) => ({ lower: 2 ** (i / 8), upper: 2 ** ((i + 1) / 8), count: 1 }));
  const heat = nativeHeat([{ metric: {}, points: [[0, buckets]] }], 0, 0, 10);
  assert.ok(heat.rows.length <= ROWS_MAX);
  const total = heat.counts.reduce((sum, line) => sum + (line[0] ?? 0), 0);
  assert.ok(Math.abs(total - 200) < 1e-6, `${total}`);
  const zero = nativeHeat([{ metric: {}, points: [[0, [{ lower: -0.001, upper: 0.001, count: 5 }, { lower: 1, upper: 2, count: 1 }]]] }], 0, 0, 10);
  assert.equal(zero.counts[0]?.[0], 5, "about zero has a row of its own");
  const negative = nativeHeat([{ metric: {}, points: [[0, [{ lower: -4, upper: -2, count: 5 }, { lower: 2, upper: 4, count: 1 }]]] }], 0, 0, 10);
  assert.ok(Math.abs(negative.counts.reduce((sum, line) => sum + (line[0] ?? 0), 0) - 6) < 1e-9);
});

test("a value's place inside of its row follows the row's scale", () => {
  assert.equal(withinRow({ lower: 1, upper: 4 }, 2), 0.5);
  assert.equal(withinRow({ lower: 0, upper: 4 }, 1), 0.25);
  assert.equal(withinRow({ lower: 1, upper: Infinity }, 9), 0.5);
});

test("of diamonds in one cell the largest stays", () => {
  const at = (x: number, value: number) => ({ x, y: 10, exemplar: { series: {}, labels: {}, value, at: 0, trace: "", span: "" } });
  assert.deepEqual(thinned([at(100, 1), at(102, 3), at(200, 2)]).map((d) => d.exemplar.value), [3, 2]);
});

test("history has no doubles and a bound", () => {
  assert.deepEqual(remembered(["a", "b"], "b"), ["b", "a"]);
  assert.deepEqual(remembered(["a"], ""), ["a"]);
  assert.equal(remembered(Array.from({ length: 60 }, (_, i) => `q${i}`), "new").length, 50);
});

test("rows near the viewport are drawn, the others keep their room", () => {
  assert.deepEqual(rowsWithin(1000, 20, 4000, 4800), { first: 180, end: 260, above: 3600, below: 14_800 });
  assert.deepEqual(rowsWithin(3, 20, 0, 800), { first: 0, end: 3, above: 0, below: 0 });
  assert.deepEqual(rowsWithin(3, 20, 99_999, 100_800), { first: 3, end: 3, above: 60, below: 0 });
});

test("suggestions are written where they belong", () => {
  const plain = { from: 4, to: 6, items: [], quoted: false, eager: false };
  assert.deepEqual(completed("sum(ra", plain, { text: "rate", insert: "rate(" }, 6), { text: "sum(rate(", caret: 9 });
  assert.deepEqual(completed("sum(ra(x))", plain, { text: "rate", insert: "rate(" }, 6), { text: "sum(rate(x))", caret: 8 });
  const value = { from: 8, to: 8, items: [], quoted: true, eager: true };
  assert.deepEqual(completed('up{job="', value, { text: 'a"b' }, 8), { text: 'up{job="a\\"b"', caret: 13 });
  assert.deepEqual(completed('up{job=""}', value, { text: "a" }, 8), { text: 'up{job="a"}', caret: 10 });
  assert.deepEqual(completed("{job=`", { ...value, from: 6, to: 6 }, { text: 'a"b' }, 6), { text: '{job=`a"b`', caret: 10 });
  assert.deepEqual(rank([{ text: "xrate" }, { text: "rate" }, { text: "sum" }], "ra").map((s) => s.text), ["rate", "xrate"]);
});
