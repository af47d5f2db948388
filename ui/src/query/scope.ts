/**
 * How each signal spells "this service". Scraped metrics say `job`, OpenTelemetry `service_name`, Promtail `service`;
 * what is right is what the data has, so we look once per service and remember.
 */
import { lokiLabels, nanos, promLabelValues, promSeries } from "../api.ts";
import { cached } from "../load.ts";
import type { Labels } from "../palette.ts";
import { tenant } from "../state.ts";
import type { Range } from "../time.ts";
import { matcher } from "./quote.ts";

/** Labels that may carry a service's name, the most specific first. */
export const SERVICE_LABELS = ["service_name", "service", "job"] as const;

/** Name of the service a label set belongs to, "" when it does not say. */
export function serviceOf(labels: Labels): string {
  for (const label of SERVICE_LABELS) {
    const value = labels[label];
    // OpenTelemetry's `job` is namespace/name.
    if (value) return label === "job" ? (value.split("/").pop() ?? value) : value;
  }
  return "";
}

/** Matchers that narrow metrics to a service; empty when no service is chosen or no label carries it. */
export async function metricScope(service: string, r: Range): Promise<string[]> {
  if (!service) return [];
  return cached(`metric-scope ${tenant.value} ${service}`, async () => {
    for (const label of SERVICE_LABELS) {
      const values = await promLabelValues(label, [], r.from / 1000, r.to / 1000).catch(() => []);
      const hit = values.find((v) => v === service) ?? values.find((v) => label === "job" && v.endsWith(`/${service}`));
      if (hit) return [matcher(label, "=", hit)];
    }
    return [matcher("service_name", "=", service)];
  });
}

/** The one service all series of a metric belong to, "" when there are several: aggregation removes the label. */
export async function soleService(metric: string, r: Range): Promise<string> {
  if (!metric) return "";
  return cached(`sole-service ${tenant.value} ${metric}`, async () => {
    const sets = await promSeries(metric, r.from / 1000, r.to / 1000).catch(() => []);
    const names = new Set(sets.map(serviceOf));
    return names.size === 1 ? ([...names][0] ?? "") : "";
  });
}

/** Stream label that carries the service in logs. */
export async function logServiceLabel(r: Range): Promise<string> {
  return cached(`log-label ${tenant.value}`, async () => {
    const names = await lokiLabels(nanos(r.from), nanos(r.to)).catch(() => [] as string[]);
    return SERVICE_LABELS.find((l) => names.includes(l)) ?? names[0] ?? "service_name";
  });
}
