/**
 * Numbers as people read them: three significant digits, a thin unit, never a surprise.
 * Pure; the golden table in test/unit/units.test.ts is the definition.
 */

/** What a number measures; decides scaling and suffix. */
export type Unit = "count" | "seconds" | "bytes" | "ratio" | "rate" | "bytes_rate" | "timestamp";

/** Text for a value that is not there. */
export const MISSING = "–";

const SI: readonly [number, string][] = [
  [1e15, "P"],
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];
const IEC: readonly [number, string][] = [
  [2 ** 50, "PiB"],
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
];

/** Three significant digits without exponent or trailing zeros: 150 -> "150", 1.50 -> "1.5", 0.00012 -> "0.00012". */
export function digits(v: number, significant = 3): string {
  if (v === 0) return "0";
  const magnitude = Math.floor(Math.log10(Math.abs(v)));
  const decimals = Math.min(12, Math.max(0, significant - 1 - magnitude));
  const fixed = v.toFixed(decimals);
  return fixed.includes(".") ? fixed.replace(/\.?0+$/, "") : fixed;
}

/** Scaling must look at the rounded value: 999.96 is "1 k", not "1000". */
function scaled(v: number, table: readonly [number, string][]): [number, string] {
  const a = Math.abs(v) * 1.0005;
  const hit = table.find(([size]) => a >= size);
  return hit ? [v / hit[0], hit[1]] : [v, ""];
}

/** Seconds in the unit that keeps the number between 1 and 999: 0.0123 -> "12.3 ms", 90 -> "1.5 min". */
export function seconds(v: number, significant = 3): string {
  const a = Math.abs(v) * 1.0005;
  if (v === 0) return "0 s";
  if (a < 1e-6) return `${digits(v * 1e9, significant)} ns`;
  if (a < 1e-3) return `${digits(v * 1e6, significant)} µs`;
  if (a < 1) return `${digits(v * 1e3, significant)} ms`;
  if (a < 60) return `${digits(v, significant)} s`;
  if (a < 3600) return `${digits(v / 60, significant)} min`;
  if (a < 86_400) return `${digits(v / 3600, significant)} h`;
  return `${digits(v / 86_400, significant)} d`;
}

function withPrefix(v: number, significant: number): string {
  const [n, prefix] = scaled(v, SI);
  if (Math.abs(v) > 0 && Math.abs(v) < 1e-6) return v.toExponential(Math.min(2, significant - 1));
  return prefix ? `${digits(n, significant)} ${prefix}` : digits(n, significant);
}

function bytes(v: number, significant: number): string {
  const [n, prefix] = scaled(v, IEC);
  return `${digits(n, significant)} ${prefix || "B"}`;
}

/** A value with its unit. Null and undefined are written as a dash, NaN and infinities by name. */
export function format(v: number | null | undefined, unit: Unit = "count", significant = 3): string {
  if (v === null || v === undefined) return MISSING;
  if (Number.isNaN(v)) return "NaN";
  if (!Number.isFinite(v)) return v > 0 ? "+Inf" : "−Inf";
  return finite(v, unit, significant).replace(/^-/, "−");
}

/** Seconds since the epoch as `2026-11-21 10:04` in UTC; what is no date stays a number. */
function instant(v: number): string {
  return Math.abs(v) < 8.64e12 ? new Date(v * 1000).toISOString().slice(0, 16).replace("T", " ") : String(v);
}

function finite(v: number, unit: Unit, significant: number): string {
  switch (unit) {
    case "seconds":
      return seconds(v, significant);
    case "bytes":
      return bytes(v, significant);
    case "bytes_rate":
      return `${bytes(v, significant)}/s`;
    case "ratio":
      return `${digits(v * 100, significant)} %`;
    case "rate": {
      const s = withPrefix(v, significant);
      return s.includes(" ") ? `${s}/s` : `${s} /s`;
    }
    case "timestamp":
      return instant(v);
    case "count":
      return withPrefix(v, significant);
  }
}

/** Exact counts with thin groups: 1234567 -> "1 234 567". */
export function integer(v: number | null | undefined): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return MISSING;
  return String(Math.round(v)).replaceAll(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

const BASE_SUFFIX = /(_total|_sum|_count|_bucket|_created|_info|_max|_min)+$/;

/** Unit of a metric's own value from its metadata unit or its name's suffix (OpenMetrics naming). */
export function unitOf(name: string, declared = ""): Unit {
  const d = declared.toLowerCase();
  if (/_(timestamp|start_time)_seconds$/.test(name)) return "timestamp";
  if (d === "s" || d === "seconds") return "seconds";
  if (d === "by" || d === "bytes") return "bytes";
  if (d === "1" || d === "ratio") return "ratio";
  if (name.endsWith("_count") || name.endsWith("_bucket")) return "count";
  const base = name.replace(BASE_SUFFIX, "");
  if (base.endsWith("_seconds")) return "seconds";
  if (base.endsWith("_bytes")) return "bytes";
  if (base.endsWith("_ratio")) return "ratio";
  return "count";
}

/** Unit after `rate()`: seconds per second is a ratio, bytes become bytes per second, the rest events per second. */
export function rateOf(unit: Unit): Unit {
  if (unit === "seconds") return "ratio";
  return unit === "bytes" ? "bytes_rate" : "rate";
}

/**
 * Unit of a PromQL expression's result, guessed from its outer shape. Ratios of two rates, quantiles and plain
 * selectors are recognised; anything else is a bare number. A guess, so the page lets the reader change it.
 */
export function unitOfExpr(expr: string, declared: (metric: string) => string = () => ""): Unit {
  const metric = /[a-zA-Z_:][a-zA-Z0-9_:]*(?=\s*[{[])/.exec(expr)?.[0] ?? /^\s*([a-zA-Z_:][\w:]*)\s*$/.exec(expr)?.[1] ?? "";
  const rates = expr.match(/\b(i?rate|irate|deriv)\s*\(/g)?.length ?? 0;
  const own = unitOf(metric, declared(metric));
  if (/histogram_quantile|histogram_avg/.test(expr)) return unitOf(metric.replace(/_bucket$/, ""), declared(metric));
  if (/\/(?![^{]*\})/.test(expr)) return quotient(expr, rates);
  if (/\bcount(_over_time)?\s*(by|without)?\s*\(/.test(expr)) return "count";
  return rates > 0 ? rateOf(own) : own;
}

function quotient(expr: string, rates: number): Unit {
  if (rates >= 2 && /_seconds_sum/.test(expr)) return "seconds";
  if (rates >= 2 && /_bytes_sum/.test(expr)) return "bytes";
  return rates >= 2 ? "ratio" : "count";
}
