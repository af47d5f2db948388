/**
 * Metrics: without a query a browser of everything there is, as small charts; with one an editor, a chart and a table;
 * and the explorer of cardinality. All are the same state in the URL: a small chart is just a query written for the
 * reader, a filter a matcher of it.
 */
import "../core.ts";
import { useRef } from "preact/hooks";
import { promMetadata, promLabelValues, type Metadata } from "../api.ts";
import { cached, useLoad } from "../load.ts";
import { param, paramAll, place } from "../router.ts";
import { families, matchWith, type Family } from "../query/promql.ts";
import { service, tenant, useSteadyRange } from "../state.ts";
import type { Range } from "../time.ts";
import { metricScope } from "../query/scope.ts";
import { Browser, Explore, Explorer } from "./metrics_parts.ts";

/** Names, kinds and the scope's matchers: what all parts of the page stand on. */
export interface Catalogue {
  families: Family[];
  metadata: ReadonlyMap<string, Metadata>;
  match: string[];
}

async function loadCatalogue(r: Range, filters: readonly string[], signal: AbortSignal): Promise<Catalogue> {
  const scope = await metricScope(service.value, r);
  const match = matchWith(scope, filters);
  const selector = match.length ? [`{${match.join(",")}}`] : [];
  const [names, metadata] = await Promise.all([
    promLabelValues("__name__", selector, r.from / 1000, r.to / 1000, signal),
    cached(`metadata ${tenant.value}`, () => promMetadata()).catch(() => new Map<string, Metadata>()),
  ]);
  return { families: families(names, metadata), metadata, match: scope };
}

/** The page. */
export default function Metrics() {
  // Until the first metric arrives, look again with every refresh.
  const empty = useRef(false);
  const r = useSteadyRange(empty.current);
  const exploring = paramAll("q").length > 0 || param("metric") !== "";
  // A query is completed with all names; only browsing is narrowed by filters.
  const filters = exploring ? [] : paramAll("f");
  const load = useLoad(`${service.value} ${tenant.value} ${r.from} ${r.to} ${filters.join("\n")}`, (signal) => loadCatalogue(r, filters, signal), "catalogue");
  empty.current = !load.loading && load.data?.families.length === 0;
  if (place.value.path === "metrics/cardinality") return <div class="page">{<Explorer />}</div>;
  return <div class="page">{exploring ? <Explore catalogue={load} /> : <Browser catalogue={load} />}</div>;
}
