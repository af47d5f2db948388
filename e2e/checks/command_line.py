"""The program's own commands."""

import subprocess

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
