/**
 * Colours of series, levels and services. The eight series hues were searched in OKLCH for the largest minimum
 * distance under normal and colour-deficient vision; a label set keeps its hue on every page and after every reload,
 * because its slot comes from a hash of the labels. More than eight series repeat hues with dash patterns.
 */

/** Labels of a series, stream or span, as the APIs give them. */
export type Labels = Record<string, string>;

/** Number of hues before dashes begin. */
export const SERIES_COLORS = 8;

/** Dash patterns in CSS pixels, in order of use; the first is solid. */
export const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

/** A place in the palette. */
export interface Slot {
  color: number;
  dash: number;
}

/** FNV-1a, 32 bits: stable across browsers and reloads. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  return h >>> 0;
}

/** Canonical text of a label set: sorted, so equal sets give equal text. */
export function labelKey(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((k) => `${k}=${JSON.stringify(labels[k] ?? "")}`)
    .join(",");
}

/**
 * Slots for the series of one chart. Each takes the hue of its hash when free, else the next free one in a fixed
 * order, so the same set of series always gets the same colours; dashes start when all hues are taken.
 */
export function assignSlots(keys: readonly string[]): Slot[] {
  const order = keys.map((key, index) => ({ key, index })).sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const used = new Array<number>(SERIES_COLORS).fill(0);
  const slots = new Array<Slot>(keys.length).fill({ color: 0, dash: 0 });
  order.forEach(({ key, index }, rank) => {
    const round = Math.floor(rank / SERIES_COLORS);
    // The empty set, "everything summed up", takes the first hue: the accent.
    let color = key === "" ? 0 : hash(key) % SERIES_COLORS;
    while ((used[color] ?? 0) > round) color = (color + 1) % SERIES_COLORS;
    used[color] = (used[color] ?? 0) + 1;
    slots[index] = { color, dash: round % DASHES.length };
  });
  return slots;
}

/** CSS variable with the colour of a slot. */
export const seriesVar = (color: number): string => `--series-${color + 1}`;

/** CSS variable with the colour of a named thing such as a service. */
export const nameVar = (name: string): string => seriesVar(hash(name) % SERIES_COLORS);

/** Log levels in order of severity, the most severe first. */
export const LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "other"] as const;

/** One of the levels Kenning distinguishes. */
export type Level = (typeof LEVELS)[number];

const LEVEL_WORDS: Record<string, Level> = {
  fatal: "fatal",
  critical: "fatal",
  crit: "fatal",
  alert: "fatal",
  emergency: "fatal",
  panic: "fatal",
  error: "error",
  err: "error",
  severe: "error",
  warn: "warn",
  warning: "warn",
  info: "info",
  information: "info",
  informational: "info",
  notice: "info",
  debug: "debug",
  trace: "trace",
};

/** Level from any of its common spellings; `other` when unknown. */
export function levelOf(text: string | undefined): Level {
  return LEVEL_WORDS[(text ?? "").toLowerCase()] ?? "other";
}

/** Concrete colour of a CSS variable on the document, for canvases. */
export function cssColor(variable: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}
