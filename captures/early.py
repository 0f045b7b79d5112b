"""Scenarios of what is heard and agreed on before the answer, and of several phones that answer."""

from phone import PCMA, PCMU, Phone
from stage import SPEECH, call_of, hang_up, prack, progress, scenario


def invited(capture, formats=(PCMU,), **sent):
    """A call whose INVITE has come to B's network."""
    call = call_of(capture)
    call.invite(0.0, call.a.sdp(formats), **sent)
    call.answer(0.01, 100)
    return call


def another_phone(call, number, speech="announcement"):
    """Bob's second or third phone, beyond the proxy of the first."""
    phone = Phone("bob", call.b.address, 0x1000_0000 * number + 0xB0B, SPEECH[speech], media_port=29_990 + 10 * number)
    call.numbers[phone] = 100
    return phone


@scenario
def early_media(capture):
    call = invited(capture)
    answer = call.b.sdp()
    call.answer(0.3, 183, answer)
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 0.35, 2.35)
    call.answer(2.4, 200, answer)
    call.ack(2.42)
    call.b.speech = SPEECH["bob"]
    call.both_talk(2.45, 4.45)
    hang_up(call, 4.5)


@scenario
def reliable_progress(capture):
    """B announces something in a reliable 183; A acknowledges it (RFC 3262)."""
    call = invited(capture, headers=[("Supported", "100rel")])
    progress(call, 0.3, 7, call.b.sdp())
    progress(call, 0.8, 7, call.b.sdp())
    prack(call, 0.82, 7)
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 0.85, 2.0)
    call.answer(2.05, 200)
    call.ack(2.07)
    call.b.speech = SPEECH["bob"]
    call.both_talk(2.1, 3.1)
    hang_up(call, 3.15)


@scenario
def late_offer_in_prack(capture):
    """No offer in the INVITE; B offers in a reliable 183, A answers in the PRACK (RFC 3262 §5)."""
    call = call_of(capture)
    call.invite(0.0, headers=[("Supported", "100rel")])
    call.answer(0.01, 100)
    progress(call, 0.3, 41, call.b.sdp([PCMU, PCMA]))
    prack(call, 0.32, 41, call.a.sdp([PCMA]))
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 0.4, 1.4, PCMA)
    call.answer(1.45, 200)
    call.ack(1.47)
    call.b.speech = SPEECH["bob"]
    call.both_talk(1.5, 2.5, PCMA)
    hang_up(call, 2.55)


@scenario
def update_early(capture):
    """While it rings, B changes its codec by UPDATE (RFC 3311); A moves its media too, after the answer."""
    call = invited(capture, [PCMU, PCMA], headers=[("Supported", "100rel")])
    progress(call, 0.3, 1, call.b.sdp([PCMU]))
    prack(call, 0.32, 1)
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 0.35, 0.95)
    call.request(1.0, call.b, "UPDATE", call.b.sdp([PCMA]))
    call.answer(1.02, 200, call.a.sdp([PCMA]), to="UPDATE", by=call.a)
    call.talk(call.b, 1.05, 1.65, PCMA)
    call.answer(1.7, 200)
    call.ack(1.72)
    call.b.speech = SPEECH["bob"]
    call.both_talk(1.75, 2.55, PCMA)
    hang_up(call, 2.6)


@scenario
def forked_early_media(capture):
    """A proxy beyond B rings two phones; both send early media, the first one answers (RFC 3261 §13.2.2.4)."""
    call = invited(capture)
    first, second = call.b, another_phone(call, 2)
    first_answer, second_answer = first.sdp(), second.sdp()
    call.answer(0.3, 183, first_answer)
    call.talk(first, 0.35, 0.95)
    call.b = second
    call.answer(1.0, 183, second_answer)
    call.talk(second, 1.05, 1.65)
    call.b = first
    call.answer(1.7, 200, first_answer)
    call.ack(1.72)
    call.both_talk(1.75, 2.75)
    hang_up(call, 2.8)


@scenario
def forked_third_answers(capture):
    """A proxy beyond B rings three phones: early media of the first, ringing of the second; the third, which said nothing,
    answers (RFC 3261 §12.1.2, §13.2.2.4)."""
    call = invited(capture)
    first, second, third = call.b, another_phone(call, 2), another_phone(call, 3, "bob")
    call.answer(0.3, 183, first.sdp())
    call.talk(first, 0.35, 0.75)
    call.b = second
    call.answer(0.8, 180)
    call.b = third
    call.answer(1.5, 200, third.sdp())
    call.ack(1.52)
    call.both_talk(1.55, 2.2)
    hang_up(call, 2.25)


@scenario
def offer_in_prack(capture):
    """B answers in a reliable 183; A offers anew in the PRACK, and its 200 answers (RFC 3262 §5)."""
    call = invited(capture, [PCMU, PCMA], headers=[("Supported", "100rel")])
    progress(call, 0.3, 3, call.b.sdp([PCMU]))
    prack(call, 0.32, 3, call.a.sdp([PCMA]), call.b.sdp([PCMA]))
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 0.4, 1.0, PCMA)
    call.answer(1.05, 200)
    call.ack(1.07)
    call.b.speech = SPEECH["bob"]
    call.both_talk(1.1, 1.7, PCMA)
    hang_up(call, 1.75)


@scenario
def forked_answers(capture):
    """Two phones of Bob's answer at once (RFC 3261 §13.2.2.4): Alice keeps the first and hangs up on the second."""
    call = invited(capture)
    first, second = call.b, another_phone(call, 2)
    for at, phone in ((0.25, first), (0.3, second)):
        call.b = phone
        call.answer(at, 180)
    for at, phone in ((1.0, first), (1.03, second)):
        call.b = phone
        call.answer(at, 200, phone.sdp())
    call.b = first
    call.ack(1.02)
    call.b = second
    call.ack(1.05)
    call.bye(1.06)
    call.answer(1.08, 200, to="BYE")
    call.b = first
    call.both_talk(1.1, 1.8)
    hang_up(call, 1.85)
