// The mock's answers to what only the Metrics page asks: histograms as buckets, exemplars, cardinality, and the editor's
// questions. The server's parser is far stricter and wiser; this one knows brackets and a handful of functions.
import { METRICS, requestsOf, spanId } from "./mock_data.mjs";

const LES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, Infinity];
const LE_TEXT = (le) => (le === Infinity ? "+Inf" : String(le));

/** Share of observations of a series up to a value, from its quantiles. */
function shareBelow(s, value, t) {
  if (value === Infinity || s.quantile(1, t) <= value) return 1;
  let [low, high] = [0, 1];
  if (s.quantile(0, t) >= value) return 0;
  for (let i = 0; i < 20; i++) {
    const middle = (low + high) / 2;
    if (s.quantile(middle, t) <= value) low = middle;
    else high = middle;
  }
  return low;
}

/** `sum by (le) (rate(x_bucket[..]))` as cumulative series. */
export function bucketSeries(series) {
  return LES.map((le) => ({ labels: { le: LE_TEXT(le) }, at: (t) => series.reduce((sum, s) => sum + s.rate(t) * shareBelow(s, le, t), 0) }));
}

/** A native histogram of the series at a time, in the shape of the API. */
export function nativeAt(series, t) {
  const bounds = Array.from({ length: 61 }, (_, i) => 2 ** (6 + i / 4));
  const buckets = [];
  let count = 0;
  for (let i = 1; i < bounds.length; i++) {
    const n = series.reduce((sum, s) => sum + s.rate(t) * (shareBelow(s, bounds[i], t) - shareBelow(s, bounds[i - 1], t)), 0);
    if (n > 0) buckets.push([0, String(bounds[i - 1]), String(bounds[i]), String(n)]);
    count += n;
  }
  return { count: String(count), sum: String(count * 4096), buckets };
}

/** Exemplars of the request histograms: slow and failed requests first. */
export function exemplars(q) {
  const [start, end] = [Number(q.get("start")), Number(q.get("end"))];
  if (!/http_request_duration_seconds|http_requests_total/.test(q.get("query"))) return [];
  const found = [];
  for (let s = Math.ceil(start); s <= end; s += Math.max(1, Math.floor((end - start) / 400))) {
    for (const r of requestsOf(s)) {
      found.push({ labels: { trace_id: r.id, span_id: spanId(r, 0) }, value: String(0.046 * r.slow * (r.failed ? 1.4 : 1)), timestamp: r.us / 1e6 });
    }
  }
  return [{ seriesLabels: { __name__: "http_request_duration_seconds_bucket", job: "wotr-api", service_name: "wotr-api", le: "0.25" }, exemplars: found }];
}

const top = (counts, limit) =>
  [...counts]
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => b.value - a.value || (a.name < b.name ? -1 : 1))
    .slice(0, limit);

/** Series counted; `sets` are the label sets that pass the selector. */
export function cardinality(sets, q) {
  const limit = Number(q.get("limit") ?? 20);
  const [metrics, values, pairs] = [new Map(), new Map(), new Map()];
  for (const set of sets) {
    for (const [k, v] of Object.entries(set)) {
      if (k === "__name__") metrics.set(v, (metrics.get(v) ?? 0) + 1);
      pairs.set(`${k}=${v}`, (pairs.get(`${k}=${v}`) ?? 0) + 1);
      values.set(k, (values.get(k) ?? new Set()).add(v));
    }
  }
  const sizes = [...values].map(([k, v]) => [k, v.size]);
  return {
    series: sets.length,
    metricCount: metrics.size,
    labelCount: values.size,
    metrics: top(metrics, limit),
    labels: top(sizes, limit),
    pairs: top(pairs, limit),
    limits: { series: 60, seriesPerMetric: 12 },
    warnings: [],
  };
}

const FUNCTIONS = [
  ["rate", "rate(range vector) instant vector", "Growth per second of a counter over the range, resets made up for."],
  ["increase", "increase(range vector) instant vector", "How much a counter grew over the range."],
  ["histogram_quantile", "histogram_quantile(scalar, instant vector) instant vector", "The value below which the given share of observations lies."],
  ["sum", "sum [by|without (labels)] (instant vector) instant vector", "The sum over the series of each group."],
  ["topk", "topk [by|without (labels)] (scalar, instant vector) instant vector", "The k series with the largest values of each group."],
];

export const functions = () => ({ functions: FUNCTIONS.map(([name, signature, help]) => ({ name, aggregates: signature.includes("by|without"), signature, help })) });

/** What may stand at the caret. */
export function complete(q) {
  const text = q.get("query") ?? "";
  const at = Number(q.get("at") ?? text.length);
  const before = text.slice(0, at);
  const answer = (from, ...expects) => ({ from, to: at, expects });
  const value = /([\w.]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/.exec(before);
  const metric = /([a-zA-Z_:][\w:]*)\{[^}]*$/.exec(before)?.[1];
  const selector = metric ? `{__name__="${metric}"}` : "";
  if (value) return answer(at - value[2].length, { kind: "values", label: value[1], selector });
  const word = /[\w:]*$/.exec(before)[0];
  const from = at - word.length;
  if (/\[[^\]]*$/.test(before)) return answer(from, { kind: "durations" });
  if (metric || /\b(by|without|on|ignoring)\s*\([^)]*$/.test(before)) return answer(from, { kind: "labels", selector });
  return answer(from, { kind: "functions" }, { kind: "metrics" });
}

/** Brackets that match, and a way to write the query with single spaces. */
export function check(q) {
  const text = q.get("query") ?? "";
  const open = [];
  for (let i = 0; i < text.length; i++) {
    if ("({[".includes(text[i])) open.push(i);
    if (")}]".includes(text[i]) && open.pop() === undefined) return { diagnostics: [wrong(i, i + 1, `unexpected "${text[i]}"`)] };
  }
  if (open.length > 0) return { diagnostics: [wrong(open[0], text.length, "unclosed left parenthesis")] };
  const formatted = text.replaceAll(/\s+/g, " ").replaceAll(/\s*([(),])\s*/g, "$1").replaceAll(/,/g, ", ").replaceAll(/\bby\(/g, " by (").replaceAll(/\) by/g, ") by").trim();
  return { diagnostics: [], type: "instant vector", formatted };
}

const wrong = (from, to, message) => ({ level: "error", from, to, message, hint: "" });

/** The family a selector's name belongs to. */
export const familyOf = (name) => METRICS.find((m) => name === m.name) ?? METRICS.find((m) => m.type === "histogram" && name.startsWith(m.name));
