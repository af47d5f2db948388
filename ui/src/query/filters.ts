/** Filters of the Metrics page: matchers in the URL. */
import { labelName } from "./promql.ts";
import { matcher } from "./quote.ts";

/** A filter as the URL holds it. */
export const filterText = (label: string, op: "=" | "!=", value: string): string => matcher(labelName(label), op, value);

/** The URL's filters with one more; the opposite of the same label and value goes. */
export function withFilter(filters: readonly string[], label: string, op: "=" | "!=", value: string): string[] {
  const opposite = filterText(label, op === "=" ? "!=" : "=", value);
  const kept = filters.filter((f) => f !== opposite && !(op === "=" && f.startsWith(`${labelName(label)}=`)));
  return [...new Set([...kept, filterText(label, op, value)])];
}

/** `a=b` of the server as a matcher; names and values may hold anything but a name no `=`. */
export function pairMatcher(pair: string): string {
  const at = pair.indexOf("=");
  return matcher(labelName(pair.slice(0, at)), "=", pair.slice(at + 1));
}
