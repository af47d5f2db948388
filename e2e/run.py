"""Kenning end to end: the real binary with the real clients of other people.

usage: run.py KENNING_BINARY [--js DIR_WITH_NODE_MODULES] [--ui UI_DIR]

Each check is a function; a check whose tools are missing is reported as skipped, loudly. The last line counts.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
WAIT_SECONDS = 30


class Skip(Exception):
    """Raised by a check whose tools are not on this machine."""


class Server:
    """A `kenning serve` (or `demo`) on free ports with a directory of its own."""

    def __init__(self, binary, command="serve", config=None, extra=()):
        self.dir = tempfile.mkdtemp(prefix="kenning-e2e-")
        arguments = [binary, command, "--data-dir", f"{self.dir}/data", "--listen", "127.0.0.1:0"]
        arguments += ["--otlp-grpc-listen", "127.0.0.1:0", "--otlp-http-listen", "127.0.0.1:0", *extra]
        if config:
            path = pathlib.Path(self.dir, "kenning.yaml")
            path.write_text(config)
            arguments += ["--config", str(path)]
        self.log = open(f"{self.dir}/stderr.log", "w")
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready "):
                addresses = json.loads(line[len("ready "):])
                break
        else:
            raise AssertionError(f"no ready line; {pathlib.Path(self.log.name).read_text()[-2000:]}")
        self.url = f"http://{addresses['listen']}"
        self.otlp_http = f"http://{addresses['otlp_http_listen']}"
        self.otlp_grpc = f"http://{addresses['otlp_grpc_listen']}"

    def get(self, path, headers=None, **parameters):
        query = urllib.parse.urlencode(parameters)
        request = urllib.request.Request(f"{self.url}{path}?{query}", headers=headers or {})
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as reply:
            body = reply.read()
        return json.loads(body) if "json" in reply.headers.get("content-type", "") else body.decode()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=WAIT_SECONDS)
        shutil.rmtree(self.dir, ignore_errors=True)
        assert code == 0, f"exit code {code} on SIGTERM"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            print(pathlib.Path(self.log.name).read_text()[-4000:], file=sys.stderr)


def eventually(question, what):
    """The first answer that is true, asked again until time is up."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = question()
        except urllib.error.HTTPError as error:
            answer = None if error.code in (404, 503) else (_ for _ in ()).throw(error)
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"never came true: {what}")


def vector(server, query):
    return server.get("/api/v1/query", query=query)["data"]["result"]


def lines(server, query):
    streams = server.get("/loki/api/v1/query_range", query=query, since="1h")["data"]["result"]
    return [(stream["stream"], value[1]) for stream in streams for value in stream["values"]]


def trace_of(server, trace_id):
    return server.get(f"/ds/jaeger/api/traces/{trace_id}")["data"][0]


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


def check_javascript_otlp(options):
    if not (options.js and shutil.which("node")):
        raise Skip("node and e2e/js/node_modules are needed")
    with Server(options.kenning) as server:
        sent = subprocess.run(["node", str(HERE / "js/otlp.mjs"), server.otlp_http, server.otlp_grpc], timeout=60,
                              capture_output=True, text=True)
        assert sent.returncode == 0, sent.stderr
        for transport, trace_id in json.loads(sent.stdout.splitlines()[-1]).items():
            spans = {span["operationName"]: span for span in trace_of(server, trace_id)["spans"]}
            assert set(spans) == {f"checkout-{transport}", f"pay-{transport}"}, spans
            events = [field["value"] for log in spans[f"pay-{transport}"]["logs"] for field in log["fields"]]
            assert "card refused" in events, events
        assert vector(server, 'js_orders_total{kind="book"}')[0]["value"][1] == "3"
        assert len(lines(server, '{service_name="js-shop"} |= "js order failed"')) == 1


