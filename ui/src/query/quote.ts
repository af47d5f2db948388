/** Writing values into query text: the one place that escapes. */

/** A string literal of PromQL and LogQL; JSON's escapes are a subset of Go's. */
export const quote = (value: string): string => JSON.stringify(value);

/** A matcher as text. */
export const matcher = (label: string, op: "=" | "!=" | "=~" | "!~", value: string): string => `${label}${op}${quote(value)}`;

/** Text that matches itself inside a regular expression. */
export const escapeRegex = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
