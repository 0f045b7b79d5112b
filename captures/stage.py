"""What scenarios have in common: who calls whom, and the steps that most calls take."""

from pathlib import Path

from phone import PCMU, Call, Phone

HERE = Path(__file__).parent
SPEECH = {name: (HERE / f"{name}.ulaw").read_bytes() for name in ("alice", "bob", "announcement")}
SCENARIOS = {}
ASKED = 'Digest realm="example.com", nonce="{}", qop="auth", algorithm=SHA-256'
PROOF = (
    'Digest username="alice", realm="example.com", nonce="{}", uri="{}", '
    'response="0f5e4ab5b1b1e9f0a6f7c4c1a2d3e4f50f5e4ab5b1b1e9f0a6f7c4c1a2d3e4f5", '
    'algorithm=SHA-256, cnonce="0a4f113b", qop=auth, nc=00000001'
)


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


def ring(call, at, sdp, rings=0.25, **sent):
    """INVITE, and B rings."""
    call.invite(at, sdp, **sent)
    call.answer(at + 0.01, 100)
    call.answer(at + rings, 180)


def set_up(call, at=0.0, formats=(PCMU,), rings=0.25, answered=1.0, asked=(), granted=(), **sent):
    """A call is confirmed at `answered` + 20 ms; `asked` and `granted` are more headers of its INVITE and 200."""
    ring(call, at, call.a.sdp(formats), rings, headers=asked, **sent)
    call.answer(at + answered, 200, call.b.sdp(formats), headers=granted)
    call.ack(at + answered + 0.02)


def prove(call, nonce):
    """B asks who A is, and rings once A has proved it (RFC 3261 §22.3)."""
    call.invite(0.0, call.a.sdp())
    call.answer(0.03, 407, headers=[("Proxy-Authenticate", ASKED.format(nonce))])
    call.ack(0.05)
    call.numbers[call.a] += 1
    call.invite(0.1, call.a.sdp(), headers=[("Proxy-Authorization", PROOF.format(nonce, call.target))])
    call.answer(0.11, 180)


def hang_up(call, at, by=None):
    call.bye(at, by)
    call.answer(at + 0.02, 200, to="BYE", by=call.other(by or call.a))


def progress(call, at, number, sdp):
    """B's reliable 183 (RFC 3262 §3)."""
    call.answer(at, 183, sdp, headers=[("Require", "100rel"), ("RSeq", str(number))])


def prack(call, at, number, sdp=None, answer=None):
    """A's PRACK for it, and B's 200."""
    call.request(at, call.a, "PRACK", sdp, headers=[("RAck", f"{number} 1 INVITE")])
    call.answer(at + 0.02, 200, answer, to="PRACK")


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


def page(capture, call, number, at):
    """A packet of a page that A sends, by UDPTL (ITU-T T.38 §9.1)."""
    data = SPEECH["announcement"][number * 40 : number * 40 + 40]
    capture.udp(at, call.a.rtp, call.b.rtp, number.to_bytes(2, "big") + bytes([len(data)]) + data + b"\x00\x00")


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
