import assert from "node:assert/strict";
import { test } from "node:test";
import { durations, isEager } from "../../src/query/language.ts";
import { ansiParts, withoutAnsi } from "../../src/ansi.ts";
import { compareNanos, tailMessage, type LogLine } from "../../src/api_logs.ts";
import { jsonTokens, prettyJson } from "../../src/json_text.ts";
import { bodyOf, fieldOf, fieldsOf, logfmtFields } from "../../src/logline.ts";
import { isLine, lineId } from "../../src/pages/logs_data.ts";
import { fieldStats, withDetected } from "../../src/pages/logs_fields.tsx";
import { patternParts, patternRows } from "../../src/pages/logs_patterns_data.ts";
import { cut } from "../../src/pages/logs_text.tsx";
import { EMPTY, justAfter, loadedRows, missing, pageAt, refilled, rowAt, total, trimmed, withNewer, withOlder, type Window } from "../../src/pages/logs_window.ts";
import { asCurl, asKenning, asLogcli, shellQuote } from "../../src/query/copy_as.ts";
import { addFilter, addPattern, selectorOf, streamSelector, topValuesQuery } from "../../src/query/logql.ts";
import { withRecent, withSaved } from "../../src/query/saved.ts";
import { escapeParts, markParts } from "../../src/widgets/basics.tsx";

const line = (ns: string, text: string, stream = {}, meta = {}, parsed = {}): LogLine => ({ ns, ms: Number(ns.slice(0, -6)), line: text, stream, meta, parsed });
const lines = (...ns: number[]): LogLine[] => ns.map((n) => line(String(n), `l${n}`));
const texts = (w: Window): string => loadedRows(w, 1000).map((l) => l.line.slice(1)).join(" ");

test("pages grow at both ends without doubles", () => {
  let w = withOlder(EMPTY, lines(50, 40)).window;
  w = withOlder(w, lines(40, 30, 20)).window;
  assert.equal(texts(w), "50 40 30 20");
  assert.equal(withOlder(w, lines(20)).fresh, 0);
  w = withNewer(w, lines(60, 50)).window;
  assert.equal(texts(w), "60 50 40 30 20");
  assert.equal(w.prepended, 1);
  w = withNewer(w, lines(70, 45)).window;
  assert.equal(texts(w), "70 60 50 45 40 30 20", "a late line goes where it belongs");
  assert.equal(w.prepended, 3);
  assert.equal(total(w), 7);
  for (let row = 0; row < 7; row++) assert.equal(rowAt(w, row)?.line, loadedRows(w, 99)[row]?.line);
  assert.equal(rowAt(w, 7), undefined);
  assert.equal(rowAt(w, -1), undefined);
  assert.equal(pageAt(EMPTY, 0), -1);
});

test("lines of one nanosecond on both sides of a seam are neither lost nor doubled", () => {
  const a = [line("9", "a"), line("5", "x")];
  const b = [line("5", "x"), line("5", "y"), line("1", "b")];
  let w = withOlder(withOlder(EMPTY, a).window, b).window;
  assert.deepEqual(loadedRows(w, 99).map((l) => l.line), ["a", "x", "y", "b"]);
  w = trimmed(w, 3, 2);
  assert.equal(w.pages[0]?.rows, null);
  assert.equal(rowAt(w, 0), undefined);
  assert.equal(rowAt(w, 3)?.line, "b", "row numbers stay");
  const [gone] = missing(w, 0, 3);
  assert.equal(gone?.id, w.pages[0]?.id);
  w = refilled(w, gone?.id ?? 0, [line("9", "a"), line("5", "x"), line("5", "y")]);
  assert.deepEqual(loadedRows(w, 99).map((l) => l.line), ["a", "x", "y", "b"]);
});

