"""What the checks share: a server of their own, questions to it, patience, Debian's Prometheus."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

WAIT_SECONDS = 30


class Skip(Exception):
    """Raised by a check whose tools are not on this machine."""


class Server:
    """A `kenning serve` (or `demo`) on free ports with a directory of its own, or with the one of another before it."""

    def __init__(self, binary, command="serve", config=None, extra=(), dir=None):
        self.owns_dir = dir is None
        self.dir = dir or tempfile.mkdtemp(prefix="kenning-e2e-")
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
        self.addresses = addresses
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
        if self.owns_dir:
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


def push(server, stream, values):
    """Lines of one stream to Loki's push API: values are stamps in nanoseconds as text, lines and, perhaps, metadata."""
    body = json.dumps({"streams": [{"stream": stream, "values": values}]}).encode()
    request = urllib.request.Request(f"{server.url}/loki/api/v1/push", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 204, reply.status


def counter(server, name, **labels):
    """The sum of the samples of our own metric that have these labels."""
    total = 0.0
    for line in server.get("/metrics").splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(f'{key}="{word}"' in series for key, word in labels.items()):
            total += float(value)
    return total


def trace_of(server, trace_id):
    return server.get(f"/ds/jaeger/api/traces/{trace_id}")["data"][0]


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def all_up(port, count):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=5) as reply:
            targets = json.load(reply)["data"]["activeTargets"]
    except urllib.error.URLError:
        return False
    assert not any(target["lastError"] for target in targets), targets
    return len(targets) == count and all(target["health"] == "up" for target in targets)
