/** A query as a command for a shell. Values are quoted for POSIX shells; nothing in them can end the quotation. */

/** What is asked for; times in nanoseconds as text. */
export interface Asked {
  query: string;
  start: string;
  end: string;
  limit: number;
  /** Address of the server without a slash at its end. */
  server: string;
  tenant: string;
}

/** One argument of a POSIX shell. */
export const shellQuote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const rfc3339 = (ns: string): string => {
  const seconds = new Date(Number(ns.slice(0, -6))).toISOString().slice(0, 19);
  return `${seconds}.${ns.slice(-9).padStart(9, "0")}Z`;
};

/** With curl, through Loki's API. */
export function asCurl(a: Asked): string {
  const tenant = a.tenant ? ` \\\n  -H ${shellQuote(`X-Scope-OrgID: ${a.tenant}`)}` : "";
  const field = (name: string, value: string): string => ` \\\n  --data-urlencode ${shellQuote(`${name}=${value}`)}`;
  const fields = field("query", a.query) + field("start", a.start) + field("end", a.end) + field("limit", String(a.limit));
  return `curl -sG ${shellQuote(`${a.server}/loki/api/v1/query_range`)}${tenant}${fields}`;
}

/** With Grafana's logcli. */
export function asLogcli(a: Asked): string {
  const tenant = a.tenant ? ` --org-id=${shellQuote(a.tenant)}` : "";
  return `logcli query --addr=${shellQuote(a.server)}${tenant} --from=${rfc3339(a.start)} --to=${rfc3339(a.end)} --limit=${a.limit} ${shellQuote(a.query)}`;
}

/** With Kenning's own program. */
export function asKenning(a: Asked): string {
  const tenant = a.tenant ? ` --tenant ${shellQuote(a.tenant)}` : "";
  return `kenning query logql --url ${shellQuote(a.server)}${tenant} --start ${rfc3339(a.start)} --end ${rfc3339(a.end)} --limit ${a.limit} ${shellQuote(a.query)}`;
}
