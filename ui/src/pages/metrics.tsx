/**
 * Metrics: without a query a browser of everything there is, as small charts; with one an editor, a chart and a table.
 * Both are the same state in the URL: a small chart is just a query written for the reader.
 */
import "../core.ts";
import { useRef } from "preact/hooks";
import { promMetadata, promLabelValues, type Metadata } from "../api.ts";
import { cached, useLoad } from "../load.ts";
import { param } from "../router.ts";
import { families, type Family } from "../query/promql.ts";
import { service, tenant, useSteadyRange } from "../state.ts";
import type { Range } from "../time.ts";
import { metricScope } from "../query/scope.ts";
import { Browser, Explore } from "./metrics_parts.ts";

/** Names, kinds and the scope's matchers: what both halves of the page stand on. */
export interface Catalogue {
  families: Family[];
  metadata: ReadonlyMap<string, Metadata>;
  match: string[];
}

async function loadCatalogue(r: Range, signal: AbortSignal): Promise<Catalogue> {
  const match = await metricScope(service.value, r);
  const selector = match.length ? [`{${match.join(",")}}`] : [];
  const [names, metadata] = await Promise.all([
    promLabelValues("__name__", selector, r.from / 1000, r.to / 1000, signal),
    cached(`metadata ${tenant.value}`, () => promMetadata()).catch(() => new Map<string, Metadata>()),
  ]);
  return { families: families(names, metadata), metadata, match };
}

/** The page. */
export default function Metrics() {
  // Until the first metric arrives, look again with every refresh.
  const empty = useRef(false);
  const r = useSteadyRange(empty.current);
  const load = useLoad(`${service.value} ${tenant.value} ${r.from} ${r.to}`, (signal) => loadCatalogue(r, signal), "catalogue");
  empty.current = !load.loading && load.data?.families.length === 0;
  const exploring = param("q") !== "" || param("metric") !== "";
  return <div class="page">{exploring ? <Explore catalogue={load} /> : <Browser catalogue={load} />}</div>;
}
