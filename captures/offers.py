"""Scenarios of offers and answers: holds, other codecs, fax, more media; and of digits that come one after the other."""

from phone import PCMA, PCMU, Phone
from stage import SPEECH, call_of, hang_up, page, ring, scenario, set_up, t38


def reinvite(call, at, by, offer, answer, ack=None):
    """A re-INVITE of `by`, answered in 30 ms."""
    call.invite(at, offer, by=by)
    call.answer(at + 0.01, 100, by=call.other(by))
    call.answer(at + 0.03, 200, answer, by=call.other(by))
    call.ack(at + 0.04, by=by, sdp=ack)


@scenario
def hold_and_resume(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.0)
    reinvite(call, 2.0, call.a, call.a.sdp(direction="sendonly"), call.b.sdp(direction="recvonly"))
    call.a.speech = SPEECH["announcement"]
    call.talk(call.a, 2.06, 4.0)
    reinvite(call, 4.0, call.a, call.a.sdp(direction="sendrecv"), call.b.sdp(direction="sendrecv"))
    call.a.speech = SPEECH["alice"]
    call.both_talk(4.06, 5.0)
    hang_up(call, 5.05)


@scenario
def hold_by_null_address(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.0)
    reinvite(call, 2.0, call.b, call.b.sdp(connection="0.0.0.0"), call.a.sdp())
    reinvite(call, 3.5, call.b, call.b.sdp(), call.a.sdp())
    call.both_talk(3.56, 4.5)
    hang_up(call, 4.55, by=call.b)


@scenario
def codec_change(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.5)
    reinvite(call, 2.5, call.a, call.a.sdp([PCMA]), call.b.sdp([PCMA]))
    call.both_talk(2.56, 4.0, PCMA)
    hang_up(call, 4.05)


@scenario
def reinvite_without_offer(capture):
    """Both ask the other for an offer: A, then B, who takes another codec (RFC 3261 §14.1, RFC 3264 §4)."""
    call = call_of(capture)
    set_up(call, formats=(PCMU, PCMA))
    call.both_talk(1.05, 1.5)
    reinvite(call, 1.5, call.a, None, call.b.sdp([PCMU, PCMA]), call.a.sdp([PCMU]))
    call.both_talk(1.56, 2.0)
    reinvite(call, 2.0, call.b, None, call.a.sdp([PCMU, PCMA]), call.b.sdp([PCMA]))
    call.both_talk(2.06, 2.5, PCMA)
    hang_up(call, 2.55, by=call.b)


@scenario
def update_in_call(capture):
    """Offers in UPDATE of both: A takes another codec, B holds and resumes (RFC 3311 §5)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.5)
    call.request(1.5, call.a, "UPDATE", call.a.sdp([PCMA]))
    call.answer(1.52, 200, call.b.sdp([PCMA]), to="UPDATE")
    call.both_talk(1.55, 2.0, PCMA)
    call.request(2.0, call.b, "UPDATE", call.b.sdp([PCMA], "sendonly"))
    call.answer(2.02, 200, call.a.sdp([PCMA], "recvonly"), to="UPDATE", by=call.a)
    call.talk(call.b, 2.05, 2.5, PCMA)
    call.request(2.5, call.b, "UPDATE", call.b.sdp([PCMA], "sendrecv"))
    call.answer(2.52, 200, call.a.sdp([PCMA], "sendrecv"), to="UPDATE", by=call.a)
    call.both_talk(2.55, 3.0, PCMA)
    hang_up(call, 3.05)


@scenario
def hold_inactive(capture):
    """Each holds the other without a sound: B, then A (RFC 3264 §8.4)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.5)
    for at, holder in ((1.5, call.b), (2.5, call.a)):
        other = call.other(holder)
        reinvite(call, at, holder, holder.sdp(direction="inactive"), other.sdp(direction="inactive"))
        reinvite(call, at + 0.5, holder, holder.sdp(direction="sendrecv"), other.sdp(direction="sendrecv"))
        call.both_talk(at + 0.56, at + 1.0)
    hang_up(call, 3.55)


