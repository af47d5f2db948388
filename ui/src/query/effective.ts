/** The log query in force: what was typed, what the command bar looks for, what the service scope narrows. */
import { addNeedle, parseLogQuery, printLogQuery } from "./logql.ts";
import { matcher } from "./quote.ts";

/** The query in force: what was typed, narrowed to the service in scope unless it names one itself. */
export function effectiveQuery(typed: string, find: string, label: string, scope: string): string {
  const any = scope ? matcher(label, "=", scope) : `${label}=~".+"`;
  const base = typed || `{${any}}`;
  const q = parseLogQuery(base);
  const scoped = q && scope && !q.matchers.some((m) => m.label === label) ? printLogQuery({ ...q, matchers: [{ label, op: "=", value: scope }, ...q.matchers] }) : base;
  return find ? addNeedle(scoped, find) : scoped;
}
