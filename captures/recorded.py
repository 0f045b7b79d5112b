"""Scenarios of calls that must be recorded, or may not be, or must be connected all the same: the replay breaks the recorder."""

from stage import SPEECH, call_of, hang_up, ping, ring, scenario, set_up


@scenario
def emergency(capture):
    """112 while the recorder is down and the policy is strict."""
    ping(capture, 0.0)
    call = call_of(capture, target="sip:112@example.com")
    set_up(call, 2.0)
    call.both_talk(3.05, 4.55)
    hang_up(call, 4.6)


@scenario
def forbidden(capture):
    call = call_of(capture, target="sip:+19005550100@example.com")
    set_up(call)
    call.both_talk(1.05, 1.55)
    hang_up(call, 1.6)


def pinged_call(capture):
    """The recorder's volume is lost some time before the call."""
    ping(capture, 0.0)
    call = call_of(capture)
    set_up(call, 2.0)
    call.both_talk(3.05, 4.05)
    hang_up(call, 4.1)


def talking_call(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 4.05)
    hang_up(call, 4.1)


@scenario
def strict_recorder_down(capture):
    pinged_call(capture)


@scenario
def strict_open_fails(capture):
    pinged_call(capture)


@scenario
def strict_fault_while_ringing(capture):
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    answer = call.b.sdp()
    call.answer(1.5, 183, answer)
    call.b.speech = SPEECH["announcement"]
    call.talk(call.b, 1.52, 2.0)
    call.answer(2.0, 200, answer)
    call.ack(2.02)
    call.both_talk(2.05, 2.55)
    hang_up(call, 2.6)


@scenario
def strict_fault_before_ack(capture):
    """A's ACK takes 400 ms to come: the recorder fails in between."""
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.answer(1.0, 200, call.b.sdp())
    call.talk(call.b, 1.02, 2.0)
    call.ack(1.4)
    call.talk(call.a, 1.42, 2.0)
    hang_up(call, 2.05)


@scenario
def strict_fault_during_hold(capture):
    """B has held A with a re-INVITE that A has not answered yet when the recorder fails."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.05)
    call.invite(2.1, call.b.sdp(direction="sendonly"), by=call.b)
    call.answer(2.11, 100, by=call.a)
    call.answer(2.6, 200, call.a.sdp(direction="recvonly"), by=call.a)
    call.ack(2.62, by=call.b)
    call.talk(call.b, 2.64, 3.5)
    hang_up(call, 3.6)


@scenario
def strict_fault_while_talking(capture):
    talking_call(capture)


@scenario
def strict_stall_while_talking(capture):
    talking_call(capture)


@scenario
def strict_disk_full_two_calls(capture):
    first, second = call_of(capture), call_of(capture, 1)
    set_up(first)
    first.both_talk(1.05, 3.05)
    set_up(second, 0.5)
    second.both_talk(1.55, 3.05)
    hang_up(first, 3.1)
    hang_up(second, 3.2)


@scenario
def lenient_recorder_down(capture):
    pinged_call(capture)


@scenario
def lenient_fault_while_talking(capture):
    talking_call(capture)


@scenario
def lenient_gap_and_reattach(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 6.05)
    hang_up(call, 6.1)