@scenario
def music_on_hold(capture):
    """B holds A and lets a music server play to it: the offer names the server's address (RFC 7088 §2.1)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.5)
    server = Phone("music", "198.51.100.99", 0x9000_0001, SPEECH["announcement"], media_port=34_000)
    server.version = 2
    held = server.sdp(direction="sendonly")
    reinvite(call, 1.5, call.b, held, call.a.sdp(direction="recvonly"))
    call.talk(server, 1.56, 2.5, to=call.a.rtp)
    reinvite(call, 2.5, call.b, call.b.sdp(direction="sendrecv"), call.a.sdp(direction="sendrecv"))
    call.both_talk(2.56, 3.0)
    hang_up(call, 3.05, by=call.b)


@scenario
def music_by_null_address(capture):
    """B holds A by the null address, and plays to it from where it was (RFC 2543 §B.5, RFC 3264 §8.4)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.5)
    reinvite(call, 1.5, call.b, call.b.sdp(connection="0.0.0.0"), call.a.sdp())
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 1.56, 2.5)
    reinvite(call, 2.5, call.b, call.b.sdp(), call.a.sdp())
    call.b.speech = SPEECH["bob"]
    call.both_talk(2.56, 3.0)
    hang_up(call, 3.05, by=call.b)


@scenario
def fax(capture):
    """Voice, then T.38 in its place (RFC 3264 §8; ITU-T T.38 Annex D): UDPTL, which is no RTP."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.0)
    call.invite(2.0, t38(call.b), by=call.b)
    call.answer(2.01, 100, by=call.a)
    call.answer(2.05, 200, t38(call.a), by=call.a)
    call.ack(2.07, by=call.b)
    for number in range(60):
        at = 2.1 + number * 0.03
        page(capture, call, number, at)
        if number % 10 == 0:
            capture.udp(at + 0.01, call.b.rtp, call.a.rtp, number.to_bytes(2, "big") + b"\x01\x06\x00\x00")
    hang_up(call, 4.0, by=call.b)


@scenario
def fax_by_caller(capture):
    """The sending machine asks for T.38 itself, and goes back to voice after the page (ITU-T T.38 Annex D)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.5)
    reinvite(call, 1.5, call.a, t38(call.a), t38(call.b))
    for number in range(30):
        page(capture, call, number, 1.6 + number * 0.03)
    reinvite(call, 2.6, call.a, call.a.sdp(), call.b.sdp())
    call.both_talk(2.66, 3.0)
    hang_up(call, 3.05)


@scenario
def overlap(capture):
    """Digits as they are dialled: each INVITE has more of them, and 484 asks for the rest (RFC 3578)."""
    call = call_of(capture)
    for at, dialled in ((0.0, "+44207"), (0.6, "+4420718"), (1.2, "+442071838750")):
        call.target = f"sip:{dialled}@example.com;user=phone"
        call.name_b = f"<{call.target}>"
        call.invite(at, call.a.sdp())
        if at < 1.0:
            call.answer(at + 0.03, 484)
            call.ack(at + 0.05)
            call.numbers[call.a] += 1
    call.answer(1.21, 100)
    call.answer(1.4, 180)
    call.answer(2.0, 200, call.b.sdp())
    call.ack(2.02)
    call.both_talk(2.05, 2.6)
    hang_up(call, 2.65)


@scenario
def late_offer(capture):
    call = call_of(capture)
    ring(call, 0.0, None)
    call.answer(1.0, 200, call.b.sdp([PCMU, PCMA]))
    call.ack(1.02, sdp=call.a.sdp([PCMA]))
    call.both_talk(1.05, 3.0, PCMA)
    hang_up(call, 3.05)


@scenario
def glare(capture):
    """Both phones offer anew at the same time (RFC 3261 §14.2): 491 both ways; A tries again."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.0)
    call.invite(2.0, call.a.sdp(direction="sendonly"), by=call.a)
    call.invite(2.005, call.b.sdp(direction="sendonly"), by=call.b)
    call.answer(2.02, 491, by=call.b)
    call.ack(2.03, by=call.a)
    call.answer(2.025, 491, by=call.a)
    call.ack(2.035, by=call.b)
    call.invite(4.5, call.a.sdp(direction="sendonly"), by=call.a)
    call.answer(4.53, 200, call.b.sdp(direction="recvonly"))
    call.ack(4.54)
    call.talk(call.a, 4.56, 5.0)
    hang_up(call, 5.05)


@scenario
def late_offer_video(capture):
    """No offer in the INVITE; Bob's 200 offers sound and picture, Alice's ACK takes the sound alone (RFC 3261 §13.2.1)."""
    call = call_of(capture)
    ring(call, 0.0, None)
    picture = f"m=video {call.b.rtp[1] + 10} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    call.answer(0.5, 200, call.b.sdp() + picture)
    call.ack(0.52, sdp=call.a.sdp() + "m=video 0 RTP/AVP 96\r\n")
    call.both_talk(0.55, 1.2)
    hang_up(call, 1.25)
