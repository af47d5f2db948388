"""The program's own commands."""

import json
import pathlib
import subprocess
import tempfile

from kenning import Server


def check_command_line(options):
    with Server(options.kenning) as server:
        def ask(*arguments):
            command = [options.kenning, "query", *arguments, "--url", server.url]
            return subprocess.run(command, capture_output=True, text=True, timeout=30)

        assert ask("promql", "1+1").stdout.strip() == "2"
        bad = ask("promql", "sum(")
        assert bad.returncode == 1 and "1:5" in bad.stderr, bad
        assert ask("promql", "up", "--tenant", "a/b").returncode == 1
        wrong = subprocess.run([options.kenning, "serve", "--set", "past=1d", "--set", "listen"], capture_output=True, text=True)
        assert wrong.returncode == 1 and "listen" in wrong.stderr, wrong
        nobody = subprocess.run([options.kenning, "query", "promql", "1", "--url", "http://127.0.0.1:1"],
                                capture_output=True, text=True)
        assert nobody.returncode == 1 and "kenning serve" in nobody.stderr, nobody


def check_files_are_brought_into_a_data_directory(options):
    with tempfile.TemporaryDirectory() as dir:
        def run(*arguments):
            return subprocess.run([options.kenning, "tsdb", *arguments], capture_output=True, text=True, timeout=60)

        samples = pathlib.Path(dir, "samples.om")
        samples.write_text('up{job="a"} 1 1600000000\nup{job="b"} 0 1600000000\nup{job="a"} 1 1600001000\n# EOF\n')
        brought = run("create-blocks-from", "openmetrics", str(samples), f"{dir}/data")
        assert brought.returncode == 0 and brought.stdout.startswith("3 samples"), brought
        listed = run("list", "-r", "--data-dir", f"{dir}/data")
        assert "2020-09-13 12:26:40 UTC" in listed.stdout and "NUM SAMPLES" in listed.stdout, listed
        analysed = json.loads(run("analyze", "--json", "--data-dir", f"{dir}/data").stdout)
        assert (analysed["totalSeries"], analysed["endedSeries"]) == (2, 1), analysed
        assert run("list", "--data-dir", dir).returncode == 1, "a folder without data is no data directory"


def check_a_server_is_administered(options):
    with Server(options.kenning, extra=["--set", "web.enable_admin_api=true"]) as server:
        def admin(*arguments):
            command = [options.kenning, "admin", *arguments, "--url", server.url]
            return subprocess.run(command, capture_output=True, text=True, timeout=60)

        made = admin("snapshot")
        assert pathlib.Path(server.dir, "data", "snapshots", made.stdout.strip(), "FORMAT").exists(), made
        assert admin("delete-series", "--match", "nothing").returncode == 0
        assert admin("clean-tombstones").returncode == 0 and admin("reload").returncode == 0
        assert admin("delete-series", "--match", "{").returncode == 1
