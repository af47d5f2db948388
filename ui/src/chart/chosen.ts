/** Which series of a chart the URL chooses. */
import { paramAll } from "../router.ts";
import type { ChartData } from "./data.ts";

/** The series chosen in the legend; all when none of them is here. */
export function chosen(data: ChartData): ReadonlySet<string> | undefined {
  const keys = paramAll("only");
  return keys.length > 0 && data.series.some((s) => keys.includes(s.key)) ? new Set(keys) : undefined;
}
