/** Shared state derived from the URL (time, zone, tenant, service) and the few preferences kept in the browser. */
import { computed, effect, signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { busy } from "./load.ts";
import { paramSignal, patch } from "./router.ts";
import { iso, isLive, parseDuration, resolveRange, type Range, type RangeText, type Zone } from "./time.ts";

/** Colour scheme: as the system says, or fixed. */
export type Theme = "system" | "dark" | "light";

/** Refresh periods on offer, as written in the URL. */
export const REFRESH_CHOICES = ["off", "5s", "10s", "30s", "1m", "5m"] as const;

/** Where the range begins when the URL does not say: close enough to "now" that a fresh start fills the picture. */
export const DEFAULT_FROM = "now-15m";

const DEFAULT_REFRESH = "10s";

const fromText = paramSignal("from");
const toText = paramSignal("to");
const zoneText = paramSignal("tz");
const refreshText = paramSignal("refresh");

/** The tenant whose data is shown; "" is the default tenant. */
export const tenant = paramSignal("tenant");

/** The service the pages are narrowed to; "" for all. */
export const service = paramSignal("service");

/** Zone for all times on screen. */
export const zone = computed<Zone>(() => (zoneText.value === "utc" ? "utc" : "local"));

/** The range as it stands in the URL. */
export const rangeText = computed<RangeText>(() => ({
  from: fromText.value || DEFAULT_FROM,
  to: toText.value || "now",
}));

/** Rises with every automatic or manual refresh. */
export const tick = signal(0);

/** Rises only when the reader asks for a refresh. */
export const manualTick = signal(0);

/** The range resolved now and at every refresh. */
export const range = computed<Range>(() => {
  void tick.value;
  return resolveRange(rangeText.value, Date.now(), zone.value);
});

/** The range resolved only when the reader acts: for lists that must not move under the eye. */
export const heldRange = computed<Range>(() => {
  void manualTick.value;
  return resolveRange(rangeText.value, Date.now(), zone.value);
});

/**
 * The range for a list that must not move under the eye: resolved when the reader acts, and with every refresh only
 * while `follow` holds, which is while there is nothing to look at yet.
 */
export function useSteadyRange(follow: boolean): Range {
  const acted = heldRange.value;
  const moving = range.value;
  const ref = useRef({ acted, use: moving });
  if (ref.current.acted !== acted) ref.current = { acted, use: acted };
  else if (follow) ref.current = { acted, use: moving };
  return ref.current.use;
}

/** Chosen refresh period. */
export const refreshChoice = computed(() => refreshText.value || DEFAULT_REFRESH);

/** Milliseconds between automatic refreshes, 0 when none. */
export const refreshEvery = computed(() =>
  isLive(rangeText.value) && refreshChoice.value !== "off" ? (parseDuration(refreshChoice.value) ?? 0) : 0,
);

/** Reads everything again now. */
export function refresh(): void {
  manualTick.value++;
  tick.value++;
}

/** Commits an absolute range. */
export function setRange(r: Range): void {
  patch({ from: iso(r.from), to: iso(r.to) });
}

function stored(key: string): string {
  try {
    return window.localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function store(key: string, value: string): void {
  try {
    window.localStorage.setItem(key, value);
  } catch {
    // Storage may be forbidden; the preference then lasts as long as the page.
  }
}

/** Chosen theme; kept in the browser. */
export const theme = signal<Theme>((stored("kenning.theme") as Theme) || "system");

const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(systemDark.matches);

/** The scheme in force; charts redraw when it changes. */
export const scheme = computed<"dark" | "light">(() => {
  if (theme.value !== "system") return theme.value;
  return systemIsDark.value ? "dark" : "light";
});

/** Starts timers and theme handling. Called once. */
export function startState(): void {
  systemDark.addEventListener("change", () => (systemIsDark.value = systemDark.matches));
  effect(() => {
    document.documentElement.dataset["theme"] = scheme.value;
    store("kenning.theme", theme.value);
  });
  effect(() => {
    const every = refreshEvery.value;
    if (every === 0) return;
    const timer = window.setInterval(() => {
      if (!document.hidden && !busy()) tick.value++;
    }, every);
    return () => window.clearInterval(timer);
  });
}
