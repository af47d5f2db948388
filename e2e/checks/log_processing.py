"""What happens to log lines on their way in and afterwards: redaction, throttling, places of addresses, stages, retention."""

import json
import pathlib
import tempfile
import time
import urllib.request

from kenning import Server, counter, eventually, lines, push
from mmdb import database

# What must go, and the kind it is counted as. Each is made up for this file.
SECRETS = {
    "hunter2-correct-horse": ("password", "user=ann password={} ip=10.1.2.3"),
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a": ("github_token", "cloning with {} now"),
    "AKIAY34FZKBOKMUTVV7A": ("aws_key", "using key {} of the bucket"),
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U": ("jwt", "signed in with {} again"),
    "9f8e7d6c5b4a": ("authorization", "GET / Authorization: Bearer {}"),
    "pg-s3cret": ("url_password", "connect postgres://app:{}@db:5432/app"),
    "4111 1111 1111 1111": ("credit_card", "card {} was declined"),
    "DE89370400440532013000": ("iban", "transfer to {} failed"),
    "ann.smith@example.org": ("email", "mail to {} bounced"),
}

# What only looks like it, and must stay as it is.
LOOK_ALIKES = [
    "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
    "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad is deployed",
    "request 123e4567-e89b-12d3-a456-426614174000 took 12.5 ms",
    "order 1234567890123456 has 3 items, sku=AKB-4411-22",
    "password_policy=strict max_tokens=4096 next_page_token_count=3",
    "digest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
]


