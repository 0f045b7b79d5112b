"""Plain calls in pieces, and captured in the ways of those who bring captures."""

import ipaddress
import struct

from stage import call_of, hang_up, scenario, set_up
from wire import checksum

SIP_PORT = 5060
COLLECTOR = ("203.0.113.60", 9060)


def talk(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 3.05)
    hang_up(call, 3.1)


@scenario
def late_packets(capture):
    """Two interfaces, one for each direction; what the one captured is written 400 ms after the other's."""
    talk(capture)
    late = ipaddress.ip_address("198.51.100.20").packed

    def written(timed):
        at, packet = timed
        return at + (400_000 if packet[26:30] == late else 0)

    capture.written = written


@scenario
def mirrored(capture):
    """Both ports of a router are mirrored: every packet is there a second time, routed, and in the VLAN of the other side."""
    talk(capture)
    for at, packet in list(capture.packets):
        header = packet[14:22] + bytes([packet[22] - 1]) + packet[23:24] + b"\0\0" + packet[26:34]
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        routed = bytes(12) + b"\x81\x00\x00\x64\x08\x00" + header + packet[34:]
        capture.packets.append((at + 200, routed))


@scenario
def collected(capture):
    """The signalling as a proxy sends it to its collector, by HEP3; the media as it is."""
    talk(capture)
    packets, capture.packets = capture.packets, []
    for at, packet in packets:
        source, target = struct.unpack_from("!HH", packet, 34)
        if SIP_PORT in (source, target):
            copy = hep3(packet[26:30], packet[30:34], source, target, at, packet[42:])
            capture.udp(at / 1_000_000, ("203.0.113.1", 40_000), COLLECTOR, copy)
        else:
            capture.packets.append((at, packet))


def hep3(source, target, source_port, target_port, at, payload):
    """One message, over UDP and IPv4, with when it was seen, in microseconds of the capture, and by which agent."""
    values = [
        (1, b"\x02"),
        (2, b"\x11"),
        (3, source),
        (4, target),
        (7, struct.pack("!H", source_port)),
        (8, struct.pack("!H", target_port)),
        (9, struct.pack("!I", at // 1_000_000)),
        (10, struct.pack("!I", at % 1_000_000)),
        (11, b"\x01"),
        (12, struct.pack("!I", 2001)),
        (15, payload),
    ]
    chunks = b"".join(struct.pack("!HHH", 0, kind, 6 + len(value)) + value for kind, value in values)
    return b"HEP3" + struct.pack("!H", 6 + len(chunks)) + chunks


@scenario
def tcp_split(capture):
    """One message in many segments, two messages in one, a segment again, a keep-alive between."""
    call = call_of(capture)
    call.connect(0.0)
    call.invite(0.01, call.a.sdp(), sizes=(1, 30, 97, 5))
    call.answer(0.05, 100)
    call.answer(0.25, 180)
    before = call.connection.ends[call.b.sip]
    call.answer(1.0, 200, call.b.sdp())
    again = call.connection.ends[call.b.sip] - before
    sent = capture.packets[-2][1][-again:]
    call.connection.repeat(1.01, call.b.sip, sent, before)
    call.connection.send(1.015, call.a.sip, b"\r\n\r\n")
    call.ack(1.02)
    call.both_talk(1.05, 2.55)
    hang_up(call, 2.6)
    call.connection.close(2.7, call.a.sip)


@scenario
def fragmented_invite(capture):
    """An INVITE of more than two Ethernet frames; the fragments of its only copy come last first."""
    call = call_of(capture)
    visits = [("History-Info", f"<sip:bob@hop{n}.example.com?Reason=SIP%3Bcause%3D302>;index=1.{n}") for n in range(1, 40)]
    set_up(call, asked=visits, fragment_bytes=1_480)
    times = [at for at, _ in capture.packets[:3]]
    capture.packets[:3] = list(zip(times, reversed([packet for _, packet in capture.packets[:3]])))
    call.both_talk(1.05, 2.55)
    hang_up(call, 2.6)
