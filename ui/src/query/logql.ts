/** Edits LogQL text: reads the stream selector at its start, adds and removes filters, builds the volume query. */
import { promDuration } from "../time.ts";

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
    const read = readMatcher(s, at);
    if (!read) return null;
    matchers.push(read.matcher);
    at = skip(s, read.end);
    if (s[at] === ",") at++;
    else if (s[at] !== "}") return null;
  }
}

const skip = (s: string, at: number): number => at + (/^\s*/.exec(s.slice(at))?.[0].length ?? 0);

function readMatcher(s: string, at: number): { matcher: Matcher; end: number } | null {
  const head = /^([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*/.exec(s.slice(at));
  if (!head) return null;
  STRING.lastIndex = at + head[0].length;
  const quoted = STRING.exec(s)?.[0];
  if (quoted === undefined) return null;
  const value = unquote(quoted);
  if (value === null) return null;
  return { matcher: { label: head[1] ?? "", op: head[2] as Matcher["op"], value }, end: STRING.lastIndex };
}

function unquote(text: string): string | null {
  if (text.startsWith("`")) return text.slice(1, -1);
  try {
    return JSON.parse(text) as string;
  } catch {
    return null;
  }
}

/** A LogQL string literal; JSON's escapes are a subset of Go's. */
export const quote = (value: string): string => JSON.stringify(value);

/** Text of a query. */
export function printLogQuery(q: LogQuery): string {
  const inner = q.matchers.map((m) => `${m.label}${m.op}${quote(m.value)}`).join(", ");
  return q.pipeline ? `{${inner}} ${q.pipeline}` : `{${inner}}`;
}

/**
 * Narrows a query to (or away from) a value. Stream labels go into the selector, where the same label's opposite is
 * replaced; everything else becomes a label filter at the end of the pipeline. Unreadable queries come back unchanged.
 */
export function addFilter(text: string, label: string, op: "=" | "!=", value: string, isStreamLabel: boolean): string {
  const q = parseLogQuery(text);
  if (!q) return text;
  if (isStreamLabel) return printLogQuery({ ...q, matchers: narrowed(q.matchers, { label, op, value }) });
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
