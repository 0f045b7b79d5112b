"""Scenarios in which the first INVITE is not the last: the proxy may do on its own behalf what a phone did here."""

from phone import Call, Phone
from stage import SPEECH, call_of, hang_up, onward_call, prove, ring, scenario, set_up


def again(call, at, b, target, headers=(), a=None):
    """The same call, as A tries it anew: its next CSeq, at `b`. It is answered after 900 ms."""
    second = Call(call.capture, a or call.a, b, call.call_id, target, called=call.target)
    second.a.tag = call.a.tag
    second.numbers[second.a] = call.numbers[call.a] + 1
    set_up(second, at, rings=0.2, answered=0.9, asked=headers)
    second.both_talk(at + 0.95, at + 1.5)
    hang_up(second, at + 1.55)


@scenario
def redirect_followed(capture):
    """Bob's phone sends the call on to Carol (RFC 3261 §8.1.3.4)."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.answer(0.8, 302, headers=[("Contact", "<sip:carol@example.com>")])
    call.ack(0.82)
    carol = Phone("carol", "198.51.100.30", 0x3000_0CA0, SPEECH["bob"], media_port=32_000)
    again(call, 0.85, carol, "sip:carol@example.com")


@scenario
def challenge_answered(capture):
    """The carrier asks for the password of the line (RFC 3261 §22.3, RFC 7616)."""
    call = call_of(capture)
    call.invite(0.0, call.a.sdp())
    asked = 'Digest realm="carrier.example", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", qop="auth", algorithm=SHA-256'
    weaker = asked.replace("SHA-256", "MD5")
    call.answer(0.03, 407, headers=[("Proxy-Authenticate", asked), ("Proxy-Authenticate", weaker)])
    call.ack(0.05)
    proof = 'Digest username="line-17", realm="carrier.example", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="sip:bob@example.com", response="0"'
    again(call, 0.06, call.b, call.target, [("Proxy-Authorization", proof)])


@scenario
def failover_to_ipv6(capture):
    """The carrier's first address, by IPv4, cannot take the call; its second, by IPv6, does (RFC 3263 §4.3, RFC 6157)."""
    call = call_of(capture)
    call.invite(0.0, call.a.sdp())
    call.answer(0.03, 503)
    call.ack(0.05)
    alice = Phone("alice", "2001:db8:a::10", 0x100A_11CE, SPEECH["alice"])
    bob = Phone("bob", "2001:db8:b::20", 0x1000_0B0B, SPEECH["bob"], media_port=30_000)
    again(call, 0.06, bob, call.target, a=alice)


@scenario
def failover_to_ipv4(capture):
    """The carrier's first address, by IPv6, cannot take the call; its second, by IPv4, does."""
    alice = Phone("alice", "2001:db8:a::10", 0x100A_11CE, SPEECH["alice"])
    bob = Phone("bob", "2001:db8:b::20", 0x1000_0B0B, SPEECH["bob"], media_port=30_000)
    call = Call(capture, alice, bob, "generated-0@2001:db8:a::10")
    call.invite(0.0, alice.sdp())
    call.answer(0.03, 503)
    call.ack(0.05)
    other = call_of(capture)
    again(call, 0.06, other.b, call.target, a=other.a)


@scenario
def session_timer_per_leg(capture):
    """Neither phone keeps a session timer; the proxy has one of its own on each leg (RFC 4028 §7, §10)."""
    call = call_of(capture)
    allowed = [("Allow", "INVITE, ACK, BYE, CANCEL")]
    set_up(call, asked=[("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE")], granted=allowed)
    call.both_talk(1.05, 1.5)
    call.both_talk(60.0, 60.5)
    hang_up(call, 61.0)


@scenario
def refreshed_session(capture):
    """A keeps its session alive by UPDATE (RFC 4028 §10)."""
    call = call_of(capture)
    timer = [("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]
    granted = [("Require", "timer"), ("Session-Expires", "90;refresher=uac")]
    set_up(call, asked=timer, granted=granted)
    call.both_talk(1.05, 1.55)
    for at in (46.0, 91.0):
        call.request(at, call.a, "UPDATE", headers=timer)
        call.answer(at + 0.02, 200, to="UPDATE", headers=granted)
    call.both_talk(100.0, 100.5)
    hang_up(call, 101.0)


@scenario
def forgotten_session(capture):
    """A promised to refresh its session every 90 s, and never did (RFC 4028 §10)."""
    call = call_of(capture)
    timer = [("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]
    call.invite(0.0, call.a.sdp(), headers=timer)
    call.answer(0.01, 100)
    call.answer(1.0, 200, call.b.sdp(), headers=[("Require", "timer"), ("Session-Expires", "90;refresher=uac")])
    call.ack(1.02)
    call.both_talk(1.05, 1.55)
    call.talk(call.b, 100.0, 100.5)


@scenario
def redirect_passed(capture):
    """Bob's phone names others, and nobody is tried (RFC 3261 §21.3)."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.answer(1.0, 302, headers=[("Contact", "<sip:carol@example.com>;q=0.7, <sip:2002@example.com>")])
    call.ack(1.02)


@scenario
def proxy_auth_passed(capture):
    """Bob's side asks Alice who she is, and she proves it herself (RFC 3261 §22.3)."""
    call = call_of(capture)
    prove(call, "84f1c1ae6cbe5ua9c8e88dfa3ecm3459")
    call.answer(1.0, 200, call.b.sdp())
    call.ack(1.02)
    call.both_talk(1.05, 2.0)
    hang_up(call, 2.1)


@scenario
def forward_hairpin(capture):
    """Bob does not answer; his side sends the call back to us, for Carol (RFC 5806)."""
    first = call_of(capture)
    ring(first, 0.0, first.a.sdp())
    again = Phone("alice", first.b.address, 0x1000_A002, SPEECH["alice"], media_port=31_000)
    second = onward_call(capture, again, 1)
    diversion = [("Diversion", "<sip:bob@example.com>;reason=no-answer;counter=1")]
    second.invite(1.5, second.a.sdp(), headers=diversion)
    second.answer(1.51, 100)
    first.answer(1.52, 181)
    second.answer(1.7, 180)
    second.answer(2.2, 200, second.b.sdp())
    second.ack(2.22)
    first.answer(2.22, 200, first.b.sdp())
    first.ack(2.24)
    second.both_talk(2.25, 3.5)
    hang_up(first, 3.55)
    hang_up(second, 3.57)