def check_prometheus_client_is_scraped(options):
    import prometheus_client as pc

    registry = pc.CollectorRegistry()
    orders = pc.Counter("orders", "Orders taken.", ["kind"], registry=registry)
    latency = pc.Histogram("latency_seconds", "Latency.", registry=registry)
    orders.labels("book").inc(2, exemplar={"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
    latency.observe(0.3)
    web, thread = pc.start_http_server(0, addr="127.0.0.1", registry=registry)
    config = f"""
scrape_configs:
  - job_name: shop
    scrape_interval: 1s
    static_configs:
      - targets: ["127.0.0.1:{web.server_port}"]
        labels: {{team: books}}
"""
    with Server(options.kenning, config=config) as server:
        found = eventually(lambda: vector(server, 'orders_total{kind="book", team="books"}'), "orders_total is scraped")
        assert found[0]["value"][1] == "2", found
        assert found[0]["metric"]["job"] == "shop", found
        assert vector(server, "up{job='shop'}")[0]["value"][1] == "1"
        assert vector(server, "latency_seconds_bucket{le='0.5'}")[0]["value"][1] == "1"
        assert server.get("/api/v1/metadata", metric="latency_seconds")["data"]["latency_seconds"][0]["type"] == "histogram"
        target = server.get("/api/v1/targets")["data"]["activeTargets"][0]
        assert target["health"] == "up" and target["lastError"] == "", target
        web.shutdown()
        eventually(lambda: vector(server, "up{job='shop'}")[0]["value"][1] == "0", "a dead target is down")
        assert vector(server, "orders_total") == [], "series of a dead target end at once"


def check_prometheus_scrapes_kenning(options):
    with Server(options.kenning) as server:
        prometheus_takes([server.url.removeprefix("http://")])


def prometheus_takes(addresses):
    """Debian's Prometheus scrapes all of these without complaint."""
    prometheus = shutil.which("prometheus")
    if not prometheus:
        raise Skip("Debian's prometheus is needed")
    with tempfile.TemporaryDirectory() as dir:
        config = pathlib.Path(dir, "prometheus.yml")
        job = {"job_name": "taken", "scrape_interval": "1s", "static_configs": [{"targets": addresses}]}
        config.write_text(json.dumps({"scrape_configs": [job]}))
        port = free_port()
        arguments = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={dir}/data",
                     f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: all_up(port, len(addresses)), f"Prometheus takes {addresses}")
        finally:
            process.terminate()
            process.wait()


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def all_up(port, count):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=5) as reply:
            targets = json.load(reply)["data"]["activeTargets"]
    except urllib.error.URLError:
        return False
    assert not any(target["lastError"] for target in targets), targets
    return len(targets) == count and all(target["health"] == "up" for target in targets)


