/** Parts of the Metrics page that arrive after its first paint. */
import { lazy } from "../widgets/lazy.tsx";

/** Height of the query box with one line. */
const BOX_HEIGHT = 34;

/** The query box. */
export const QueryBar = lazy(() => import("./metrics_query.tsx").then((m) => m.QueryBar), BOX_HEIGHT);

/** The query-less half. */
export const Browser = lazy(() => import("./metrics_browse.tsx").then((m) => m.Browser));

/** The half with a query. */
export const Explore = lazy(() => import("./metrics_explore.tsx").then((m) => m.Explore));

/** The values as a table. */
export const Table = lazy(() => import("./metrics_table.tsx").then((m) => m.Table));

/** Height of the header of one metric: title and breakdown. */
const ABOUT_HEIGHT = 62;

/** The header of one metric. */
export const About = lazy(() => import("./metrics_about.tsx").then((m) => m.About), ABOUT_HEIGHT);
