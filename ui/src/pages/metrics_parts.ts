/** Parts of the Metrics page that arrive after its first paint, each only when it is shown. */
import { lazy } from "../widgets/lazy.tsx";

/** Height of the query box with one line. */
const BOX_HEIGHT = 34;
/** Height of the header of one metric: title and breakdown. */
const ABOUT_HEIGHT = 62;
const OPTIONS_HEIGHT = 36;
const CHART_HEIGHT = 320;

/** The query boxes. */
export const QueryBar = lazy(() => import("./metrics_query.tsx").then((m) => m.QueryBar), BOX_HEIGHT);

/** The query-less half. */
export const Browser = lazy(() => import("./metrics_browse.tsx").then((m) => m.Browser));

/** One metric as a small chart. */
export const Card = lazy(() => import("./metrics_card.tsx").then((m) => m.Card));

/** The list of metrics as a table. */
export const NameList = lazy(() => import("./metrics_names.tsx").then((m) => m.NameList));

/** The half with a query. */
export const Explore = lazy(() => import("./metrics_explore.tsx").then((m) => m.Explore));

/** The line chart. */
export const Graph = lazy(() => import("./metrics_graph.tsx").then((m) => m.Graph), CHART_HEIGHT);

/** Its legend. */
export const SeriesLegend = lazy(() => import("./metrics_legend.tsx").then((m) => m.SeriesLegend));

/** How results are shown, and what they cost. */
export const OptionsBar = lazy(() => import("./metrics_options.tsx").then((m) => m.OptionsBar), OPTIONS_HEIGHT);

/** What the server says beside the samples. */
export const Notes = lazy(() => import("./metrics_notes.tsx").then((m) => m.Notes));

/** The heat map. */
export const Heat = lazy(() => import("./metrics_heat.tsx").then((m) => m.Heat), CHART_HEIGHT);

/** Exemplars as a list. */
export const Exemplars = lazy(() => import("./metrics_exemplars.tsx").then((m) => m.Exemplars));

/** One small chart per value of a label. */
export const Breakdown = lazy(() => import("./metrics_breakdown.tsx").then((m) => m.Breakdown));

/** One of them. */
export const Part = lazy(() => import("./metrics_part.tsx").then((m) => m.Part), 136);

/** The values as a table. */
export const Table = lazy(() => import("./metrics_table.tsx").then((m) => m.Table));

/** The header of one metric. */
export const About = lazy(() => import("./metrics_about.tsx").then((m) => m.About), ABOUT_HEIGHT);

/** Chips of matchers, and the way to add one. */
export const Filters = lazy(() => import("./metrics_filters.tsx").then((m) => m.Filters));

/** Where the series are. */
export const Explorer = lazy(() => import("./metrics_cardinality.tsx").then((m) => m.Explorer));
