/** PromQL for the editor: what the server's parser expects at the caret, filled with the names that the data has. */
import { promLabels, promLabelValues } from "../api.ts";
import { completeAt, type Expect } from "../api_editor.ts";
import { functions, type FunctionHelp } from "../api_metrics.ts";
import { cached } from "../load.ts";
import { range, tenant } from "../state.ts";
import type { Help, Language, Suggestion } from "../widgets/editor.tsx";
import { durations, isEager, problemsOf } from "./language.ts";
import { metricIn, type Family } from "./promql.ts";
import { masked, VARIABLES } from "./variables.ts";

let known: Promise<FunctionHelp[]> | undefined;

/** Functions do not change while the page is open. */
function allFunctions(): Promise<FunctionHelp[]> {
  known ??= functions().catch(() => {
    known = undefined;
    return [];
  });
  return known;
}

/** The language over the metrics that `families` gives at the time of asking. */
export function promqlLanguage(families: () => readonly Family[]): Language {
  return {
    async complete(text, caret) {
      const found = await completeAt("promql", masked(text), caret);
      const lists = await Promise.all(found.expects.map((e) => offered(e, text, caret, found.from, families())));
      return {
        from: variableStart(text, found.from),
        to: found.to,
        items: lists.flat(),
        quoted: found.expects.some((e) => e.kind === "values"),
        eager: isEager(found.expects),
      };
    },
    check: (text) => problemsOf("promql", masked(text)),
    help: (word) => helpOn(word, families()),
  };
}

/** A `$` before the word is part of a variable, which the parser does not know. */
const variableStart = (text: string, from: number): number => (text[from - 1] === "$" ? from - 1 : from);

async function offered(e: Expect, text: string, caret: number, from: number, families: readonly Family[]): Promise<Suggestion[]> {
  const { from: start, to: end } = range.peek();
  switch (e.kind) {
    case "functions":
      return (await allFunctions()).map((f) => ({ text: f.name, hint: f.aggregates ? "aggregation" : "function", detail: `${f.signature} — ${f.help}`, insert: `${f.name}(` }));
    case "metrics":
      return families.flatMap(namesOf);
    case "durations":
      return durations(text.slice(from, caret), VARIABLES);
    case "words":
      return e.words.map((word) => ({ text: word, hint: "keyword", insert: /^(by|without|on|ignoring)$/.test(word) ? `${word} (` : word }));
    case "labels": {
      const match = e.selector || selectorAhead(text.slice(caret));
      const found = await cached(`labels ${tenant.value} ${match}`, () => promLabels(match ? [match] : [], start / 1000, end / 1000));
      return found.filter((l) => l !== "__name__").map((l) => ({ text: l, hint: "label" }));
    }
    case "values": {
      const match = e.selector ? [e.selector] : [];
      const found = await cached(`values ${tenant.value} ${e.selector} ${e.label}`, () => promLabelValues(e.label, match, start / 1000, end / 1000));
      return found.map((v) => ({ text: v }));
    }
    case "fields":
      return [];
  }
}

/** `sum by (|) (rate(x[5m]))`: the series whose labels are wanted stand behind the caret. */
function selectorAhead(after: string): string {
  const metric = metricIn(after);
  return metric ? `{__name__=${JSON.stringify(metric)}}` : "";
}

const SUFFIXES: Partial<Record<Family["kind"], readonly string[]>> = { histogram: ["_bucket", "_sum", "_count"], summary: ["", "_sum", "_count"] };

function namesOf(f: Family): Suggestion[] {
  const detail = f.help ? { detail: f.help } : {};
  return (SUFFIXES[f.kind] ?? [""]).map((s) => ({ text: f.name + s, hint: f.kind.replace("_", " "), ...detail }));
}


async function helpOn(word: string, families: readonly Family[]): Promise<Help | null> {
  const f = (await allFunctions()).find((x) => x.name === word);
  if (f) return { title: f.signature, text: f.help };
  const base = word.replace(/_(bucket|sum|count)$/, "");
  const family = families.find((x) => x.name === word) ?? families.find((x) => x.name === base);
  if (!family) return null;
  return { title: `${family.name} · ${family.kind.replace("_", " ")} · ${family.unit.replace("_", " ")}`, text: family.help || "No help was sent with this metric." };
}