def check_loki_push(options):
    with Server(options.kenning) as server:
        now = str(time.time_ns())
        body = {"streams": [{"stream": {"app": "pushed"}, "values": [[now, "level=warn hello", {"trace_id": "ab" * 16}]]}]}
        request = urllib.request.Request(f"{server.url}/loki/api/v1/push", json.dumps(body).encode(),
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as reply:
            assert reply.status == 204, reply.status
        (labels, line), = lines(server, '{app="pushed"}')
        assert line == "level=warn hello" and labels["detected_level"] == "warn", (labels, line)
        assert labels["trace_id"] == "ab" * 16, labels
        assert server.get("/loki/api/v1/label/app/values")["data"] == ["pushed"]


def check_command_line(options):
    with Server(options.kenning) as server:
        def ask(*arguments):
            command = [options.kenning, "query", *arguments, "--url", server.url]
            return subprocess.run(command, capture_output=True, text=True, timeout=30)

        assert ask("promql", "1+1").stdout.strip() == "2"
        bad = ask("promql", "sum(")
        assert bad.returncode == 1 and "1:5" in bad.stderr, bad
        assert ask("promql", "up", "--tenant", "a/b").returncode == 1
        wrong = subprocess.run([options.kenning, "serve", "--set", "past=1d", "--set", "listen"], capture_output=True, text=True)
        assert wrong.returncode == 1 and "listen" in wrong.stderr, wrong
        nobody = subprocess.run([options.kenning, "query", "promql", "1", "--url", "http://127.0.0.1:1"],
                                capture_output=True, text=True)
        assert nobody.returncode == 1 and "kenning serve" in nobody.stderr, nobody


def check_demo_and_ui(options):
    with Server(options.kenning, command="demo") as server:
        tree = {"ingest_event", "minio_upload", "kafka_publish", "postgres_insert"}

        checks = {"health_check", "postgres_check", "minio_check", "kafka_check", "clickhouse_check"}

        def whole_tree(root, names):
            found = server.get("/ds/jaeger/api/traces", service="wotr-api", operation=root, limit=20)["data"]
            return any(names <= {span["operationName"] for span in trace["spans"]} for trace in found)

        eventually(lambda: whole_tree("ingest_event", tree), "the ingest trace of the document is there")
        eventually(lambda: whole_tree("health_check", checks), "the health trace of the document is there")
        eventually(lambda: vector(server, "sum(rate(consumer_messages_processed_total[15s])) > 0"), "the consumer works")
        failed = eventually(lambda: lines(server, '{service_name="wotr-api"} | detected_level="error"'), "errors are logged")
        assert any("locked" in labels.get("exception_message", "") for labels, _ in failed), failed[:3]
        assert all(labels["trace_id"] for labels, _ in failed), failed[:3]
        assert any("note" in labels.get("exception_stacktrace", "") for labels, _ in failed), failed[:3]
        spike = 'sum(rate(http_requests_total{status=~"5.."}[1m])) > 0'
        eventually(lambda: vector(server, spike), "the error spike is on the graph")
        sdk_metrics_are_taken(server)
        kenning_sees_itself(server)
        if not (options.ui and shutil.which("node") and shutil.which("chromium")):
            raise Skip("node, ui/node_modules and chromium are needed for the browser part")
        browser = subprocess.run(["node", "test/e2e.mjs", server.url], cwd=options.ui, timeout=240)
        assert browser.returncode == 0, "the browser flow failed"


def kenning_sees_itself(server):
    """Its own metrics, logs and traces are in the tenant `self`."""
    own = {"X-Scope-OrgID": "self"}
    metric = "kenning_ingest_items_total"
    eventually(lambda: server.get("/api/v1/query", own, query=metric)["data"]["result"], "own metrics are stored")
    eventually(lambda: "kenning" in server.get("/ds/jaeger/api/services", own)["data"], "own traces are stored")
    logs = lambda: server.get("/loki/api/v1/query_range", own, query='{service_name="kenning"} |= "ready"')
    eventually(lambda: logs()["data"]["result"], "own logs are stored")


def sdk_metrics_are_taken(server):
    """The SDK's exposition through the strict parser of the Python client, and by Debian's Prometheus."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    targets = server.get("/api/v1/targets")["data"]["activeTargets"]
    assert len(targets) >= 2, targets
    for target in targets:
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        with urllib.request.urlopen(urllib.request.Request(target["scrapeUrl"], headers=accept), timeout=5) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        assert families, target
    prometheus_takes([urllib.parse.urlparse(target["scrapeUrl"]).netloc for target in targets])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kenning", type=os.path.abspath)
    parser.add_argument("--js", type=os.path.abspath)
    parser.add_argument("--ui", type=os.path.abspath)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    counts = dict(passed=0, failed=0, skipped=0)
    for name, check in sorted(globals().items()):
        if not name.startswith("check_") or options.only not in name:
            continue
        start = time.monotonic()
        try:
            check(options)
            outcome, story = "passed", ""
        except Skip as reason:
            outcome, story = "skipped", f": SKIPPED, {reason}"
        except Exception:
            outcome, story = "failed", ""
            traceback.print_exc()
        counts[outcome] += 1
        print(f"{name[len('check_'):]}: {outcome}{story} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
