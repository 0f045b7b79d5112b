"""Phones that say what a scenario tells them, when it tells them: SIP, SDP and RTP as text and bytes."""

import struct

from wire import Connection

FRAME_SECONDS = 0.02
FRAME_SAMPLES = 160
PCMU, PCMA, EVENTS = 0, 8, 101
NAMES = {PCMU: "PCMU/8000", PCMA: "PCMA/8000", EVENTS: "telephone-event/8000"}
REASONS = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    401: "Unauthorized",
    407: "Proxy Authentication Required",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    491: "Request Pending",
    503: "Service Unavailable",
}


class Phone:
    """`user`, where it does SIP and RTP, and its one RTP source."""

    def __init__(self, user, address, ssrc, speech, port=5060, media_port=20_000):
        self.user = user
        self.address = address
        self.sip = (address, port)
        self.rtp = (address, media_port)
        self.ssrc = ssrc
        self.speech = speech
        self.sequence = ssrc & 0x7FFF
        self.clock = (ssrc >> 3) & 0xFFFF_FFFF
        self.spoken = 0
        self.tag = f"{user}-{ssrc:08x}"
        self.version = 1

    @property
    def host(self):
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def contact(self):
        return f"sip:{self.user}@{self.host}:{self.sip[1]}"

    def sdp(self, formats=(PCMU,), direction=None, connection=None):
        """A new version of what it offers or answers (RFC 4566)."""
        kind = "IP6" if ":" in self.address else "IP4"
        lines = [
            "v=0",
            f"o={self.user} {self.ssrc} {self.version} IN {kind} {self.address}",
            "s=-",
            f"c=IN {kind} {connection or self.address}",
            "t=0 0",
            f"m=audio {self.rtp[1]} RTP/AVP {' '.join(str(number) for number in formats)}",
            *(f"a=rtpmap:{number} {NAMES[number]}" for number in formats),
            *([f"a=fmtp:{EVENTS} 0-15"] if EVENTS in formats else []),
            "a=ptime:20",
            *([f"a={direction}"] if direction else []),
        ]
        self.version += 1
        return "".join(line + "\r\n" for line in lines)

    def frame(self, payload_type=PCMU):
        """The next 20 ms of its speech, which begins again when it is over."""
        start = self.spoken * FRAME_SAMPLES % (len(self.speech) - FRAME_SAMPLES)
        self.spoken += 1
        samples = self.speech[start : start + FRAME_SAMPLES]
        return bytes(A_LAW[sample] for sample in samples) if payload_type == PCMA else samples

    def packet(self, payload_type, payload, marker=False, clock=None):
        """RFC 3550 §5.1. The sequence number goes on by one."""
        kind = payload_type | (0x80 if marker else 0)
        clock = (self.clock if clock is None else clock) & 0xFFFF_FFFF
        header = struct.pack("!BBHII", 0x80, kind, self.sequence & 0xFFFF, clock, self.ssrc)
        self.sequence += 1
        return header + payload


