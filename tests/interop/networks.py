"""A node with a foot in two networks and a sipp in each: in namespaces of the kernel's where we may make them, else on two
loopback nets."""

import os
import re
import shutil
import subprocess
import sys

import flow
import sipp
from bench import SIP_PORT, Bench, Failed

# Louder than silence, of 32767.
LOUD = 1000
# Sends an OPTIONS from an address to another one and prints the first line of the answer.
ASK = """
import socket, sys
ours, theirs = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
    phone.bind((ours, 0))
    phone.settimeout(1)
    at = "%s:%d" % phone.getsockname()
    phone.sendto((f"OPTIONS sip:{theirs} SIP/2.0\\r\\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{theirs};rport\\r\\n"
                  f"From: <sip:a@{at}>;tag=a\\r\\nTo: <sip:{theirs}>\\r\\nCall-ID: {at}\\r\\nCSeq: 1 OPTIONS\\r\\n"
                  "Max-Forwards: 70\\r\\nContent-Length: 0\\r\\n\\r\\n").encode(), (theirs, 5060))
    try:
        answer, source = phone.recvfrom(65536)
        print(source[0], answer.split(b"\\r\\n")[0].decode())
    except TimeoutError:
        print("silence")
"""


class Homed(Bench):
    """The caller is inside, the callee outside; neither reaches the other but through the proxy."""

    def __enter__(self):
        super().__enter__()
        self.made = []
        self.base = f"127.{self.net}"
        if os.geteuid() == 0 and shutil.which("ip"):
            self.make_networks()
        inside, outside = self.faces("caller"), self.faces("callee")
        for trunk, ours in (("pbx", inside), ("carrier", outside)):
            self.parts[f"trunk.{trunk}"] = [f'listen = "udp:{ours}:{SIP_PORT}"', f'media = "{ours}"']
        return self

    def __exit__(self, *why):
        super().__exit__(*why)
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def make_networks(self):
        """A namespace for the proxy and one for each party, with a cable between; all go with their namespaces."""
        names = {who: f"onrecord-{os.getpid()}-{self.net}-{who}" for who in ("proxy", "caller", "callee")}
        for name in names.values():
            if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode:
                return self.unmake_networks()
            self.made.append(name)
        self.base = f"10.{self.net}"
        for who in ("caller", "callee"):
            cable = f"{who[:5]}{self.net}"
            ours, theirs = self.faces(who), self.ip(who)
            for command in (
                    f"link add {cable} netns {names['proxy']} type veth peer name {cable} netns {names[who]}",
                    f"-n {names['proxy']} addr add {ours}/24 dev {cable}", f"-n {names['proxy']} link set {cable} up",
                    f"-n {names[who]} addr add {theirs}/24 dev {cable}", f"-n {names[who]} link set {cable} up",
                    # So that it can try the far side's address of the proxy.
                    f"-n {names[who]} route add default via {ours}", f"-n {names[who]} link set lo up",
                    f"-n {names['proxy']} link set lo up"):
                done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
                if done.returncode:
                    return self.unmake_networks()
        return None

    def unmake_networks(self):
        """We may not after all."""
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        self.made, self.base = [], f"127.{self.net}"

    def ip(self, who):
        hosts = {"proxy": "0.1", "caller": "0.2", "callee": "1.3", "carol": "0.4", "dave": "0.5", "kamailio": "0.6"}
        return f"{self.base}.{hosts[who]}"

    def faces(self, who):
        return f"{self.base}.{1 if who == 'callee' else 0}.1"

    def facing(self, who):
        return f"{self.faces(who)}:{SIP_PORT}"

    def listeners(self):
        return [f"udp:{self.facing(who)}" for who in ("caller", "callee")]

    def at_home_of(self, who):
        """What a program of theirs is started with."""
        name = next((name for name in self.made if name.endswith(f"-{who}")), None)
        return ["ip", "netns", "exec", name] if name else []

    def run(self, command, log, **options):
        who = {"serve.log": "proxy", "caller.out": "caller", "callee.out": "callee"}[log]
        return super().run([*self.at_home_of(who), *command], log, **options)

    def ask(self, who, theirs):
        command = [*self.at_home_of(who), sys.executable, "-c", ASK, self.ip(who), theirs]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def two_networks():
    """Each side sees the proxy's addresses of its own network, media crosses, and none is answered at the other's listener
    (RFC 3261 §18.1.1, RFC 4566 §5.7)."""
    one = flow.read(flow.FLOWS / "basic.flow")
    with Homed("two-networks") as bench:
        bench.start()
        sipp.talk(bench, one)
        inside, outside = bench.faces("caller"), bench.faces("callee")
        shows(bench, "callee", "INVITE ", outside, ("Via", "Contact"))
        shows(bench, "caller", "SIP/2.0 200", inside, ("Contact",))
        for who, theirs, own in (("caller", outside, inside), ("callee", inside, outside)):
            said = bench.ask(who, theirs)
            if said != "silence":
                raise Failed(f"{who} is answered at {theirs}, which faces the other side: {said}")
            said = bench.ask(who, own)
            if said != f"{own} SIP/2.0 200 OK":
                raise Failed(f"{who} asks {own} and hears: {said}")
        rows = bench.finish()
        if [row["outcome"] for row in rows] != ["recorded"]:
            raise Failed(f"recordings: {[row['outcome'] for row in rows]}")
        loudest = bench.loudest(rows[0])
        if min(loudest) < LOUD:
            raise Failed(f"what was said does not cross both ways: {loudest}")


def shows(bench, who, start, ours, headers):
    """The first such message that a party got names our address of its side, and no other."""
    received = (text for _, way, text in sipp.messages(bench.folder / f"{who}.msg") if way == "received")
    text = next((text for text in received if text.startswith(start)), None)
    if text is None:
        raise Failed(f"{who} got no {start}")
    lines = [re.search(rf"(?m)^{name}:.*$", text)[0] for name in headers] + [re.search(r"(?m)^c=.*$", text)[0]]
    for line in lines:
        if not re.search(rf"[ :@]{re.escape(ours)}(?![\d.])", line):
            raise Failed(f"{who} is not told {ours}: {line.strip()}")


def cases():
    return {"sipp/two-networks": (" ".join(two_networks.__doc__.split()), two_networks)}
