import assert from "node:assert/strict";
import { test } from "node:test";
import { lex } from "../../src/query/lex.ts";
import { addFilter, addNeedle, needles, parseLogQuery, printLogQuery, volumeQuery } from "../../src/query/logql.ts";
import { expand, families, familyExpr, metricIn, rateWindow, type Kind } from "../../src/query/promql.ts";
import { escapeRegex, matcher } from "../../src/query/quote.ts";
import { effectiveQuery } from "../../src/query/effective.ts";

test("tokens cover every text exactly", () => {
  const texts = ['sum by (a) (rate(x{b="c"}[5m])) # end', '{a="unclosed', "", "€ {{{ ]) \u0000 \\", '{a=`x`} |= "\\"" | json | b > 10ms'];
  for (const text of texts) assert.equal(lex(text).map((t) => t.text).join(""), text);
});

test("roles of words", () => {
  const kinds = (text: string): string => lex(text).filter((t) => t.kind !== "space" && t.kind !== "op").map((t) => `${t.text}:${t.kind}`).join(" ");
  assert.equal(kinds('sum by (job) (rate(up{a="b"}[5m]))'), 'sum:function by:keyword job:name rate:function up:name a:label "b":string 5m:number');
  assert.equal(kinds('{a="b"} | json | level="x"'), 'a:label "b":string json:keyword level:label "x":string');
});

test("log queries are read and written", () => {
  const cases: readonly [string, string | null][] = [
    ['{a="b"}', '{a="b"}'],
    ['{ a = "b" , c!~"d|e" }|= "x"', '{a="b", c!~"d|e"} |= "x"'],
    ["{a=`b\"c`}", '{a="b\\"c"}'],
    ['{a="}"} | json', '{a="}"} | json'],
    ["{}", "{}"],
    ['{a="b"', null],
    ['{a=b}', null],
    ['rate({a="b"}[1m])', null],
    ["", null],
  ];
  for (const [text, expect] of cases) {
    const q = parseLogQuery(text);
    assert.equal(q && printLogQuery(q), expect, text);
  }
});

test("filters", () => {
  const check = (text: string, label: string, op: "=" | "!=", value: string, source: "stream" | "meta" | "json", expect: string): void =>
    assert.equal(addFilter(text, label, op, value, source), expect);
  check('{a="b"}', "level", "=", "error", "stream", '{a="b", level="error"}');
  check('{a=~".+"}', "a", "=", "b", "stream", '{a="b"}');
  check('{a="b", level="error"}', "level", "!=", "error", "stream", '{a="b", level!="error"}');
  check('{a="b"}', "a", "!=", "b", "stream", '{a=~".+", a!="b"}');
  check('{a="b"}', "trace_id", "=", "1f", "meta", '{a="b"} | trace_id="1f"');
  check('{a="b"} | trace_id="1f"', "trace_id", "=", "1f", "meta", '{a="b"} | trace_id="1f"');
  check('{a="b"} | trace_id="1f"', "trace_id", "!=", "1f", "meta", '{a="b"} | trace_id!="1f"');
  check('{a="b"}', "status", "=", "503", "json", '{a="b"} | json | status="503"');
  check('{a="b"} | json', "status", "!=", "503", "json", '{a="b"} | json | status!="503"');
  check("not a query", "x", "=", "y", "stream", "not a query");
  check('{a="b"}', "x", "=", 'quo"te\\', "stream", '{a="b", x="quo\\"te\\\\"}');
});

test("needles", () => {
  assert.deepEqual(needles('{a="b"} |= "time out" != "x" |= `q` | json'), ["time out", "q"]);
  assert.equal(addNeedle('{a="b"}', 'x"y'), '{a="b"} |= "x\\"y"');
});

test("volume", () => {
  assert.equal(volumeQuery('{a="b"} |= "x"', "level", 60), 'sum by (level) (count_over_time({a="b"} |= "x" [1m]))');
});

test("scope narrows a query unless it names the service itself", () => {
  const cases: readonly [string, string, string, string][] = [
    ["", "", "", '{svc=~".+"}'],
    ["", "", "api", '{svc="api"}'],
    ['{level="error"}', "", "api", '{svc="api", level="error"}'],
    ['{svc="other"}', "", "api", '{svc="other"}'],
    ["", "boom", "api", '{svc="api"} |= "boom"'],
    ['rate({svc="x"}[1m])', "", "api", 'rate({svc="x"}[1m])'],
  ];
  for (const [typed, find, scope, expect] of cases) assert.equal(effectiveQuery(typed, find, "svc", scope), expect);
});

test("families and their kinds", () => {
  const meta = (type: string) => ({ type, help: "", unit: "" });
  const names = ["a_total", "b_seconds_bucket", "b_seconds_sum", "b_seconds_count", "c", "d_count", "e_sum", "e_count", "e", "f_bucket"];
  const found = families(names, new Map([["c", meta("histogram")], ["e", meta("summary")], ["a", meta("counter")]]));
  const kinds = Object.fromEntries(found.map((f) => [f.name, f.kind]));
  const expect: Record<string, Kind> = { a_total: "counter", b_seconds: "histogram", c: "native_histogram", d_count: "counter", e: "summary", f: "histogram" };
  assert.deepEqual(kinds, expect);
});

test("expressions of families", () => {
  const shape = { match: ['job="x"'], by: "", window: "1m", view: "0.95" as const };
  const f = (kind: Kind) => ({ name: "m", kind, unit: "count" as const, help: "" });
  assert.equal(familyExpr(f("counter"), shape), 'sum (rate(m{job="x"}[1m]))');
  assert.equal(familyExpr(f("counter"), { ...shape, by: "status" }), 'sum by (status) (rate(m{job="x"}[1m]))');
  assert.equal(familyExpr(f("gauge"), { ...shape, match: [] }), "m");
  assert.equal(familyExpr(f("histogram"), { ...shape, by: "route" }), 'histogram_quantile(0.95, sum by (le, route) (rate(m_bucket{job="x"}[1m])))');
  assert.equal(familyExpr(f("histogram"), { ...shape, view: "avg" }), 'sum (rate(m_sum{job="x"}[1m])) / sum (rate(m_count{job="x"}[1m]))');
  assert.equal(familyExpr(f("native_histogram"), shape), 'histogram_quantile(0.95, sum (rate(m{job="x"}[1m])))');
});

test("windows and variables", () => {
  assert.deepEqual([1, 15, 60, 300].map(rateWindow), ["1m", "1m", "75s", "315s"]);
  assert.equal(expand("x[$__rate_interval] y[$__interval] z[$__range]", 15, 3_600_000), "x[1m] y[15s] z[1h]");
  assert.equal(metricIn('sum by (a) (rate(x_total{b="c"}[1m]))'), "x_total");
  assert.equal(metricIn(" up "), "up");
});

test("quoting", () => {
  assert.equal(matcher("a", "=", 'x"\\\n'), 'a="x\\"\\\\\\n"');
  for (const text of ["a.b", "x*(y)", "[z]\\", "$^|?+{}"]) assert.ok(new RegExp(`^${escapeRegex(text)}$`).test(text));
});
