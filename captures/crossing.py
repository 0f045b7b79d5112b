"""Scenarios of what crosses besides the media: headers about the parties, other bodies, text."""

from base64 import urlsafe_b64encode
from hashlib import sha512

from stage import call_of, hang_up, ring, scenario, set_up


def short_call(capture, headers=(), answered=(), body=None, target=None):
    """A call of half a second, with more headers in its INVITE and in its 200. `body`: SDP → (Content-Type, body)."""
    call = call_of(capture, target=target)
    sdp = call.a.sdp()
    kind, content = body(sdp) if body else (None, sdp)
    ring(call, 0.0, content, 0.2, headers=[*headers, *([("Content-Type", kind)] if kind else [])])
    call.answer(0.5, 200, call.b.sdp(), headers=answered)
    call.ack(0.52)
    call.both_talk(0.55, 1.0)
    hang_up(call, 1.05)


def mixed(*parts):
    """A multipart body (RFC 2046 §5.1.3) of (Content-Type, Content-Disposition, body)."""

    def of(sdp):
        content = b""
        for kind, disposition, body in (("application/sdp", None, sdp.encode()), *parts):
            head = [f"Content-Type: {kind}", *([f"Content-Disposition: {disposition}"] if disposition else [])]
            content += b"--unique-boundary-1\r\n" + "\r\n".join([*head, "", ""]).encode() + body + b"\r\n"
        return "multipart/mixed;boundary=unique-boundary-1", content + b"--unique-boundary-1--\r\n"

    return of


@scenario
def connected_identity(capture):
    """Bob's assistant has taken the call: an UPDATE tells Alice whom she talks to (RFC 4916 §4.3)."""
    call = call_of(capture)
    known = [("Supported", "from-change")]
    set_up(call, rings=0.2, answered=0.5, asked=known, granted=known)
    call.both_talk(0.55, 1.0)
    call.name_b = '"Carol" <sip:carol@example.com>'
    asserted = [("P-Asserted-Identity", '"Carol" <sip:carol@example.com>')]
    call.request(1.0, call.b, "UPDATE", headers=[*known, *asserted])
    call.answer(1.02, 200, to="UPDATE", by=call.a, headers=known)
    call.both_talk(1.05, 1.6)
    hang_up(call, 1.65, by=call.b)


@scenario
def diversion_and_history(capture):
    """Dave had his calls sent to Carol, and she hers to Bob (RFC 5806, RFC 7044)."""
    headers = [
        ("Supported", "histinfo"),
        ("Diversion", "<sip:carol@example.com>;reason=no-answer;counter=1;screen=no;privacy=off"),
        ("Diversion", "<sip:dave@example.com>;reason=unconditional;counter=1"),
        ("History-Info", "<sip:dave@example.com?Reason=SIP%3Bcause%3D302>;index=1"),
        ("History-Info", "<sip:carol@example.com?Reason=SIP%3Bcause%3D408>;index=1.1;mp=1"),
        ("History-Info", "<sip:bob@example.com>;index=1.1.1;mp=1.1"),
    ]
    short_call(capture, headers)


PARTIES = [
    ("P-Asserted-Identity", '"Alice" <sip:+442071838750@example.com>'),
    ("P-Asserted-Identity", "<tel:+442071838750>"),
    ("P-Preferred-Identity", "<sip:alice@example.com>"),
]
ANSWERED = [("P-Asserted-Identity", '"Bob" <sip:bob@example.com>')]


@scenario
def asserted_identity(capture):
    """Both sides assert who speaks, inside one trust domain (RFC 3325)."""
    short_call(capture, PARTIES, ANSWERED)


@scenario
def privacy(capture):
    """The caller wants her identity kept from who is outside the trust domain (RFC 3323, RFC 3325 §9.3)."""
    short_call(capture, [*PARTIES, ("Privacy", "id")], ANSWERED)


@scenario
def stir_identity(capture):
    """The calling carrier signed who calls (RFC 8224, RFC 8225)."""

    def part(text):
        return urlsafe_b64encode(text).rstrip(b"=").decode()

    claims = b'{"attest":"A","dest":{"tn":["12155551213"]},"iat":1795424400,"orig":{"tn":"12155551212"},"origid":"123e4567-e89b-12d3-a456-426655440000"}'
    head = b'{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://cert.example.org/passport.cer"}'
    token = f"{part(head)}.{part(claims)}.{part(sha512(claims).digest())}"
    identity = f"{token};info=<https://cert.example.org/passport.cer>;alg=ES256;ppt=shaken"
    short_call(capture, [("Date", "Mon, 23 Nov 2026 09:00:00 GMT"), ("Identity", identity)])


@scenario
def session_id(capture):
    """One name for the session from end to end, however many dialogs it has (RFC 7989)."""
    local, remote = "ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2"
    short_call(
        capture,
        [("Session-ID", f"{local};remote={'0' * 32}")],
        [("Session-ID", f"{remote};remote={local}")],
    )


