"""Destinations by name, located by a resolver that we did not write: unbound, as the host's `resolv.conf` names it."""

import os
import re
import shutil
import subprocess

import flow
import sipp
from bench import PATIENCE, Bench, Failed, Skipped, end, is_bound, until

PORT = 53
# The shortest that is believed.
TTL = 5
# What it says of carrier.example: rather UDP, there first a server that is not there.
ZONE = """
carrier.example. {ttl} IN NAPTR 10 0 "s" "SIP+D2U" "" _sip._udp.carrier.example.
carrier.example. {ttl} IN NAPTR 20 0 "s" "SIP+D2T" "" _sip._tcp.carrier.example.
_sip._udp.carrier.example. {ttl} IN SRV 10 0 5060 dead.carrier.example.
_sip._udp.carrier.example. {ttl} IN SRV 20 0 5060 lives.carrier.example.
_sip._tcp.carrier.example. {ttl} IN SRV 10 0 5060 dead.carrier.example.
dead.carrier.example. {ttl} IN A {dead}
lives.carrier.example. {ttl} IN A {lives}
"""


def version():
    text = subprocess.run(["unbound", "-V"], capture_output=True, text=True).stdout
    return f"unbound {re.search(r'Version ([0-9.]+)', text)[1]}, {sipp.version()}"


class Named(Bench):
    """The carrier is `carrier.example`; `serve` sees a `resolv.conf` of its own, which names the case's resolver."""

    def __enter__(self):
        super().__enter__()
        self.resolver, self.dead = f"127.{self.net}.0.7", f"127.{self.net}.0.8"
        self.parts = {"trunk.carrier": ["peers = []", 'destinations = [{ address = "carrier.example" }]']}
        (self.folder / "resolv.conf").write_text(f"nameserver {self.resolver}\n")
        return self

    def run(self, command, log, **options):
        if log == "serve.log":
            script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", script, str(self.folder / "resolv.conf"), *command]
        return super().run(command, log, **options)

    def resolve(self):
        zone = ZONE.format(ttl=TTL, dead=self.dead, lives=self.ip("callee")).strip().splitlines()
        lines = ["server:", f"interface: {self.resolver}", f"port: {PORT}", "access-control: 127.0.0.0/8 allow",
                 'username: ""', 'chroot: ""', 'pidfile: ""', f'directory: "{self.folder}"', "use-syslog: no", "num-threads: 1",
                 'module-config: "iterator"', 'local-zone: "carrier.example." static',
                 *(f"local-data: '{record}'" for record in zone), "remote-control:", "control-enable: no"]
        path = self.folder / "unbound.conf"
        path.write_text("\n".join(lines) + "\n")
        child = self.run(["unbound", "-d", "-c", str(path)], "unbound.log")

        def listens():
            if child.poll() is not None:
                raise Failed(f"unbound ended:\n{self.log('unbound.log')}")
            return is_bound(self.resolver, PORT)
        until("unbound listens", listens)
        return child

    def destinations(self):
        carrier = next(trunk for trunk in self.status()["trunks"] if trunk["name"] == "carrier")
        return [destination["address"] for destination in carrier["destinations"]]


def may_mount():
    wanted = ["unshare", "-m", "true"]
    return os.geteuid() == 0 and shutil.which("unshare") and not subprocess.run(wanted, capture_output=True).returncode


def located():
    """NAPTR, SRV and A lead to two servers, of which the first is not there; what was located is called while DNS is down
    (RFC 3263 §4)."""
    if not shutil.which("unbound"):
        raise Skipped("unbound is not installed (Debian: unbound)")
    if not may_mount():
        raise Skipped("may not mount a resolv.conf of its own")
    one = flow.read(flow.FLOWS / "basic.flow")
    with Named("unbound") as bench:
        child = bench.resolve()
        bench.start()
        wanted = [f"udp:{bench.dead}:5060", f"udp:{bench.ip('callee')}:5060"]
        until("its servers are located", lambda: bench.destinations() == wanted)
        sipp.talk(bench, one)
        called(bench)
        if f"failed: tried last for a while destination={bench.dead}:5060" not in bench.log("serve.log", 1000):
            raise Failed(f"the first server was not tried:\n{bench.log('serve.log')}")
        end(child)
        lost = lambda: "DNS has no usable answer" in bench.log("serve.log", 1000)
        until("the loss of DNS is noticed", lost, TTL + 3 * PATIENCE)
        sipp.talk(bench, one)
        called(bench)
        outcomes = [row["outcome"] for row in bench.finish()]
        if outcomes != ["recorded", "recorded"]:
            raise Failed(f"recordings: {outcomes}")


def called(bench):
    """The callee was, by the carrier's name (RFC 3261 §8.1.1.1)."""
    received = [text for _, way, text in sipp.messages(bench.folder / "callee.msg") if way == "received"]
    if not received or not received[0].startswith("INVITE sip:bob@carrier.example SIP/2.0"):
        raise Failed(f"the callee got {[text.splitlines()[0] for text in received]}")


def cases():
    return {"unbound/located": (" ".join(located.__doc__.split()), located)}
