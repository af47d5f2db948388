"""Scraping: prometheus-client is scraped, Debian's Prometheus scrapes Kenning."""

import pathlib
import signal
import tempfile

from kenning import Server, eventually, prometheus_takes, vector


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


def check_a_new_configuration_is_read_on_sighup(options):
    with tempfile.TemporaryDirectory() as dir:
        file = pathlib.Path(dir, "prometheus.yml")

        def write(job):
            file.write_text(f"""
global: {{external_labels: {{zone: eu}}}}
scrape_configs:
  - job_name: {job}
    basic_auth: {{username: u, password: hunter2}}
    static_configs: [{{targets: ["127.0.0.1:1"]}}]
""")

        write("one")
        with Server(options.kenning, extra=["--set", f"prometheus.config={file}"]) as server:
            def config():
                return server.get("/api/v1/status/config")["data"]["yaml"]

            assert "job_name: one" in config() and "hunter2" not in config(), config()
            write("two")
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: "job_name: two" in config(), "the new file is in force")
            pools = lambda: server.get("/api/v1/scrape_pools")["data"]["scrapePools"]
            eventually(lambda: pools() == ["two"], "its jobs are the ones that run")
            file.write_text("nonsense: [")
            server.process.send_signal(signal.SIGHUP)
            failed = lambda: not server.get("/api/v1/status/runtimeinfo")["data"]["reloadConfigSuccess"]
            eventually(failed, "a file with a mistake is not used")
            assert "job_name: two" in config(), config()
