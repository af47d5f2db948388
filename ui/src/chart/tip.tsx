/** The tooltip of the time charts: values sorted, the nearest bold; pinned it is text with links. */
import "../core.ts";
import { px } from "../load.ts";
import { zone } from "../state.ts";
import { dateTime } from "../time.ts";
import { format, type Unit } from "../units.ts";
import { SafeText } from "../widgets/basics.tsx";
import type { Series } from "./data.ts";

/** A link offered by a pinned tooltip. */
export interface PointLink {
  text: string;
  href: string;
}

/** What is under the pin. */
export interface Point {
  /** Milliseconds. */
  at: number;
  series: Series | undefined;
}

const ROWS_MAX = 10;

interface Props {
  /** Milliseconds. */
  at: number;
  index: number;
  series: readonly Series[];
  near: Series | undefined;
  color: (s: Series) => string;
  unit: Unit;
  /** Place of the crosshair and size of the chart, CSS pixels. */
  x: number;
  top: number;
  width: number;
  height: number;
  pinned: boolean;
  links: readonly PointLink[];
  close: () => void;
}

/** The tooltip and, when pinned, the line it is pinned to. */
export function Tip(p: Props) {
  const rows = p.series
    .map((s) => ({ s, v: s.values[p.index] ?? null }))
    .filter((r) => r.v !== null)
    .sort((a, b) => (b.v ?? 0) - (a.v ?? 0));
  const side = p.x > p.width / 2 ? { right: px(p.width - p.x + 12) } : { left: px(p.x + 12) };
  const top = px(Math.max(0, Math.min(p.top - 20, p.height - 60)));
  return (
    <>
      {p.pinned && <div class="pin-line" style={{ left: px(p.x), height: px(p.height - 22) }} />}
      <div class={`tip ${p.pinned ? "pinned" : ""}`} style={{ ...side, top }} role={p.pinned ? "dialog" : undefined} aria-label={p.pinned ? "Point" : undefined}>
        <div class="when">
          <span>{dateTime(p.at, zone.value)}</span>
          {p.pinned && (
            <button type="button" class="chip" onClick={p.close}>
              unpin
            </button>
          )}
        </div>
        <ol>
          {rows.slice(0, ROWS_MAX).map(({ s, v }) => (
            <li key={s.key} class={s === p.near ? "near" : ""}>
              <span class="dot" style={{ "--c": `var(${p.color(s)})` }} />
              <span class="clip">
                <SafeText text={s.name} />
              </span>
              <span class="num">{format(v, p.unit)}</span>
            </li>
          ))}
        </ol>
        {rows.length === 0 && <div class="more">no value here</div>}
        {rows.length > ROWS_MAX && <div class="more">and {rows.length - ROWS_MAX} more</div>}
        {p.links.length > 0 && (
          <div class="links">
            {p.links.map((l) => (
              <a key={l.text} class="menu-item" href={l.href}>
                {l.text}
              </a>
            ))}
          </div>
        )}
      </div>
    </>
  );
}
