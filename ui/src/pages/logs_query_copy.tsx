/** Taking the query, or the lines loaded of it, away. */
import "../core.ts";
import type { Range } from "../time.ts";
import { CopyMenu, queryItems } from "./logs_copy.tsx";
import { LOADED_MAX, loadedRows, type Window } from "./logs_window.ts";

/** The menu of the list. */
export function QueryCopy({ query, r, window: w }: { query: string; r: Range; window: Window }) {
  return <CopyMenu right title="Copy the query or its lines" items={queryItems(query, r, () => loadedRows(w, LOADED_MAX))} />;
}
