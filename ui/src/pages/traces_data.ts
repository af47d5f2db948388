/** Finding traces: one search, or one per service when no service is chosen, because Jaeger's search wants a service. */
import { findTraces, traceServices, type JaegerTrace } from "../api_traces.ts";
import { parseDuration, type Range } from "../time.ts";
import { parseTags, summarizeTrace, type TraceSummary } from "../trace.ts";

/** Services searched side by side when none is chosen. */
const FAN_OUT_MAX = 8;

/** What the form asks for. */
export interface Search {
  service: string;
  operation: string;
  tags: string;
  min: string;
  max: string;
  limit: number;
}

/** Traces found, and what was left out. */
export interface Found {
  traces: TraceSummary[];
  /** Services that were not searched. */
  skipped: number;
}

/** First mistake in the form, "" when there is none. */
export function mistake(s: Search): string {
  if (parseTags(s.tags) === null) return "Tags are key=value, separated by spaces; quote values with spaces.";
  if (s.min && parseDuration(s.min) === null) return "The shortest duration is not a duration such as 100ms or 1.5s.";
  if (s.max && parseDuration(s.max) === null) return "The longest duration is not a duration such as 100ms or 1.5s.";
  return "";
}

/** Runs the search, newest first. */
export async function search(s: Search, r: Range, signal: AbortSignal): Promise<Found> {
  const all = s.service ? [s.service] : await traceServices(signal);
  const asked = all.slice(0, FAN_OUT_MAX);
  const tags = parseTags(s.tags) ?? {};
  const answers = await Promise.all(
    asked.map((service) =>
      findTraces(
        {
          service,
          operation: s.service ? s.operation : "",
          tags: Object.keys(tags).length > 0 ? JSON.stringify(tags) : "",
          minDuration: s.min,
          maxDuration: s.max,
          limit: s.limit,
          start: Math.floor(r.from * 1000),
          end: Math.ceil(r.to * 1000),
        },
        signal,
      ),
    ),
  );
  return { traces: newest(answers.flat(), s.limit), skipped: all.length - asked.length };
}

function newest(traces: readonly JaegerTrace[], limit: number): TraceSummary[] {
  const unique = new Map(traces.map((t) => [t.traceID, t]));
  const found = [...unique.values()].map(summarizeTrace).filter((t): t is TraceSummary => t !== null);
  return found.sort((a, b) => b.start - a.start).slice(0, limit);
}
