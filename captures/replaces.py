"""Scenarios in which a request names another dialog: transfers, pickup, joining (RFC 3515, RFC 3891, RFC 3911)."""

from urllib.parse import quote

from phone import Call, Phone
from stage import SPEECH, call_of, hang_up, onward_call, ring, scenario, set_up

HELD = {"direction": "sendonly"}


def refer(call, at, by, to, more=()):
    """REFER of `by` inside the call; the other says that it tries."""
    headers = [("Refer-To", to), ("Referred-By", f"<sip:{by.user}@example.com>"), *more]
    call.request(at, by, "REFER", headers=headers)
    call.answer(at + 0.02, 202, to="REFER", by=call.other(by))
    notify(call, at + 0.04, call.other(by), "active;expires=60", "100 Trying")


def notify(call, at, by, state, status):
    """How the INVITE that was asked for goes (RFC 3515 §2.4.5)."""
    headers = [("Event", "refer"), ("Subscription-State", state), ("Content-Type", "message/sipfrag;version=2.0")]
    call.request(at, by, "NOTIFY", f"SIP/2.0 {status}\r\n", headers)
    call.answer(at + 0.02, 200, to="NOTIFY", by=call.other(by))


def dialog(call, of, other):
    """The dialog as it is named to `of`."""
    return f"{call.call_id};to-tag={of.tag};from-tag={other.tag}"


def hold(call, at, by):
    call.invite(at, by.sdp(**HELD), by=by)
    call.answer(at + 0.02, 200, call.other(by).sdp(direction="recvonly"), by=call.other(by))
    call.ack(at + 0.03, by=by)


@scenario
def transfer_blind(capture):
    """Alice refers Bob to Carol and leaves (RFC 5589 §6)."""
    first = call_of(capture)
    set_up(first)
    first.both_talk(1.05, 2.0)
    refer(first, 2.0, first.a, "<sip:carol@example.com>")
    bob = Phone("bob", first.b.address, 0x1000_0B02, SPEECH["bob"], media_port=31_000)
    second = onward_call(capture, bob, 1)
    set_up(second, 2.1, rings=0.2, answered=0.7, asked=[("Referred-By", "<sip:alice@example.com>")])
    notify(first, 2.84, first.b, "terminated;reason=noresource", "200 OK")
    hang_up(first, 2.9)
    second.both_talk(2.85, 4.0)
    hang_up(second, 4.05)


@scenario
def transfer_blind_by_callee(capture):
    """Bob, who was called, refers Alice to Carol and leaves (RFC 5589 §6)."""
    first = call_of(capture)
    set_up(first)
    first.both_talk(1.05, 1.6)
    refer(first, 1.6, first.b, "<sip:carol@example.com>")
    alice = Phone("alice", first.a.address, 0x1000_A002, SPEECH["alice"], media_port=21_000)
    second = onward_call(capture, alice, 1)
    set_up(second, 1.7, rings=0.2, answered=0.5, asked=[("Referred-By", "<sip:bob@example.com>")])
    notify(first, 2.24, first.a, "terminated;reason=noresource", "200 OK")
    hang_up(first, 2.3, by=first.b)
    second.both_talk(2.25, 2.9)
    hang_up(second, 2.95, by=second.b)


def referred_call(capture, first, second, replaced, at):
    """Bob's INVITE in the place of the dialog that he was referred to."""
    bob = Phone("bob", first.b.address, 0x1000_0B02, SPEECH["bob"], media_port=31_000)
    carol = Phone("carol", second.b.address, 0x3000_0CA2, SPEECH["announcement"], media_port=33_000)
    third = Call(capture, bob, carol, f"generated-2@{bob.address}", carol.contact)
    headers = [("Replaces", replaced), ("Require", "replaces"), ("Referred-By", "<sip:alice@example.com>")]
    third.invite(at, bob.sdp(), headers=headers)
    return third


