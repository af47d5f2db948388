/** LogQL for the editor: what the server's parser expects at the caret, filled with names and values from the data. */
import { lokiLabels, lokiLabelValues, nanos } from "../api.ts";
import { completeAt, type Expect } from "../api_editor.ts";
import { detectedFields } from "../api_logs.ts";
import { cached } from "../load.ts";
import { range, tenant } from "../state.ts";
import type { Help, Language, Proposal, Suggestion } from "../widgets/editor.tsx";
import { durations, isEager, problemsOf } from "./language.ts";

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
  rate_counter: "increase per second of the unwrapped counter over the range",
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
  stddev_over_time: "standard deviation of the unwrapped values over the range",
  stdvar_over_time: "variance of the unwrapped values over the range",
  absent_over_time: "1 when no line was found over the range",
  avg: "mean, by or without labels",
  min: "smallest, by or without labels",
  max: "largest, by or without labels",
  count: "number of series, by or without labels",
  stddev: "standard deviation, by or without labels",
  stdvar: "variance, by or without labels",
  topk: "the k largest",
  approx_topk: "the k largest; here as exact as topk",
  sort: "sorted by value, smallest first",
  sort_desc: "sorted by value, largest first",
  label_replace: "a label written anew from another: label_replace(v, \"to\", \"$1\", \"from\", \"(.*)\")",
  vector: "a number as a series without labels",
  bool: "0 or 1 instead of leaving out what does not compare",
  offset: "looks back from that long ago",
  on: "matches series by these labels only",
  ignoring: "matches series by all but these labels",
  duration: "unwrap duration(l): the seconds of a text such as 1m30s",
  duration_seconds: "unwrap duration_seconds(l): the seconds of a text such as 1m30s",
  bytes: "unwrap bytes(l): the bytes of a text such as 4KiB",
  bottomk: "the k smallest",
  sum: "adds up, by or without labels",
  by: "keeps only these labels when aggregating",
  without: "takes these labels away when aggregating",
};

async function complete(text: string, caret: number): Promise<Proposal | null> {
  const found = await completeAt("logql", text, caret);
  if (found.expects.length === 0) return null;
  const lists = await Promise.all(found.expects.map((e) => offered(e, text.slice(found.from, caret))));
  return {
    from: found.from,
    to: found.to,
    items: lists.flat(),
    quoted: found.expects.some((e) => e.kind === "values"),
    eager: isEager(found.expects),
  };
}

async function offered(e: Expect, prefix: string): Promise<Suggestion[]> {
  const { from, to } = range.peek();
  const [start, end] = [nanos(from), nanos(to)];
  const named = (text: string): Suggestion => ({ text, hint: "label" });
  switch (e.kind) {
    case "functions":
      return (e.words ?? []).map((word) => ({ text: word, hint: "function", insert: `${word}(`, ...detail(word) }));
    case "durations":
      return durations(prefix, []);
    case "words":
      return e.words.map((word) => ({ text: word, ...(/^\w/.test(word) ? { hint: "keyword" } : {}), insert: written(word), ...detail(word) }));
    case "labels":
      return (await cached(`log-labels ${tenant.peek()} ${e.selector}`, () => lokiLabels(start, end, undefined, e.selector))).map(named);
    case "values": {
      const key = `log-values ${tenant.peek()} ${e.selector} ${e.label}`;
      return (await cached(key, () => lokiLabelValues(e.label, start, end, undefined, e.selector))).map((text) => ({ text }));
    }
    case "fields": {
      const labels = cached(`log-labels ${tenant.peek()} `, () => lokiLabels(start, end));
      const fields = e.query ? cached(`log-fields ${tenant.peek()} ${e.query}`, () => detectedFields(e.query, start, end)) : Promise.resolve([]);
      const [names, found] = await Promise.all([labels.catch(() => []), fields.catch(() => [])]);
      return [...found.map((f) => ({ text: f.name, hint: f.type })), ...names.filter((n) => !found.some((f) => f.name === n)).map(named)];
    }
    case "metrics":
      return [];
  }
}

const detail = (word: string): { detail?: string } => (Object.hasOwn(LOGQL_HELP, word) ? { detail: LOGQL_HELP[word] ?? "" } : {});

/** What is written for a word: with the bracket or the blank that must follow. */
function written(word: string): string {
  if (/^(by|without|on|ignoring|group_left|group_right)$/.test(word)) return `${word} (`;
  return /^(\||\|=|!=|\|~|!~|\|>|!>|unwrap|line_format|label_format|drop|keep|pattern|regexp|offset)$/.test(word) ? `${word} ` : word;
}

async function help(word: string): Promise<Help | null> {
  const text = Object.hasOwn(LOGQL_HELP, word) ? LOGQL_HELP[word] : undefined;
  return text === undefined ? null : { title: word, text };
}

/** LogQL. */
export const LOGQL: Language = { complete, check: (text) => problemsOf("logql", text), help };