@scenario
def call_info(capture):
    """A picture of the caller, and how the phone shall ring (RFC 3261 §20.9, RFC 7462)."""
    headers = [
        ("Call-Info", "<https://www.example.com/alice/photo.jpg>;purpose=icon"),
        ("Call-Info", "<https://www.example.com/alice/>;purpose=info"),
        ("Alert-Info", "<urn:alert:source:external>"),
        ("Subject", "Two hundred shares"),
    ]
    short_call(capture, headers)


@scenario
def body_isup(capture):
    """A gateway's IAM beside the SDP (RFC 3204, RFC 3372): every byte value occurs."""
    iam = bytes.fromhex("01004902000a0702039007183867250a0683") + bytes(range(256))
    kind = "application/ISUP;version=itu-t92+;base=itu-t92+"
    short_call(capture, body=mixed((kind, "signal;handling=optional", iam)))


@scenario
def body_qsig(capture):
    """A PBX's SETUP beside the SDP (RFC 3204, ECMA-355)."""
    setup = bytes.fromhex("08020001050403809090a318 03a98381 6c0a0080 32303731383338 7005c1 33323031".replace(" ", ""))
    short_call(capture, body=mixed(("application/QSIG;version=iso", "signal;handling=optional", setup)))


@scenario
def body_location(capture):
    """Where the caller is, beside the SDP of an emergency call (RFC 6442, RFC 4119, RFC 5491)."""
    pidf = (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf" '
        'xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" xmlns:gml="http://www.opengis.net/gml" '
        'entity="sip:alice@example.com"><tuple id="target"><status><gp:geopriv><gp:location-info><gml:Point '
        'srsName="urn:ogc:def:crs:EPSG::4326"><gml:pos>48.208 16.373</gml:pos></gml:Point></gp:location-info>'
        "<gp:usage-rules/><gp:method>GPS</gp:method></gp:geopriv></status></tuple></presence>\r\n"
    )
    headers = [("Geolocation", "<cid:target@192.0.2.10>"), ("Geolocation-Routing", "yes")]
    part = ("application/pidf+xml\r\nContent-ID: <target@192.0.2.10>", "render;handling=optional", pidf.encode())
    short_call(capture, headers, body=mixed(part), target="urn:service:sos")


@scenario
def chat(capture):
    """What the parties write to each other while they talk (RFC 3428)."""
    call = call_of(capture)
    set_up(call, rings=0.2, answered=0.5)
    call.both_talk(0.55, 1.0)

    def write(at, by, text, kind="text/plain;charset=utf-8"):
        call.request(at, by, "MESSAGE", text, [("Content-Type", kind)])
        call.answer(at + 0.02, 200, to="MESSAGE", by=call.other(by))

    write(1.0, call.a, "ISIN GB0002634946, please. Grüße")
    write(1.2, call.b, "Confirmed: 200 at 41 p")
    write(1.4, call.a, '<b>thank you</b>', "text/html")
    call.both_talk(1.45, 1.9)
    hang_up(call, 1.95)


@scenario
def conference_focus(capture):
    """Bob's number is a bridge: its Contact says so, and Alice asks it to bring Carol in (RFC 4579 §5.1, §5.5)."""
    call = call_of(capture)
    focus = [("Contact", f"<{call.b.contact}>;isfocus")]
    set_up(call, rings=0.2, answered=0.5, granted=focus)
    call.both_talk(0.55, 1.2)
    call.request(1.2, call.a, "REFER", headers=[("Refer-To", "<sip:carol@example.com>"), ("Refer-Sub", "false"), ("Supported", "norefersub")])
    call.answer(1.22, 202, to="REFER", headers=[("Refer-Sub", "false")])
    call.both_talk(1.25, 1.8)
    hang_up(call, 1.85)


@scenario
def digits_by_kpml(capture):
    """Bob's menu asks Alice's phone for the keys that she presses; it tells them by NOTIFY (RFC 4730)."""
    call = call_of(capture)
    call.invite(0.0, call.a.sdp())
    call.answer(0.01, 100)
    call.answer(0.5, 200, call.b.sdp())
    call.ack(0.52)
    call.both_talk(0.55, 1.0)
    asked = '<?xml version="1.0"?><kpml-request xmlns="urn:ietf:params:xml:ns:kpml-request" version="1.0"><pattern><regex>x</regex></pattern></kpml-request>'
    call.request(1.0, call.b, "SUBSCRIBE", asked, [("Event", "kpml"), ("Expires", "60"), ("Content-Type", "application/kpml-request+xml")])
    call.answer(1.02, 200, to="SUBSCRIBE", by=call.a, headers=[("Expires", "60")])

    def tell(at, state, code, digits):
        pressed = f'<?xml version="1.0"?><kpml-response xmlns="urn:ietf:params:xml:ns:kpml-response" version="1.0" code="{code}" text="OK" digits="{digits}"/>'
        headers = [("Event", "kpml"), ("Subscription-State", state), ("Content-Type", "application/kpml-response+xml")]
        call.request(at, call.a, "NOTIFY", pressed, headers)
        call.answer(at + 0.02, 200, to="NOTIFY")

    tell(1.3, "active;expires=59", 200, "4")
    tell(1.5, "active;expires=59", 200, "2")
    tell(1.7, "terminated;reason=timeout", 487, "")
    call.both_talk(1.75, 2.1)
    hang_up(call, 2.15)
