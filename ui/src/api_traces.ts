/** Requests for traces, in the shapes of Jaeger's HTTP API. */
import { ApiError, data, get, list, strings } from "./api.ts";

/** Attribute of a span, event or process. */
export interface Tag {
  key: string;
  type?: string;
  value: unknown;
}

/** A span as Jaeger writes it; times in microseconds. */
export interface JaegerSpan {
  traceID: string;
  spanID: string;
  operationName: string;
  references?: { refType: string; traceID: string; spanID: string }[];
  startTime: number;
  duration: number;
  tags?: Tag[];
  logs?: { timestamp: number; fields: Tag[] }[];
  processID: string;
  warnings?: string[] | null;
}

/** A trace as Jaeger writes it. */
export interface JaegerTrace {
  traceID: string;
  spans: JaegerSpan[];
  processes: Record<string, { serviceName: string; tags?: Tag[] }>;
}

/** Search for traces; times and durations as Jaeger wants them (µs; `100ms`). */
export interface TraceSearch {
  service: string;
  operation?: string;
  tags?: string;
  minDuration?: string;
  maxDuration?: string;
  limit: number;
  start: number;
  end: number;
}

/** Services that have sent spans. */
export async function traceServices(signal?: AbortSignal): Promise<string[]> {
  return strings(data(await get("ds/jaeger/api/services", {}, { signal }))).sort();
}

/** Operations of one service. */
export async function traceOperations(service: string, signal?: AbortSignal): Promise<string[]> {
  const path = `ds/jaeger/api/services/${encodeURIComponent(service)}/operations`;
  return strings(data(await get(path, {}, { signal }))).sort();
}

/** Traces that match. */
export async function findTraces(q: TraceSearch, signal?: AbortSignal): Promise<JaegerTrace[]> {
  return list(data(await get("ds/jaeger/api/traces", { ...q }, { signal }))) as JaegerTrace[];
}

/** One trace; null when it is unknown. */
export async function trace(id: string, signal?: AbortSignal): Promise<JaegerTrace | null> {
  try {
    const found = list(data(await get(`ds/jaeger/api/traces/${encodeURIComponent(id)}`, {}, { signal }))) as JaegerTrace[];
    return found[0] ?? null;
  } catch (e) {
    if (e instanceof ApiError && e.status === 404) return null;
    throw e;
  }
}
