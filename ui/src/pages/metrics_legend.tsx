/** The legend of the page's chart; what is chosen in it stands in the URL. */
import "../core.ts";
import type { ChartData } from "../chart/data.ts";
import { Legend } from "../chart/legend.tsx";
import { paramAll, patch } from "../router.ts";
import type { Unit } from "../units.ts";

/** The legend. */
export function SeriesLegend({ data, unit }: { data: ChartData; unit: Unit }) {
  const keys = paramAll("only");
  const only = keys.length > 0 && data.series.some((s) => keys.includes(s.key)) ? new Set(keys) : undefined;
  return <Legend data={data} unit={unit} only={only} onOnly={(set) => patch({ only: set ? [...set] : "" })} />;
}
