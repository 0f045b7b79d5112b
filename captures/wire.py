"""Packets and capture files: Ethernet, IPv4 and IPv6, UDP and TCP, pcap. Python's standard library, no clock, no chance."""

import ipaddress
import struct

UDP = 17
TCP = 6
SYN, FIN, PSH, ACK = 0x02, 0x01, 0x08, 0x10


class Capture:
    """Packets with the time, in seconds since the capture began, at which the wire carried them."""

    def __init__(self, began):
        self.began = began
        self.packets = []
        self.identification = 0
        # In which order they are in the file: by time, unless a scenario says otherwise.
        self.written = lambda timed: timed[0]

    def add(self, at, packet):
        """`packet`: from its Ethernet header on."""
        self.packets.append((round(at * 1_000_000), packet))

    def udp(self, at, source, target, payload, fragment_bytes=None):
        """One datagram from (address, port) to (address, port), in IP fragments of at most so many bytes of payload."""
        header = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0)
        total = checksum(pseudo_header(source[0], target[0], UDP, 8 + len(payload)) + header + payload) or 0xFFFF
        datagram = header[:6] + struct.pack("!H", total) + payload
        size = fragment_bytes or len(datagram)
        for number, start in enumerate(range(0, len(datagram), size)):
            part = datagram[start : start + size]
            is_last = start + size >= len(datagram)
            self.add(at + number * 0.000_05, self.ip(source[0], target[0], UDP, part, start, is_last))
        self.identification += 1

    def ip(self, source, target, protocol, payload, offset=0, is_last=True):
        """An Ethernet frame around an IP packet that carries `payload`, from byte `offset` of what was fragmented on."""
        source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
        if source.version == 6:
            assert offset == 0 and is_last, "IPv6 fragments are not made here"
            header = struct.pack("!IHBB", 0x6000_0000, len(payload), protocol, 64) + source.packed + target.packed
            return ethernet(source, target, 0x86DD, header + payload)
        flags = (offset // 8) | (0 if is_last else 0x2000)
        identification = self.identification & 0xFFFF
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identification, flags, 64, protocol, 0)
        header += source.packed + target.packed
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return ethernet(source, target, 0x0800, header + payload)

    def write(self, path):
        """A pcap file, microseconds, little-endian, Ethernet; packets of the same time in the order of their making."""
        with open(path, "wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
            for at, packet in sorted(self.packets, key=self.written):
                seconds, micros = divmod(at, 1_000_000)
                file.write(struct.pack("<IIII", self.began + seconds, micros, len(packet), len(packet)) + packet)


class Connection:
    """One TCP connection between two (address, port), opened by the first."""

    def __init__(self, capture, client, server):
        self.capture = capture
        self.ends = {client: 1_000, server: 9_000}
        self.peer = {client: server, server: client}

    def open(self, at, client):
        self.segment(at, client, SYN)
        self.segment(at + 0.001, self.peer[client], SYN | ACK)
        self.segment(at + 0.002, client, ACK)

    def send(self, at, source, payload, sizes=()):
        """`payload` in segments of these sizes, the rest in one; each is acknowledged."""
        start = 0
        for number, size in enumerate([*sizes, len(payload)]):
            part = payload[start : start + size]
            if part:
                self.segment(at + number * 0.004, source, PSH | ACK, part)
                self.segment(at + number * 0.004 + 0.001, self.peer[source], ACK)
            start += size

    def repeat(self, at, source, payload, sequence):
        """A retransmitted segment."""
        self.segment(at, source, PSH | ACK, payload, sequence)

    def close(self, at, source):
        self.segment(at, source, FIN | ACK)
        self.segment(at + 0.001, self.peer[source], FIN | ACK)
        self.segment(at + 0.002, source, ACK)

    def segment(self, at, source, flags, payload=b"", sequence=None):
        target = self.peer[source]
        number = self.ends[source] if sequence is None else sequence
        acknowledged = self.ends[target] if flags & ACK else 0
        header = struct.pack("!HHIIBBHHH", source[1], target[1], number, acknowledged, 0x50, flags, 64_240, 0, 0)
        total = checksum(pseudo_header(source[0], target[0], TCP, len(header) + len(payload)) + header + payload)
        header = header[:16] + struct.pack("!H", total) + header[18:]
        self.capture.add(at, self.capture.ip(source[0], target[0], TCP, header + payload))
        self.capture.identification += 1
        if sequence is None:
            self.ends[source] += len(payload) + (1 if flags & (SYN | FIN) else 0)


def ethernet(source, target, kind, payload):
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def mac(address):
    """A locally administered one, made of the IP address."""
    return b"\x02\x00" + address.packed[-4:]


def pseudo_header(source, target, protocol, length):
    source, target = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if source.version == 6:
        return source.packed + target.packed + struct.pack("!II", length, protocol)
    return source.packed + target.packed + struct.pack("!BBH", 0, protocol, length)


def checksum(content):
    """RFC 1071."""
    if len(content) % 2:
        content += b"\0"
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
