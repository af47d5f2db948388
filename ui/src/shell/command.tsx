/**
 * Command bar. Understands what is typed: a trace id opens the trace, `{...}` runs LogQL, everything else filters
 * pages, services, metrics and commands.
 */
import "../core.ts";
import { useEffect, useRef, useState } from "preact/hooks";
import { promLabelValues } from "../api.ts";
import { traceServices } from "../api_traces.ts";
import { cached } from "../load.ts";
import { PAGES } from "../pages.ts";
import { go, here, link } from "../router.ts";
import { range, rangeText, refresh, service, tenant, theme, zone, setRange } from "../state.ts";
import { iso, parseRange, zoomOut } from "../time.ts";
import { copyText } from "../widgets/basics.tsx";
import { Icon, type IconName } from "../widgets/icons.tsx";
import { Dialog } from "./dialog.tsx";
import { commandOpen, helpOpen } from "./open.ts";

interface Item {
  group: string;
  text: string;
  hint?: string;
  icon: IconName;
  run: () => void;
}

const METRICS_MAX = 40;
const ITEMS_MAX = 60;

/** Link with the range pinned down, so that who opens it later sees the same. */
function absoluteLink(): string {
  const r = range.value;
  return new URL(here({ from: iso(r.from), to: iso(r.to) }), document.baseURI).href;
}

function commands(): Item[] {
  const item = (text: string, icon: IconName, run: () => void, hint?: string): Item => ({ group: "Commands", text, icon, run, ...(hint ? { hint } : {}) });
  return [
    item("Refresh", "refresh", refresh, "r"),
    item("Zoom out", "clock", () => setRange(zoomOut(range.value)), "t z"),
    item("Copy link to this view", "link", () => void copyText(absoluteLink())),
    item("Theme: dark", "moon", () => (theme.value = "dark")),
    item("Theme: light", "sun", () => (theme.value = "light")),
    item("Theme: as the system", "monitor", () => (theme.value = "system")),
    item(zone.value === "utc" ? "Times in local zone" : "Times in UTC", "clock", () => go(here({ tz: zone.value === "utc" ? "" : "utc" }))),
    item("Keys and gestures", "help", () => (helpOpen.value = true), "?"),
  ];
}

function direct(text: string): Item[] {
  const s = text.trim();
  const out: Item[] = [];
  if (/^[0-9a-f]{16}$|^[0-9a-f]{32}$/i.test(s)) {
    out.push({ group: "Go", text: `Open trace ${s}`, icon: "traces", run: () => go(link(`trace/${s.toLowerCase()}`)) });
  }
  if (s.startsWith("{")) out.push({ group: "Go", text: `Search logs ${s}`, icon: "logs", run: () => go(link("logs", { q: s })) });
  const typed = s ? parseRange(s, Date.now(), zone.value) : null;
  if (typed && typed.from !== rangeText.value.from) {
    out.push({ group: "Go", text: `Range ${typed.from} to ${typed.to}`, icon: "clock", run: () => go(here({ ...typed })) });
  }
  if (s.includes("(") || /^[a-z_:][\w:]*\{/i.test(s)) {
    out.push({ group: "Go", text: `Run PromQL ${s}`, icon: "metrics", run: () => go(link("metrics", { q: s })) });
  }
  return out;
}

function places(): Item[] {
  return PAGES.filter((p) => !p.hidden).map((p) => ({
    group: "Places",
    text: p.name,
    hint: `g ${p.key}`,
    icon: p.icon,
    run: () => go(link(p.path)),
  }));
}

const tail = (text: string): Item[] =>
  text.trim().length < 2 || text.trim().startsWith("{")
    ? []
    : [
        {
          group: "Go",
          text: `Search log lines for “${text.trim()}”`,
          icon: "logs",
          run: () => go(link("logs", { find: text.trim() })),
        },
      ];

function useNames(): { services: string[]; metrics: string[] } {
  const [names, setNames] = useState({ services: [] as string[], metrics: [] as string[] });
  useEffect(() => {
    const { from, to } = range.value;
    const key = tenant.value;
    cached(`services ${key}`, () => traceServices()).then((services) => setNames((n) => ({ ...n, services })), () => undefined);
    cached(`metrics ${key}`, () => promLabelValues("__name__", [], from / 1000, to / 1000)).then(
      (metrics) => setNames((n) => ({ ...n, metrics })),
      () => undefined,
    );
  }, []);
  return names;
}

/** The bar. */
export function Command() {
  const [text, setText] = useState("");
  const [selected, setSelected] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const { services, metrics } = useNames();
  const close = (): void => void (commandOpen.value = false);
  const run = (item: Item | undefined): void => {
    if (!item) return;
    close();
    item.run();
  };
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (t: string): boolean => words.every((w) => t.toLowerCase().includes(w));
  const named: Item[] = [
    ...services.map((s): Item => ({ group: "Services", text: s, icon: "filter", hint: "scope", run: () => go(here({ service: s })) })),
    ...(service.value ? [{ group: "Services", text: "All services", icon: "filter", run: () => go(here({ service: "" })) } as Item] : []),
  ];
  const metricItems = metrics.filter((m) => words.length > 0 && fits(m)).slice(0, METRICS_MAX);
  const items = [
    ...direct(text),
    ...[...places(), ...named].filter((i) => fits(i.text)),
    ...metricItems.map((m): Item => ({ group: "Metrics", text: m, icon: "metrics", run: () => go(link("metrics", { metric: m })) })),
    ...commands().filter((i) => fits(i.text)),
    ...tail(text),
  ].slice(0, ITEMS_MAX);
  useEffect(() => list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" }), [selected, text]);
  const onKeyDown = (e: KeyboardEvent): void => {
    if (e.key === "ArrowDown") setSelected((selected + 1) % Math.max(1, items.length));
    else if (e.key === "ArrowUp") setSelected((selected + items.length - 1) % Math.max(1, items.length));
    else if (e.key === "Enter") run(items[selected]);
    else return;
    e.preventDefault();
  };
  return (
    <Dialog class="command" label="Command bar" onClose={close}>
      <input
        autofocus
        role="combobox"
        aria-expanded="true"
        aria-controls="command-results"
        aria-activedescendant={`command-${selected}`}
        aria-label="Search or command"
        placeholder="Page, service, metric, trace id, {LogQL} or a time range"
        value={text}
        onInput={(e) => (setText(e.currentTarget.value), setSelected(0))}
        onKeyDown={onKeyDown}
      />
      <div class="results" id="command-results" role="listbox" aria-label="Results" ref={list}>
        {items.length === 0 && <div class="menu-title">Nothing fits</div>}
        {items.map((item, i) => (
          <>
            {item.group !== items[i - 1]?.group && (
              <div class="menu-title" role="presentation">
                {item.group}
              </div>
            )}
            <div
              id={`command-${i}`}
              key={`${item.group} ${item.text}`}
              class="menu-item"
              role="option"
              aria-selected={i === selected}
              onPointerMove={() => setSelected(i)}
              onClick={() => run(item)}
            >
              <Icon name={item.icon} />
              <span class="clip">{item.text}</span>
              {item.hint && <kbd>{item.hint}</kbd>}
            </div>
          </>
        ))}
      </div>
    </Dialog>
  );
}
