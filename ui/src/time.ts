/**
 * Time as text and text as time: relative expressions, ranges, 24 h clocks, durations.
 * Pure functions; "now" and the zone always come in as arguments, so tests own them.
 * Instants are milliseconds since the epoch unless a name says otherwise.
 */

/** A resolved interval in milliseconds since the epoch. */
export interface Range {
  from: number;
  to: number;
}

/** A range as the reader wrote it, e.g. `now-1h` / `now`; this form lives in the URL. */
export interface RangeText {
  from: string;
  to: string;
}

/** Zone in which times are written and read. */
export type Zone = "local" | "utc";

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** `1h30m`, `250ms`, `1.5s`, `200us` -> milliseconds; null when it is not a duration. */
export function parseDuration(text: string): number | null {
  const s = text.trim().replaceAll("µ", "u");
  if (!/^(\d+(\.\d+)?(us|ms|s|m|h|d|w|y))+$/.test(s)) return null;
  let total = 0;
  for (const m of s.matchAll(/(\d+(?:\.\d+)?)(us|ms|s|m|h|d|w|y)/g)) {
    total += Number(m[1]) * (m[2] === "us" ? 0.001 : (UNIT_MS[m[2] ?? ""] ?? 0));
  }
  return total;
}

/** Seconds as a PromQL/LogQL duration without fractions of its unit: 90 -> `90s`, 3600 -> `1h`. */
export function promDuration(seconds: number): string {
  const ms = Math.max(1, Math.round(seconds * 1000));
  for (const unit of ["d", "h", "m", "s"]) {
    const size = UNIT_MS[unit] ?? 1;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function civil(y: number, mo: number, d: number, h: number, mi: number, s: number, ms: number, zone: Zone): number {
  return zone === "utc" ? Date.UTC(y, mo, d, h, mi, s, ms) : new Date(y, mo, d, h, mi, s, ms).getTime();
}

/**
 * One point of time: `now`, `now-90m`, `-1h`, ISO 8601, `2026-11-21 10:00`, `10:00` (today), epoch seconds or
 * milliseconds. A text without zone is read in `zone`. Null when it is none of these.
 */
export function parseInstant(text: string, now: number, zone: Zone): number | null {
  const s = text.trim();
  if (s === "now") return now;
  const rel = /^(?:now)?\s*([+-])\s*(\S+)$/.exec(s);
  if (rel) {
    const d = parseDuration(rel[2] ?? "");
    return d === null ? null : now + (rel[1] === "-" ? -d : d);
  }
  if (/^\d{12,14}$/.test(s)) return Number(s);
  if (/^\d{9,11}(\.\d+)?$/.test(s)) return Math.round(Number(s) * 1000);
  return parseCivil(s, now, zone);
}

function parseCivil(s: string, now: number, zone: Zone): number | null {
  const m =
    /^(?:(\d{4})-(\d{2})-(\d{2}))?(?:[T ]?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?\s*(Z|[+-]\d{2}:?\d{2})?$/i.exec(s);
  if (!m || (m[1] === undefined && m[4] === undefined)) return null;
  const base = new Date(now);
  const year = m[1] ? Number(m[1]) : zone === "utc" ? base.getUTCFullYear() : base.getFullYear();
  const month = m[2] ? Number(m[2]) - 1 : zone === "utc" ? base.getUTCMonth() : base.getMonth();
  const day = m[3] ? Number(m[3]) : zone === "utc" ? base.getUTCDate() : base.getDate();
  const [h, mi, sec] = [Number(m[4] ?? 0), Number(m[5] ?? 0), Number(m[6] ?? 0)];
  if (month > 11 || day < 1 || day > 31 || h > 23 || mi > 59 || sec > 59) return null;
  const ms = m[7] ? Math.floor(Number(`0.${m[7]}`) * 1000) : 0;
  const offset = m[8];
  if (!offset) return civil(year, month, day, h, mi, sec, ms, zone);
  const utc = Date.UTC(year, month, day, h, mi, sec, ms);
  if (offset.toUpperCase() === "Z") return utc;
  const sign = offset.startsWith("-") ? -1 : 1;
  const digits = offset.slice(1).replace(":", "");
  return utc - sign * (Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2))) * 60_000;
}

/**
 * A range as typed into the picker: `1h`, `now-1h`, `last 15m`, `now-2h to now-1h`, `10:00 - 11:30`,
 * `2026-11-21 10:00 to 2026-11-21 11:00`. Relative parts stay relative. Null when unreadable or empty.
 */
export function parseRange(text: string, now: number, zone: Zone): RangeText | null {
  const s = text.trim().replace(/^last\s+/i, "");
  const bare = parseDuration(s);
  if (bare !== null && bare > 0) return { from: `now-${s}`, to: "now" };
  const [left, right] = splitRange(s);
  if (left === undefined) return null;
  const from = canonical(left, now, zone);
  const to = canonical(right ?? "now", now, zone);
  if (from === null || to === null) return null;
  const [a, b] = [parseInstant(from, now, zone), parseInstant(to, now, zone)];
  return a !== null && b !== null && a < b ? { from, to } : null;
}

function splitRange(s: string): [string | undefined, string | undefined] {
  const parts = s.split(/\s+(?:to|until|-|–|—)\s+|\s*(?:\.\.|→|–)\s*/i);
  return parts.length > 2 ? [undefined, undefined] : [parts[0], parts[1]];
}

function canonical(text: string, now: number, zone: Zone): string | null {
  const s = text.trim();
  const t = parseInstant(s, now, zone);
  if (t === null) return null;
  if (s === "now") return s;
  if (/^(now)?\s*[+-]/.test(s)) return `now${s.replace(/^now/, "").replaceAll(/\s/g, "")}`;
  return iso(t);
}

/** Absolute instants in URLs: ISO 8601 in UTC, fraction only when there is one. */
export function iso(ms: number): string {
  return new Date(Math.round(ms)).toISOString().replace(".000Z", "Z");
}

/** Resolves what stands in the URL; falls back to the last hour when it is unreadable. */
export function resolveRange(text: RangeText, now: number, zone: Zone): Range {
  const from = parseInstant(text.from, now, zone);
  const to = parseInstant(text.to, now, zone);
  if (from === null || to === null || from >= to) return { from: now - 3_600_000, to: now };
  return { from, to };
}

/** Whether the range ends at the moving present, so that refreshing it makes sense. */
export function isLive(text: RangeText): boolean {
  return text.to.trim() === "now";
}

/** Moves a range by a fraction of its width. */
export function shiftRange(r: Range, fraction: number): Range {
  const d = (r.to - r.from) * fraction;
  return { from: r.from + d, to: r.to + d };
}

/** Twice as wide around the same middle. */
export function zoomOut(r: Range): Range {
  const half = (r.to - r.from) / 2;
  return { from: r.from - half, to: r.to + half };
}

/** Range around an instant, at least `minHalfMs` to each side. */
export function around(at: number, halfMs: number, minHalfMs = 30_000): Range {
  const half = Math.max(halfMs, minHalfMs);
  return { from: at - half, to: at + half };
}

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

/** Smallest pleasant step in seconds that keeps the range within `maxPoints` points. */
export function stepFor(r: Range, maxPoints: number, minStepS = 1): number {
  const want = (r.to - r.from) / 1000 / Math.max(1, maxPoints);
  const found = STEPS_S.find((s) => s >= want && s >= minStepS);
  return found ?? Math.ceil(want / 86_400) * 86_400;
}

/** Range with both ends moved outward/down onto multiples of the step, in seconds, as range queries want it. */
export function alignRange(r: Range, stepS: number): { start: number; end: number } {
  const start = Math.floor(r.from / 1000 / stepS) * stepS;
  return { start, end: Math.max(start, Math.floor(r.to / 1000 / stepS) * stepS) };
}

interface Parts {
  year: number;
  month: number;
  day: number;
  clock: string;
  ms: string;
}

const pad = (n: number, width = 2): string => String(n).padStart(width, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function parts(ms: number, zone: Zone): Parts {
  const d = new Date(ms);
  const u = zone === "utc";
  const h = u ? d.getUTCHours() : d.getHours();
  const mi = u ? d.getUTCMinutes() : d.getMinutes();
  const s = u ? d.getUTCSeconds() : d.getSeconds();
  return {
    year: u ? d.getUTCFullYear() : d.getFullYear(),
    month: u ? d.getUTCMonth() : d.getMonth(),
    day: u ? d.getUTCDate() : d.getDate(),
    clock: `${pad(h)}:${pad(mi)}:${pad(s)}`,
    ms: pad(u ? d.getUTCMilliseconds() : d.getMilliseconds(), 3),
  };
}

/** `10:04:05`, or with milliseconds `10:04:05.123`. Always 24 h. */
export function clock(ms: number, zone: Zone, withMs = false): string {
  const p = parts(ms, zone);
  return withMs ? `${p.clock}.${p.ms}` : p.clock;
}

/** `2026-11-21 10:04:05`, or with milliseconds. */
export function dateTime(ms: number, zone: Zone, withMs = false): string {
  const p = parts(ms, zone);
  return `${p.year}-${pad(p.month + 1)}-${pad(p.day)} ${withMs ? `${p.clock}.${p.ms}` : p.clock}`;
}

/** `21 Nov`. */
export function dayMonth(ms: number, zone: Zone): string {
  const p = parts(ms, zone);
  return `${p.day} ${MONTHS[p.month] ?? ""}`;
}

/** Tick label of a time axis whose ticks are `incrS` seconds apart. */
export function axisTick(ms: number, incrS: number, zone: Zone): string {
  const p = parts(ms, zone);
  if (incrS >= 86_400) return dayMonth(ms, zone);
  if (p.clock === "00:00:00" && incrS >= 60) return dayMonth(ms, zone);
  if (incrS >= 60) return p.clock.slice(0, 5);
  if (incrS >= 1) return p.clock;
  return `${p.clock.slice(3)}.${p.ms}`;
}

/** What the picker shows: `Last 1 h` for relative ranges, else both ends with the date said once. */
export function describeRange(text: RangeText, now: number, zone: Zone): string {
  const rel = /^now-(\d+)(s|m|h|d|w|y)$/.exec(text.from);
  if (rel && text.to === "now") return `Last ${rel[1]} ${rel[2] === "m" ? "min" : rel[2]}`;
  if (text.from.startsWith("now") && text.to.startsWith("now")) return `${text.from} → ${text.to}`;
  const r = resolveRange(text, now, zone);
  const from = dateTime(r.from, zone).slice(5);
  const to = text.to === "now" ? "now" : dateTime(r.to, zone).slice(5);
  const sameDay = to.startsWith(from.slice(0, 5));
  return `${from} → ${sameDay ? to.slice(6) : to}`;
}

/** How long ago, coarsely: `just now`, `12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`. */
export function ago(ms: number, now: number): string {
  const s = Math.round((now - ms) / 1000);
  if (s < 2) return "just now";
  if (s < 90) return `${s} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129_600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86_400)} d ago`;
}

/** Instants for the ticks of a time axis, on round local (or UTC) times, with the step between them in seconds. */
export function timeTicks(r: Range, ticksMax: number, tz: Zone): { at: number[]; stepS: number } {
  const stepS = stepFor(r, ticksMax);
  const step = stepS * 1000;
  const offset = tz === "utc" ? 0 : -new Date(r.from).getTimezoneOffset() * 60_000;
  const at: number[] = [];
  for (let t = Math.ceil((r.from + offset) / step) * step - offset; t <= r.to && at.length < 1000; t += step) at.push(t);
  return { at, stepS };
}
