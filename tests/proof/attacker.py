"""A network of two hosts: the node under test with its phones, and an attacker in a network namespace of its own.

Needs root. The namespaces have no names, and are gone with the processes that are in them.
"""

import ctypes
import multiprocessing
import os
import random
import socket
import struct
import subprocess
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
# What the attacker says: full scale up and down in mu-law, which no phone of these scripts does.
MARK = b"\x00\x80" * 80
PORT = 30_000
BURST_SECONDS = 0.001


def _ip(*words):
    subprocess.run(["ip", *words], check=True)


def _enter_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace of its own")
    _ip("link", "set", "lo", "up")


def enter_network(net):
    """This process is in a network of its own from here on: 10.`net`.0.1 to .5 are its hosts', .66 is the attacker's."""
    _enter_namespace()
    _ip("link", "add", "node", "type", "veth", "peer", "name", "out")
    for host in range(1, 6):
        _ip("address", "add", f"10.{net}.0.{host}/24", "dev", "node")
    _ip("link", "set", "node", "up")
    # An attacker may forge the address of a phone, which is on this side: as a real network would, let it in.
    for name, value in (("accept_local", 1), ("rp_filter", 0)):
        for link in ("all", "node"):
            Path(f"/proc/sys/net/ipv4/conf/{link}/{name}").write_text(str(value), encoding="ascii")
    return Attacker(net)


class Attacker:
    """Does what it is told in a process of its own, so that the phones keep their time. Make it before there are threads."""

    def __init__(self, net):
        self.ip = f"10.{net}.0.66"
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_attacker, args=(theirs, self.ip), daemon=True)
        self.process.start()
        self.pipe.recv()
        _ip("link", "set", "out", "netns", str(self.process.pid))
        self.pipe.send("there")
        self.pipe.recv()

    def spray(self, target, ports, rate, seconds, ssrcs, numbers="each"):
        """Marked packets to all `ports` of `target` in turn, each from a guessed source (SSRC), or from the right one
        of that port (`ssrcs`). `numbers`: `each` packet has its own, and all of a port are out of sequence; or all are the
        `same`, or that of their `sweep` of all ports, by one source."""
        self.pipe.send((_spray, (target, ports, rate, seconds, ssrcs, numbers)))

    def forge(self, source, target, rate, payloads, count):
        """`count` datagrams from an address that is another's; `payloads` in turn, each with its `struck` bytes random."""
        self.pipe.send((_forge, (source, target, rate, payloads, count)))

    def is_done(self):
        return self.pipe.poll()

    def result(self):
        """(datagrams sent, seconds, UDP datagrams that came to the attacker)."""
        return self.pipe.recv()


def _attacker(pipe, ip):
    _enter_namespace()
    pipe.send("here")
    pipe.recv()
    _ip("address", "add", f"{ip}/24", "dev", "out")
    _ip("link", "set", "out", "up")
    pipe.send("ready")
    while True:
        try:
            act, arguments = pipe.recv()
        except EOFError:
            return
        before = _arrived()
        sent, took = act(ip, *arguments)
        time.sleep(0.5)
        pipe.send((sent, took, _arrived() - before))


def _arrived():
    """UDP datagrams that reached this namespace since it is there, whether anybody listens or not."""
    rows = [line.split() for line in Path("/proc/self/net/snmp").read_text(encoding="ascii").splitlines() if line.startswith("Udp:")]
    counts = dict(zip(rows[0], rows[1]))
    return sum(int(counts[name]) for name in ("InDatagrams", "NoPorts", "InErrors"))


def _paced(rate, seconds, count, send):
    """Calls `send` with 0, 1, … at that rate until one of both limits is reached: how often, and for how long."""
    begun = time.monotonic()
    sent = 0
    while sent < count and (past := time.monotonic() - begun) < seconds:
        due = min(count, int(past * rate) + 1)
        while sent < due:
            send(sent)
            sent += 1
        time.sleep(BURST_SECONDS)
    return sent, time.monotonic() - begun


def _spray(ip, target, ports, rate, seconds, ssrcs, numbers):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ip, PORT))
    made.setblocking(False)
    targets = [(target, port) for port in ports]
    random.shuffle(targets)
    guesses = max(ssrcs.values(), default=1) + 1000
    packet = bytearray(12) + MARK

    def send(number):
        to = targets[number % len(targets)]
        sweep = number // len(targets)
        if numbers == "each":
            right = ssrcs.get(to[1])
            guessed = random.randrange(guesses)
            ssrc = right if right is not None and sweep % 2 else guessed
        else:
            ssrc, number = 1, sweep if numbers == "sweep" else 1
        struct.pack_into("!BBHII", packet, 0, 0x80, 0, number & 0xFFFF, number * 160 & 0xFFFFFFFF, ssrc)
        try:
            made.sendto(packet, to)
        except (BlockingIOError, ConnectionRefusedError):
            pass

    try:
        return _paced(rate, seconds, 1 << 62, send)
    finally:
        made.close()


def _forge(_, source, target, rate, payloads, count):
    """`payloads`: (template, where its random bytes begin and end)."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    datagrams = []
    for template, begin, end in payloads:
        length = 28 + len(template)
        # The kernel adds length, checksum and identification (raw(7)); UDP's checksum may be left out over IPv4.
        head = struct.pack("!BBHHHBBH4s4sHHHH", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0, socket.inet_aton(source[0]),
                           socket.inet_aton(target[0]), source[1], target[1], length - 20, 0)
        datagrams.append((bytearray(head + template), 28 + begin, 28 + end))

    def send(number):
        datagram, begin, end = datagrams[number % len(datagrams)]
        datagram[begin:end] = os.urandom(end - begin)
        try:
            raw.sendto(datagram, (target[0], 0))
        except (BlockingIOError, ConnectionRefusedError):
            pass

    try:
        return _paced(rate, 600, count, send)
    finally:
        raw.close()
