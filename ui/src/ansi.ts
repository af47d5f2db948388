/**
 * Terminal colours in log lines. Only SGR sequences (`ESC [ … m`) mean anything here; every other escape stays in the
 * text and is shown as what it is. Colours become classes of our own palette: a line cannot choose to be invisible.
 */

/** A stretch of text in one style. */
export interface Styled {
  text: string;
  /** CSS classes, "" for plain text: `ansi-1` … `ansi-7`, `ansi-bold`, `ansi-under`, `ansi-italic`. */
  style: string;
}

const SGR = /\u001b\[([\d;:]*)m/g;

interface Pen {
  colour: number | null;
  bold: boolean;
  italic: boolean;
  under: boolean;
}

const PLAIN: Pen = { colour: null, bold: false, italic: false, under: false };

/** Splits a line into stretches of one style; sequences themselves are taken out. */
export function ansiParts(text: string): Styled[] {
  if (!text.includes("\u001b[")) return [{ text, style: "" }];
  const out: Styled[] = [];
  let pen = PLAIN;
  let at = 0;
  for (const m of text.matchAll(SGR)) {
    if (m.index > at) out.push({ text: text.slice(at, m.index), style: styleOf(pen) });
    pen = applied(pen, m[1] ?? "");
    at = m.index + m[0].length;
  }
  if (at < text.length) out.push({ text: text.slice(at), style: styleOf(pen) });
  return out;
}

/** The text without SGR sequences. */
export const withoutAnsi = (text: string): string => (text.includes("\u001b[") ? text.replaceAll(SGR, "") : text);

function styleOf(pen: Pen): string {
  const classes = [pen.colour === null ? "" : `ansi-${pen.colour}`, pen.bold ? "ansi-bold" : "", pen.italic ? "ansi-italic" : "", pen.under ? "ansi-under" : ""];
  return classes.filter(Boolean).join(" ");
}

function applied(pen: Pen, codes: string): Pen {
  const list = codes === "" ? [0] : codes.split(/[;:]/).map(Number);
  let next = { ...pen };
  for (let i = 0; i < list.length; i++) {
    const code = list[i] ?? 0;
    if (code === 38 || code === 48) {
      const [colour, used] = extended(list.slice(i + 1));
      if (code === 38) next.colour = colour;
      i += used;
    } else next = one(next, code);
  }
  return next;
}

function one(pen: Pen, code: number): Pen {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...pen, bold: true };
  if (code === 3) return { ...pen, italic: true };
  if (code === 4) return { ...pen, under: true };
  if (code === 22) return { ...pen, bold: false };
  if (code === 23) return { ...pen, italic: false };
  if (code === 24) return { ...pen, under: false };
  if (code === 39) return { ...pen, colour: null };
  if (code >= 30 && code <= 37) return { ...pen, colour: code - 30 };
  if (code >= 90 && code <= 97) return { ...pen, colour: code - 90 };
  // Backgrounds, blinking, hiding: a line may not hide itself.
  return pen;
}

/** `5;n` of the 256 colours and `2;r;g;b`, brought to the nearest of eight; and how many codes that took. */
function extended(rest: readonly number[]): [number | null, number] {
  if (rest[0] === 5) return [indexed(rest[1] ?? 0), 2];
  if (rest[0] === 2) return [nearest(rest[1] ?? 0, rest[2] ?? 0, rest[3] ?? 0), 4];
  return [null, 0];
}

function indexed(n: number): number {
  if (n < 16) return n % 8;
  if (n >= 232) return 7;
  const [r, g, b] = [Math.floor((n - 16) / 36), Math.floor((n - 16) / 6) % 6, (n - 16) % 6];
  return nearest(r * 51, g * 51, b * 51);
}

/** Bit per channel that is at least half as strong as the strongest. */
function nearest(r: number, g: number, b: number): number {
  const half = Math.max(r, g, b, 1) / 2;
  return (r > half ? 1 : 0) + (g > half ? 2 : 0) + (b > half ? 4 : 0);
}