class Call:
    """One dialog between two phones that talk to each other directly: `a` calls `b`."""

    def __init__(self, capture, a, b, call_id, target=None, transport="UDP", called=None):
        self.capture = capture
        self.a, self.b = a, b
        self.call_id = call_id
        self.target = target or f"sip:{b.user}@example.com"
        # As From and To name them.
        self.name_a = f'"{a.user.capitalize()}" <sip:{a.user}@example.com>'
        self.name_b = f"<{called or self.target}>"
        self.transport = transport
        self.connection = None
        self.requests = {}
        self.numbers = {a: 1, b: 100}

    def other(self, phone):
        return self.b if phone is self.a else self.a

    # Requests.

    def invite(self, at, sdp=None, by=None, headers=(), **sent):
        """The opening INVITE of `a`, or a re-INVITE of `by`."""
        by_whom = by or self.a
        return self.request(at, by_whom, "INVITE", sdp, headers, is_inside=by is not None, **sent)

    def ack(self, at, by=None, sdp=None):
        """To the newest INVITE of `by`; its branch is the INVITE's where that was refused (RFC 3261 §17.1.1.3)."""
        by = by or self.a
        invite = self.requests[by, "INVITE"]
        is_refusal = invite["status"] >= 300
        branch = invite["branch"] if is_refusal else f"z9hG4bK-{by.user}-{invite['number']}-ACK"
        target = invite["uri"] if is_refusal else self.other(by).contact
        head = self.head(by, "ACK", target, branch, invite["number"], by is self.b or invite["status"] > 100)
        self.send(at, by, message(f"ACK {target} SIP/2.0", head, sdp))

    def cancel(self, at, headers=()):
        """Of `a`'s INVITE (RFC 3261 §9.1)."""
        invite = self.requests[self.a, "INVITE"]
        head = self.head(self.a, "CANCEL", invite["uri"], invite["branch"], invite["number"], False)
        self.requests[self.a, "CANCEL"] = {**invite, "method": "CANCEL", "is_inside": False}
        self.send(at, self.a, message(f"CANCEL {invite['uri']} SIP/2.0", [*head, *headers]))

    def bye(self, at, by=None):
        self.request(at, by or self.a, "BYE", is_inside=True)

    def request(self, at, by, method, sdp=None, headers=(), is_inside=True, **sent):
        self.numbers[by] += 1 if is_inside else 0
        number = self.numbers[by]
        uri = self.other(by).contact if is_inside else self.target
        branch = f"z9hG4bK-{by.user}-{number}-{method}"
        self.requests[by, method] = {
            "method": method,
            "number": number,
            "branch": branch,
            "uri": uri,
            "is_inside": is_inside,
            "status": 0,
        }
        head = [*self.head(by, method, uri, branch, number, is_inside), *headers]
        has_contact = any(name == "Contact" for name, _ in headers)
        if method in ("INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY", "REGISTER") and not has_contact:
            head.append(("Contact", f"<{by.contact}>"))
        self.send(at, by, message(f"{method} {uri} SIP/2.0", head, sdp), **sent)

    def head(self, by, method, uri, branch, number, is_inside):
        """The headers of a request (RFC 3261 §8.1.1)."""
        a, b = self.a, self.b
        to_a = f"{self.name_a};tag={a.tag}"
        to_b = self.name_b + (f";tag={b.tag}" if is_inside else "")
        return [
            ("Via", f"SIP/2.0/{self.transport} {by.host}:{by.sip[1]};branch={branch};rport"),
            ("Max-Forwards", "70"),
            ("From", to_a if by is a else to_b),
            ("To", to_b if by is a else to_a),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        ]

    # Answers.

    def answer(self, at, status, sdp=None, to="INVITE", by=None, headers=()):
        """Of `by`, to the newest request of that method of the other phone."""
        by = by or self.b
        request = self.requests[self.other(by), to]
        request["status"] = status
        is_tagged = status > 100 or request["is_inside"]
        head = self.head(self.other(by), request["method"], "", request["branch"], request["number"], is_tagged)
        head = [pair for pair in head if pair[0] != "Max-Forwards"]
        has_contact = any(name == "Contact" for name, _ in headers)
        if to in ("INVITE", "UPDATE", "SUBSCRIBE") and 100 < status < 300 and not has_contact:
            head.append(("Contact", f"<{by.contact}>"))
        head += headers
        self.send(at, by, message(f"SIP/2.0 {status} {REASONS[status]}", head, sdp))

    # Ways.

    def connect(self, at):
        """By TCP, for all that follows."""
        self.transport = "TCP"
        self.connection = Connection(self.capture, self.a.sip, self.b.sip)
        self.connection.open(at, self.a.sip)

    def send(self, at, by, payload, sizes=(), fragment_bytes=None):
        if self.connection:
            self.connection.send(at, by.sip, payload, sizes)
        else:
            self.capture.udp(at, by.sip, self.other(by).sip, payload, fragment_bytes)

    # Media.

    def talk(self, by, start, end, payload_type=PCMU, lost=(), late=(), to=None):
        """Speech of `by` from `start` to `end`: a packet every 20 ms. Of the packets, counted from 0, the `lost` never
        come and the `late` come 50 ms later, behind two others."""
        for number in range(round((end - start) / FRAME_SECONDS)):
            packet = by.packet(payload_type, by.frame(payload_type), marker=number == 0)
            by.clock += FRAME_SAMPLES
            at = start + number * FRAME_SECONDS + (0.05 if number in late else 0.0)
            if number not in lost:
                self.capture.udp(at, by.rtp, to or self.other(by).rtp, packet)

    def both_talk(self, start, end, payload_type=PCMU):
        self.talk(self.a, start, end, payload_type)
        self.talk(self.b, start + 0.007, end, payload_type)

    def digit(self, by, at, event, frames=5):
        """One key (RFC 4733 §2.5): updates of one event, then its end three times; all with one timestamp."""
        clock = by.clock
        for number in range(frames + 2):
            duration = min(number + 1, frames) * FRAME_SAMPLES
            is_end = number >= frames - 1
            body = struct.pack("!BBH", event, (0x80 if is_end else 0) | 10, duration)
            packet = by.packet(EVENTS, body, marker=number == 0, clock=clock)
            self.capture.udp(at + number * FRAME_SECONDS, by.rtp, self.other(by).rtp, packet)
        by.clock += (frames + 2) * FRAME_SAMPLES

    def report(self, by, at, packets):
        """An RTCP sender report with a CNAME (RFC 3550 §6.4.1, §6.5.1)."""
        ntp = 0xE0_00_00_00 + int(at)
        report = struct.pack("!BBHIIIIII", 0x80, 200, 6, by.ssrc, ntp, 0, by.clock & 0xFFFF_FFFF, packets, packets * 160)
        name = f"{by.user}@{by.address}".encode()
        item = struct.pack("!BB", 1, len(name)) + name + b"\0"
        item += b"\0" * (-len(item) % 4)
        chunk = struct.pack("!BBHI", 0x81, 202, 1 + len(item) // 4, by.ssrc) + item
        far = self.other(by).rtp
        self.capture.udp(at, (by.rtp[0], by.rtp[1] + 1), (far[0], far[1] + 1), report + chunk)


def message(start_line, head, sdp=None):
    """Of an SDP, or of another body, text or bytes, whose Content-Type is in the head."""
    body = sdp or b""
    body = body.encode() if isinstance(body, str) else body
    is_typed = any(name == "Content-Type" for name, _ in head)
    kind = [("Content-Type", "application/sdp")] if body and not is_typed else []
    head = [*head, *kind, ("Content-Length", str(len(body)))]
    return "\r\n".join([start_line, *(f"{name}: {value}" for name, value in head), "", ""]).encode() + body


def mu_law_to_linear(code):
    """ITU-T G.711 table 2a."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def linear_to_a_law(sample):
    """ITU-T G.711 table 1a, from 16-bit samples."""
    mask, magnitude = (0xD5, sample >> 3) if sample >= 0 else (0x55, -sample - 1 >> 3)
    segment = max(magnitude.bit_length() - 5, 0)
    return (segment << 4 | magnitude >> max(segment, 1) & 0x0F) ^ mask


A_LAW = bytes(linear_to_a_law(mu_law_to_linear(code)) for code in range(256))
