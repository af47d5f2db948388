/** What the editors of both languages do alike with what the server's parsers say. */
import { checkQuery, type Expect, type LanguageName } from "../api_editor.ts";
import type { Problem, Suggestion } from "../widgets/editor.tsx";

/** Whether the list opens before a letter is typed: where only names of the data or durations can stand. */
export function isEager(expects: readonly Expect[]): boolean {
  return expects.length > 0 && expects.every((e) => e.kind === "labels" || e.kind === "values" || e.kind === "durations" || e.kind === "fields");
}

/** What is wrong with a query. */
export async function problemsOf(language: LanguageName, text: string): Promise<Problem[]> {
  const verdict = await checkQuery(language, text);
  return verdict.diagnostics.map((d) => ({ from: d.from, to: d.to, message: d.message, hint: d.hint }));
}

const WINDOWS = ["1m", "5m", "15m", "30m", "1h", "6h", "1d", "7d"];

/** Durations that begin with the digits typed, or the usual ones behind the variables that stand for some. */
export function durations(prefix: string, variables: readonly string[]): Suggestion[] {
  const digits = /^\d+/.exec(prefix)?.[0];
  if (digits) return ["s", "m", "h", "d"].map((unit) => ({ text: digits + unit, hint: "duration" }));
  return [...variables.map((text) => ({ text, hint: "follows the step" })), ...WINDOWS.map((text) => ({ text, hint: "duration" }))];
}
