/** The keys and gestures, on one card. */
import "../core.ts";
import { PAGES } from "../pages.ts";
import { Dialog } from "./dialog.tsx";
import { helpOpen } from "./open.ts";

type Row = readonly [readonly string[], string];

const GROUPS: readonly (readonly [string, readonly Row[]])[] = [
  [
    "Everywhere",
    [
      [["Ctrl K", "/"], "Command bar: pages, services, metrics, trace ids"],
      ...PAGES.filter((p) => p.key).map((p): Row => [[`g ${p.key}`], p.name]),
      [["r"], "Refresh"],
      [["?"], "This card"],
    ],
  ],
  [
    "Time",
    [
      [["t ←", "t →"], "Half a range back or forward"],
      [["t z", "z"], "Zoom out"],
      [["drag"], "On a chart: zoom in"],
      [["dblclick"], "On a chart: zoom out"],
      [["Alt ←"], "Browser back: the range before"],
    ],
  ],
  [
    "Lists",
    [
      [["j", "k"], "Next, previous row"],
      [["Enter"], "Open the row"],
      [["[", "]"], "Previous, next while a row is open"],
      [["Esc"], "Close, or leave the input"],
      [["Space"], "Logs: pause or continue live"],
    ],
  ],
  [
    "Charts and queries",
    [
      [["click"], "Pin the tooltip; its links lead to logs and traces"],
      [["← →"], "Move the crosshair of a focused chart; Enter pins"],
      [["click"], "Legend: only this series; Ctrl adds and removes"],
      [["e"], "Edit the query"],
      [["Enter"], "Run; Shift Enter breaks the line"],
      [["Ctrl Space"], "Suggest"],
    ],
  ],
];

/** The card. */
export function Help() {
  return (
    <Dialog class="help" label="Keys and gestures" onClose={() => (helpOpen.value = false)}>
      <h1>Keys and gestures</h1>
      <div class="help-grid">
        {GROUPS.map(([title, rows]) => (
          <section key={title}>
            <h2>{title}</h2>
            <dl>
              {rows.map(([keys, text]) => (
                <>
                  <dt class="row wrap" style="gap:4px">
                    {keys.map((k) => (
                      <kbd key={k}>{k}</kbd>
                    ))}
                  </dt>
                  <dd>{text}</dd>
                </>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
