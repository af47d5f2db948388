"""Elasticsearch's bulk, Fluent forward and syslog, sent by other people's clients."""

import json
import pathlib
import shutil
import subprocess
import tempfile

from kenning import Server, Skip, eventually, lines

SYSLOG = ["--set", "syslog.tcp_listen=127.0.0.1:0", "--set", "syslog.udp_listen=127.0.0.1:0"]


def check_fluent_logger(options):
    from fluent import sender

    with Server(options.kenning, extra=["--set", "fluent.listen=127.0.0.1:0"]) as server:
        port = int(server.addresses["fluent_listen"].rpartition(":")[2])
        fluent = sender.FluentSender("shop", host="127.0.0.1", port=port, nanosecond_precision=True)
        assert fluent.emit("orders", {"message": "order failed", "level": "error", "order": 7}), fluent.last_error
        assert fluent.emit("orders", {"kind": "book"}), fluent.last_error
        fluent.close()
        found = eventually(lambda: len(got := lines(server, '{tag="shop.orders"}')) == 2 and got, "both events are there")
        by_line = {line: labels for labels, line in found}
        assert by_line["order failed"]["detected_level"] == "error", found
        assert by_line["order failed"]["order"] == "7", found
        assert json.loads(next(line for line in by_line if line != "order failed")) == {"kind": "book"}, found


def check_elasticsearch_client(options):
    from elasticsearch import Elasticsearch, helpers

    with Server(options.kenning, extra=["--set", "elastic.listen=127.0.0.1:0"]) as server:
        for base in (f"http://{server.addresses['elastic_listen']}", f"{server.url}/ds/elasticsearch"):
            client = Elasticsearch(base)
            assert client.info()["version"]["number"].startswith("8."), client.info()
            assert client.cluster.health()["status"] == "green"
            client.indices.put_index_template(name="shop", index_patterns=["shop-*"], template={})
            assert client.indices.exists_index_template(name="shop")
            actions = [{"_index": "shop-1", "message": f"line {n}", "service": {"name": "es-shop"}} for n in range(50)]
            assert helpers.bulk(client, actions) == (50, []), base
            mixed = client.bulk(operations=[{"index": {"_index": "shop-1"}}, {"message": "good"},
                                            {"delete": {"_index": "shop-1", "_id": "1"}}])
            assert mixed["errors"] and [next(iter(i.values()))["status"] for i in mixed["items"]] == [201, 400], mixed
        found = lines(server, '{service_name="es-shop", index="shop-1"} | json | message="line 7"')
        assert len(found) == 2, found


def check_logger_of_util_linux(options):
    logger = shutil.which("logger")
    if not logger:
        raise Skip("util-linux's logger is needed")
    with Server(options.kenning, extra=SYSLOG) as server:
        for kind, address in (("tcp", "syslog_tcp_listen"), ("udp", "syslog_udp_listen")):
            host, _, port = server.addresses[address].rpartition(":")
            for form in ("--rfc5424", "--rfc3164"):
                command = [logger, f"--{kind}", "--server", host, "--port", port, form, "--tag", "shop",
                           "--priority", "daemon.warning", f"disk is filling ({kind} {form})"]
                subprocess.run(command, check=True, timeout=10)
        query = '{service_name="shop", facility="daemon"}'
        found = eventually(lambda: len(got := lines(server, query)) == 4 and got, "all four messages are there")
        assert {labels["detected_level"] for labels, _ in found} == {"warn"}, found
        assert sum(labels.get("unverified") == "true" for labels, _ in found) == 2, found
        assert all(line.startswith("disk is filling (") for _, line in found), found


def check_rsyslog(options):
    rsyslogd = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    logger = shutil.which("logger")
    if not (rsyslogd and logger):
        raise Skip("Debian's rsyslog and util-linux's logger are needed")
    with Server(options.kenning, extra=SYSLOG) as server, tempfile.TemporaryDirectory() as dir:
        port = server.addresses["syslog_tcp_listen"].rpartition(":")[2]
        config = pathlib.Path(dir, "rsyslog.conf")
        config.write_text(f"""
global(workDirectory="{dir}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" tcp_framing="octet-counted"
       template="RSYSLOG_SyslogProtocol23Format")
""")
        process = subprocess.Popen([rsyslogd, "-n", "-f", str(config), "-i", f"{dir}/pid"])
        try:
            eventually(lambda: pathlib.Path(dir, "log").exists(), "rsyslog listens")
            for n in range(20):
                command = [logger, "--socket", f"{dir}/log", "--tag", "relay", "--id=77", f"relayed {n}"]
                subprocess.run(command, check=True, timeout=10)
            query = '{service_name="relay"}'
            found = eventually(lambda: len(got := lines(server, query)) == 20 and got, "all messages are relayed")
            # rsyslog counts the blank behind a tag to the message.
            assert {line.strip() for _, line in found} == {f"relayed {n}" for n in range(20)}, found
            assert all(labels["facility"] == "user" for labels, _ in found), found
        finally:
            process.terminate()
            process.wait(timeout=10)
