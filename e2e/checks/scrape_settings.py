"""Scraping as prometheus.yml says: TLS, reload of files with targets, relabelling, stamps, limits, failure logs, start times."""

import http.server
import json
import pathlib
import signal
import ssl
import struct
import tempfile
import threading
import time
import urllib.request

from certificates import NEW_KEY, certificates, openssl
from kenning import Server, eventually, vector


class Exporter:
    """Serves a document that can be changed, over TLS when it has a certificate."""

    def __init__(self, document, kind="text/plain; version=0.0.4", tls=None, user=None):
        outer, self.document, self.asked = self, document, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append({name.lower(): value for name, value in self.headers.items()})
                refused = user and self.headers.get("authorization") != user
                body = b"" if refused else outer.document.encode()
                self.send_response(401 if refused else 200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def targets(server):
    return {target["scrapePool"]: target for target in server.get("/api/v1/targets")["data"]["activeTargets"]}


def settled(server, count):
    """Every target once it was scraped."""
    def all_scraped():
        found = targets(server)
        return len(found) == count and all(one["health"] != "unknown" for one in found.values()) and found
    return eventually(all_scraped, f"{count} targets are scraped")


def up(server, job):
    return vector(server, f'up{{job="{job}"}}')[0]["value"][1]


def prometheus_yml(dir, text):
    file = pathlib.Path(dir, "prometheus.yml")
    file.write_text(text)
    return ["--set", f"prometheus.config={file}"]


def authority(dir):
    """What `certificates` makes, a second authority, and a certificate that signed itself."""
    certificates(dir, "IP:127.0.0.1")
    openssl(dir, "req", "-x509", *NEW_KEY, "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=other", "-days", "2")
    # What node_exporter's guide makes: one certificate that signed itself.
    openssl(dir, "req", "-x509", *NEW_KEY, "-keyout", "own.key", "-out", "own.pem", "-subj", "/CN=own", "-days", "2",
            "-addext", "subjectAltName=IP:127.0.0.1")


def serving(dir, name, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{dir}/{name}.pem", f"{dir}/{name}.key")
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(f"{dir}/{client_ca}")
    return context


def check_targets_are_scraped_over_tls(options):
    with tempfile.TemporaryDirectory() as dir:
        authority(dir)
        pathlib.Path(dir, "token").write_text("t0k3n\n")
        basic, bearer = "Basic dTpw", "Bearer t0k3n"
        with Exporter("a 1\n", tls=serving(dir, "server"), user=basic) as plain, \
                Exporter("a 1\n", tls=serving(dir, "server", "ca.pem"), user=bearer) as mutual, \
                Exporter("a 1\n", tls=serving(dir, "own")) as own:
            jobs = [
                ("good", plain, "basic_auth: {username: u, password: p}, tls_config: {ca_file: ca.pem}"),
                ("mutual", mutual, "authorization: {credentials_file: token}, "
                                   "tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}"),
                ("own", own, "tls_config: {ca_file: own.pem}"),
                ("careless", own, "tls_config: {insecure_skip_verify: true}"),
                ("wrong_ca", plain, "tls_config: {ca_file: other.pem}"),
                ("wrong_name", plain, "tls_config: {ca_file: ca.pem, server_name: elsewhere.example}"),
                ("no_client", mutual, "tls_config: {ca_file: ca.pem}"),
                ("no_password", plain, "tls_config: {ca_file: ca.pem}"),
            ]
            lines = [f"- {{job_name: {name}, scheme: https, scrape_interval: 1s, {more}, "
                     f"static_configs: [{{targets: ['{target.address}']}}]}}" for name, target, more in jobs]
            text = "global: {scrape_failure_log_file: failed.log}\nscrape_configs:\n" + "\n".join(lines) + "\n"
            with Server(options.kenning, extra=prometheus_yml(dir, text)) as server:
                found = settled(server, len(jobs))
                for name in ("good", "mutual", "own", "careless"):
                    assert found[name]["health"] == "up" and found[name]["lastError"] == "", found[name]
                    assert up(server, name) == "1", name
                errors = {"wrong_ca": "UnknownIssuer", "wrong_name": "elsewhere.example", "no_client": "",
                          "no_password": "server returned HTTP status 401 Unauthorized"}
                for name, error in errors.items():
                    assert found[name]["health"] == "down" and error in found[name]["lastError"], found[name]
                    assert up(server, name) == "0", name
                logged = [json.loads(line) for line in pathlib.Path(dir, "failed.log").read_text().splitlines()]
                assert {line["job_name"] for line in logged} == set(errors), logged
                assert all(line["level"] == "ERROR" and line["target"].startswith("https://") for line in logged)


def check_files_with_targets_are_read_again(options):
    with tempfile.TemporaryDirectory() as dir, Exporter("a 1\n") as one, Exporter("b 1\n") as other:
        listed = pathlib.Path(dir, "targets.json")
        listed.write_text(json.dumps([{"targets": [one.address], "labels": {"env": "one"}}]))
        text = "scrape_configs:\n- {job_name: j, scrape_interval: 1s, file_sd_configs: [{files: [targets.json]}]}\n"
        with Server(options.kenning, extra=prometheus_yml(dir, text)) as server:
            eventually(lambda: vector(server, 'a{env="one"}'), "the first target is scraped")
            listed.write_text(json.dumps([{"targets": [other.address], "labels": {"env": "other"}}]))
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: vector(server, 'b{env="other"}'), "the second target is scraped")
            eventually(lambda: vector(server, "a") == [], "series of the first end")
            assert [one["labels"]["env"] for one in targets(server).values()] == ["other"]


def check_relabelling_stamps_and_limits(options):
    stamp = int(time.time() * 1000) - 60_000
    document = f"kept 1\ndropped 2\nstamped 3 {stamp}\nrenamed{{old=\"x\"}} 4\n"
    with tempfile.TemporaryDirectory() as dir, Exporter(document) as exporter:
        at = f"static_configs: [{{targets: ['{exporter.address}']}}]"
        text = f"""
scrape_configs:
- job_name: rules
  scrape_interval: 1s
  static_configs: [{{targets: ['{exporter.address}', 'dropped.invalid:1'], labels: {{team: x}}}}]
  relabel_configs:
  - {{source_labels: [__address__], regex: 'dropped.*', action: drop}}
  - {{source_labels: [team], target_label: squad}}
  - {{regex: team, action: labeldrop}}
  metric_relabel_configs:
  - {{source_labels: [__name__], regex: dropped, action: drop}}
  - {{source_labels: [old], regex: (.+), target_label: new}}
  - {{regex: old, action: labeldrop}}
- {{job_name: own_time, honor_timestamps: false, scrape_interval: 1s, {at}}}
- {{job_name: limited, sample_limit: 3, scrape_interval: 1s, {at}}}
"""
        with Server(options.kenning, extra=prometheus_yml(dir, text)) as server:
            found = settled(server, 3)
            assert found["rules"]["labels"] == {"instance": exporter.address, "job": "rules", "squad": "x"}, found
            dropped = server.get("/api/v1/targets", state="dropped")["data"]["droppedTargets"]
            assert [one["discoveredLabels"]["__address__"] for one in dropped] == ["dropped.invalid:1"], dropped
            eventually(lambda: vector(server, 'kept{job="rules"}'), "samples are there")
            assert vector(server, 'dropped{job="rules"}') == []
            renamed = vector(server, 'renamed{job="rules"}')[0]["metric"]
            assert renamed["new"] == "x" and "old" not in renamed, renamed
            at_of = lambda job: float(vector(server, f'timestamp(stamped{{job="{job}"}})')[0]["value"][1]) * 1000
            assert abs(at_of("rules") - stamp) < 1, "the document's stamp is kept"
            assert at_of("own_time") > stamp + 30_000, "the scrape's stamp takes its place"
            assert found["limited"]["health"] == "down", found["limited"]
            assert "sample limit exceeded" in found["limited"]["lastError"], found["limited"]
            assert up(server, "limited") == "0" and vector(server, 'kept{job="limited"}') == []
            scraped = vector(server, 'scrape_samples_scraped{job="limited"}')[0]["value"][1]
            assert scraped == "4", scraped


def check_counters_begin_with_zero(options):
    began = time.time() - 90
    document = f"# TYPE orders counter\norders_total 5\norders_created {began:.3f}\n# EOF\n"
    kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    with Exporter(document, kind) as exporter:
        config = "scrape_configs:\n- {job_name: j, scrape_interval: 1s, static_configs: [{targets: ['" + exporter.address + "']}]}\n"
        extra = ["--set", "prometheus.created_timestamp_zero_ingestion=true"]
        with Server(options.kenning, config=config, extra=extra) as server:
            samples = lambda: (vector(server, "orders_total[5m]") or [{"values": []}])[0]["values"]
            eventually(lambda: len(samples()) > 2, "samples are there")
            first = samples()[0]
            assert first[1] == "0" and abs(first[0] - began) < 0.01, samples()
            assert [value for _, value in samples()].count("0") == 1, samples()
            assert vector(server, "orders_created") == [], "starts are no series"
            assert exporter.asked[0]["accept"].startswith("application/vnd.google.protobuf"), exporter.asked[0]
            grown = float(vector(server, "increase(orders_total[5m])")[0]["value"][1])
            assert grown >= 5, grown
            feature = server.get("/api/v1/features")["data"]["scrape"]
            assert feature["start_timestamp_zero_ingestion"] is True, feature
        with Server(options.kenning, config=config) as server:
            eventually(lambda: vector(server, "orders_created"), "without the feature starts are series")
            values = vector(server, "orders_total[5m]")[0]["values"]
            assert all(value == "5" for _, value in values), values


def check_pushed_counters_begin_with_zero(options):
    now = time.time_ns()
    began = now - 60_000_000_000
    times = {"startTimeUnixNano": str(began), "timeUnixNano": str(now)}
    buckets = {"offset": 1, "bucketCounts": ["2", "1"]}
    metrics = [
        {"name": "orders", "sum": {"isMonotonic": True, "aggregationTemporality": 2,
                                   "dataPoints": [{**times, "asInt": "7"}]}},
        {"name": "sizes", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            {**times, "count": "3", "sum": 9.0, "scale": 0, "zeroCount": "0", "positive": buckets}]}},
        {"name": "level", "gauge": {"dataPoints": [{**times, "asInt": "7"}]}},
    ]
    otlp = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}
    written = remote_write_2("written_total", 4.0, now // 1_000_000, began // 1_000_000)
    extra = ["--set", "prometheus.created_timestamp_zero_ingestion=true"]
    with Server(options.kenning, extra=extra) as server:
        for _ in range(2):
            post(f"{server.otlp_http}/v1/metrics", json.dumps(otlp).encode(), {"content-type": "application/json"})
        headers = {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                   "content-encoding": "snappy", "x-prometheus-remote-write-version": "2.0.0"}
        reply = post(f"{server.url}/api/v1/write", written, headers)
        assert reply["x-prometheus-remote-write-samples-written"] == "1", "a zero is nothing that was sent"
        for name, value in (("orders_total", "7"), ("written_total", "4")):
            values = vector(server, f"{name}[5m]")[0]["values"]
            assert [value for _, value in values] == ["0", value], values
            assert abs(values[0][0] - began / 1e9) < 0.01, values
        histograms = vector(server, "sizes[5m]")[0]["histograms"]
        assert [histogram["count"] for _, histogram in histograms] == ["0", "3"], histograms
        grown = vector(server, "histogram_count(increase(sizes[5m]))")[0]["value"][1]
        assert float(grown) >= 3, grown
        assert len(vector(server, "level[5m]")[0]["values"]) == 1, "a gauge has no beginning"


def post(url, body, headers):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
        return {name.lower(): value for name, value in reply.headers.items()}


def remote_write_2(name, value, time_ms, start_ms):
    """A request of one series with one sample, in snappy's block format without any compression."""
    def varint(number):
        out = bytearray()
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        return bytes(out + bytes([number]))

    def field(number, body):
        return varint(number << 3 | 2) + varint(len(body)) + body

    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms) + b"\x18" + varint(start_ms)
    series = field(1, bytes([1, 2])) + field(2, sample) + field(5, b"\x08\x01")
    symbols = b"".join(field(4, symbol.encode()) for symbol in ("", "__name__", name))
    request = symbols + field(5, series)
    return varint(len(request)) + b"\xf4" + struct.pack("<H", len(request) - 1) + request
