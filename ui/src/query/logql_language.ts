/** What the editor knows of LogQL: names and values from the data, complaints of the server's parser, a line on each word. */
import { ApiError, lokiLabels, lokiLabelValues, nanos } from "../api.ts";
import { formatLogQl } from "../api_logs.ts";
import { cached } from "../load.ts";
import { range, tenant } from "../state.ts";
import type { Help, Language, Problem, Proposal, Suggestion } from "../widgets/editor.tsx";
import { contextAt, LOGQL_WORDS, type Completion } from "./lex.ts";

/** One line on each word; the words are those of Loki's language. */
export const LOGQL_HELP: Readonly<Record<string, string>> = {
  json: "takes the fields of a JSON line as labels; | json a=\"b.c\" only the ones named",
  logfmt: "takes the key=value pairs of a line as labels",
  regexp: "takes the named groups of a regular expression as labels",
  pattern: "takes the parts of a line named in <…> as labels, e.g. `<ip> - <_> \"<method> <path>\"`",
  unpack: "takes the labels that Promtail's pack stage put into the line",
  line_format: "writes the line anew from labels, e.g. \"{{.message}}\"",
  label_format: "renames labels or writes them anew from others",
  drop: "takes labels away",
  keep: "takes all other labels away",
  decolorize: "takes the colours of terminals out of the line",
  unwrap: "makes the value of a label the number that is aggregated",
  ip: "matches addresses and networks, e.g. addr = ip(\"10.0.0.0/8\")",
  rate: "lines per second over the range",
  count_over_time: "number of lines over the range",
  bytes_rate: "bytes of lines per second over the range",
  bytes_over_time: "bytes of lines over the range",
  sum_over_time: "sum of the unwrapped values over the range",
  avg_over_time: "mean of the unwrapped values over the range",
  max_over_time: "largest of the unwrapped values over the range",
  min_over_time: "smallest of the unwrapped values over the range",
  first_over_time: "first of the unwrapped values over the range",
  last_over_time: "last of the unwrapped values over the range",
  quantile_over_time: "quantile of the unwrapped values over the range: quantile_over_time(0.95, … | unwrap d [5m])",
  absent_over_time: "1 when no line was found over the range",
  topk: "the k largest",
  bottomk: "the k smallest",
  sum: "adds up, by or without labels",
  by: "keeps only these labels when aggregating",
  without: "takes these labels away when aggregating",
};

async function offered(context: Completion): Promise<Suggestion[]> {
  const { from, to } = range.peek();
  const [start, end] = [nanos(from), nanos(to)];
  if (context.want === "name") return LOGQL_WORDS.map((text) => ({ text, detail: LOGQL_HELP[text] ?? "" }));
  if (context.want === "label") {
    const names = await cached(`log-labels ${tenant.peek()}`, () => lokiLabels(start, end));
    return names.map((text) => ({ text, hint: "label" }));
  }
  const { label } = context;
  const values = await cached(`log-values ${tenant.peek()} ${label}`, () => lokiLabelValues(label, start, end));
  return values.map((text) => ({ text }));
}

async function complete(text: string, caret: number): Promise<Proposal | null> {
  const context = contextAt(text, caret);
  if (!context) return null;
  return { from: context.from, to: caret, items: await offered(context), quoted: context.want === "value", eager: context.want !== "name" };
}

/** Where line and column of a message point in a text. */
export function offsetIn(text: string, at: { line: number; column: number }): number {
  const before = text.split("\n").slice(0, at.line - 1);
  return Math.min(text.length, before.reduce((n, l) => n + l.length + 1, 0) + at.column - 1);
}

async function check(text: string): Promise<Problem[]> {
  try {
    await formatLogQl(text);
    return [];
  } catch (e) {
    // Another failure than "this is no query" says nothing about the text.
    if (!(e instanceof ApiError) || e.status !== 400) return [];
    const from = e.at ? offsetIn(text, e.at) : 0;
    return [{ from, to: e.at ? from + 1 : text.length, message: e.message }];
  }
}

async function help(word: string): Promise<Help | null> {
  const text = Object.hasOwn(LOGQL_HELP, word) ? LOGQL_HELP[word] : undefined;
  return text === undefined ? null : { title: word, text };
}

/** LogQL. */
export const LOGQL: Language = { complete, check, help };
