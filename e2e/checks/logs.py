"""Shippers of logs."""

import json
import time
import urllib.request

from kenning import Server, eventually, lines


def check_loki_push(options):
    with Server(options.kenning) as server:
        now = str(time.time_ns())
        push(server, {"app": "pushed"}, [[now, "level=warn hello", {"trace_id": "ab" * 16}]])
        (labels, line), = lines(server, '{app="pushed"}')
        assert line == "level=warn hello" and labels["detected_level"] == "warn", (labels, line)
        assert labels["trace_id"] == "ab" * 16, labels
        assert server.get("/loki/api/v1/label/app/values")["data"] == ["pushed"]


def push(server, stream, values):
    body = json.dumps({"streams": [{"stream": stream, "values": values}]}).encode()
    request = urllib.request.Request(f"{server.url}/loki/api/v1/push", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 204, reply.status


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
