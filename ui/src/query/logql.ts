/** Edits LogQL text: reads the stream selector at its start, adds and removes filters, builds the volume query. */
import { promDuration } from "../time.ts";
import { matcher, quote } from "./quote.ts";

/** A matcher of the stream selector. */
export interface Matcher {
  label: string;
  op: "=" | "!=" | "=~" | "!~";
  value: string;
}

/** A log query cut in two: matchers of its selector and the pipeline text after it. */
export interface LogQuery {
  matchers: Matcher[];
  pipeline: string;
}

const STRING = /"(?:[^"\\]|\\.)*"|`[^`]*`/y;

/** Reads `{...} pipeline`; null when the text does not start with a well-formed selector. */
export function parseLogQuery(text: string): LogQuery | null {
  const s = text.trimStart();
  if (!s.startsWith("{")) return null;
  const matchers: Matcher[] = [];
  let at = 1;
  for (;;) {
    at = skip(s, at);
    if (s[at] === "}") return { matchers, pipeline: s.slice(at + 1).trim() };
    const next = readMatcher(s, at);
    if (!next) return null;
    matchers.push(next.read);
    at = skip(s, next.end);
    if (s[at] === ",") at++;
    else if (s[at] !== "}") return null;
  }
}

const skip = (s: string, at: number): number => at + (/^\s*/.exec(s.slice(at))?.[0].length ?? 0);

function readMatcher(s: string, at: number): { read: Matcher; end: number } | null {
  const head = /^([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*/.exec(s.slice(at));
  if (!head) return null;
  STRING.lastIndex = at + head[0].length;
  const quoted = STRING.exec(s)?.[0];
  if (quoted === undefined) return null;
  const value = unquote(quoted);
  if (value === null) return null;
  return { read: { label: head[1] ?? "", op: head[2] as Matcher["op"], value }, end: STRING.lastIndex };
}

function unquote(text: string): string | null {
  if (text.startsWith("`")) return text.slice(1, -1);
  try {
    return JSON.parse(text) as string;
  } catch {
    return null;
  }
}

/** Text of a query. */
export function printLogQuery(q: LogQuery): string {
  const inner = q.matchers.map((m) => matcher(m.label, m.op, m.value)).join(", ");
  return q.pipeline ? `{${inner}} ${q.pipeline}` : `{${inner}}`;
}

/** Where a field of a line comes from; decides how a filter on it is written. */
export type FieldSource = "stream" | "meta" | "json" | "logfmt";

/**
 * Narrows a query to (or away from) a value. Stream labels go into the selector, where the same label's opposite is
 * replaced; everything else becomes a label filter at the end of the pipeline, after a `json` or `logfmt` stage where
 * the value stands in the line itself. Unreadable queries come back unchanged.
 */
export function addFilter(text: string, label: string, op: "=" | "!=", value: string, source: FieldSource): string {
  const parsed = parseLogQuery(text);
  if (!parsed) return text;
  if (source === "stream") return printLogQuery({ ...parsed, matchers: narrowed(parsed.matchers, { label, op, value }) });
  const staged = source !== "meta" && !hasStage(parsed.pipeline, source);
  const q = staged ? { ...parsed, pipeline: `${parsed.pipeline} | ${source}`.trim() } : parsed;
  const stage = `| ${label}${op}${quote(value)}`;
  const opposite = `| ${label}${op === "=" ? "!=" : "="}${quote(value)}`;
  const kept = q.pipeline.replace(opposite, "").replaceAll(/\s{2,}/g, " ").trim();
  return kept.includes(stage) ? printLogQuery({ ...q, pipeline: kept }) : printLogQuery({ ...q, pipeline: `${kept} ${stage}`.trim() });
}

function narrowed(old: readonly Matcher[], add: Matcher): Matcher[] {
  const kept = old.filter((m) => m.label !== add.label || !(add.op === "=" || (m.value === add.value && m.op === "=") || same(m, add)));
  const next = [...kept, add];
  // A selector of only negative matchers is refused by Loki: it would read every stream.
  const positive = next.some((m) => m.op === "=" || (m.op === "=~" && m.value !== "" && m.value !== ".*"));
  return positive ? next : [{ label: add.label, op: "=~", value: ".+" }, ...next];
}

const same = (a: Matcher, b: Matcher): boolean => a.label === b.label && a.op === b.op && a.value === b.value;

/** Whether the pipeline runs a parser, strings left aside. */
const hasStage = (pipeline: string, name: string): boolean => new RegExp(`\\|\\s*${name}\\b`).test(pipeline.replaceAll(/"(?:[^"\\]|\\.)*"|`[^`]*`/g, '""'));

/** Only (`|>`) or without (`!>`) the lines of a pattern; the filter stands first, where it costs least. */
export function addPattern(text: string, pattern: string, op: "|>" | "!>"): string {
  const q = parseLogQuery(text);
  if (!q) return text;
  const stage = `${op} ${quote(pattern)}`;
  const kept = q.pipeline.replace(`${op === "|>" ? "!>" : "|>"} ${quote(pattern)}`, "").trim();
  return kept.includes(stage) ? text : printLogQuery({ ...q, pipeline: `${stage} ${kept}`.trim() });
}

/** The stream selector of a query alone, "" when there is none to read. */
export function selectorOf(text: string): string {
  const at = text.indexOf("{");
  const q = at < 0 ? null : parseLogQuery(text.slice(at)) ?? parseLogQuery(text.slice(at, text.indexOf("}", at) + 1));
  return q ? printLogQuery({ matchers: q.matchers, pipeline: "" }) : "";
}

/** The selector of exactly one stream. */
export const streamSelector = (labels: Record<string, string>): string => printLogQuery({ matchers: Object.entries(labels).map(([label, value]) => ({ label, op: "=", value })), pipeline: "" });

/** Lines per value of a field over a width of time, the commonest first. Stages parse what stands inside of the line. */
export function topValuesQuery(text: string, label: string, source: FieldSource, widthS: number, k: number): string {
  const q = parseLogQuery(text);
  const parser = q && source !== "stream" && source !== "meta" && !hasStage(q.pipeline, source) ? ` | ${source}` : "";
  const present = source === "stream" ? "" : ` | ${label}!=""`;
  return `topk(${k}, sum by (${label}) (count_over_time(${text}${parser}${present} [${promDuration(widthS)}])))`;
}

/** Adds `|= "needle"` to the pipeline. */
export function addNeedle(text: string, needle: string): string {
  const q = parseLogQuery(text);
  return q ? printLogQuery({ ...q, pipeline: `${q.pipeline} |= ${quote(needle)}`.trim() }) : text;
}

/** Whether the text asks for a number over time instead of lines. */
export const isMetricQuery = (text: string): boolean => !text.trimStart().startsWith("{");

/** Number of lines per step, split by a label. */
export function volumeQuery(text: string, by: string, stepS: number): string {
  return `sum by (${by}) (count_over_time(${text} [${promDuration(stepS)}]))`;
}

/** Literal texts the pipeline keeps lines for (`|= "x"`), to be marked in the lines. */
export function needles(text: string): string[] {
  const q = parseLogQuery(text);
  if (!q) return [];
  const out: string[] = [];
  for (const m of q.pipeline.matchAll(/\|=\s*("(?:[^"\\]|\\.)*"|`[^`]*`)/g)) {
    const value = unquote(m[1] ?? "");
    if (value) out.push(value);
  }
  return out;
}
