import assert from "node:assert/strict";
import { test } from "node:test";
import { digits, format, integer, rateOf, unitOf, unitOfExpr, type Unit } from "../../src/units.ts";

const golden: readonly [number | null, Unit, string][] = [
  [0, "count", "0"],
  [1, "count", "1"],
  [15, "count", "15"],
  [150, "count", "150"],
  [999, "count", "999"],
  [999.4, "count", "999"],
  [999.96, "count", "1 k"],
  [1000, "count", "1 k"],
  [1500, "count", "1.5 k"],
  [15_000, "count", "15 k"],
  [150_000, "count", "150 k"],
  [1_234_567, "count", "1.23 M"],
  [1e9, "count", "1 G"],
  [2.5e12, "count", "2.5 T"],
  [0.5, "count", "0.5"],
  [0.00012, "count", "0.00012"],
  [1e-9, "count", "1.00e-9"],
  [-150, "count", "−150"],
  [-0.25, "count", "−0.25"],
  [100, "count", "100"],
  [10, "count", "10"],
  [0, "seconds", "0 s"],
  [1e-9, "seconds", "1 ns"],
  [2.5e-5, "seconds", "25 µs"],
  [0.0123, "seconds", "12.3 ms"],
  [0.999, "seconds", "999 ms"],
  [0.9999, "seconds", "1 s"],
  [1, "seconds", "1 s"],
  [59.99, "seconds", "1 min"],
  [90, "seconds", "1.5 min"],
  [3600, "seconds", "1 h"],
  [86_400, "seconds", "1 d"],
  [864_000, "seconds", "10 d"],
  [-0.5, "seconds", "−500 ms"],
  [0, "bytes", "0 B"],
  [1, "bytes", "1 B"],
  [1023, "bytes", "1023 B"],
  [1023.9, "bytes", "1 KiB"],
  [1000, "bytes", "1000 B"],
  [1536, "bytes", "1.5 KiB"],
  [150 * 1024, "bytes", "150 KiB"],
  [48_318_382, "bytes", "46.1 MiB"],
  [2 ** 40, "bytes", "1 TiB"],
  [1536, "bytes_rate", "1.5 KiB/s"],
  [0, "ratio", "0 %"],
  [0.0021, "ratio", "0.21 %"],
  [0.123, "ratio", "12.3 %"],
  [1, "ratio", "100 %"],
  [0, "rate", "0 /s"],
  [1.234, "rate", "1.23 /s"],
  [1200, "rate", "1.2 k/s"],
  [1_790_000_000, "timestamp", "2026-09-21 14:13"],
  [null, "count", "–"],
  [NaN, "seconds", "NaN"],
  [Infinity, "bytes", "+Inf"],
  [-Infinity, "bytes", "−Inf"],
];

test("values are written as in the golden table", () => {
  for (const [value, unit, expect] of golden) assert.equal(format(value, unit), expect, `${value} as ${unit}`);
});

test("no finite number loses its magnitude", () => {
  for (let e = -5; e <= 14; e++) {
    for (const m of [1, 1.5, 2.34, 9.87]) {
      const v = m * 10 ** e;
      const text = format(v).replaceAll(" ", "");
      const scale: Record<string, number> = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };
      const read = parseFloat(text) * (scale[text.at(-1) ?? ""] ?? 1);
      assert.ok(Math.abs(read - v) <= v * 0.006, `${v} was written ${text}`);
    }
  }
});

test("digits keeps trailing zeros of integers and drops those of fractions", () => {
  const cases: readonly [number, string][] = [[100, "100"], [20, "20"], [1.5, "1.5"], [1.0, "1"], [0.1, "0.1"], [12.04, "12"]];
  for (const [v, expect] of cases) assert.equal(digits(v), expect);
});

test("integers are grouped", () => {
  const cases: readonly [number | null, string][] = [[0, "0"], [999, "999"], [1000, "1\u202f000"], [1_234_567, "1\u202f234\u202f567"], [null, "–"]];
  for (const [v, expect] of cases) assert.equal(integer(v), expect);
});

test("units follow metadata, then the name", () => {
  const cases: readonly [string, string, Unit][] = [
    ["http_request_duration_seconds", "", "seconds"],
    ["http_request_duration_seconds_bucket", "", "count"],
    ["http_request_duration_seconds_sum", "", "seconds"],
    ["http_request_duration_seconds_count", "", "count"],
    ["process_cpu_seconds_total", "", "seconds"],
    ["process_resident_memory_bytes", "", "bytes"],
    ["tokio_workers_busy_ratio", "", "ratio"],
    ["process_start_time_seconds", "seconds", "timestamp"],
    ["consumer_lag", "", "count"],
    ["queue_wait", "ms", "count"],
    ["payload_size", "By", "bytes"],
  ];
  for (const [name, declared, expect] of cases) assert.equal(unitOf(name, declared), expect, name);
});

test("a rate of seconds is a ratio, of bytes bytes per second", () => {
  assert.deepEqual((["seconds", "bytes", "count"] as const).map(rateOf), ["ratio", "bytes_rate", "rate"]);
});

test("units of expressions", () => {
  const cases: readonly [string, Unit][] = [
    ["sum by (status) (rate(http_requests_total[1m]))", "rate"],
    ["histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))", "seconds"],
    ['sum(rate(a_total{status=~"5.."}[5m])) / sum(rate(a_total[5m]))', "ratio"],
    ["rate(x_seconds_sum[1m]) / rate(x_seconds_count[1m])", "seconds"],
    ["process_resident_memory_bytes", "bytes"],
    ['rate(net_bytes_total{path="/a/b"}[1m])', "bytes_rate"],
    ["count by (job) (up)", "count"],
    ["rate(process_cpu_seconds_total[1m])", "ratio"],
  ];
  for (const [expr, expect] of cases) assert.equal(unitOfExpr(expr), expect, expr);
});
