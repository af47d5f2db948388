/** Warnings and infos of the server, and what the picture leaves out. */
import "../core.ts";
import { here } from "../router.ts";
import { integer } from "../units.ts";
import { SafeText, Status } from "../widgets/basics.tsx";
import type { Results } from "./metrics_explore.tsx";

/** The notes. */
export function Notes({ results, expr }: { results: Results; expr: string }) {
  const { data, notes, histograms } = results;
  const several = new Set(notes.map((n) => n.letter)).size > 1;
  return (
    <div class="notes">
      {notes.map((n, i) => (
        <div key={i} class="notice">
          <Status kind={n.level === "warning" ? "warn" : "none"}>{n.level}</Status>
          <span>
            {several && <strong>{n.letter}: </strong>}
            <SafeText text={n.text} />
          </span>
        </div>
      ))}
      {histograms.length > 0 && (
        <div class="notice">
          <Status kind="none">info</Status>
          <span>
            The answer has native histograms; their counts are drawn. <a href={here({ view: "heat" })}>Show them as a heat map</a>
          </span>
        </div>
      )}
      {data.omitted > 0 && (
        <div class="notice">
          <Status kind="warn">too many series</Status>
          <span>
            {integer(data.series.length)} of {integer(data.series.length + data.omitted)} series are drawn. Narrow the query, add them up, or{" "}
            <a href={here({ q: `topk(20, ${expr})`, metric: "", by: "" })}>draw the 20 largest</a>.
          </span>
        </div>
      )}
    </div>
  );
}
