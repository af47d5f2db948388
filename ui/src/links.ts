/** The ways from one signal to another, in one place so that every page carries range and service along alike. */
import { link } from "./router.ts";
import type { PointLink } from "./chart/tip.tsx";
import type { Labels } from "./palette.ts";
import { serviceOf } from "./query/scope.ts";
import { escapeRegex, matcher } from "./query/quote.ts";
import { service } from "./state.ts";
import { around, iso, type Range } from "./time.ts";

/** How many steps of the chart belong to "this moment", to each side. */
const MOMENT_STEPS = 3;

/** Padding around a span or trace when its logs are looked up: clocks of hosts differ. */
const SPAN_PADDING_MS = 5_000;

const ends = (r: Range): { from: string; to: string } => ({ from: iso(r.from), to: iso(r.to) });

/** Status codes and outcomes that mean "failed", in the labels in use. */
function isFailure(labels: Labels): boolean {
  const code = labels["status"] ?? labels["code"] ?? labels["status_code"] ?? labels["http_status_code"] ?? labels["http_response_status_code"];
  return /^5\d\d$|^5xx$|^err|^fail/i.test(code ?? "") || labels["error_type"] !== undefined;
}

/** From a point on a graph: logs and (failed) traces of that moment, in the service its labels or `known` name. */
export function momentLinks(atMs: number, stepS: number, labels: Labels, known = ""): PointLink[] {
  const when = ends(around(atMs, stepS * 1000 * MOMENT_STEPS, 60_000));
  const of = serviceOf(labels) || known || service.value;
  const scope = { ...when, service: of };
  const tags = isFailure(labels) ? { tags: "error=true" } : {};
  const what = of ? ` · ${of}` : "";
  return [
    { text: `Logs of this moment${what}`, href: link("logs", scope) },
    { text: `${isFailure(labels) ? "Failed traces" : "Traces"} of this moment${what}`, href: link("traces", { ...scope, ...tags }) },
  ];
}

/** Logs that carry a trace id (and a span id). */
export function traceLogs(r: Range, serviceLabel: string, services: readonly string[], traceId: string, spanId = ""): string {
  const op = services.length === 1 ? "=" : "=~";
  const value = services.map((s) => (op === "=~" ? escapeRegex(s) : s)).join("|");
  const span = spanId ? ` | ${matcher("span_id", "=", spanId)}` : "";
  const q = `{${matcher(serviceLabel, op, value || ".+")}} | ${matcher("trace_id", "=", traceId)}${span}`;
  const when = ends({ from: r.from - SPAN_PADDING_MS, to: r.to + SPAN_PADDING_MS });
  return link("logs", { ...when, service: "", q });
}

/** All logs of a service around an interval. */
export function serviceLogs(r: Range, name: string): string {
  return link("logs", { ...ends({ from: r.from - SPAN_PADDING_MS, to: r.to + SPAN_PADDING_MS }), service: name });
}

/** Metrics of a service around a moment: a quarter of an hour, so that a curve is a curve. */
export function serviceMetrics(atMs: number, name: string): string {
  return link("metrics", { ...ends(around(atMs, 450_000)), service: name });
}

/** A trace, opened at a span. */
export const traceLink = (traceId: string, spanId = ""): string => link(`trace/${encodeURIComponent(traceId)}`, { span: spanId });
