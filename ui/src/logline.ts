/** Reading one log line: message, level, fields, stack traces, ids; whatever shape the service writes. */
import type { LogLine } from "./api.ts";
import { levelOf, type Labels, type Level } from "./palette.ts";
import { serviceOf } from "./query/scope.ts";

/** A line as the list and the side panel show it. */
export interface ReadLine {
  message: string;
  level: Level;
  service: string;
  traceId: string;
  spanId: string;
  /** Top-level fields of a JSON line, values as text. */
  json: Labels;
  /** Everything else worth a glance, `k=v`, without ids, stacks and what has its own column. */
  extra: string;
  /** Name and text of every stack trace found. */
  stacks: { name: string; text: string }[];
}

const MESSAGE_KEYS = ["message", "msg", "body", "log", "event"];
const OWN_COLUMN = new Set(["timestamp", "time", "ts", "level", "severity", "severity_text", "severity_number", "detected_level", "observed_timestamp", "service", "service_name", "trace_id", "span_id", "traceid", "spanid", "trace_flags", "flags"]);
const STACK_KEY = /(stack_?trace|backtrace|^stack|^exception|exc_info|\.stack)$/i;
const JSON_LENGTH_MAX = 65_536;

const known = new WeakMap<LogLine, ReadLine>();

/** Reads a line once and remembers it as long as the line lives. */
export function readLine(line: LogLine): ReadLine {
  const hit = known.get(line);
  if (hit) return hit;
  const read = read1(line);
  known.set(line, read);
  return read;
}

function read1(l: LogLine): ReadLine {
  const json = jsonFields(l.line);
  const all: Labels = { ...json, ...l.parsed, ...l.meta, ...l.stream };
  const key = MESSAGE_KEYS.find((k) => json[k] !== undefined);
  const fields = { ...json, ...l.meta };
  const level = all["level"] ?? all["detected_level"] ?? all["severity_text"] ?? all["severity"];
  return {
    message: key === undefined ? l.line : (json[key] ?? ""),
    level: levelOf(level),
    service: serviceOf({ ...l.meta, ...l.stream }) || (json["service"] ?? ""),
    traceId: all["trace_id"] ?? all["traceid"] ?? all["traceID"] ?? "",
    spanId: all["span_id"] ?? all["spanid"] ?? all["spanID"] ?? "",
    json,
    extra: extraText(fields, key),
    stacks: Object.entries(all)
      .filter(([k, v]) => STACK_KEY.test(k) && v.includes("\n"))
      .map(([name, text]) => ({ name, text })),
  };
}

/** Fields of a line that is one JSON object; empty for anything else. */
export function jsonFields(line: string): Labels {
  if (line.length > JSON_LENGTH_MAX || !/^\s*\{/.test(line)) return {};
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed !== "object" || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).map(([k, v]) => [k, typeof v === "string" ? v : JSON.stringify(v)]));
  } catch {
    return {};
  }
}

function extraText(fields: Labels, messageKey: string | undefined): string {
  return Object.entries(fields)
    .filter(([k, v]) => k !== messageKey && !OWN_COLUMN.has(k.toLowerCase()) && !(STACK_KEY.test(k) && v.includes("\n")))
    .map(([k, v]) => `${k}=${v.includes(" ") ? JSON.stringify(v) : v}`)
    .join("  ");
}

/** Whether a field's text is a stack trace, shown apart from the fields. */
export const isStack = (name: string, value: string): boolean => STACK_KEY.test(name) && value.includes("\n");