def otlp_logs(server, bodies):
    now = time.time_ns()
    records = [{"timeUnixNano": str(now + at), "body": {"stringValue": body}} for at, body in enumerate(bodies)]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "sent"}}]}
    payload = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}
    request = urllib.request.Request(f"{server.otlp_http}/v1/logs", json.dumps(payload).encode(),
                                     {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 200, reply.status


def by_three_ways(server, path, texts):
    """The same lines through Loki's push, OTLP and a tailed file; by way, what is stored of them."""
    now = time.time_ns()
    push(server, {"app": "pushed"}, [[str(now + at), text, {"note": text}] for at, text in enumerate(texts)])
    otlp_logs(server, texts)
    path.write_text("".join(f"{text}\n" for text in texts))
    found = {}
    for way, selector in (("loki", '{app="pushed"}'), ("otlp", '{service_name="sent"}'), ("files", '{job="tailed"}')):
        found[way] = eventually(lambda: len(got := lines(server, selector)) == len(texts) and got, f"lines by {way}")
    return found


def check_redaction_by_default(options):
    """Secrets and personal data go from lines and metadata whichever way they come, look-alikes stay; it can be told off."""
    sentences = [sentence.format(secret) for secret, (_, sentence) in SECRETS.items()]
    with tempfile.TemporaryDirectory() as dir:
        config = f"logs: {{files: [{{include: {dir}/*.log, labels: {{job: tailed}}, line_labels: []}}]}}\n"
        with Server(options.kenning, config=config) as server:
            found = by_three_ways(server, pathlib.Path(dir, "app.log"), sentences + LOOK_ALIKES)
            for way, got in found.items():
                text = [line for _, line in got]
                left = [secret for secret in SECRETS if any(secret in line for line in text)]
                assert not left, (way, left)
                assert sum("<redacted:" in line for line in text) == len(SECRETS), (way, text)
                assert set(LOOK_ALIKES) <= set(text), (way, set(LOOK_ALIKES) - set(text))
            notes = [labels["note"] for labels, _ in found["loki"]]
            assert not any(secret in note for secret in SECRETS for note in notes), notes
            for kind, _ in SECRETS.values():
                assert counter(server, "kenning_redacted_total", kind=kind, signal="logs") >= 3, kind
    with tempfile.TemporaryDirectory() as dir:
        config = f"logs: {{files: [{{include: {dir}/*.log, labels: {{job: tailed}}, line_labels: []}}]}}\n"
        with Server(options.kenning, config=config, extra=["--set", "redact.enabled=false"]) as server:
            for way, got in by_three_ways(server, pathlib.Path(dir, "app.log"), sentences).items():
                assert sorted(line for _, line in got) == sorted(sentences), (way, got)


def check_throttling(options):
    """Of a repeated error the first few are stored and one line counts the others; what is no error passes."""
    with Server(options.kenning, config="throttle: {lines: 3, window: 2s}\n") as server:
        now = time.time_ns()
        errors = [[str(now + n), f"level=error msg=\"cannot reach 10.0.0.{n} after {n} ms\""] for n in range(50)]
        push(server, {"app": "shop"}, errors + [[str(now + 50 + n), f"level=info msg=\"done {n}\""] for n in range(9)])
        push(server, {"app": "shop"}, [[str(now + 60), "level=error msg=\"the disk is full\""]])
        assert len(lines(server, '{app="shop"} |= "cannot reach"')) == 3
        (summary, line), = eventually(lambda: lines(server, '{app="shop"} | repeated != ""'), "a line counts the others")
        assert summary["repeated"] == "47" and line.endswith(" repeated=47"), (summary, line)
        assert summary["detected_level"] == "error", summary
        stored = lines(server, '{app="shop"}')
        assert len(stored) == 3 + 1 + 9 + 1, stored
        assert counter(server, "kenning_ingest_dropped_items_total", reason="throttled") == 47


LONDON = {"city": {"names": {"en": "London"}}, "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
          "location": {"latitude": 51.5142, "longitude": -0.0931, "time_zone": "Europe/London"}}


def check_geoip(options):
    """Where an address is stands beside every record by a setting, and in labels by a stage."""
    with tempfile.TemporaryDirectory() as dir:
        path = pathlib.Path(dir, "city.mmdb")
        path.write_bytes(database("GeoLite2-City", {"81.2.69.0/24": LONDON, "2001:db8::/32": LONDON}))
        config = {"geoip": {"database": str(path), "source": "client"},
                  "logs": {"pipeline": {"loki": [
                      {"match": {"selector": '{app="staged"}', "stages": [
                          {"logfmt": {"mapping": {"client": ""}}},
                          {"geoip": {"source": "client", "db": str(path), "db_type": "city",
                                     "custom_lookups": {"country": "country.iso_code"}}},
                          {"labelallow": ["app", "country", "geoip_city_name"]}]}}]}}}
        with Server(options.kenning, config=json.dumps(config)) as server:
            now = time.time_ns()
            texts = ["client=81.2.69.142 x=1", '{"client":"2001:db8::7"}', "client=10.0.0.7 x=1", "client=nobody"]
            push(server, {"app": "plain"}, [[str(now + at), text] for at, text in enumerate(texts)])
            push(server, {"app": "staged"}, [[str(now), texts[0]], [str(now + 1), texts[2]]])
            cities = {line: labels.get("geoip_city_name") for labels, line in lines(server, '{app="plain"}')}
            assert cities == dict(zip(texts, ["London", "London", None, None])), cities
            assert len(lines(server, '{app="plain"} | geoip_country_code="GB"')) == 2
            assert server.get("/loki/api/v1/label/country/values")["data"] == ["GB"]
            (labels, line), = lines(server, '{app="staged", country="GB", geoip_city_name="London"}')
            assert line == texts[0] and labels["geoip_timezone"] == "Europe/London", labels


def check_drop_sample_and_count(options):
    """Rules drop and sample, what they drop is counted by reason, and lines become metrics at /metrics and in PromQL."""
    config = {"self": {"interval": "1s"}, "logs": {"pipeline": [
        {"logfmt": {"mapping": {"path": "", "took": ""}}},
        {"drop": {"source": "path", "value": "/health", "drop_counter_reason": "health_checks"}},
        {"metrics": {"took_seconds": {"type": "Histogram", "source": "took", "prefix": "shop_",
                                      "config": {"buckets": [0.1, 1]}},
                     "lines_total": {"type": "Counter", "prefix": "shop_", "config": {"match_all": True, "action": "inc"}}}},
        {"match": {"selector": '{app="busy"}', "stages": [{"sampling": {"rate": 0.25, "drop_counter_reason": "busy"}}]}}]}}
    with Server(options.kenning, config=json.dumps(config)) as server:
        now = time.time_ns()
        shop = [f"path=/pay took={took}" for took in ("50ms", "0.5s", "2s")] + ["path=/health took=1ms"] * 4
        push(server, {"app": "shop"}, [[str(now + at), line] for at, line in enumerate(shop)])
        push(server, {"app": "busy"}, [[str(now + at), f"path=/feed n={at}"] for at in range(2000)])
        assert [line for _, line in lines(server, '{app="shop"}')] == shop[2::-1]
        dropped = "kenning_ingest_dropped_items_total"
        assert counter(server, dropped, reason="health_checks") == 4
        kept = 2000 - counter(server, dropped, reason="busy")
        # Six standard deviations of a quarter of 2000.
        assert 384 <= kept <= 616, kept
        query = 'sum(count_over_time({app="busy"}[1h]))'
        result = server.get("/loki/api/v1/query", query=query, time=now + 10**9)["data"]["result"]
        assert float(result[0]["value"][1]) == kept, result
        assert counter(server, "shop_lines_total", app="shop") == 3
        assert counter(server, "shop_took_seconds_bucket", app="shop", le="1") == 2
        query = 'shop_took_seconds_count{app="shop"}'
        found = eventually(lambda: server.get("/api/v1/query", query=query)["data"]["result"], "the metric is stored")
        assert found[0]["value"][1] == "3", found


PROMTAIL = """
server: {http_listen_port: 9080}
positions: {filename: /tmp/positions.yaml}
clients: [{url: http://loki:3100/loki/api/v1/push}]
scrape_configs:
- job_name: app
  static_configs:
  - targets: [localhost]
    labels: {job: app, host: "${E2E_HOST:-nowhere}", __path__: "${E2E_LOGS}/app.log"}
  pipeline_stages:
  - regex: {expression: '^(?P<level>\\\\w+) (?P<msg>.*)$$'}
  - labels: {level: }
  - output: {source: msg}
- job_name: named
  file_sd_configs: [{files: ["${E2E_LOGS}/sd/*.json"], refresh_interval: 1m}]
  relabel_configs:
  - {source_labels: [__meta_filepath], regex: '.*/(.*)[.]json', target_label: from}
"""


def check_promtail_configuration(options):
    """A promtail.yml as it is: variables of the environment, stages, and targets that files name, come and go."""
    import os
    from unittest import mock

    with tempfile.TemporaryDirectory() as dir:
        dir = pathlib.Path(dir)
        (dir / "sd").mkdir()
        (dir / "promtail.yml").write_text(PROMTAIL)
        (dir / "app.log").write_text("warn it is late\n")
        (dir / "other.log").write_text("one\n")
        config = f"promtail: {{config_file: {dir}/promtail.yml, expand_env: true}}\n"
        with mock.patch.dict(os.environ, E2E_LOGS=str(dir)), Server(options.kenning, config=config) as server:
            (labels, line), = eventually(lambda: lines(server, '{job="app"}'), "the file is tailed")
            assert (line, labels["level"], labels["host"]) == ("it is late", "warn", "nowhere"), labels
            group = [{"targets": ["localhost"], "labels": {"job": "named", "__path__": f"{dir}/other.log"}}]
            (dir / "sd/a.json").write_text(json.dumps(group))
            texts = lambda: [line for _, line in lines(server, '{job="named", from="a"}')][::-1]
            eventually(lambda: texts() == ["one"], "what the file names is tailed")
            (dir / "sd/a.json").unlink()
            ended = lambda: "not named any more" in pathlib.Path(server.log.name).read_text()
            eventually(ended, "what no file names is left alone")
            with (dir / "other.log").open("a") as out:
                out.write("two\n")
            time.sleep(1)
            assert texts() == ["one"], texts()
            (dir / "sd/a.json").write_text(json.dumps(group))
            eventually(lambda: texts() == ["one", "two"], "named again, it goes on where it was left")


def check_retention_of_streams(options):
    """Each stream is kept for its own time: rules with selectors, periods and priorities."""
    now, hour = time.time_ns(), 3600 * 10**9
    rules = [{"selector": '{level="debug"}', "period": "3h"}, {"selector": '{app="audit"}', "period": "unlimited", "priority": 2}]
    config = {"retention": {"logs": "1d", "streams": rules}, "store": {"flush": {"age": "1s"}},
              "limits": {"ingest": {"past": "30d"}}}
    streams = {"debug": {"app": "shop", "level": "debug"}, "info": {"app": "shop", "level": "info"},
               "audit": {"app": "audit", "level": "debug"}}

    def kept(server):
        count = server.get("/loki/api/v1/query", query="sum by (app, level) (count_over_time({app=~`.+`}[7d]))")
        return {(one["metric"]["app"], one["metric"]["level"]): int(one["value"][1]) for one in count["data"]["result"]}

    with tempfile.TemporaryDirectory() as dir:
        with Server(options.kenning, config=json.dumps({**config, "retention": {}}), dir=dir) as server:
            for labels in streams.values():
                push(server, labels, [[str(now - 5 * hour + at), f"old {at}"] for at in range(5)])
            assert set(kept(server).values()) == {5}
            eventually(lambda: any(pathlib.Path(dir).rglob("*.parquet")), "recent data is written into parts")
        with Server(options.kenning, config=json.dumps(config), dir=dir) as server:
            expect = {("shop", "info"): 5, ("audit", "debug"): 5}
            eventually(lambda: kept(server) == expect, "what is past its time is gone")
            push(server, streams["debug"], [[str(now), "new"]])
            assert kept(server) == {**expect, ("shop", "debug"): 1}
