"""Media of more calls than Python can play: `talkers.rs` speaks and hears for the legs, the phones make their calls."""

import json
import os
import select
import struct
import subprocess
from pathlib import Path

from phones import Leg
from proxy import ROOT

WAIT = struct.Struct("<QI")


def program():
    beside = os.environ.get("ONRECORD") and Path(os.environ["ONRECORD"]).resolve().parent / "examples/talkers"
    if not beside or not beside.is_file():
        subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "talkers"], cwd=ROOT, check=True)
        return ROOT / "target/release/examples/talkers"
    return beside


class FarLeg(Leg):
    """Its media is the talkers'."""

    talks = property(lambda self: False, lambda self, _: None)

    def __init__(self, address):
        self.socket, self.address = None, address
        self.reset(0)

    def reset(self, ssrc):
        super().reset(ssrc)
        self.received = 1

    def hear(self):
        pass


class Talkers:
    """All A's legs have one address, and all B's."""

    def __init__(self, a_ip, b_ip, waits=None):
        self.file = waits
        command = [str(program()), "--a", a_ip, "--b", b_ip, *(["--waits", str(waits)] if waits else [])]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = self.child.stdout.readline().split()
        self.a, self.b = ((ip, int(port)) for ip, _, port in (at.rpartition(":") for at in told))

    def legs(self, count):
        return [(FarLeg(self.a), FarLeg(self.b)) for _ in range(count)]

    def join(self, pairs):
        """For each call, where A sends to, and B."""
        self._tell("cut", *(f"{a[0]}:{a[1]} {b[0]}:{b[1]}" for a, b in pairs))

    def talk(self, warm, seconds):
        """Begins."""
        self._tell(f"talk {warm} {seconds}")

    def is_done(self):
        return bool(select.select([self.child.stdout], [], [], 0)[0])

    def result(self):
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"the talkers ended with {self.child.wait()}")
        return json.loads(line)

    def waits(self):
        """When each packet was sent, and what it took to the far end, in nanoseconds."""
        return WAIT.iter_unpack(self.file.read_bytes())

    def close(self):
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()

    def _tell(self, *lines):
        self.child.stdin.write("".join(f"{line}\n" for line in lines))
        self.child.stdin.flush()
