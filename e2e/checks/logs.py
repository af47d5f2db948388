"""Shippers of logs."""

import json
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request

from kenning import Server, Skip, eventually, lines, push

JS = pathlib.Path(__file__).resolve().parent.parent / "js/loki.mjs"


def check_loki_push(options):
    with Server(options.kenning) as server:
        now = str(time.time_ns())
        push(server, {"app": "pushed"}, [[now, "level=warn hello", {"trace_id": "ab" * 16}]])
        (labels, line), = lines(server, '{app="pushed"}')
        assert line == "level=warn hello" and labels["detected_level"] == "warn", (labels, line)
        assert labels["trace_id"] == "ab" * 16, labels
        assert server.get("/loki/api/v1/label/app/values")["data"] == ["pushed"]


DOCUMENTS = {
    '{service="wotr-api"} |= "error"': ["error storing event"],
    '{container="fastapi"} | json | level="ERROR"': ["error storing event"],
    '{service="wotr-consumer"} | json | line_format "{{.message}}"': ["message processed"],
    '{service="api"}': ["Image created", "Failed to enqueue"],
    '{service="api", level="error"}': ["Failed to enqueue"],
    '{service="api"} |= "Image created"': ["Image created"],
}


def check_queries_of_the_documents(options):
    """Every LogQL query of the documents (W5, R5), as written: over Loki's API and on the command line."""
    with Server(options.kenning) as server:
        now = time.time_ns()
        at = [str(now - i * 10**6) for i in range(3)]
        api = {"service": "wotr-api", "container": "fastapi"}
        push(server, api, [[at[0], '{"level":"INFO","message":"event ingested"}'],
                           [at[1], '{"level":"ERROR","message":"error storing event"}']])
        push(server, {"service": "wotr-consumer"}, [[at[0], '{"level":"INFO","message":"message processed"}']])
        push(server, {"service": "api", "level": "info"}, [[at[0], 'msg="Image created" image_id=7']])
        push(server, {"service": "api", "level": "error"}, [[at[1], 'msg="Failed to enqueue staging job"']])
        for query, expect in DOCUMENTS.items():
            found = [line for _, line in lines(server, query)]
            assert len(found) == len(expect) and all(any(p in line for line in found) for p in expect), (query, found)
            command = [options.kenning, "query", "logql", query, "--limit=100", "--url", server.url]
            told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
            assert len(told) == len(found) and all(any(t.endswith(line) for t in told) for line in found), (query, told)


def check_loki_transports_of_javascript(options):
    """What winston (protobuf under snappy, JSON with metadata) and pino send to Loki."""
    if not (options.js and shutil.which("node")):
        raise Skip("node and e2e/js/node_modules are needed")
    with Server(options.kenning) as server:
        subprocess.run(["node", str(JS), server.url], check=True, timeout=60)
        for app in ("winston-protobuf", "winston-json", "pino"):
            query = f'{{app="{app}"}}'
            found = eventually(lambda: len(got := lines(server, query)) == 2 and got, f"both lines of {app}")
            failed, mended = sorted(found, key=lambda one: "mended" in one[1])
            assert "order failed" in failed[1] and failed[0]["detected_level"] == "error", failed
            assert "order «7» is mended" in mended[1] and mended[0]["detected_level"] == "info", mended
        assert len(lines(server, '{app="winston-json"} | order="7"')) == 1
        assert server.get("/loki/api/v1/label/kind/values")["data"] == ["book"]


def check_patterns(options):
    """Templates of lines, their counts, and that the line filter takes a template as it is."""
    with Server(options.kenning) as server:
        now = time.time_ns()
        values = [[str(now + i), f"user u{i:03} logged in from 10.0.0.{i} after {i} ms"] for i in range(50)]
        values += [[str(now + 100 + i), f"disk sd{'abc'[i % 3]} is full"] for i in range(9)]
        push(server, {"app": "shop"}, values)
        found = eventually(lambda: patterns(server, '{app="shop"}', 59), "patterns of all lines")
        assert found == {"user <_> logged in from <_> after <_> ms": 50, "disk <_> is full": 9}, found
        for pattern, count in found.items():
            taken = vector_of_logs(server, f'sum(count_over_time({{app="shop"}} |> `{pattern}` [1h]))')
            assert taken == count, (pattern, taken)
        assert patterns(server, '{app="other"}', 0) == {}


