"""Scenarios of how parties talk: one way, with gaps, with keys, while others do."""

from phone import EVENTS, PCMU
from stage import call_of, hang_up, scenario, set_up


@scenario
def one_way_audio(capture):
    call = call_of(capture)
    set_up(call)
    call.talk(call.a, 1.05, 3.5)
    hang_up(call, 3.55, by=call.b)


@scenario
def one_way_audio_that_ends(capture):
    """B's packets come only after eight seconds, as behind a firewall that opens late."""
    call = call_of(capture)
    set_up(call)
    call.talk(call.a, 1.05, 9.05)
    call.both_talk(9.05, 11.05)
    hang_up(call, 11.1)


@scenario
def no_media(capture):
    call = call_of(capture)
    set_up(call)
    hang_up(call, 4.0)


@scenario
def silence(capture):
    """Neither party says anything for five seconds in the middle, and their phones send nothing (RFC 3551 §4.1)."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.05)
    for phone in (call.a, call.b):
        phone.clock += 5 * 8_000
    call.both_talk(7.05, 8.05)
    hang_up(call, 8.1)


@scenario
def loss_and_reordering(capture):
    call = call_of(capture)
    set_up(call)
    call.talk(call.a, 1.05, 4.05, lost={10, 11, 40, 41, 42, 43, 44, 120}, late={20, 60, 61})
    call.talk(call.b, 1.057, 4.05, lost=set(range(75, 100)))
    call.report(call.a, 3.0, 90)
    call.report(call.b, 3.1, 75)
    hang_up(call, 4.15)


@scenario
def ssrc_change(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.05)
    call.b.ssrc, call.b.sequence, call.b.clock = 0xB0B_2, 60_000, 7
    call.both_talk(2.05, 3.05)
    hang_up(call, 3.1)


@scenario
def two_calls(capture):
    """Alice and Bob talk; in the middle Carol and Dave begin and end."""
    first, second = call_of(capture), call_of(capture, 1)
    set_up(first)
    set_up(second, 1.2, answered=0.6)
    first.both_talk(1.05, 4.5)
    second.both_talk(1.9, 3.4)
    hang_up(second, 3.45, by=second.b)
    hang_up(first, 4.55)


@scenario
def dtmf(capture):
    call = call_of(capture)
    set_up(call, formats=(PCMU, EVENTS))
    call.talk(call.b, 1.05, 3.65)
    call.talk(call.a, 1.05, 1.85)
    for number, event in enumerate([4, 2, 11]):
        call.digit(call.a, 1.9 + number * 0.3, event)
    call.talk(call.a, 2.85, 3.65)
    hang_up(call, 3.7)


@scenario
def pause_by_keys(capture):
    """Bob presses *9 before Alice reads out her card number, types the last digits, and *9 again behind it."""
    call = call_of(capture)
    set_up(call, formats=(PCMU, EVENTS))
    call.talk(call.a, 1.05, 5.85)
    call.talk(call.b, 1.05, 1.85)

    def press(at, keys):
        for number, event in enumerate(keys):
            call.digit(call.b, at + number * 0.2, event)

    press(1.9, [10, 9])
    call.talk(call.b, 2.35, 3.15)
    for number, event in enumerate([4, 2, 4, 2]):
        call.digit(call.b, 3.2 + number * 0.2, event)
    press(4.2, [10, 9])
    call.talk(call.b, 4.65, 5.85)
    hang_up(call, 5.9)


@scenario
def pause_by_info(capture):
    """Bob's phone says `Record: off`, keys cross by INFO meanwhile, and the policy's timer lets the recording go on."""
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 5.05)

    def info(at, phone, headers, body=None):
        call.request(at, phone, "INFO", body, headers)

    info(1.5, call.b, [("Record", "off")])
    call.answer(1.52, 200, to="INFO", by=call.a)
    for number, key in enumerate("4242"):
        at = 2.0 + number * 0.2
        info(at, call.a, [("Content-Type", "application/dtmf-relay")], f"Signal={key}\r\nDuration=160\r\n")
        call.answer(at + 0.02, 200, to="INFO")
    info(3.0, call.a, [("Record", "on")])
    call.answer(3.02, 200, to="INFO")
    info(4.6, call.b, [("Record", "on")])
    call.answer(4.62, 200, to="INFO", by=call.a)
    hang_up(call, 5.1)
