"""Scenarios outside any call: registrations and subscriptions."""

from phone import Call, Phone
from stage import SPEECH, scenario


def subscription(capture, server, target, event, accept):
    """Alice's, at a server of the called side: active for an hour, then given up by her."""
    alice = Phone("alice", "192.0.2.10", 0x100A_11CE, SPEECH["alice"])
    far = Phone(server, "198.51.100.20", 0x1000_5E12, SPEECH["bob"])
    call = Call(capture, alice, far, f"subscribed@{alice.address}", target)
    headers = [("Event", event), ("Accept", accept)]
    call.request(0.0, alice, "SUBSCRIBE", headers=[*headers, ("Expires", "3600")], is_inside=False)
    call.answer(0.02, 200, to="SUBSCRIBE", headers=[("Expires", "3600")])

    def tell(at, body, state="active;expires=3599"):
        more = [("Event", event), ("Subscription-State", state), ("Content-Type", accept)]
        call.request(at, far, "NOTIFY", body, more)
        call.answer(at + 0.02, 200, to="NOTIFY", by=alice)

    def give_up(at, body):
        call.request(at, alice, "SUBSCRIBE", headers=[*headers, ("Expires", "0")])
        call.answer(at + 0.02, 200, to="SUBSCRIBE", headers=[("Expires", "0")])
        tell(at + 0.04, body, "terminated;reason=timeout")

    return tell, give_up


@scenario
def message_waiting(capture):
    """Alice's phone has its lamp lit by her mailbox (RFC 3842)."""
    kind = "application/simple-message-summary"
    tell, give_up = subscription(capture, "mail", "sip:alice@mail.example.com", "message-summary", kind)
    box = "Messages-Waiting: {}\r\nMessage-Account: sip:alice@mail.example.com\r\nVoice-Message: {}/8 (0/2)\r\n"
    tell(0.04, box.format("no", 0))
    tell(5.0, box.format("yes", 2))
    give_up(9.0, box.format("yes", 2))


@scenario
def dialog_watched(capture):
    """Alice's phone shows whether Bob's is in use (RFC 4235)."""
    tell, give_up = subscription(capture, "bob", "sip:bob@example.com", "dialog", "application/dialog-info+xml")

    def state(version, inner):
        return (
            '<?xml version="1.0"?>\r\n<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" '
            f'version="{version}" state="full" entity="sip:bob@example.com">{inner}</dialog-info>\r\n'
        )

    ringing = '<dialog id="d1" call-id="x@198.51.100.77" direction="recipient"><state>{}</state></dialog>'
    tell(0.04, state(0, ""))
    tell(2.0, state(1, ringing.format("early")))
    tell(4.0, state(2, ringing.format("confirmed")))
    give_up(6.0, state(3, ringing.format("terminated")))


@scenario
def registrations_watched(capture):
    """Alice's phone learns that her registration is there, and that the registrar ended it (RFC 3680)."""
    tell, give_up = subscription(capture, "registrar", "sip:alice@example.com", "reg", "application/reginfo+xml")

    def state(version, is_active):
        word, event = ("active", "registered") if is_active else ("terminated", "rejected")
        return (
            f'<?xml version="1.0"?>\r\n<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="{version}" state="full">'
            f'<registration aor="sip:alice@example.com" id="a7" state="{word}"><contact id="76" state="{word}" '
            f'event="{event}"><uri>sip:alice@192.0.2.10:5060</uri></contact></registration></reginfo>\r\n'
        )

    tell(0.04, state(0, True))
    tell(3.0, state(1, False))
    give_up(4.0, state(2, False))


@scenario
def register_with_path(capture):
    """Alice's phone registers with the carrier's registrar, which asks for her password first (RFC 3327, RFC 3608)."""
    alice = Phone("alice", "192.0.2.10", 0x100A_11CE, SPEECH["alice"])
    registrar = Phone("registrar", "198.51.100.20", 0x1000_5E12, SPEECH["bob"])
    call = Call(capture, alice, registrar, f"registered@{alice.address}", "sip:example.com", called="sip:alice@example.com")
    own = ("Contact", f'<{alice.contact}>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";expires=3600')
    asked = 'Digest realm="example.com", nonce="ea9c8e88df84f1cec4341ae6cbe5a359", qop="auth", algorithm=SHA-256'
    proof = 'Digest username="alice", realm="example.com", nonce="ea9c8e88df84f1cec4341ae6cbe5a359", uri="sip:example.com", response="0"'
    call.request(0.0, alice, "REGISTER", headers=[own, ("Supported", "path")], is_inside=False)
    call.answer(0.02, 401, to="REGISTER", headers=[("WWW-Authenticate", asked)])
    call.numbers[alice] += 1
    call.request(0.1, alice, "REGISTER", headers=[own, ("Supported", "path"), ("Authorization", proof)], is_inside=False)
    granted = [own, ("Service-Route", "<sip:orig@edge.example.com;lr>")]
    call.answer(0.13, 200, to="REGISTER", headers=granted)