@scenario
def transfer_attended(capture):
    """Alice holds Bob, asks Carol, and refers Bob to Carol in her own place (RFC 5589 §7.3, RFC 3891)."""
    first = call_of(capture)
    set_up(first)
    first.both_talk(1.05, 1.5)
    hold(first, 1.5, first.a)
    alice = Phone("alice", first.a.address, 0x1000_A002, SPEECH["alice"], media_port=21_000)
    second = onward_call(capture, alice, 1)
    set_up(second, 1.6, answered=0.5)
    second.both_talk(2.15, 2.6)
    hold(second, 2.6, alice)
    replaced = dialog(second, second.b, alice)
    refer(first, 2.7, first.a, f"<{second.b.contact}?Replaces={quote(replaced, safe='')}>")
    third = referred_call(capture, first, second, replaced, 2.8)
    third.answer(2.83, 200, third.b.sdp())
    third.ack(2.85)
    hang_up(second, 2.86, by=second.b)
    notify(first, 2.9, first.b, "terminated;reason=noresource", "200 OK")
    hang_up(first, 2.95)
    third.both_talk(2.9, 3.5)
    hang_up(third, 3.55)


@scenario
def pickup(capture):
    """Bob's phone rings; Carol, who knows the dialog of it, takes the call from her desk (RFC 3891 §7.1, RFC 5359 §2.16)."""
    first = call_of(capture)
    ring(first, 0.0, first.a.sdp())
    carol = Phone("carol", "198.51.100.30", 0x3000_0CA0, SPEECH["bob"], media_port=32_000)
    alice = Phone("alice", first.a.address, 0x1000_A002, SPEECH["alice"], media_port=21_000)
    second = Call(capture, carol, alice, f"generated-1@{carol.address}", alice.contact)
    second.invite(1.0, carol.sdp(), headers=[("Replaces", dialog(first, first.a, first.b)), ("Require", "replaces")])
    second.answer(1.03, 200, alice.sdp())
    second.ack(1.05)
    first.cancel(1.06)
    first.answer(1.08, 200, to="CANCEL")
    first.answer(1.09, 487)
    first.ack(1.1)
    second.both_talk(1.1, 1.8)
    hang_up(second, 1.85, by=alice)


@scenario
def join(capture):
    """Alice and Bob talk; Carol joins them at Bob's phone, which mixes (RFC 3911)."""
    first = call_of(capture)
    set_up(first)
    first.both_talk(1.05, 1.6)
    carol = Phone("carol", "192.0.2.30", 0x3000_0CA0, SPEECH["announcement"], media_port=22_000)
    bob = Phone("bob", first.b.address, 0x1000_0B02, SPEECH["bob"], media_port=31_000)
    second = Call(capture, carol, bob, f"generated-1@{carol.address}", bob.contact)
    second.invite(1.6, carol.sdp(), headers=[("Join", dialog(first, first.b, first.a)), ("Require", "join")])
    second.answer(1.63, 200, bob.sdp())
    second.ack(1.65)
    first.both_talk(1.7, 2.3)
    second.both_talk(1.7, 2.3)
    hang_up(second, 2.35)
    hang_up(first, 2.4, by=first.b)


@scenario
def transfer_semi_attended(capture):
    """Alice holds Bob, calls Carol, and refers Bob to her while her phone rings still (RFC 5589 §7.6). Bob calls as he is
    told; Carol's phone rings for him instead, and she answers."""
    first = call_of(capture)
    set_up(first)
    first.both_talk(1.05, 1.5)
    hold(first, 1.5, first.a)
    alice = Phone("alice", first.a.address, 0x1000_A002, SPEECH["alice"], media_port=21_000)
    second = onward_call(capture, alice, 1)
    ring(second, 1.6, second.a.sdp())
    replaced = dialog(second, second.b, alice)
    refer(first, 2.0, first.a, f"<{second.b.contact}?Replaces={quote(replaced, safe='')}>")
    third = referred_call(capture, first, second, replaced, 2.1)
    third.answer(2.13, 180)
    second.answer(2.15, 487)
    second.ack(2.17)
    third.answer(2.5, 200, third.b.sdp())
    third.ack(2.52)
    notify(first, 2.55, first.b, "terminated;reason=noresource", "200 OK")
    hang_up(first, 2.6)
    third.both_talk(2.55, 3.1)
    hang_up(third, 3.15)
