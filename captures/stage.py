"""What scenarios have in common: who calls whom, and the steps that most calls take."""

from pathlib import Path

from phone import PCMU, Call, Phone

HERE = Path(__file__).parent
SPEECH = {name: (HERE / f"{name}.ulaw").read_bytes() for name in ("alice", "bob", "announcement")}
SCENARIOS = {}


def scenario(make):
    SCENARIOS[make.__name__.replace("_", "-")] = make
    return make


def call_of(capture, number=0, target=None):
    """Alice calls Bob; the second call is Carol's, to Dave."""
    caller, callee = [("alice", "bob"), ("carol", "dave")][number]
    source = 0x1000_0000 * (number + 1)
    a = Phone(caller, f"192.0.2.{10 + number}", source + 0xA11CE, SPEECH["alice"])
    b = Phone(callee, f"198.51.100.{20 + number}", source + 0xB0B, SPEECH["bob"], media_port=30_000)
    return Call(capture, a, b, f"generated-{number}@{a.address}", target)


def ring(call, at, sdp, **sent):
    """INVITE, and B rings."""
    call.invite(at, sdp, **sent)
    call.answer(at + 0.01, 100)
    call.answer(at + 0.25, 180)


def set_up(call, at=0.0, formats=(PCMU,), answered=1.0):
    """A call is confirmed at `answered` + 20 ms."""
    ring(call, at, call.a.sdp(formats))
    call.answer(at + answered, 200, call.b.sdp(formats))
    call.ack(at + answered + 0.02)


def hang_up(call, at, by=None):
    call.bye(at, by)
    call.answer(at + 0.02, 200, to="BYE", by=call.other(by or call.a))


def progress(call, at, number, sdp):
    """B's reliable 183 (RFC 3262 §3)."""
    call.answer(at, 183, sdp, headers=[("Require", "100rel"), ("RSeq", str(number))])


def prack(call, at, number, sdp=None):
    """A's PRACK for it, and B's 200."""
    call.request(at, call.a, "PRACK", sdp, headers=[("RAck", f"{number} 1 INVITE")])
    call.answer(at + 0.02, 200, to="PRACK")


def t38(phone):
    """Its audio port becomes a fax port."""
    lines = [
        "v=0",
        f"o={phone.user} {phone.ssrc} {phone.version} IN IP4 {phone.address}",
        "s=-",
        f"c=IN IP4 {phone.address}",
        "t=0 0",
        f"m=image {phone.rtp[1]} udptl t38",
        "a=T38FaxVersion:0",
        "a=T38FaxUdpEC:t38UDPRedundancy",
    ]
    phone.version += 1
    return "".join(line + "\r\n" for line in lines)


def ping(capture, at):
    """The PBX asks whether the proxy is there: no call."""
    head = [
        "OPTIONS sip:198.51.100.20 SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-ping-{round(at * 1000)};rport",
        "Max-Forwards: 70",
        "From: <sip:pbx@example.com>;tag=ping",
        "To: <sip:198.51.100.20>",
        f"Call-ID: ping-{round(at * 1000)}@192.0.2.10",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
        "\r\n",
    ]
    capture.udp(at, ("192.0.2.10", 5060), ("198.51.100.20", 5060), "\r\n".join(head).encode())


def onward_call(capture, a, number):
    """`a` calls Carol."""
    carol = Phone("carol", "198.51.100.30", 0x3000_0CA0, SPEECH["bob"], media_port=32_000)
    return Call(capture, a, carol, f"generated-{number}@{a.address}")
