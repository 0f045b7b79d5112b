"""`onrecord serve` on loopback, for the scripts of this folder: started, asked, told to fail, ended, killed."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

POLICY = """
[policy]
id = "everyone"
description = "Every call, strict"
enabled = true
record = ["audio", "video"]
record_rerouted_calls = true

[[policy.recorder]]
id = "embedded"
required_before_call_establishment = true
required_during_call = true
"""
GRANTS = '[[grant]]\npolicy = "everyone"\nto = ["global"]\n'
CONFIG = """
node = "proof"
data = "{data}"
[listen]
sip = ["udp:{proxy}:5060"]
media = {{ address = "{proxy}", ports = "{first_port}-{last_port}", sockets = "{sockets}" }}
[[trunk]]
name = "pbx"
peers = ["{a}:5060"]
{trunks[0]}
[[trunk]]
name = "carrier"
peers = ["{b}:5060"]
{trunks[1]}
[[route]]
from = "pbx"
to = "carrier"
[recorder]
volumes = [{{ path = "{volume}", reserve = "{reserve}" }}]
lag_max = "{lag_max}"
[policies]
path = "{policies}"
"""


MEDIA_PORTS = range(20_000, 40_000)
SOCKETS = ("own", "shared")
# How `serve` says that it may not share sockets here.
NOT_ALLOWED = '`sockets = "shared"` wants'


def choose_sockets(parser):
    """How the node is to have its media's sockets (`media.sockets`)."""
    parser.add_argument("--sockets", choices=SOCKETS, default="own")


def binary():
    """The program under test: $ONRECORD, else the release build of this tree."""
    path = Path(os.environ.get("ONRECORD", ROOT / "target/release/onrecord"))
    if not path.is_file():
        sys.exit(f"no program at {path}: cargo build --release, or ONRECORD=/path/to/onrecord")
    return str(path.resolve())


def nanos(text):
    """Nanoseconds since 1970 of a time as `onrecord` writes it (RFC 3339, up to nine decimals)."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp())
    return seconds * 10**9 + int(rest.ljust(9, "0") or 0)


class Proxy:
    """One data directory and the `serve` that runs on it. `net` gives every script loopback addresses of its own.

    `trunks`: more lines for A's trunk, and for B's. `network`: what the addresses begin with.
    """

    def __init__(self, net, lag_max="1s", reserve="1MiB", volume=None, sockets="own", trunks=("", ""), network=127):
        self.folder = Path(tempfile.mkdtemp(prefix="onrecord-proof-", dir=os.environ.get("PROOF_DIR")))
        self.data = self.folder / "data"
        self.log = self.folder / "serve.log"
        self.ip, self.a_ip, self.b_ip = (f"{network}.{net}.0.{host}" for host in (1, 2, 3))
        self.volume = Path(volume) if volume else self.data / "spool"
        policies = self.folder / "policies"
        policies.mkdir()
        (policies / "everyone.toml").write_text(POLICY)
        (policies / "grants.toml").write_text(GRANTS)
        self.config = self.folder / "onrecord.toml"
        self.config.write_text(CONFIG.format(
            data=self.data, proxy=self.ip, a=self.a_ip, b=self.b_ip, volume=self.volume, reserve=reserve,
            lag_max=lag_max, policies=policies, sockets=sockets, trunks=trunks, first_port=MEDIA_PORTS[0],
            last_port=MEDIA_PORTS[-1]))
        self.child = None
        self.pid = None
        self.keep = bool(os.environ.get("PROOF_KEEP"))
        atexit.register(self._leave)

    def start(self, *options, witness=None):
        """Starts it, and waits until it answers. `witness`: a command (strace) that it is run under."""
        command = [*(witness or []), binary(), "serve", "--config", str(self.config), *options]
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        begun = time.monotonic()
        while True:
            try:
                status = self.status()
                break
            except (OSError, ValueError):
                if self.child.poll() is not None and NOT_ALLOWED in (said := self.log.read_text()):
                    print(f"SKIPPED: {said[said.index(NOT_ALLOWED):].splitlines()[0]}")
                    raise SystemExit(0) from None
                if self.child.poll() is not None or time.monotonic() - begun > 60:
                    raise SystemExit(f"serve did not come up:\n{self.log.read_text()[-4000:]}") from None
                time.sleep(0.005)
        self.pid = status["pid"]
        return time.monotonic() - begun

    def post(self, request):
        """Sends a request to the control socket and does not wait for the answer: read it from what is returned."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.data / "control.sock"))
        client.sendall(json.dumps(request).encode() + b"\n")
        return client

    def ask(self, request):
        with self.post(request) as client, client.makefile() as reply:
            return json.loads(reply.readline())

    def status(self):
        return self.ask({"do": "status"})

    def recorder_is_up(self):
        return self.status()["recorder"]["up"]

    def drift(self):
        """Nanoseconds by which its clock, which never steps, is ahead of the wall clock now."""
        before = time.time_ns()
        told = nanos(self.status()["now"])
        after = time.time_ns()
        return 0 if before <= told <= after else told - (before + after) // 2

    def memory_kib(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise ValueError("no VmRSS")

    def kill(self):
        """SIGKILL. Returns the wall clock just before and just after it."""
        before = time.time_ns()
        os.kill(self.pid, signal.SIGKILL)
        after = time.time_ns()
        self.child.wait()
        self.child = None
        return before, after

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.child is None:
            return None
        os.kill(self.pid, signal.SIGTERM)
        try:
            code = self.child.wait(20)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            code = self.child.wait()
        self.child = None
        return code

    def verb(self, *words):
        """Runs another verb on the data directory."""
        spool = [] if self.volume == self.data / "spool" else ["--spool", str(self.volume)]
        return subprocess.run([binary(), *words, "--data", str(self.data), *spool], capture_output=True, text=True)

    def calls(self):
        """`calls list --json`."""
        done = self.verb("calls", "list", "--json")
        if done.returncode:
            raise SystemExit(f"calls list: {done.stderr}")
        listed = json.loads(done.stdout)
        return listed["calls"] if isinstance(listed, dict) else listed

    def verify(self):
        """None, or what is wrong."""
        done = self.verb("verify")
        return None if done.returncode == 0 else (done.stderr or done.stdout).strip()[-2000:]

    def _leave(self):
        if self.child is not None and self.child.poll() is None:
            if self.pid:
                try:
                    os.kill(self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.child.kill()
            self.child.wait()
        if self.keep:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
