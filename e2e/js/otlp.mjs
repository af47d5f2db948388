// The unmodified JavaScript exporters send one trace (three transports), one counter and one log record.
import { createRequire } from 'node:module';

// The packages are CommonJS or ES modules depending on their version; `require` takes both.
const require = createRequire(import.meta.url);
const { SpanStatusCode, context, trace } = require('@opentelemetry/api');
const { OTLPLogExporter } = require('@opentelemetry/exporter-logs-otlp-http');
const { OTLPMetricExporter } = require('@opentelemetry/exporter-metrics-otlp-http');
const { OTLPTraceExporter: GrpcExporter } = require('@opentelemetry/exporter-trace-otlp-grpc');
const { OTLPTraceExporter: JsonExporter } = require('@opentelemetry/exporter-trace-otlp-http');
const { OTLPTraceExporter: ProtoExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { LoggerProvider, SimpleLogRecordProcessor } = require('@opentelemetry/sdk-logs');
const { MeterProvider, PeriodicExportingMetricReader } = require('@opentelemetry/sdk-metrics');
const { SimpleSpanProcessor, TracerProvider } = require('@opentelemetry/sdk-trace');

const [http, grpc] = process.argv.slice(2);
const resource = resourceFromAttributes({ 'service.name': 'js-shop' });

const exporters = [
  ['json', new JsonExporter({ url: `${http}/v1/traces` })],
  ['proto', new ProtoExporter({ url: `${http}/v1/traces` })],
  ['grpc', new GrpcExporter({ url: grpc })],
];
const traces = {};
for (const [name, exporter] of exporters) {
  const provider = new TracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const tracer = provider.getTracer('e2e');
  const parent = tracer.startSpan(`checkout-${name}`, { attributes: { 'http.status_code': 500 } });
  const child = tracer.startSpan(`pay-${name}`, {}, trace.setSpan(context.active(), parent));
  child.recordException(new Error('card refused'));
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'card refused' });
  child.end();
  parent.end();
  traces[name] = parent.spanContext().traceId;
  await provider.forceFlush();
  await provider.shutdown();
}

const reader = new PeriodicExportingMetricReader({
  exporter: new OTLPMetricExporter({ url: `${http}/v1/metrics` }),
  exportIntervalMillis: 60_000,
  exportTimeoutMillis: 10_000,
});
const meters = new MeterProvider({ resource, readers: [reader] });
meters.getMeter('e2e').createCounter('js.orders', { unit: '1' }).add(3, { kind: 'book' });
await meters.forceFlush();
await meters.shutdown();

const logs = new LoggerProvider({
  resource,
  processors: [new SimpleLogRecordProcessor({ exporter: new OTLPLogExporter({ url: `${http}/v1/logs` }) })],
});
logs.getLogger('e2e').emit({ severityNumber: 17, severityText: 'ERROR', body: 'js order failed', attributes: { order: 7 } });
await logs.forceFlush();
await logs.shutdown();

console.log(JSON.stringify(traces));
