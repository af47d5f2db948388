"""`kenning demo`: the story of the reference service, and the browser on it."""

import shutil
import subprocess
import urllib.parse
import urllib.request

from kenning import Server, Skip, eventually, lines, prometheus_takes, vector


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
        browser = subprocess.run(["node", "test/e2e.mjs", server.url], cwd=options.ui, timeout=480)
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
