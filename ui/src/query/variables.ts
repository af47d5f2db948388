/**
 * Variables of a query (`$__rate_interval`, `$__interval`, `$__range`) against a parser that does not know them: for
 * judging and completing they become durations of the same length, so that places stay; for formatting durations that
 * nobody writes, which are turned back afterwards.
 */

/** The variables. */
export const VARIABLES = ["$__rate_interval", "$__interval", "$__range"] as const;

/** The text with each variable as a duration of the same length. */
export function masked(text: string): string {
  return VARIABLES.reduce((t, v) => t.replaceAll(v, "1m".padEnd(v.length)), text);
}

/** Primes of seconds, as they are written and as the printer writes them. */
const STANDINS = [
  ["7919s", "2h11m59s"],
  ["7927s", "2h12m7s"],
  ["7933s", "2h12m13s"],
] as const;

/** The text with each variable as a duration that the printer gives back in one known way. */
export function standIn(text: string): string {
  return VARIABLES.reduce((t, v, i) => t.replaceAll(v, STANDINS[i]?.[0] ?? v), text);
}

/** Undoes `standIn` in printed text. */
export function restored(text: string): string {
  return VARIABLES.reduce((t, v, i) => t.replaceAll(STANDINS[i]?.[1] ?? v, v), text);
}
