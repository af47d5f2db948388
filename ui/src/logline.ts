/** Reading one log line: message, level, fields, stack traces, ids; whatever shape the service writes. */
import { withoutAnsi } from "./ansi.ts";
import type { LogLine } from "./api_logs.ts";
import { levelOf, type Labels, type Level } from "./palette.ts";
import type { FieldSource } from "./query/logql.ts";
import { serviceOf } from "./query/scope.ts";

/** A line as the list and the side panel show it. */
export interface ReadLine {
  message: string;
  level: Level;
  service: string;
  traceId: string;
  spanId: string;
  /** How the line is written. */
  format: "json" | "logfmt" | "text";
  /** Fields inside of the line, named as LogQL's parser of its format names them. */
  body: Labels;
  /** Everything else worth a glance, `k=v`, without ids, stacks and what has its own column. */
  extra: string;
  /** Name and text of every stack trace found. */
  stacks: { name: string; text: string }[];
}

const MESSAGE_KEYS = ["message", "msg", "body", "log", "event"];
/** What has a column of its own, and what OpenTelemetry's SDKs say of themselves on every line: it stands in the side panel. */
const OWN_COLUMN = new Set([
  "telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version", "scope_name", "scope_version",
  "timestamp", "time", "ts", "level", "severity", "severity_text", "severity_number", "detected_level", "observed_timestamp", "service", "service_name", "trace_id", "span_id", "traceid", "spanid", "trace_flags", "flags",
]);
const STACK_KEY = /(stack_?trace|backtrace|^stack|^exception|exc_info|\.stack)$/i;
/** Longer lines are shown as text. */
export const PARSED_LENGTH_MAX = 65_536;

/** Deeper objects stay JSON. */
const DEPTH_MAX = 8;

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
  const { format, body } = bodyOf(l.line);
  const all: Labels = { ...body, ...l.parsed, ...l.meta, ...l.stream };
  const key = MESSAGE_KEYS.find((k) => body[k] !== undefined);
  const fields = { ...(format === "logfmt" && key === undefined ? {} : body), ...l.meta };
  const level = all["level"] ?? all["detected_level"] ?? all["severity_text"] ?? all["severity"];
  return {
    message: key === undefined ? l.line : (body[key] ?? ""),
    level: levelOf(level),
    service: serviceOf({ ...l.meta, ...l.stream }) || (body["service"] ?? ""),
    traceId: idOf(all["trace_id"] ?? all["traceid"] ?? all["traceID"]),
    spanId: idOf(all["span_id"] ?? all["spanid"] ?? all["spanID"]),
    format,
    body,
    extra: extraText(fields, key),
    stacks: Object.entries(all)
      .filter(([k, v]) => STACK_KEY.test(k) && v.includes("\n"))
      .map(([name, text]) => ({ name, text })),
  };
}

/** An id that may become part of an address; "" for anything that is none. */
export const idOf = (text: string | undefined): string => (/^[0-9a-f-]{8,64}$/i.test(text ?? "") ? (text ?? "") : "");

/** Format and fields of a line; a line that is neither JSON nor logfmt has none. */
export function bodyOf(line: string): Pick<ReadLine, "format" | "body"> {
  if (line.length > PARSED_LENGTH_MAX) return { format: "text", body: {} };
  const json = jsonFields(line);
  if (json) return { format: "json", body: json };
  const logfmt = logfmtFields(withoutAnsi(line));
  return logfmt ? { format: "logfmt", body: logfmt } : { format: "text", body: {} };
}

/** Numbers that a double may not hold. */
const LONG_NUMBER = /\d{16}/;

/** JSON text with such numbers as strings, so that they stay as they stand in the line. */
const exact = (json: string): string => json.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]{15,}/g, (t) => (t.startsWith('"') ? t : `"${t}"`));

