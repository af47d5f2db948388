import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ago,
  alignRange,
  axisTick,
  clock,
  dateTime,
  describeRange,
  iso,
  parseDuration,
  parseInstant,
  parseRange,
  promDuration,
  resolveRange,
  shiftRange,
  stepFor,
  timeTicks,
  zoomOut,
} from "../../src/time.ts";

// 2026-11-21 10:30:00 UTC, which is 11:30 in Berlin.
const NOW = Date.UTC(2026, 10, 21, 10, 30);
const at = (h: number, m = 0, s = 0, ms = 0): number => Date.UTC(2026, 10, 21, h, m, s, ms);

test("durations", () => {
  const cases: readonly [string, number | null][] = [
    ["90s", 90_000],
    ["1h30m", 5_400_000],
    ["250ms", 250],
    ["1.5s", 1500],
    ["200us", 0.2],
    ["200µs", 0.2],
    ["2d", 172_800_000],
    ["", null],
    ["5", null],
    ["h", null],
    ["-5m", null],
    ["5 m", null],
  ];
  for (const [text, expect] of cases) assert.equal(parseDuration(text), expect, text);
});

test("durations for queries", () => {
  const cases: readonly [number, string][] = [[1, "1s"], [90, "90s"], [60, "1m"], [3600, "1h"], [5400, "90m"], [86_400, "1d"], [0.5, "500ms"], [0, "1ms"]];
  for (const [s, expect] of cases) assert.equal(promDuration(s), expect, String(s));
});

test("instants", () => {
  const cases: readonly [string, "utc" | "local", number | null][] = [
    ["now", "utc", NOW],
    ["now-1h", "utc", NOW - 3_600_000],
    ["now - 90m", "utc", NOW - 5_400_000],
    ["-15m", "utc", NOW - 900_000],
    ["now+5m", "utc", NOW + 300_000],
    ["2026-11-21T10:00:00Z", "local", at(10)],
    ["2026-11-21T10:00:00.250Z", "local", at(10, 0, 0, 250)],
    ["2026-11-21T11:00:00+01:00", "utc", at(10)],
    ["2026-11-21T04:30:00-0530", "utc", at(10)],
    ["2026-11-21 10:00", "utc", at(10)],
    ["2026-11-21 11:00", "local", at(10)],
    ["2026-11-21", "utc", at(0)],
    ["10:05", "utc", at(10, 5)],
    ["11:05:30", "local", at(10, 5, 30)],
    ["1790000000", "utc", 1_790_000_000_000],
    ["1790000000123", "utc", 1_790_000_000_123],
    ["", "utc", null],
    ["yesterday", "utc", null],
    ["25:00", "utc", null],
    ["2026-13-01", "utc", null],
    ["now-", "utc", null],
  ];
  for (const [text, zone, expect] of cases) assert.equal(parseInstant(text, NOW, zone), expect, `${text} ${zone}`);
});

test("ranges as typed", () => {
  const cases: readonly [string, [string, string] | null][] = [
    ["1h", ["now-1h", "now"]],
    ["last 15m", ["now-15m", "now"]],
    ["now-2h", ["now-2h", "now"]],
    ["now-2h to now-1h", ["now-2h", "now-1h"]],
    ["-2h to -1h", ["now-2h", "now-1h"]],
    ["10:00 - 10:15", ["2026-11-21T10:00:00Z", "2026-11-21T10:15:00Z"]],
    ["10:00 to now", ["2026-11-21T10:00:00Z", "now"]],
    ["2026-11-20 10:00 to 2026-11-20 11:00", ["2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"]],
    ["10:15 to 10:00", null],
    ["0s", null],
    ["nonsense", null],
    ["a to b to c", null],
  ];
  for (const [text, expect] of cases) {
    assert.deepEqual(parseRange(text, NOW, "utc"), expect && { from: expect[0], to: expect[1] }, text);
  }
});

test("what is unreadable in the address becomes the last hour", () => {
  for (const bad of [{ from: "x", to: "now" }, { from: "now", to: "now-1h" }, { from: "now", to: "now" }]) {
    assert.deepEqual(resolveRange(bad, NOW, "utc"), { from: NOW - 3_600_000, to: NOW });
  }
});

test("a range survives the address", () => {
  for (const ms of [NOW, NOW + 1, NOW + 999]) assert.equal(parseInstant(iso(ms), 0, "local"), ms);
});

test("clocks are 24 h, in the zone asked for", () => {
  assert.equal(clock(at(22, 4, 5, 7), "utc"), "22:04:05");
  assert.equal(clock(at(22, 4, 5, 7), "local", true), "23:04:05.007");
  assert.equal(dateTime(at(23, 30), "local"), "2026-11-22 00:30:00");
  assert.equal(dateTime(at(0), "utc", true), "2026-11-21 00:00:00.000");
});

test("axis ticks", () => {
  const cases: readonly [number, number, string][] = [
    [at(10, 5), 300, "10:05"],
    [at(0), 300, "21 Nov"],
    [at(10, 5, 30), 10, "10:05:30"],
    [at(10, 5, 30, 250), 0.25, "05:30.250"],
    [at(0), 86_400, "21 Nov"],
  ];
  for (const [t, incr, expect] of cases) assert.equal(axisTick(t, incr, "utc"), expect);
});

test("tick positions are round in the zone and inside the range", () => {
  const day = { from: Date.UTC(2026, 10, 20, 5, 7), to: Date.UTC(2026, 10, 23, 5, 7) };
  const { at: marks } = timeTicks(day, 6, "local");
  assert.ok(marks.length > 1 && marks.length <= 7, String(marks.length));
  for (const t of marks) assert.ok(t >= day.from && t <= day.to && clock(t, "local").endsWith(":00:00"), clock(t, "local"));
});

test("the picker's label", () => {
  const cases: readonly [string, string, string][] = [
    ["now-1h", "now", "Last 1 h"],
    ["now-15m", "now", "Last 15 min"],
    ["now-2h", "now-1h", "now-2h → now-1h"],
    ["2026-11-21T10:00:00Z", "2026-11-21T10:15:00Z", "11-21 10:00:00 → 10:15:00"],
    ["2026-11-20T10:00:00Z", "2026-11-21T10:15:00Z", "11-20 10:00:00 → 11-21 10:15:00"],
    ["2026-11-21T10:00:00Z", "now", "11-21 10:00:00 → now"],
  ];
  for (const [from, to, expect] of cases) assert.equal(describeRange({ from, to }, NOW, "utc"), expect);
});

test("steps and alignment", () => {
  const hour = { from: at(9, 30, 7), to: at(10, 30, 7) };
  assert.equal(stepFor(hour, 300), 15);
  assert.equal(stepFor(hour, 300, 60), 60);
  assert.equal(stepFor({ from: 0, to: 365 * 86_400_000 }, 100), 4 * 86_400);
  assert.deepEqual(alignRange(hour, 15), { start: at(9, 30) / 1000, end: at(10, 30) / 1000 });
  assert.deepEqual(shiftRange({ from: 0, to: 100 }, -0.5), { from: -50, to: 50 });
  assert.deepEqual(zoomOut({ from: 100, to: 200 }), { from: 50, to: 250 });
});

test("how long ago", () => {
  const cases: readonly [number, string][] = [[0, "just now"], [12, "12 s ago"], [180, "3 min ago"], [7200, "2 h ago"], [5 * 86_400, "5 d ago"]];
  for (const [s, expect] of cases) assert.equal(ago(NOW - s * 1000, NOW), expect);
});
