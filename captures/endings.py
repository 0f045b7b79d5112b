"""Scenarios of how calls end: BYEs that have to be proved or carry something, CANCELs, answers that never come."""

from phone import Call, Phone
from stage import ASKED, PROOF, SPEECH, call_of, hang_up, prove, ring, scenario, set_up

@scenario
def bye_challenged(capture):
    """Bob's side wants every request proved: Alice's BYE too, under a new nonce (RFC 3261 §22.3)."""
    call = call_of(capture)
    prove(call, "first")
    call.answer(0.6, 200, call.b.sdp())
    call.ack(0.62)
    call.both_talk(0.65, 1.3)
    call.bye(1.35)
    call.answer(1.38, 407, to="BYE", headers=[("Proxy-Authenticate", ASKED.format("second"))])
    proof = [("Proxy-Authorization", PROOF.format("second", call.b.contact))]
    call.request(1.4, call.a, "BYE", headers=proof)
    call.answer(1.43, 200, to="BYE")


@scenario
def body_isup_in_bye(capture):
    """A gateway's REL comes with the BYE (RFC 3204, RFC 3372, ITU-T Q.1912.5)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.6)
    release = bytes.fromhex("0c02000283900001fffe")
    kind = [
        ("Reason", 'Q.850;cause=16;text="Normal call clearing"'),
        ("Content-Type", "application/ISUP;version=itu-t92+;base=itu-t92+"),
        ("Content-Disposition", "signal;handling=optional"),
    ]
    call.request(1.65, call.a, "BYE", release, kind)
    call.answer(1.67, 200, to="BYE")


@scenario
def cancel_with_reason(capture):
    """Alice's switch rang several phones, and another one answered (RFC 3326)."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.cancel(1.2, headers=[("Reason", 'SIP;cause=200;text="Call completed elsewhere"')])
    call.answer(1.22, 200, to="CANCEL")
    call.answer(1.23, 487)
    call.ack(1.25)


@scenario
def ring_all_answered_inside(capture):
    """Alice's switch rings two numbers outside at once, all legs under one Call-ID with a From tag and a mark for each; then
    somebody picks up inside, whom the capture does not see (RFC 3326)."""
    legs = []
    for number, user in enumerate(("bob", "carol")):
        alice = Phone("alice", "192.0.2.10", 0x1000_A11C + number, SPEECH["alice"], media_port=20_000 + 10 * number)
        callee = Phone(user, "198.51.100.20", 0x3000_0B0B + number, SPEECH["bob"], media_port=30_000 + 10 * number)
        call = Call(capture, alice, callee, f"ring-all@{alice.address}")
        marks = [("X-PBX-Ring-Group", "600"), ("X-PBX-Leg", str(number + 1))]
        call.invite(0.02 * number, alice.sdp(), headers=marks)
        call.answer(0.1 + 0.02 * number, 180)
        legs.append(call)
    for call in legs:
        call.cancel(2.0, headers=[("Reason", 'SIP;cause=200;text="Call completed elsewhere"')])
        call.answer(2.02, 200, to="CANCEL")
        call.answer(2.03, 487)
        call.ack(2.05)


@scenario
def final_answer_lost(capture):
    """Bob's phone answers the CANCEL, and never its INVITE (RFC 3261 §9.1)."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.cancel(1.2)
    call.answer(1.22, 200, to="CANCEL")


@scenario
def strict_transfer_refused(capture):
    """Alice refers Bob to Carol, who must be recorded; nothing came of it, and they talk on."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.6)
    referred = [("Refer-To", "<sip:carol@example.com>"), ("Referred-By", "<sip:alice@example.com>")]
    call.request(1.8, call.a, "REFER", headers=referred)
    call.answer(1.82, 202, to="REFER")
    call.both_talk(2.0, 2.6)
    hang_up(call, 2.65)


def with_picture(phone, sdp):
    return sdp + f"m=video {phone.rtp[1] + 10} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


@scenario
def strict_medium_refused(capture):
    """Alice shows a picture, which Bob takes (RFC 3264 §8.1)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.6)
    call.invite(1.6, with_picture(call.a, call.a.sdp()), by=call.a)
    call.answer(1.61, 100)
    call.answer(1.63, 200, with_picture(call.b, call.b.sdp()))
    call.ack(1.64)
    call.both_talk(1.66, 2.4)
    hang_up(call, 2.45)


@scenario
def strict_medium_taken_back(capture):
    """Alice asks for an offer, and Bob's has a picture (RFC 3261 §14.1); then he says once more what they had before."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 1.6)
    call.invite(1.6, None, by=call.a)
    call.answer(1.61, 100)
    call.answer(1.63, 200, with_picture(call.b, call.b.sdp()))
    call.ack(1.64, sdp=call.a.sdp() + "m=video 0 RTP/AVP 96\r\n")
    call.both_talk(1.9, 2.4)
    hang_up(call, 2.45)


@scenario
def cancel_crosses_200(capture):
    """Seen at A: its CANCEL has left before the 200 comes."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.cancel(1.2)
    call.answer(1.203, 200, call.b.sdp())
    call.answer(1.21, 200, to="CANCEL")
    call.ack(1.22)
    hang_up(call, 1.23)


@scenario
def cancel_after_200(capture):
    """Seen at B: its 200 has left before the CANCEL comes."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.answer(1.2, 200, call.b.sdp())
    call.cancel(1.203)
    call.answer(1.204, 200, to="CANCEL")
    call.ack(1.22)
    hang_up(call, 1.23)
