/** Searches that the reader named, and the last ones run; kept in the browser. */

const SAVED_KEY = "kenning.logs.saved";
const RECENT_KEY = "kenning.logs.recent";
const SAVED_MAX = 200;
const RECENT_MAX = 30;
const QUERY_LENGTH_MAX = 4000;
const NAME_LENGTH_MAX = 120;

/** A named search. `params` is the part of the URL that makes it: query, columns, what is shown. */
export interface Saved {
  name: string;
  params: string;
}

function read(key: string): unknown[] {
  try {
    const list: unknown = JSON.parse(window.localStorage.getItem(key) ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}

/** Whether it could be kept: storage may be forbidden or full. */
function write(key: string, list: readonly unknown[]): boolean {
  try {
    window.localStorage.setItem(key, JSON.stringify(list));
    return true;
  } catch {
    return false;
  }
}

const isSaved = (v: unknown): v is Saved => typeof (v as Saved | null)?.name === "string" && typeof (v as Saved).params === "string";

/** All named searches, by name. */
export const savedSearches = (): Saved[] => read(SAVED_KEY).filter(isSaved);

/** The list with a search added or replaced, by name and no longer than the bound. */
export function withSaved(list: readonly Saved[], search: Saved): Saved[] {
  const name = search.name.trim().slice(0, NAME_LENGTH_MAX);
  if (name === "" || search.params.length > QUERY_LENGTH_MAX) return [...list];
  const next = [...list.filter((s) => s.name !== name), { ...search, name }];
  return next.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, SAVED_MAX);
}

/** Keeps a list of named searches. */
export const keepSaved = (list: readonly Saved[]): boolean => write(SAVED_KEY, list);

/** The last queries, the latest first. */
export const recentQueries = (): string[] => read(RECENT_KEY).filter((q): q is string => typeof q === "string");

/** The list with a query at its head. */
export function withRecent(list: readonly string[], query: string): string[] {
  if (query === "" || query.length > QUERY_LENGTH_MAX) return [...list];
  return [query, ...list.filter((q) => q !== query)].slice(0, RECENT_MAX);
}

/** Remembers a query that was run. */
export const rememberQuery = (query: string): boolean => write(RECENT_KEY, withRecent(recentQueries(), query));
