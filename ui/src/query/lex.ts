/**
 * A forgiving tokenizer shared by PromQL and LogQL. It colours text and finds what can be completed at the caret; it
 * judges nothing: diagnostics come from the server's parsers. Every input gives tokens that cover it exactly.
 */

/** Role of a token, which is also its CSS class suffix. */
export type TokenKind = "string" | "number" | "function" | "keyword" | "label" | "name" | "op" | "comment" | "space";

/** A piece of the text. */
export interface Token {
  kind: TokenKind;
  text: string;
  at: number;
}

const KEYWORDS = new Set(
  ("by without on ignoring group_left group_right bool offset and or unless atan2 start end json logfmt regexp pattern unpack " +
    "line_format label_format drop keep decolorize unwrap ip").split(" "),
);

const AGGREGATIONS =
  "sum avg min max count stddev stdvar topk bottomk count_values quantile group limitk limit_ratio".split(" ");

/** PromQL functions offered by completion. */
export const PROMQL_FUNCTIONS = (
  "rate irate increase delta idelta deriv histogram_quantile histogram_avg histogram_count histogram_sum histogram_fraction " +
  "avg_over_time min_over_time max_over_time sum_over_time count_over_time last_over_time present_over_time quantile_over_time " +
  "stddev_over_time changes resets absent absent_over_time label_replace label_join abs ceil floor round clamp clamp_min clamp_max " +
  "sqrt ln log2 log10 exp sgn sort sort_desc time timestamp vector scalar predict_linear day_of_week hour minute"
)
  .split(" ")
  .concat(AGGREGATIONS);

/** LogQL functions and stages offered by completion. */
export const LOGQL_WORDS = (
  "rate count_over_time bytes_rate bytes_over_time sum_over_time avg_over_time max_over_time min_over_time quantile_over_time " +
  "first_over_time last_over_time absent_over_time json logfmt regexp pattern unpack line_format label_format drop keep unwrap"
)
  .split(" ")
  .concat(AGGREGATIONS.slice(0, 8));

const RULES: readonly [TokenKind, RegExp][] = [
  ["space", /\s+/y],
  ["comment", /#[^\n]*/y],
  ["string", /"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`[^`]*`?/y],
  ["number", /(?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+|0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:[kKMGT]?i?B)?/y],
  ["name", /\$?[a-zA-Z_][\w:]*/y],
  ["op", /[=!<>]=|[=!]~|\|[=~>]|!>|[^\s\w]|./sy],
];

/** Splits a query into tokens. */
export function lex(text: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  let braces = 0;
  while (at < text.length) {
    const token = next(text, at);
    if (token.text === "{") braces++;
    if (token.text === "}") braces = Math.max(0, braces - 1);
    if (token.kind === "name") token.kind = nameKind(token, text, braces);
    out.push(token);
    at += token.text.length;
  }
  return out;
}

function next(text: string, at: number): Token {
  for (const [kind, rule] of RULES) {
    rule.lastIndex = at;
    const m = rule.exec(text);
    if (m && m[0].length > 0) return { kind, text: m[0], at };
  }
  return { kind: "op", text: text[at] ?? "", at };
}

function nameKind(token: Token, text: string, braces: number): TokenKind {
  if (braces > 0) return "label";
  if (KEYWORDS.has(token.text)) return "keyword";
  const rest = text.slice(token.at + token.text.length, token.at + token.text.length + 40);
  if (/^\s*(\(|(by|without)\b)/.test(rest)) return "function";
  return /^\s*([=!<>]=|[=!]~|=|[<>])\s*["'`\d]/.test(rest) ? "label" : "name";
}

/** What may be completed at the caret, and which part of the text it would replace. */
export type Completion =
  | { want: "name"; prefix: string; from: number }
  | { want: "label"; prefix: string; from: number; metric: string }
  | { want: "value"; prefix: string; from: number; label: string; metric: string };

/** Completion context at `caret`; null inside comments, numbers and free strings. */
export function contextAt(text: string, caret: number): Completion | null {
  const before = lex(text.slice(0, caret));
  const solid = before.filter((t) => t.kind !== "space");
  const last = before.at(-1);
  const open = openBracket(solid);
  if (last?.kind === "string" && !closed(last.text)) return valueContext(solid, open, last);
  if (last?.kind === "comment" || last?.kind === "number") return null;
  const word = last && /^[\w:$]/.test(last.text) ? last : undefined;
  const prefix = word?.text ?? "";
  const from = word?.at ?? caret;
  const previous = word ? solid.at(-2) : solid.at(-1);
  if (open.kind === "{" || open.kind === "by") {
    const starts = previous?.text === "{" || previous?.text === "," || previous?.text === "(";
    return starts ? { want: "label", prefix, from, metric: open.metric } : null;
  }
  return prefix || !previous || /^[({,=<>*/+\-|]$/.test(previous.text) ? { want: "name", prefix, from } : null;
}

const closed = (s: string): boolean => s.length > 1 && s.endsWith(s[0] ?? "") && !/[^\\]\\.$/.test(s.slice(-3));

function valueContext(solid: Token[], open: { metric: string }, last: Token): Completion | null {
  const label = solid.at(-3);
  const op = solid.at(-2);
  if (!label || !op || !/^(=|!=|=~|!~)$/.test(op.text) || !/^\w/.test(label.text)) return null;
  return { want: "value", prefix: last.text.slice(1), from: last.at + 1, label: label.text, metric: open.metric };
}

function openBracket(solid: Token[]): { kind: "{" | "by" | ""; metric: string } {
  let depth = 0;
  for (let i = solid.length - 1; i >= 0; i--) {
    const t = solid[i];
    if (!t) break;
    if (t.text === "}" || t.text === ")") depth++;
    if (t.text !== "{" && t.text !== "(") continue;
    if (depth > 0) {
      depth--;
      continue;
    }
    const before = solid[i - 1];
    if (t.text === "{") return { kind: "{", metric: before && /^[a-zA-Z_:]/.test(before.text) ? before.text : "" };
    return { kind: /^(by|without|on|ignoring)$/.test(before?.text ?? "") ? "by" : "", metric: "" };
  }
  return { kind: "", metric: "" };
}