/** Fields of a line that is one JSON object, nested ones as `outer_inner`; null for anything else. */
export function jsonFields(line: string): Labels | null {
  if (!/^\s*\{/.test(line)) return null;
  try {
    const parsed: unknown = JSON.parse(LONG_NUMBER.test(line) ? exact(line) : line);
    const out = Object.create(null) as Labels;
    flatten(parsed as Record<string, unknown>, "", 0, out);
    return out;
  } catch {
    return null;
  }
}

function flatten(from: Record<string, unknown>, prefix: string, depth: number, out: Labels): void {
  for (const [name, value] of Object.entries(from)) {
    const label = prefix + labelName(name, prefix);
    if (value !== null && typeof value === "object" && !Array.isArray(value) && depth < DEPTH_MAX) {
      flatten(value as Record<string, unknown>, `${label}_`, depth + 1, out);
    } else out[label] = typeof value === "string" ? value : JSON.stringify(value);
  }
}

/** A key as a label: what is no letter, digit or underscore becomes an underscore, and no digit comes first. */
function labelName(key: string, prefix: string): string {
  const name = key.replaceAll(/[^a-zA-Z0-9_]/g, "_");
  return prefix === "" && /^\d/.test(name) ? `_${name}` : name;
}

const PAIR = /([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)/g;

/** Fields of a logfmt line; null for a line that does not begin with a pair or has only one. */
export function logfmtFields(line: string): Labels | null {
  if (!/^\s*[\w.@/-]+=/.test(line)) return null;
  const out = Object.create(null) as Labels;
  for (const [, key = "", value = ""] of line.matchAll(PAIR)) out[labelName(key, "")] = value.startsWith('"') ? unquoted(value) : value;
  return Object.keys(out).length > 1 ? out : null;
}

function unquoted(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text.slice(1, -1);
  }
}

/** A field of a line: `name` as shown, `label` as a query names it after the line's parser has run. */
export interface LineField {
  name: string;
  label: string;
  value: string;
  source: FieldSource;
}

/** Every field of a line: labels of the stream, metadata, fields parsed by the query, fields inside of the line. */
export function fieldsOf(l: LogLine): LineField[] {
  const { body, format } = readLine(l);
  const of = (labels: Labels, source: FieldSource): LineField[] => Object.entries(labels).map(([name, value]) => ({ name, label: name, value, source }));
  const inside = format === "text" ? [] : Object.entries(body).filter(([name]) => own(l.parsed, name) === undefined);
  return [
    ...of(l.stream, "stream"),
    ...of(l.meta, "meta"),
    ...of(l.parsed, "meta"),
    // A parser does not overwrite a label: what collides gets a suffix.
    ...inside.map(([name, value]) => ({ name, label: own(l.stream, name) === undefined && own(l.meta, name) === undefined ? name : `${name}_extracted`, value, source: format as FieldSource })),
  ];
}

/** Value of the first field with a name, "" when the line has none. */
export function fieldOf(l: LogLine, name: string): string {
  const known = own(l.parsed, name) ?? own(l.stream, name) ?? own(l.meta, name) ?? own(readLine(l).body, name);
  return known ?? own(readLine(l).body, name.replace(/_extracted$/, "")) ?? "";
}

/** A label's value; names such as `constructor` are labels like any other. */
export const own = (labels: Labels, name: string): string | undefined => (Object.hasOwn(labels, name) ? labels[name] : undefined);

function extraText(fields: Labels, messageKey: string | undefined): string {
  return Object.entries(fields)
    .filter(([k, v]) => k !== messageKey && !OWN_COLUMN.has(k.toLowerCase()) && !(STACK_KEY.test(k) && v.includes("\n")))
    .map(([k, v]) => `${k}=${v.includes(" ") ? JSON.stringify(v) : v}`)
    .join("  ");
}

/** Whether a field's text is a stack trace, shown apart from the fields. */
export const isStack = (name: string, value: string): boolean => STACK_KEY.test(name) && value.includes("\n");
