"""Certificates for checks over TLS, made with openssl."""

import pathlib
import shutil
import subprocess

from kenning import Skip

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(dir, *words):
    program = shutil.which("openssl")
    if not program:
        raise Skip("openssl is needed")
    subprocess.run([program, *words], check=True, cwd=dir, capture_output=True, timeout=30)


def certificates(dir, names="DNS:localhost,IP:127.0.0.1"):
    """An authority, and a certificate of its for the server of these names and one for a client; their files by name."""
    openssl(dir, "req", "-x509", *NEW_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2")
    pathlib.Path(dir, "names").write_text(f"subjectAltName={names}\n")
    for name in ("server", "client"):
        openssl(dir, "req", *NEW_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(dir, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", "names")
    return {name: str(pathlib.Path(dir, name)) for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")}
