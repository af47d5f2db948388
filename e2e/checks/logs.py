"""Shippers of logs."""

import json
import time
import urllib.request

from kenning import Server, lines


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
