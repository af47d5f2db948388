/** JSON as text: laid out anew without being read into values, so that long numbers, key order and doubles stay as they are. */

/** Nesting beyond it is not indented further. */
const INDENT_MAX = 40;

/** The text indented; unchanged when it is no JSON. */
export function prettyJson(text: string): string {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  let [out, depth] = ["", 0];
  const line = (): string => `\n${"  ".repeat(Math.min(depth, INDENT_MAX))}`;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  tokens.forEach((t, i) => {
    const empty = (t === "{" && tokens[i + 1] === "}") || (t === "[" && tokens[i + 1] === "]");
    if (t === "{" || t === "[") {
      depth++;
      out += empty ? t : t + line();
    } else if (t === "}" || t === "]") {
      depth--;
      out += tokens[i - 1] === "{" || tokens[i - 1] === "[" ? t : line() + t;
    } else if (t === ",") out += t + line();
    else out += t === ":" ? ": " : t;
  });
  return out;
}

/** Role of a stretch of JSON text, named as the query editor's colours. */
export interface JsonToken {
  kind: "label" | "string" | "number" | "op";
  text: string;
}

/** Cuts JSON text into keys, strings, numbers and words, and the rest. */
export function jsonTokens(text: string): JsonToken[] {
  const out: JsonToken[] = [];
  for (const [t] of text.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[^\s{}[\],:"]+|[\s{}[\],:]+|"/g)) {
    if (t.startsWith('"')) out.push({ kind: t.endsWith(":") ? "label" : "string", text: t });
    else out.push({ kind: /^[\w.+-]+$/.test(t) ? "number" : "op", text: t });
  }
  return out;
}
