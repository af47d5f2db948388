import assert from "node:assert/strict";
import { test } from "node:test";
import type { JaegerSpan, JaegerTrace } from "../../src/api_traces.ts";
import { buildTree, criticalPath, exceptionOf, isError, parseTags, summarizeTrace, visibleRows } from "../../src/trace.ts";

const span = (id: string, parent: string, start: number, duration: number, extra: Partial<JaegerSpan> = {}): JaegerSpan => ({
  traceID: "t",
  spanID: id,
  operationName: id,
  references: parent ? [{ refType: "CHILD_OF", traceID: "t", spanID: parent }] : [],
  startTime: 1000 + start,
  duration,
  processID: "p",
  tags: [],
  logs: [],
  ...extra,
});
const traceOf = (...spans: JaegerSpan[]): JaegerTrace => ({ traceID: "t", spans, processes: { p: { serviceName: "svc" }, q: { serviceName: "other" } } });
const drawn = (t: JaegerTrace): string => buildTree(t).nodes.map((n) => ">".repeat(n.depth) + n.span.spanID).join(" ");

test("trees in drawing order, whatever the order of arrival", () => {
  assert.equal(drawn(traceOf(span("c", "a", 50, 10), span("b", "a", 10, 10), span("a", "", 0, 100), span("d", "b", 12, 2))), "a >b >>d >c");
});

test("odd traces neither loop nor lose spans", () => {
  assert.equal(drawn(traceOf()), "");
  assert.equal(drawn(traceOf(span("a", "gone", 0, 10), span("b", "a", 1, 2))), "a >b");
  assert.equal(drawn(traceOf(span("a", "a", 0, 10))), "a");
  assert.equal(drawn(traceOf(span("a", "b", 0, 10), span("b", "a", 1, 5))), "a >b");
  assert.equal(drawn(traceOf(span("a", "", 0, 10), span("a", "", 0, 10))), "a");
  assert.equal(drawn(traceOf(span("r", "", 0, 9), span("x", "y", 1, 5), span("y", "x", 2, 3))), "r x >y");
  assert.equal(buildTree(traceOf(span("a", "gone", 0, 10))).nodes[0]?.orphan, true);
});

test("a chain of 20000 spans is only deep", () => {
  const spans = Array.from({ length: 20_000 }, (_, i) => span(`s${i}`, i > 0 ? `s${i - 1}` : "", i, 20_000 - i));
  const tree = buildTree(traceOf(...spans));
  assert.equal(tree.nodes.at(-1)?.depth, 19_999);
  assert.equal(tree.nodes[0]?.size, 19_999);
  assert.ok(criticalPath(tree).length > 0);
});

test("a root with 20000 children is only wide", () => {
  const spans = Array.from({ length: 20_000 }, (_, i) => span(`s${i}`, "r", i, 5));
  const tree = buildTree(traceOf(span("r", "", 0, 30_000), ...spans));
  assert.equal(tree.nodes[0]?.size, 20_000);
  assert.equal(visibleRows(tree.nodes, new Set(["r"])).length, 1);
});

test("the critical path covers the root's time exactly once", () => {
  const tree = buildTree(traceOf(span("r", "", 0, 100), span("a", "r", 10, 30), span("b", "r", 20, 60), span("c", "b", 30, 20), span("late", "r", 95, 50)));
  const path = criticalPath(tree);
  assert.equal(path.map((s) => `${tree.nodes[s.node]?.span.spanID}:${s.from}-${s.to}`).join(" "), "r:0-10 a:10-20 b:20-30 c:30-50 b:50-80 r:80-95 late:95-100");
  let at = 0;
  for (const s of path) {
    assert.equal(s.from, at);
    at = s.to;
  }
  assert.equal(at, 100);
});

test("collapsing hides exactly the descendants", () => {
  const tree = buildTree(traceOf(span("a", "", 0, 100), span("b", "a", 1, 10), span("c", "b", 2, 5), span("d", "a", 50, 10)));
  const names = (collapsed: string[]): string => visibleRows(tree.nodes, new Set(collapsed)).map((i) => tree.nodes[i]?.span.spanID).join("");
  assert.equal(names([]), "abcd");
  assert.equal(names(["b"]), "abd");
  assert.equal(names(["a"]), "a");
});

test("summaries", () => {
  const t = traceOf(span("b", "a", 10, 500, { processID: "q", tags: [{ key: "error", value: true }] }), span("a", "", 0, 100));
  assert.deepEqual(summarizeTrace(t), { id: "t", service: "svc", operation: "a", start: 1000, duration: 510, spans: 2, errors: 1, services: [["other", 1], ["svc", 1]] });
  assert.equal(summarizeTrace(traceOf()), null);
});

test("errors in all spellings", () => {
  const with_ = (key: string, value: unknown) => isError(span("a", "", 0, 1, { tags: [{ key, value }] }));
  assert.deepEqual([with_("error", true), with_("error", "true"), with_("otel.status_code", "ERROR"), with_("error", false), with_("otel.status_code", "OK")], [true, true, true, false, false]);
});

test("tags as typed", () => {
  const cases: readonly [string, Record<string, string> | null][] = [
    ["", {}],
    ["error=true", { error: "true" }],
    ['a=1  b="two words" c=""', { a: "1", b: "two words", c: "" }],
    ['q="say \\"hi\\""', { q: 'say "hi"' }],
    ["http.route=/events/{id}", { "http.route": "/events/{id}" }],
    ["a=b=c", { a: "b=c" }],
    ["alone", null],
    ['a="open', null],
    ["=x", null],
  ];
  for (const [text, expect] of cases) assert.deepEqual(parseTags(text), expect, text);
});

test("exceptions", () => {
  assert.equal(exceptionOf([{ key: "event", value: "retry" }]), null);
  assert.deepEqual(exceptionOf([{ key: "exception.type", value: "E" }]), { type: "E", message: "", stack: "" });
});
