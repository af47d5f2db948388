/** The legend of the page's chart; what is chosen in it stands in the URL. */
import "../core.ts";
import type { ChartData } from "../chart/data.ts";
import { Legend } from "../chart/legend.tsx";
import { chosen } from "../chart/chosen.ts";
import { patch } from "../router.ts";
import type { Unit } from "../units.ts";

/** The legend. */
export function SeriesLegend({ data, unit }: { data: ChartData; unit: Unit }) {
  return <Legend data={data} unit={unit} only={chosen(data)} onOnly={(set) => patch({ only: set ? [...set] : "" })} />;
}
