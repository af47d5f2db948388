// Fills a server with an hour of invented metrics over OTLP/HTTP: a native histogram, a classic one with exemplars, a
// gauge of many series. Usage: node test/seed.mjs http://127.0.0.1:4318 [SERIES]
import { noise } from "./mock_data.mjs";

const base = process.argv[2];
const SERIES = Number(process.argv[3] ?? 3000);
if (!base) throw new Error("usage: node test/seed.mjs OTLP_HTTP_URL [SERIES]");

const STEP_S = 15;
const RANGE_S = 3600;
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const SCALE = 2;

const attributes = (pairs) => Object.entries(pairs).map(([key, value]) => ({ key, value: { stringValue: value } }));
const nanos = (s) => `${Math.round(s * 1000)}000000`;
const hex = (n, width) => Math.floor(n).toString(16).padStart(width, "0");

/** Seconds an invented request took: a body around 40 ms, a tail, and every half hour something slow. */
function duration(t, i) {
  const u = noise(3, Math.floor(t), i);
  const slow = t % 1800 < 240 ? 4 : 1;
  return 0.018 * slow * Math.exp(0.5 * u + 2.6 * u ** 8 + 0.6 * Math.sin(t / 600));
}

async function post(metrics) {
  const body = JSON.stringify({ resourceMetrics: [{ resource: { attributes: attributes({ "service.name": "seed" }) }, scopeMetrics: [{ scope: { name: "seed" }, metrics }] }] });
  const answer = await fetch(`${base}/v1/metrics`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  const said = await answer.text();
  if (said.includes("rejected")) console.log(said.slice(0, 300));
}

const end = Math.floor(Date.now() / 1000);
const start = end - RANGE_S;
const classic = { counts: new Array(BOUNDS.length + 1).fill(0), count: 0, sum: 0 };
const native = { buckets: new Map(), count: 0, sum: 0 };

for (let t = start; t <= end; t += STEP_S) {
  const exemplars = [];
  for (let i = 0; i < 90; i++) {
    const v = duration(t, i);
    const slot = BOUNDS.findIndex((b) => v <= b);
    classic.counts[slot < 0 ? BOUNDS.length : slot]++;
    classic.count++;
    classic.sum += v;
    const index = Math.ceil(Math.log2(v * 2e5) * 2 ** SCALE) - 1;
    native.buckets.set(index, (native.buckets.get(index) ?? 0) + 1);
    native.count++;
    native.sum += v * 2e5;
    if (i === 7 || v > 0.3) exemplars.push({ timeUnixNano: nanos(t - 5 + i / 20), asDouble: v, traceId: hex(noise(4, t, i) * 2 ** 32, 8).repeat(4), spanId: hex(noise(5, t, i) * 2 ** 32, 8).repeat(2) });
  }
  const offset = Math.min(...native.buckets.keys());
  const bucketCounts = Array.from({ length: Math.max(...native.buckets.keys()) - offset + 1 }, (_, i) => String(native.buckets.get(offset + i) ?? 0));
  const at = { startTimeUnixNano: nanos(start - 1), timeUnixNano: nanos(t), attributes: attributes({ route: "/checkout" }) };
  await post([
    { name: "checkout.duration", unit: "s", description: "Time to check out", histogram: { aggregationTemporality: 2, dataPoints: [{ ...at, count: String(classic.count), sum: classic.sum, explicitBounds: BOUNDS, bucketCounts: classic.counts.map(String), exemplars: exemplars.slice(0, 4) }] } },
    { name: "checkout.size", unit: "By", description: "Bytes of a checkout's basket", exponentialHistogram: { aggregationTemporality: 2, dataPoints: [{ ...at, count: String(native.count), sum: native.sum, scale: SCALE, zeroCount: "0", positive: { offset, bucketCounts } }] } },
  ]);
}
for (let t = end - 60; t <= end; t += 30) {
  const dataPoints = Array.from({ length: SERIES }, (_, i) => ({
    timeUnixNano: nanos(t),
    asDouble: 100 * noise(6, i) + 10 * noise(7, i, t),
    attributes: attributes({ basket: `basket-${i}`, shop: `shop-${i % 40}`, region: ["north", "south", "east"][i % 3] }),
  }));
  await post([{ name: "basket.value", unit: "1", description: "Value of each open basket", gauge: { dataPoints } }]);
}
console.log(`an hour of checkout histograms and ${SERIES} baskets written`);
