"""An authority of the case's own, and a certificate for each of its addresses; by openssl."""

import shutil
import subprocess

from bench import HOSTS, Failed, Skipped

DAYS = "2"


def issue(bench):
    """Writes tls/ca.pem, and tls/WHO.crt, WHO.key and WHO.pem (both in one file) for every host of the bench."""
    if not shutil.which("openssl"):
        raise Skipped("openssl is not installed")
    folder = bench.folder / "tls"
    folder.mkdir()
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS]
    _run([*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=interop authority",
          "-addext", "keyUsage=critical,keyCertSign,cRLSign"], folder)
    for who in HOSTS:
        ip = bench.ip(who)
        _run([*new, "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", f"{who}.key", "-out", f"{who}.crt",
              "-subj", f"/CN={ip}", "-addext", f"subjectAltName=IP:{ip},IP:127.0.0.1,DNS:{who}.interop.test",
              "-addext", "basicConstraints=critical,CA:false", "-addext", "extendedKeyUsage=serverAuth,clientAuth"],
             folder)
        (folder / f"{who}.pem").write_bytes(b"".join((folder / f"{who}.{kind}").read_bytes() for kind in ("key", "crt")))
    return folder


def _run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"openssl: {done.stderr.strip()[-400:]}")