test("far pages are let go, the page in view stays", () => {
  let w = EMPTY;
  for (let p = 0; p < 10; p++) w = withOlder(w, lines(...Array.from({ length: 10 }, (_, i) => 1000 - p * 10 - i))).window;
  w = trimmed(w, 55, 30);
  assert.deepEqual(w.pages.map((p) => p.rows !== null), [false, false, false, false, true, true, true, false, false, false].map((v, i) => (i === 4 || i === 5 || i === 6 ? true : v)));
  assert.equal(total(w), 100);
  assert.equal(trimmed(w, 55, 1).pages[5]?.rows?.length, 10);
});

test("stamps and names of lines", () => {
  assert.equal(justAfter("1795257000123456789"), "1795257000123456790");
  assert.ok(compareNanos("999", "1000") < 0 && compareNanos("2", "1") > 0 && compareNanos("5", "5") === 0);
  const [a, b] = [line("1795257000123456789", "a"), line("1795257000123456789", "b")];
  assert.ok(isLine(lineId(a), a) && !isLine(lineId(a), b) && isLine(a.ns, a));
  assert.ok(!isLine("17952570001234567891", a));
});

test("colours of terminals", () => {
  const shown = (s: string): string => ansiParts(s).map((p) => (p.style ? `[${p.style}:${p.text}]` : p.text)).join("");
  const cases: readonly [string, string][] = [
    ["plain", "plain"],
    ["\u001b[31mred\u001b[0m x", "[ansi-1:red] x"],
    ["\u001b[1;32mok\u001b[22mthin\u001b[39m.", "[ansi-2 ansi-bold:ok][ansi-2:thin]."],
    ["\u001b[91mb\u001b[m!", "[ansi-1:b]!"],
    ["\u001b[38;5;46mg\u001b[38;2;10;20;250mb", "[ansi-2:g][ansi-4:b]"],
    ["\u001b[8mnot hidden", "not hidden"],
    ["\u001b[48;5;1;4mu", "[ansi-under:u]"],
    ["\u001b[2Jother", "\u001b[2Jother"],
    ["\u001b[", "\u001b["],
  ];
  for (const [text, expect] of cases) assert.equal(shown(text), expect, JSON.stringify(text));
  assert.equal(withoutAnsi("\u001b[31mred\u001b[0m"), "red");
});

test("invisible and reordering characters are written out", () => {
  const shown = (s: string): string => escapeParts(s).map((p) => (p.escaped ? `<${p.text}>` : p.text)).join("");
  const cases: readonly [string, string][] = [
    ["a\u2066b\u2069", "a<\\u2066>b<\\u2069>"],
    ["t\u{e0041}", "t<\\u{e0041}>"],
    ["f\u3164\u115f", "f<\\u3164><\\u115f>"],
    ["lone \ud800!", "lone <\\ud800>!"],
    ["v\ufe01", "v<\\ufe01>"],
    ["heart \u2764\ufe0f 👍 שלום", "heart \u2764\ufe0f 👍 שלום"],
    ["\u001b[2J", "<\\x1b>[2J"],
  ];
  for (const [text, expect] of cases) assert.equal(shown(text), expect, JSON.stringify(text));
});

test("search hits", () => {
  const shown = (text: string, ...marks: string[]): string => markParts(text, marks).map((p) => (p.hit ? `[${p.text}]` : p.text)).join("");
  assert.equal(shown("a time out, time", "time", "out"), "a [time] [out], [time]");
  assert.equal(shown("abc", ""), "abc");
  assert.equal(shown("abcd", "ab", "abc"), "[abc]d");
  const many = "x".repeat(5000);
  assert.equal(markParts(many, ["x"]).map((p) => p.text).join(""), many);
});

test("cutting does not split a character", () => {
  assert.equal(cut("ab👍", 3), "ab");
  assert.equal(cut("abc", 3), "abc");
});

