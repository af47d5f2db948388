"""Elasticsearch's bulk, Fluent forward and syslog, sent by other people's clients."""

import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile

from certificates import certificates
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


def check_syslog_ng(options):
    """Debian's syslog-ng follows a file and forwards it: RFC 5424 with structured data over TCP, RFC 3164 over UDP.

    Its package excludes rsyslog's, which CI installs, so this runs where somebody has it.
    """
    syslog_ng = shutil.which("syslog-ng") or shutil.which("syslog-ng", path="/usr/sbin")
    if not syslog_ng:
        raise Skip("Debian's syslog-ng-core is needed (it excludes rsyslog)")
    with Server(options.kenning, extra=SYSLOG) as server, tempfile.TemporaryDirectory() as dir:
        tcp, udp = (server.addresses[f"syslog_{kind}_listen"].rpartition(":")[2] for kind in ("tcp", "udp"))
        config = pathlib.Path(dir, "syslog-ng.conf")
        config.write_text(f"""
@version: 3.35
options {{ stats-freq(0); time-reopen(1); }};
source app {{ file("{dir}/app.log" flags(no-parse) program-override("ng-shop") default-facility(local3) default-priority(err)); }};
rewrite order {{ set("7" value(".SDATA.order@32473.id")); }};
destination tcp {{ syslog("127.0.0.1" transport("tcp") port({tcp})); }};
destination udp {{ network("127.0.0.1" transport("udp") port({udp})); }};
log {{ source(app); rewrite(order); destination(tcp); destination(udp); }};
""")
        log = pathlib.Path(dir, "app.log")
        log.write_text("")
        files = [f"--persist-file={dir}/persist", f"--control={dir}/control", f"--pidfile={dir}/pid"]
        process = subprocess.Popen([syslog_ng, "--foreground", "--no-caps", f"--cfgfile={config}", *files])
        try:
            with log.open("a") as out:
                out.writelines(f"order {n} failed\n" for n in range(20))
            query = '{service_name="ng-shop"}'
            found = eventually(lambda: len(got := lines(server, query)) == 40 and got, "each line comes both ways")
            assert sorted(line for _, line in found) == sorted(2 * [f"order {n} failed" for n in range(20)]), found
            assert all(labels["facility"] == "local3" and labels["detected_level"] == "error" for labels, _ in found), found
            assert sum("7" in labels.values() for labels, _ in found) == 20, found[0]
        finally:
            process.terminate()
            process.wait(timeout=10)


def secured(files, address, with_client=True):
    context = ssl.create_default_context(cafile=files["ca.pem"])
    if with_client:
        context.load_cert_chain(files["client.pem"], files["client.key"])
    host, _, port = address.rpartition(":")
    stream = context.wrap_socket(socket.create_connection((host, int(port)), timeout=10), server_hostname="localhost")
    stream.settimeout(10)
    return stream


def check_syslog_over_tls(options):
    with tempfile.TemporaryDirectory() as dir:
        files = certificates(dir)
        extra = ["--set", "syslog.tls_listen=127.0.0.1:0", "--set", f"syslog.tls.cert_file={files['server.pem']}",
                 "--set", f"syslog.tls.key_file={files['server.key']}",
                 "--set", f"syslog.tls.client_ca_file={files['ca.pem']}"]
        with Server(options.kenning, extra=extra) as server:
            address = server.addresses["syslog_tls_listen"]
            with secured(files, address) as stream:
                for n in range(3):
                    message = f"<28>1 - host shop 7 - - over tls {n}".encode()
                    stream.sendall(b"%d %s" % (len(message), message))
            found = eventually(lambda: len(got := lines(server, '{service_name="shop"}')) == 3 and got, "messages are there")
            assert {line for _, line in found} == {f"over tls {n}" for n in range(3)}, found
            # Who has no certificate is turned away, and so is who speaks no TLS at all.
            try:
                with secured(files, address, with_client=False) as stream:
                    stream.sendall(b"36 <28>1 - host shop 7 - - without one...")
                    assert stream.recv(1) == b""
            except (ssl.SSLError, ConnectionError):
                pass
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as plain:
                plain.sendall(b"<28>1 - host shop 7 - - in the clear\n")
                plain.settimeout(10)
                try:
                    while plain.recv(100):
                        pass
                except ConnectionError:
                    pass
            assert len(lines(server, '{service_name="shop"}')) == 3


def check_fluent_forward_over_tls(options):
    import msgpack

    with tempfile.TemporaryDirectory() as dir:
        files = certificates(dir)
        extra = ["--set", "fluent.listen=127.0.0.1:0", "--set", f"fluent.tls.cert_file={files['server.pem']}",
                 "--set", f"fluent.tls.key_file={files['server.key']}"]
        with Server(options.kenning, extra=extra) as server:
            with secured(files, server.addresses["fluent_listen"], with_client=False) as stream:
                event = ["shop.tls", [[1, {"message": "sealed"}]], {"chunk": "abc"}]
                event[1][0][0] = __import__("time").time_ns() // 10**9
                stream.sendall(msgpack.packb(event))
                assert msgpack.unpackb(stream.recv(100)) == {"ack": "abc"}
            found = lines(server, '{tag="shop.tls"}')
            assert [line for _, line in found] == ["sealed"], found
