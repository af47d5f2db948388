"""OpenTelemetry's SDKs for Python and JavaScript."""

import json
import pathlib
import shutil
import subprocess

from kenning import Server, Skip, lines, trace_of, vector

JS = pathlib.Path(__file__).resolve().parent.parent / "js/otlp.mjs"


def check_python_otlp_http(options):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    with Server(options.kenning) as server:
        base = server.otlp_http
        python_otlp(server, OTLPSpanExporter(endpoint=f"{base}/v1/traces"),
                    OTLPMetricExporter(endpoint=f"{base}/v1/metrics"), OTLPLogExporter(endpoint=f"{base}/v1/logs"))


def check_python_otlp_grpc(options):
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    with Server(options.kenning) as server:
        target = dict(endpoint=server.otlp_grpc, insecure=True)
        python_otlp(server, OTLPSpanExporter(**target), OTLPMetricExporter(**target), OTLPLogExporter(**target))


def python_otlp(server, spans, metrics, logs):
    """One trace with an error, a counter, a histogram, one correlated log line: sent, then read back."""
    import logging
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    resource = Resource.create({"service.name": "py-shop"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics, 60_000)])
    logger = logging.Logger("shop")
    logger.addHandler(LoggingHandler(logger_provider=loggers))

    tracer = tracers.get_tracer("e2e")
    with tracer.start_as_current_span("checkout", attributes={"http.status_code": 500}) as root:
        with tracer.start_as_current_span("pay") as child:
            child.record_exception(ValueError("card refused"))
        logger.error("order failed", extra={"order": 7})
        trace_id = f"{root.get_span_context().trace_id:032x}"
    meter = meters.get_meter("e2e")
    meter.create_counter("shop.orders").add(3, {"kind": "book"})
    meter.create_histogram("shop.latency", unit="ms").record(12.5)
    assert tracers.force_flush() and loggers.force_flush() and meters.force_flush()

    trace = trace_of(server, trace_id)
    names = {span["operationName"] for span in trace["spans"]}
    assert names == {"checkout", "pay"}, names
    found = lines(server, '{service_name="py-shop"} |= "order failed"')
    assert len(found) == 1, found
    assert found[0][0]["trace_id"] == trace_id, found
    assert found[0][0]["detected_level"] == "error", found
    assert vector(server, 'shop_orders_total{kind="book"}')[0]["value"][1] == "3"
    assert vector(server, 'shop_latency_milliseconds_count')[0]["value"][1] == "1"
    assert "py-shop" in server.get("/ds/jaeger/api/services")["data"]
    tracers.shutdown(), loggers.shutdown(), meters.shutdown()


def check_python_delta_and_exponential_metrics(options):
    """Delta temporality and exponential histograms, chosen as users choose them: by environment variables."""
    import os
    from unittest import mock

    variables = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
                 "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}
    with mock.patch.dict(os.environ, variables), Server(options.kenning) as server:
        delta_metrics(server)


def delta_metrics(server):
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{server.otlp_http}/v1/metrics"), 60_000)
    resource = Resource.create({"service.name": "delta-shop", "service.instance.id": "1", "host.name": "h"})
    meters = MeterProvider(resource=resource, metric_readers=[reader])
    meter = meters.get_meter("e2e")
    orders, latency = meter.create_counter("shop.orders"), meter.create_histogram("shop.latency", unit="s")
    for _ in range(3):
        orders.add(2, {"kind": "book"})
        latency.record(0.5), latency.record(2.0)
        assert meters.force_flush()
    values = vector(server, 'shop_orders_total{job="delta-shop",instance="1",kind="book"}')
    assert values[0]["value"][1] == "6", values
    count = vector(server, "histogram_count(shop_latency_seconds)")
    assert count[0]["value"][1] == "6", count
    assert vector(server, "histogram_sum(shop_latency_seconds)")[0]["value"][1] == "7.5"
    assert vector(server, 'target_info{job="delta-shop",host_name="h"}')[0]["value"][1] == "1"
    meters.shutdown()


def check_instruments_by_their_own_names(options):
    """The instruments of document L, asked for by their dotted names and by the translated ones."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    with Server(options.kenning) as server:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{server.otlp_http}/v1/metrics"), 60_000)
        meters = MeterProvider(resource=Resource.create({"service.name": "langfuse"}), metric_readers=[reader])
        meter = meters.get_meter("e2e")
        meter.create_counter("langfuse.ingestion.events_processed").add(5, {"queue": "ingestion"})
        for name in ("langfuse.blob_export.table_duration_ms", "langfuse.blob_export.job_duration_ms"):
            meter.create_histogram(name).record(1200.0)
        query_time = meter.create_histogram("langfuse.clickhouse.query_duration_ms")
        for service in ("ReadWrite", "ReadOnly", "EventsReadOnly"):
            query_time.record(8.0, {"service": service, "feature": "tracing"})
        assert meters.force_flush()
        for query in ('{"langfuse.ingestion.events_processed", queue="ingestion"}',
                      'langfuse_ingestion_events_processed_total{queue="ingestion"}',
                      '{"langfuse.ingestion.events_processed"}'):
            (found,) = vector(server, query)
            assert found["value"][1] == "5" and found["metric"]["job"] == "langfuse", (query, found)
        for name in ("blob_export.table_duration_ms", "blob_export.job_duration_ms"):
            name = f"langfuse.{name}"
            (count,) = vector(server, f'{{"{name}_count"}}')
            (translated,) = vector(server, f"{name.replace('.', '_')}_count")
            assert count["value"][1] == translated["value"][1] == "1", (name, count, translated)
        bucket = '{"langfuse.clickhouse.query_duration_ms_bucket", service=~"Read.*"}'
        found = vector(server, f"histogram_quantile(0.5, sum by (le, service) ({bucket}))")
        assert {one["metric"]["service"] for one in found} == {"ReadWrite", "ReadOnly"}, found
        assert all(5 <= float(one["value"][1]) <= 10 for one in found), found
        meters.shutdown()


def check_javascript_otlp(options):
    if not (options.js and shutil.which("node")):
        raise Skip("node and e2e/js/node_modules are needed")
    with Server(options.kenning) as server:
        sent = subprocess.run(["node", str(JS), server.otlp_http, server.otlp_grpc], timeout=60,
                              capture_output=True, text=True)
        assert sent.returncode == 0, sent.stderr
        for transport, trace_id in json.loads(sent.stdout.splitlines()[-1]).items():
            spans = {span["operationName"]: span for span in trace_of(server, trace_id)["spans"]}
            assert set(spans) == {f"checkout-{transport}", f"pay-{transport}"}, spans
            events = [field["value"] for log in spans[f"pay-{transport}"]["logs"] for field in log["fields"]]
            assert "card refused" in events, events
        assert vector(server, 'js_orders_total{kind="book"}')[0]["value"][1] == "3"
        assert len(lines(server, '{service_name="js-shop"} |= "js order failed"')) == 1
