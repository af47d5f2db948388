"""A real Prometheus remote-writes into Kenning, and both answer the public compliance queries alike."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import compliance
from kenning import Server, Skip, eventually, free_port, vector

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(os.environ.get("KENNING_CORPUS", ROOT.parent / "shared/corpus"))

# Queries that Prometheus 2.42 answers otherwise than the version that Kenning follows, and why.
CHANGED_SINCE = {
    '"~invalid"': "any text is a label name since 3.0",
}


def check_prometheus_writes_and_answers_alike(options):
    prometheus = shutil.which("prometheus")
    if not prometheus:
        raise Skip("Debian's prometheus is needed")
    if not CORPUS.is_dir():
        raise Skip(f"the corpus is needed ({CORPUS} is not there)")
    with Server(options.kenning, extra=["--set", "limits.ingest.future=4h"]) as kenning, tempfile.TemporaryDirectory() as dir:
        port = free_port()
        config = pathlib.Path(dir, "prometheus.yml")
        config.write_text(json.dumps({"remote_write": [{"url": f"{kenning.url}/api/v1/write"}]}))
        arguments = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={dir}/data",
                     f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
        with open(f"{dir}/log", "w") as log:
            process = subprocess.Popen(arguments, stdout=log, stderr=log)
        try:
            compare(kenning, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait()


def compare(kenning, prometheus):
    """Sends data to Prometheus, which passes it on, then asks both everything."""
    eventually(lambda: ready(prometheus), "Prometheus is ready")
    # Prometheus passes on only what is stamped after its own start.
    # Off the grid of subqueries: 2.42 counts a sample at the start of a window, Kenning as 3.x does not.
    base = (int(time.time()) // 10 + 7) * compliance.STEP + 1234
    series = list(compliance.data(base))
    send(prometheus, series)
    samples = sum(len(points) for _, points in series)
    end = base // 1000 + 2 * 3600
    everything = f"sum(count_over_time({{job='demo'}}[3h] @ {end}))"
    arrived = lambda: vector(kenning, everything)
    eventually(lambda: arrived() and int(arrived()[0]["value"][1]) == samples, f"{samples} samples are passed on")
    at = base / 1000 + 5400 + 3.333
    counts = dict(alike=0, changed=0)
    wrong = []
    for query, must_fail in compliance.queries(CORPUS):
        for path, times in (("query", dict(time=at)), ("query_range", dict(start=at - 1800, end=at, step=10))):
            ours, theirs = (answer(url, path, query=query, **times) for url in (kenning.url, prometheus))
            if same(ours, theirs, must_fail):
                counts["alike"] += 1
            elif any(word in query for word in CHANGED_SINCE):
                counts["changed"] += 1
            else:
                wrong.append(f"{path} {query}\n  ours   {str(ours)[:300]}\n  theirs {str(theirs)[:300]}")
    print(f"{counts['alike']} answers alike, {counts['changed']} known to have changed since 2.42, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong[:20])
    assert counts["alike"] > 1000, counts


def same(ours, theirs, must_fail):
    if ours["status"] != theirs["status"] or (must_fail and ours["status"] == "success"):
        return False
    return ours["status"] == "error" or compliance.alike(ours["data"], theirs["data"])


def ready(prometheus):
    try:
        with urllib.request.urlopen(f"{prometheus}/-/ready", timeout=5) as reply:
            return reply.status == 200
    except urllib.error.URLError:
        return False


def send(prometheus, series):
    """In order of time over all series, as agents send: half an hour of everything per request."""
    first = min(points[0][0] for _, points in series)
    last = max(points[-1][0] for _, points in series)
    headers = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}
    for start in range(first, last + 1, compliance.HOUR // 2):
        stop = start + compliance.HOUR // 2
        piece = [(labels, [p for p in points if start <= p[0] < stop]) for labels, points in series]
        body = compliance.write_request((labels, points) for labels, points in piece if points)
        with urllib.request.urlopen(urllib.request.Request(f"{prometheus}/api/v1/write", body, headers), timeout=60):
            pass


def answer(url, path, **parameters):
    body = urllib.parse.urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}", body, timeout=60) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        return json.load(error)


def check_another_value_at_the_same_time_is_refused(options):
    with Server(options.kenning) as server:
        now = int(time.time() * 1000)
        headers = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}

        def write(value):
            body = compliance.write_request([({"__name__": "again"}, [(now, value)])])
            request = urllib.request.Request(f"{server.url}/api/v1/write", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as reply:
                    return reply.status, ""
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        assert [write(1.0)[0], write(1.0)[0]] == [204, 204], "the same sample twice is no conflict"
        code, story = write(2.0)
        assert code == 400 and "duplicate sample for timestamp" in story, (code, story)
        assert vector(server, "again")[0]["value"][1] == "1"