def patterns(server, selector, lines):
    """Pattern to count, once they add up to `lines`."""
    rows = server.get("/loki/api/v1/patterns", query=selector)["data"]
    assert all(sum(count for _, count in row["samples"]) == row["lines"] for row in rows), rows
    return {row["pattern"]: row["lines"] for row in rows} if sum(row["lines"] for row in rows) == lines else None


def vector_of_logs(server, query):
    result = server.get("/loki/api/v1/query", query=query, time=time.time_ns() + 10**9)["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def check_tail(options):
    """`kenning tail` shows the past, then each line once as it is stored, and hears when the server stops."""
    server = Server(options.kenning)
    push(server, {"app": "shop"}, [[str(time.time_ns()), "level=warn first"]])
    command = [options.kenning, "tail", '{app="shop"} | logfmt | level="warn"', "--url", server.url, "--no-labels"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        try:
            shown = [follower.stdout.readline().split(" ", 1)[1]]
            for i in range(50):
                push(server, {"app": "shop"}, [[str(time.time_ns()), f"level={'warn' if i % 2 else 'info'} n={i}"]])
            shown += [follower.stdout.readline().split(" ", 1)[1] for _ in range(25)]
            assert shown == ["level=warn first\n"] + [f"level=warn n={i}\n" for i in range(1, 50, 2)], shown
            assert "kenning_tail_open 1" in server.get("/metrics"), "a follower is counted"
            server.process.send_signal(signal.SIGTERM)
            words = follower.stderr.read()
            assert "the server stops (1001)" in words, words
        finally:
            follower.kill()
    server.stop()


def check_delete(options):
    """Lines of a selector with a line filter are gone when the request is answered; the others stay."""
    with Server(options.kenning, extra=["--set", "web.enable_admin_api=true"]) as server:
        now = time.time_ns()
        values = [[str(now - 10**9 + i), f"user={name} paid"] for i, name in enumerate(["ann", "bob", "ann"])]
        push(server, {"app": "shop"}, values)
        ask = urllib.parse.urlencode({"query": '{app="shop"} |= "user=ann"', "start": now // 10**9 - 60})
        request = urllib.request.Request(f"{server.url}/loki/api/v1/delete?{ask}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as reply:
            assert reply.status == 204, reply.status
        assert [line for _, line in lines(server, '{app="shop"}')] == ["user=bob paid"]
        (listed,) = server.get("/loki/api/v1/delete")
        assert listed["status"] == "processed" and listed["query"] == '{app="shop"} |= "user=ann"', listed


def check_logs_drilldown(options):
    """What Grafana's Logs Drilldown asks for on its first page."""
    with Server(options.kenning) as server:
        now = time.time_ns()
        push(server, {"service_name": "shop", "pod": "a"}, [[str(now), '{"took":"3ms","user":{"id":7}}', {"trace": "t"}]])
        api, query = "/ds/loki/loki/api/v1", '{service_name="shop"}'
        result = server.get(f"{api}/index/volume", query='{service_name=~".+"}', limit=5000)["data"]["result"]
        assert result[0]["metric"] == {"service_name": "shop"} and result[0]["value"][1] == "30", result
        labels = server.get(f"{api}/detected_labels", query=query)["detectedLabels"]
        assert labels == [{"label": "pod", "cardinality": 1}, {"label": "service_name", "cardinality": 1}], labels
        fields = {field["label"]: field for field in server.get(f"{api}/detected_fields", query=query)["fields"]}
        assert fields["user_id"]["jsonPath"] == ["user", "id"] and fields["user_id"]["type"] == "int", fields
        assert fields["trace"]["parsers"] is None and fields["took"]["type"] == "duration", fields
        assert server.get(f"{api}/detected_field/took/values", query=query)["values"] == ["3ms"]
        assert server.get(f"{api}/drilldown-limits")["limits"]["volume_enabled"] is True
