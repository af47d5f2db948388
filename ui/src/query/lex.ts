/**
 * A forgiving tokenizer shared by PromQL and LogQL. It colours text and judges nothing: completion and diagnostics come
 * from the server's parsers. Every input gives tokens that cover it exactly.
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
