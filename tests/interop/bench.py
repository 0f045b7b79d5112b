"""One case's bench: loopback addresses of its own, `onrecord serve` between them, and what must be true afterwards."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# 127.NET.0.1 is the proxy, .2 the caller, .3 the callee, .4 and .5 whoever comes later.
NETS = range(140, 240)
HOSTS = {"proxy": 1, "caller": 2, "callee": 3, "carol": 4, "dave": 5, "kamailio": 6}
# What they are called: the routes tell them apart by it.
NAMES = {"caller": "alice", "callee": "bob", "carol": "carol", "dave": "dave"}
SIP_PORT = 5060
TLS_PORT = 5061
WS_PORT = 5080
SIX_FROM = 10000
SIX_PORTS = 200
PATIENCE = 10.0
# How long the last answers to BYE and the seal may take.
LEAVE = 6.0
# Of INTEROP_KEEP: whose folders stay, each with its segments of 256 MiB.
ALWAYS, FAILED = "1", "failed"

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


class Failed(Exception):
    """The case did not do what it should: why, in a line or a few."""


class Skipped(Exception):
    """What the case needs is not on this machine: what."""


def binary():
    """The program under test: $ONRECORD, else the debug build of this tree."""
    return str(Path(os.environ.get("ONRECORD", ROOT / "target/debug/onrecord")).resolve())


_taken, _ended = set(), set()
_lock = threading.Lock()


def _claim():
    """A net that nobody uses: neither another case nor another run of this script."""
    with _lock:
        for net in NETS:
            if net in _taken:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((f"127.{net}.0.1", SIP_PORT))
                except OSError:
                    continue
            _taken.add(net)
            return net
    raise Failed("no free loopback net")


def until(what, happened, patience=PATIENCE):
    """Waits for `happened` and returns what it says."""
    end = time.monotonic() + patience
    while True:
        result = happened()
        if result:
            return result
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {patience:.0f} s")
        time.sleep(0.02)


def is_bound(ip, port, kind="udp", pid="self"):
    """Whether somebody listens there, without asking them; in the network of process `pid`."""
    family, kind = (socket.AF_INET6, f"{kind}6") if ":" in ip else (socket.AF_INET, kind)
    # As words of the machine's order.
    words = struct.unpack(f"{4 if family == socket.AF_INET6 else 1}I", socket.inet_pton(family, ip))
    wanted = "%s:%04X" % ("".join("%08X" % word for word in words), port)
    try:
        table = Path(f"/proc/{pid}/net/{kind}").read_text(encoding="ascii")
    except OSError:
        return False
    return any(line.split()[1] == wanted for line in table.splitlines())


class Bench:
    """Context manager. `parts` are TOML lines for tables of the config: {"trunk.carrier": "transport = \"tcp\""};
    `policy`: those of the one policy."""

    def __init__(self, name, parts=None, transport="udp", six=False):
        self.name, self.transport, self.six = name, transport, six
        self.parts = dict(parts or {})
        self.listen = ("udp", "tcp", "tls") if transport == "tls" else ("udp", "tcp")
        self.children = []
        self.serve = None

    def __enter__(self):
        self.net = _claim()
        self.folder = Path(tempfile.mkdtemp(prefix=f"onrecord-interop-{self.name.replace('/', '-')}-"))
        self.data = self.folder / "data"
        if self.transport == "tls":
            import certificates
            certificates.issue(self)
        return self

    def __exit__(self, kind, *_):
        for child in [*self.children, self.serve]:
            end(child)
        if os.environ.get("INTEROP_KEEP") in ((ALWAYS, FAILED) if kind else (ALWAYS,)):
            print(f"kept: {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        _taken.discard(self.net)

    def at_home(self, who):
        """Address and port of an agent that cannot send from an address of its choice: the kernel's, and a port of
        its own, with 39 more after it for media."""
        return "127.0.0.1", 20000 + (self.net - NETS[0]) * 200 + HOSTS[who] * 40 - 40

    def ip(self, who):
        return "::1" if self.six else f"127.{self.net}.0.{HOSTS[who]}"

    def port(self, who):
        """Of SIP. IPv6 has one address on loopback: there ports tell cases and parties apart."""
        return self.ports().start + HOSTS[who] * 10 - 10 if self.six else SIP_PORT

    def ports(self):
        """All that a case over IPv6 may use: the proxy's media has what is left beyond the parties'."""
        return range(SIX_FROM + (self.net - NETS[0]) * SIX_PORTS, SIX_FROM + (self.net - NETS[0] + 1) * SIX_PORTS)

    def uri_host(self, who):
        return self.at(who) if self.six else self.ip(who)

    def at(self, who):
        return f"[{self.ip(who)}]:{self.port(who)}" if self.six else f"{self.ip(who)}:{self.port(who)}"

    def run(self, command, log, **options):
        """Starts a program of this case; it is ended with the case. Its output goes to `log` in the folder."""
        with (self.folder / log).open("wb") as out:
            child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                     **options)
        self.children.append(child)
        return child

    def log(self, name, lines=12):
        path = self.folder / name
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.is_file() else ""

    def peer(self, who):
        """As the config names it."""
        if self.six:
            return self.at(who)
        return f"{self.ip(who)}:{TLS_PORT}" if self.transport == "tls" else self.ip(who)

    def warnings(self):
        """What `serve` complained of."""
        said = self.log("serve.log", 1000).splitlines()
        return [line for line in said if " WARN " in line or " ERROR " in line][-5:]

    def facing(self, who):
        """The proxy's end towards a party."""
        return self.at("proxy")

    def listeners(self):
        port = {"tls": TLS_PORT, "ws": WS_PORT}
        ip = f"[{self.ip('proxy')}]" if self.six else self.ip("proxy")
        return [f"{kind}:{ip}:{port.get(kind, self.port('proxy'))}" for kind in self.listen]

    def config(self):
        extra = lambda table: "\n".join(self.parts.get(table, []))
        listeners = ", ".join(f'"{listener}"' for listener in self.listeners())
        media = f"{self.ports().start + 80}-{self.ports().stop - 1}" if self.six else "20000-24999"
        trunks = {"pbx": "caller", "carrier": "callee", "third": "carol", "fourth": "dave"}
        lines = ['node = "interop"', f'data = "{self.data}"', extra("top"), "[listen]", f"sip = [{listeners}]",
                 f'media = {{ address = "{self.ip("proxy")}", ports = "{media}" }}', extra("listen")]
        for trunk, who in trunks.items():
            given = self.parts.get(f"trunk.{trunk}", [])
            lines += ["[[trunk]]", f'name = "{trunk}"', *given]
            if not any(line.startswith("peers") for line in given):
                lines.append(f'peers = ["{self.peer(who)}"]')
            if self.transport != "udp" and not any(line.startswith("transport") for line in given):
                lines.append(f'transport = "{self.transport}"')
            if self.transport == "tls":
                lines += ["[trunk.tls]", f'ca = "{self.folder}/tls/ca.pem"']
            lines += self.parts.get(f"below.{trunk}", [])
        for trunk in trunks:
            for to, prefix in (("third", "carol"), ("fourth", "dave"), ("pbx", "alice"), ("carrier", "bob")):
                if to != trunk:
                    lines += ["[[route]]", f'from = "{trunk}"', f'to = "{to}"', f'prefix = "{prefix}"']
            lines += ["[[route]]", f'from = "{trunk}"', f'to = "{"carrier" if trunk == "pbx" else "pbx"}"', "priority = 9"]
        if self.transport == "tls":
            lines += ["[listen.tls]", f'certificate = "{self.folder}/tls/proxy.crt"',
                      f'client_ca = "{self.folder}/tls/ca.pem"', f'key = "{self.folder}/tls/proxy.key"']
        lines += [extra("tables"), "[recorder]", f'volumes = [{{ path = "{self.data}/spool", reserve = "1MiB" }}]',
                  'lag_max = "5s"', extra("recorder"), "[policies]", f'path = "{self.folder}/policies"']
        text = "\n".join(lines).replace("{folder}", str(self.folder)) + "\n"
        for who in HOSTS:
            text = text.replace(f"{{{who}}}", self.ip(who))
        return text

    def start(self):
        policies = self.folder / "policies"
        policies.mkdir(exist_ok=True)
        (policies / "everyone.toml").write_text("\n".join(self.parts.get("policy", [POLICY])))
        (policies / "grants.toml").write_text(GRANTS)
        (self.data / "spool").mkdir(parents=True)
        path = self.folder / "onrecord.toml"
        path.write_text(self.config())
        self.serve = self.run([binary(), "serve", "--config", str(path)], "serve.log")

        def answers():
            if self.serve.poll() is not None:
                raise Failed(f"serve did not start:\n{self.log('serve.log')}")
            try:
                return self.status()
            except (OSError, ValueError):
                return None

        until("serve answers", lambda: (answers() or {}).get("recorder", {}).get("up"), 30)

    def status(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.data / "control.sock"))
            client.sendall(b'{"do":"status"}\n')
            with client.makefile() as reply:
                return json.loads(reply.readline())

    def verb(self, *words):
        return subprocess.run([binary(), *words, "--data", str(self.data)], capture_output=True, text=True)

    def finish(self, linger=LEAVE):
        """No call is left, it ends in good order, every byte verifies. Returns the recordings as `calls list` and
        `calls show` tell them, oldest first."""
        until("no call is left", lambda: not self.status()["calls"], linger)
        status = self.status()
        if status["media"]["sessions"]:
            raise Failed(f"{status['media']['sessions']} sessions are still relayed")
        if status["media"]["refused"]:
            raise Failed(f"the recorder refused {status['media']['refused']} packets")
        self.serve.send_signal(signal.SIGTERM)
        try:
            code = self.serve.wait(15)
        except subprocess.TimeoutExpired:
            raise Failed("serve did not end") from None
        if code:
            raise Failed(f"serve ended with {code}:\n{self.log('serve.log')}")
        done = self.verb("verify")
        if done.returncode:
            raise Failed(f"verify: {(done.stderr or done.stdout).strip()[-1500:]}")
        listed = json.loads(self.verb("calls", "list", "--json").stdout)
        rows = listed["calls"] if isinstance(listed, dict) else listed
        for row in rows:
            row["shown"] = json.loads(self.verb("calls", "show", row["id"], "--json").stdout)
        for row in rows:
            kept = row["shown"]["reconciliation"]
            if kept["accepted"] != kept["stored"] or kept["gaps"]:
                raise Failed(f"not all that was accepted is stored: {kept}")
        return rows

    def loudest(self, row):
        """The loudest sample of each leg, caller first, of 32767."""
        import array
        import wave
        path = self.folder / f"{row['id']}.wav"
        done = self.verb("export", row["id"], "--wav", str(path))
        if done.returncode:
            raise Failed(f"export: {done.stderr.strip()}")
        with wave.open(str(path)) as sound:
            samples = array.array("h", sound.readframes(sound.getnframes()))
        return max(map(abs, samples[0::2]), default=0), max(map(abs, samples[1::2]), default=0)


def conversations(rows):
    """How many conversations the recordings belong to."""
    return len({row.get("conversation") or row["id"] for row in rows})


def end(child):
    """SIGTERM, two seconds, SIGKILL; then SIGKILL to what it started and left behind, which may hold its ports still."""
    if child is None or child in _ended:
        return
    _ended.add(child)
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