test("fields inside of lines", () => {
  const check = (text: string, format: string, body: Record<string, string>): void => {
    const found = bodyOf(text);
    assert.deepEqual([found.format, { ...found.body }], [format, body], text);
  };
  check('{"a":{"b":1,"c":{"d":"x"}},"e":[1,2],"f-g":null}', "json", { a_b: "1", a_c_d: "x", e: "[1,2]", f_g: "null" });
  check('{"id":12345678901234567890}', "json", { id: "12345678901234567890" });
  check("[1]", "text", {});
  check('{"broken"', "text", {});
  check('level=info msg="two words" d=12ms', "logfmt", { level: "info", msg: "two words", d: "12ms" });
  check("GET /a?b=c HTTP/1.1", "text", {});
  check("a=b", "text", {});
  check('{"constructor":"x","__proto__":{"y":"z"}}', "json", { constructor: "x", __proto___y: "z" });
  assert.equal(logfmtFields("plain"), null);
  const l = line("1", '{"status":"500","svc":"in"}', { svc: "a" }, { trace_id: "t" }, {});
  assert.deepEqual(fieldsOf(l).map((f) => `${f.label}:${f.value}:${f.source}`), ["svc:a:stream", "trace_id:t:meta", "status:500:json", "svc_extracted:in:json"]);
  assert.equal(fieldOf(l, "constructor"), "");
  assert.equal(fieldOf(l, "svc_extracted"), "in");
});

test("statistics of fields, and what the server detected", () => {
  const rows = [line("2", '{"status":200}', { svc: "a" }), line("1", '{"status":500}', { svc: "a" }, { trace_id: "t" })];
  const stats = fieldStats(rows);
  assert.deepEqual(stats.map((f) => [f.name, f.source, f.distinct]), [["svc", "stream", 1], ["trace_id", "meta", 1], ["status", "json", 2]]);
  const twice = fieldStats([line("1", '{"svc":"inside"}', { svc: "a" })]);
  assert.deepEqual(twice.map((f) => [f.name, f.values]), [["svc", [["a", 1]]], ["svc_extracted", [["inside", 1]]]], "a field called as a label is another field");
  const all = withDetected(stats, [{ name: "svc", cardinality: 7 }], [{ name: "extra", type: "int", cardinality: 3, parsers: ["logfmt"] }]);
  assert.deepEqual(all.map((f) => [f.name, f.source, f.distinct, f.type]), [["svc", "stream", 7, ""], ["trace_id", "meta", 1, ""], ["extra", "logfmt", 3, "int"], ["status", "json", 2, ""]]);
});

test("queries that the page writes", () => {
  assert.equal(addFilter('{a="b"}', "k", "=", "v", "logfmt"), '{a="b"} | logfmt | k="v"');
  assert.equal(addFilter('{a="b"} |= "| json"', "k", "=", "v", "json"), '{a="b"} |= "| json" | json | k="v"');
  assert.equal(addPattern('{a="b"} | json', 'x <_> "y"', "|>"), '{a="b"} |> "x <_> \\"y\\"" | json');
  assert.equal(addPattern('{a="b"} |> "p"', "p", "!>"), '{a="b"} !> "p"');
  assert.equal(addPattern('{a="b"} |> "p"', "p", "|>"), '{a="b"} |> "p"');
  assert.equal(selectorOf('sum(rate({a="b", c=~"d"} |= "x" [1m]))'), '{a="b", c=~"d"}');
  assert.equal(selectorOf('{a="}"} | json'), '{a="}"}');
  assert.equal(selectorOf("nothing"), "");
  assert.equal(streamSelector({ a: 'x"y', b: "" }), '{a="x\\"y", b=""}');
  assert.equal(topValuesQuery('{a="b"}', "k", "json", 3600, 10), 'topk(10, sum by (k) (count_over_time({a="b"} | json | k!="" [1h])))');
  assert.equal(topValuesQuery('{a="b"}', "a", "stream", 60, 5), 'topk(5, sum by (a) (count_over_time({a="b"} [1m])))');
});

test("commands cannot break out of their quotation", () => {
  assert.equal(shellQuote("a'b; rm -rf $HOME"), "'a'\\''b; rm -rf $HOME'");
  const asked = { query: `{a="it's"}`, start: "1795257000123456789", end: "1795257000123456790", limit: 10, server: "http://h:1", tenant: "" };
  assert.equal(asLogcli(asked), `logcli query --addr='http://h:1' --from=2026-11-21T10:30:00.123456789Z --to=2026-11-21T10:30:00.123456790Z --limit=10 '{a="it'\\''s"}'`);
  assert.match(asCurl({ ...asked, tenant: "t" }), /-H 'X-Scope-OrgID: t'[^]*--data-urlencode 'start=1795257000123456789'/);
  assert.match(asKenning(asked), /^kenning query logql /);
});

