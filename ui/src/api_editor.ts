/** What the server's parsers say to an editor while a query is typed. Places count UTF-16 units. */
import { get } from "./api.ts";

/** A language whose parser is asked. */
export type LanguageName = "promql" | "logql";

/** What may stand at the cursor. */
export type Expect =
  | { kind: "functions"; words?: string[] }
  | { kind: "metrics" | "durations" }
  | { kind: "labels"; selector: string }
  | { kind: "values"; label: string; selector: string }
  | { kind: "fields"; query: string }
  | { kind: "words"; words: string[] };

/** The stretch a choice replaces, and what it may be replaced by. */
export interface Expected {
  from: number;
  to: number;
  expects: Expect[];
}

/** What may stand at `at`. */
export async function completeAt(language: LanguageName, query: string, at: number, signal?: AbortSignal): Promise<Expected> {
  return (await get(`api/ui/v1/${language}/complete`, { query, at }, { signal, postable: true })) as Expected;
}

/** Something the parser has to say about a stretch of the query. */
export interface Complaint {
  level: "error" | "warning" | "info";
  from: number;
  to: number;
  message: string;
  hint: string;
}

/** The parser's verdict; `formatted` when there is nothing wrong. */
export interface Verdict {
  diagnostics: Complaint[];
  formatted?: string;
  type?: string;
}

/** Judges a query without running it. */
export async function checkQuery(language: LanguageName, query: string, signal?: AbortSignal): Promise<Verdict> {
  return (await get(`api/ui/v1/${language}/check`, { query }, { signal, postable: true })) as Verdict;
}
