/** What the range picker opens: quick relative ranges, a line to type into, two absolute ends, steps. */
import "../core.ts";
import { useState } from "preact/hooks";
import { patch } from "../router.ts";
import { DEFAULT_FROM, range, rangeText, setRange, zone } from "../state.ts";
import { dateTime, parseInstant, parseRange, shiftRange, zoomOut } from "../time.ts";
import { Icon } from "../widgets/icons.tsx";

const QUICK = ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "14d", "30d"];

function Typed({ close }: { close: () => void }) {
  const current = rangeText.value;
  const [text, setText] = useState(current.to === "now" ? current.from : `${current.from} to ${current.to}`);
  const parsed = parseRange(text, Date.now(), zone.value);
  const apply = (): void => {
    if (!parsed) return;
    close();
    patch({ from: parsed.from, to: parsed.to === "now" ? "" : parsed.to });
  };
  return (
    <label class="labelled">
      Type a range, such as 90m, now-2h to now-1h, 10:00 - 11:30
      <input
        class="field mono"
        autofocus
        value={text}
        spellcheck={false}
        aria-invalid={!parsed}
        onInput={(e) => setText(e.currentTarget.value)}
        onFocus={(e) => e.currentTarget.select()}
        onKeyDown={(e) => e.key === "Enter" && apply()}
      />
    </label>
  );
}

function Ends({ close }: { close: () => void }) {
  const r = range.value;
  const [from, setFrom] = useState(dateTime(r.from, zone.value));
  const [to, setTo] = useState(dateTime(r.to, zone.value));
  const [a, b] = [parseInstant(from, Date.now(), zone.value), parseInstant(to, Date.now(), zone.value)];
  const good = a !== null && b !== null && a < b;
  return (
    <form
      class="ends"
      onSubmit={(e) => {
        e.preventDefault();
        if (a === null || b === null || a >= b) return;
        close();
        setRange({ from: a, to: b });
      }}
    >
      <label class="labelled">
        From
        <input class="field mono" value={from} aria-invalid={a === null} onInput={(e) => setFrom(e.currentTarget.value)} />
      </label>
      <label class="labelled">
        To
        <input class="field mono" value={to} aria-invalid={!good} onInput={(e) => setTo(e.currentTarget.value)} />
      </label>
      <button type="submit" class="btn" disabled={!good} style="grid-column:1/-1">
        Apply
      </button>
    </form>
  );
}

/** The form. */
export function RangeForm({ close }: { close: () => void }) {
  const text = rangeText.value;
  return (
    <>
      <Typed close={close} />
      <div class="quick" role="group" aria-label="Quick ranges">
        {QUICK.map((q) => (
          <button
            key={q}
            type="button"
            class={`btn small ${text.from === `now-${q}` && text.to === "now" ? "on" : ""}`}
            onClick={() => (close(), patch({ from: `now-${q}` === DEFAULT_FROM ? "" : `now-${q}`, to: "" }))}
          >
            {q}
          </button>
        ))}
      </div>
      <Ends close={close} />
      <div class="row">
        <button type="button" class="btn small grow" onClick={() => setRange(shiftRange(range.value, -0.5))}>
          <Icon name="left" /> Back <kbd>t ←</kbd>
        </button>
        <button type="button" class="btn small grow" onClick={() => setRange(zoomOut(range.value))}>
          Zoom out <kbd>t z</kbd>
        </button>
        <button type="button" class="btn small grow" onClick={() => setRange(shiftRange(range.value, 0.5))}>
          Forward <Icon name="right" /> <kbd>t →</kbd>
        </button>
      </div>
    </>
  );
}