test("JSON is laid out without being changed", () => {
  assert.equal(prettyJson('{"a":[1,2],"b":{},"n":1e999,"a":"d,{"}'), '{\n  "a": [\n    1,\n    2\n  ],\n  "b": {},\n  "n": 1e999,\n  "a": "d,{"\n}');
  assert.equal(prettyJson("no json"), "no json");
  const text = prettyJson('{"k":"v","n":12,"x":null}');
  assert.equal(jsonTokens(text).map((t) => t.text).join(""), text);
  assert.deepEqual(jsonTokens('{"k":"v","n":12}').filter((t) => t.kind !== "op").map((t) => t.kind), ["label", "string", "label", "number"]);
});

test("patterns: new, exploded, ordered", () => {
  const r = { from: 1_000_000, to: 2_000_000 };
  const p = (pattern: string, n: number, t = 1500): { pattern: string; level: string; samples: [number, number][] } => ({ pattern, level: "", samples: [[t, n]] });
  const now = [p("steady <_>", 100), p("burst <_>", 90), p("fresh", 1), p("few", 10)];
  const before = [p("steady <_>", 80), p("burst <_>", 10), p("few", 1)];
  assert.deepEqual(patternRows(now, before, r).map((x) => [x.pattern, x.news, x.lines, x.before]), [
    ["fresh", "new", 1, 0],
    ["burst <_>", "exploded", 90, 10],
    ["steady <_>", "", 100, 80],
    ["few", "", 10, 1],
  ]);
  assert.ok(patternRows(now, [], r).every((x) => x.news === ""), "without a past nothing is new");
  assert.equal(patternRows([p("a", 3), p("a", 4, 1999)], [], r)[0]?.lines, 7);
  assert.deepEqual(patternParts("a <_> b<_>").map((x) => (x.gap ? "…" : x.text)), ["a ", "…", " b", "…"]);
});

test("messages of the tail", () => {
  const m = tailMessage('{"streams":[{"stream":{"svc":"a","trace_id":"t"},"values":[["2","x"],["10","y"]]}],"dropped_entries":[{},{}]}', new Set(["svc"]));
  assert.deepEqual(m?.lines.map((l) => [l.line, l.stream, l.meta]), [["y", { svc: "a" }, { trace_id: "t" }], ["x", { svc: "a" }, { trace_id: "t" }]]);
  assert.equal(m?.dropped, 2);
  assert.equal(tailMessage("nonsense", new Set()), null);
});

test("saved and recent searches", () => {
  const list = withSaved(withSaved([], { name: " b ", params: "q=1" }), { name: "a", params: "q=2" });
  assert.deepEqual(list.map((s) => s.name), ["a", "b"]);
  assert.equal(withSaved(list, { name: "b", params: "q=3" }).find((s) => s.name === "b")?.params, "q=3");
  assert.equal(withSaved(list, { name: " ", params: "q" }).length, 2);
  assert.deepEqual(withRecent(["a", "b"], "b"), ["b", "a"]);
  assert.equal(withRecent(Array.from({ length: 40 }, (_, i) => `q${i}`), "x").length, 30);
});

test("the editor offers durations and opens by itself where only names can stand", () => {
  assert.deepEqual(durations("1", []).map((s) => s.text), ["1s", "1m", "1h", "1d"]);
  assert.equal(durations("", ["$__interval"])[0]?.text, "$__interval");
  assert.equal(durations("", [])[0]?.text, "1m");
  assert.equal(isEager([{ kind: "labels", selector: "" }]), true);
  assert.equal(isEager([{ kind: "fields", query: "" }]), true);
  assert.equal(isEager([{ kind: "words", words: [] }, { kind: "fields", query: "" }]), false);
  assert.equal(isEager([]), false);
});
