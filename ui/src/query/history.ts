/** Queries that were run, the latest first, kept in the browser. */

const KEY = "kenning.promql.history";
const ENTRIES_MAX = 50;
const ENTRY_LENGTH_MAX = 4_000;

/** Queries run before. */
export function history(): string[] {
  try {
    const list: unknown = JSON.parse(window.localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(list) ? list.filter((q): q is string => typeof q === "string") : [];
  } catch {
    return [];
  }
}

/** The list with a query at its head: no doubles, no longer than the bound. */
export function remembered(list: readonly string[], query: string): string[] {
  if (query === "" || query.length > ENTRY_LENGTH_MAX) return [...list];
  return [query, ...list.filter((q) => q !== query)].slice(0, ENTRIES_MAX);
}

/** Remembers a query that was run. */
export function remember(query: string): void {
  try {
    window.localStorage.setItem(KEY, JSON.stringify(remembered(history(), query)));
  } catch {
    // Storage may be forbidden or full; history is a convenience.
  }
}
