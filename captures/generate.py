#!/usr/bin/env python3
"""Writes the captures that no real peers made: `captures/generate.py` all of them, `captures/generate.py NAME…` some.

Every run writes the same bytes: times, tags and sources are written down here, the speech lies beside. What a scenario
is about, and what the proxy has to make of it, is told in its README.
"""

import sys
from pathlib import Path

import attempts  # noqa: F401 (its scenarios)
import crossing  # noqa: F401
import endings  # noqa: F401
import offers  # noqa: F401
import outside  # noqa: F401
import replaces  # noqa: F401
import taps  # noqa: F401
import told  # noqa: F401
from phone import EVENTS, PCMA, PCMU, Phone
from stage import (
    SCENARIOS,
    SPEECH,
    call_of,
    hang_up,
    onward_call,
    ping,
    prack,
    progress,
    ring,
    scenario,
    set_up,
    t38,
)
from wire import Capture

HERE = Path(__file__).parent
# 2026-11-23 09:00:00 UTC
BEGAN = 1_795_424_400


@scenario
def early_media(capture):
    call = call_of(capture)
    call.invite(0.0, call.a.sdp())
    call.answer(0.01, 100)
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
def redirect_passed(capture):
    call = call_of(capture)
    ring(call, 0.0, call.a.sdp())
    call.answer(1.0, 302, headers=[("Contact", "<sip:carol@example.com>;q=0.7, <sip:2002@example.com>")])
    call.ack(1.02)


@scenario
def proxy_auth_passed(capture):
    call = call_of(capture)
    call.invite(0.0, call.a.sdp())
    asked = 'Digest realm="example.com", nonce="84f1c1ae6cbe5ua9c8e88dfa3ecm3459", qop="auth", algorithm=SHA-256'
    call.answer(0.03, 407, headers=[("Proxy-Authenticate", asked)])
    call.ack(0.05)
    call.numbers[call.a] += 1
    proof = (
        'Digest username="alice", realm="example.com", nonce="84f1c1ae6cbe5ua9c8e88dfa3ecm3459", '
        f'uri="{call.target}", response="0f5e4ab5b1b1e9f0a6f7c4c1a2d3e4f50f5e4ab5b1b1e9f0a6f7c4c1a2d3e4f5", '
        'algorithm=SHA-256, cnonce="0a4f113b", qop=auth, nc=00000001'
    )
    call.invite(0.1, call.a.sdp(), headers=[("Proxy-Authorization", proof)])
    call.answer(0.11, 180)
    call.answer(1.0, 200, call.b.sdp())
    call.ack(1.02)
    call.both_talk(1.05, 2.0)
    hang_up(call, 2.1)


@scenario
def hold_and_resume(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.0)
    call.invite(2.0, call.a.sdp(direction="sendonly"), by=call.a)
    call.answer(2.01, 100)
    call.answer(2.03, 200, call.b.sdp(direction="recvonly"))
    call.ack(2.04)
    call.a.speech = SPEECH["announcement"]
    call.talk(call.a, 2.06, 4.0)
    call.invite(4.0, call.a.sdp(direction="sendrecv"), by=call.a)
    call.answer(4.01, 100)
    call.answer(4.03, 200, call.b.sdp(direction="sendrecv"))
    call.ack(4.04)
    call.a.speech = SPEECH["alice"]
    call.both_talk(4.06, 5.0)
    hang_up(call, 5.05)


@scenario
def hold_by_null_address(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.0)
    call.invite(2.0, call.b.sdp(connection="0.0.0.0"), by=call.b)
    call.answer(2.01, 100, by=call.a)
    call.answer(2.03, 200, call.a.sdp(), by=call.a)
    call.ack(2.04, by=call.b)
    call.invite(3.5, call.b.sdp(), by=call.b)
    call.answer(3.51, 100, by=call.a)
    call.answer(3.53, 200, call.a.sdp(), by=call.a)
    call.ack(3.54, by=call.b)
    call.both_talk(3.56, 4.5)
    hang_up(call, 4.55, by=call.b)


@scenario
def codec_change(capture):
    call = call_of(capture)
    set_up(call)
    call.both_talk(1.05, 2.5)
    call.invite(2.5, call.a.sdp([PCMA]), by=call.a)
    call.answer(2.51, 100)
    call.answer(2.53, 200, call.b.sdp([PCMA]))
    call.ack(2.54)
    call.both_talk(2.56, 4.0, PCMA)
    hang_up(call, 4.05)


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


@scenario
def late_offer(capture):
    call = call_of(capture)
    ring(call, 0.0, None)
    call.answer(1.0, 200, call.b.sdp([PCMU, PCMA]))
    call.ack(1.02, sdp=call.a.sdp([PCMA]))
    call.both_talk(1.05, 3.0, PCMA)
    hang_up(call, 3.05)


@scenario
def reliable_progress(capture):
    """B announces something in a reliable 183; A acknowledges it (RFC 3262)."""
    call = call_of(capture)
    call.invite(0.0, call.a.sdp(), headers=[("Supported", "100rel")])
    call.answer(0.01, 100)
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
    call = call_of(capture)
    call.invite(0.0, call.a.sdp([PCMU, PCMA]), headers=[("Supported", "100rel")])
    call.answer(0.01, 100)
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
    call = call_of(capture)
    first = call.b
    second = Phone("bob", first.address, 0x2000_0B0B, SPEECH["announcement"], media_port=30_010)
    call.numbers[second] = 100
    call.invite(0.0, call.a.sdp())
    call.answer(0.01, 100)
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
    call = call_of(capture)
    first = call.b
    second = Phone("bob", first.address, 0x2000_0B0B, SPEECH["announcement"], media_port=30_010)
    third = Phone("bob", first.address, 0x3000_0B0B, SPEECH["bob"], media_port=30_020)
    call.numbers[second], call.numbers[third] = 100, 100
    call.invite(0.0, call.a.sdp())
    call.answer(0.01, 100)
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
        at, page = 2.1 + number * 0.03, SPEECH["announcement"][number * 40 : number * 40 + 40]
        packet = number.to_bytes(2, "big") + bytes([len(page)]) + page + b"\x00\x00"
        capture.udp(at, call.a.rtp, call.b.rtp, packet)
        if number % 10 == 0:
            capture.udp(at + 0.01, call.b.rtp, call.a.rtp, number.to_bytes(2, "big") + b"\x01\x06\x00\x00")
    hang_up(call, 4.0, by=call.b)


@scenario
def refreshed_session(capture):
    """A keeps its session alive by UPDATE (RFC 4028 §10)."""
    call = call_of(capture)
    timer = [("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]
    granted = [("Require", "timer"), ("Session-Expires", "90;refresher=uac")]
    call.invite(0.0, call.a.sdp(), headers=timer)
    call.answer(0.01, 100)
    call.answer(0.25, 180)
    call.answer(1.0, 200, call.b.sdp(), headers=granted)
    call.ack(1.02)
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
def transfer_blind(capture):
    """Alice refers Bob to Carol and leaves (RFC 5589 §6)."""
    first = call_of(capture)
    set_up(first)
    first.both_talk(1.05, 2.0)
    alice, bob = first.a, first.b
    headers = [("Refer-To", "<sip:carol@example.com>"), ("Referred-By", "<sip:alice@example.com>")]
    first.request(2.0, alice, "REFER", headers=headers)
    first.answer(2.02, 202, to="REFER")

    def notify(at, state, status):
        headers = [("Event", "refer"), ("Subscription-State", state), ("Content-Type", "message/sipfrag;version=2.0")]
        first.request(at, bob, "NOTIFY", f"SIP/2.0 {status}\r\n", headers)
        first.answer(at + 0.02, 200, to="NOTIFY", by=alice)

    notify(2.04, "active;expires=60", "100 Trying")
    second = onward_call(capture, Phone("bob", bob.address, 0x1000_0B02, SPEECH["bob"], media_port=31_000), 1)
    referred = [("Referred-By", "<sip:alice@example.com>")]
    second.invite(2.1, second.a.sdp(), headers=referred)
    second.answer(2.11, 100)
    second.answer(2.3, 180)
    second.answer(2.8, 200, second.b.sdp())
    second.ack(2.82)
    notify(2.84, "terminated;reason=noresource", "200 OK")
    hang_up(first, 2.9)
    second.both_talk(2.85, 4.0)
    hang_up(second, 4.05)


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


@scenario
def tcp_split(capture):
    """One message in many segments, two messages in one, a segment again, a keep-alive between."""
    call = call_of(capture)
    call.connect(0.0)
    call.invite(0.01, call.a.sdp(), sizes=(1, 30, 97, 5))
    call.answer(0.05, 100)
    call.answer(0.25, 180)
    before = call.connection.ends[call.b.sip]
    call.answer(1.0, 200, call.b.sdp())
    again = call.connection.ends[call.b.sip] - before
    sent = capture.packets[-2][1][-again:]
    call.connection.repeat(1.01, call.b.sip, sent, before)
    call.connection.send(1.015, call.a.sip, b"\r\n\r\n")
    call.ack(1.02)
    call.both_talk(1.05, 2.55)
    hang_up(call, 2.6)
    call.connection.close(2.7, call.a.sip)


@scenario
def fragmented_invite(capture):
    """An INVITE of more than two Ethernet frames; the fragments of its only copy come last first."""
    call = call_of(capture)
    visits = [("History-Info", f"<sip:bob@hop{n}.example.com?Reason=SIP%3Bcause%3D302>;index=1.{n}") for n in range(1, 40)]
    ring(call, 0.0, call.a.sdp(), headers=visits, fragment_bytes=1_480)
    times = [at for at, _ in capture.packets[:3]]
    capture.packets[:3] = list(zip(times, reversed([packet for _, packet in capture.packets[:3]])))
    call.answer(1.0, 200, call.b.sdp())
    call.ack(1.02)
    call.both_talk(1.05, 2.55)
    hang_up(call, 2.6)


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
    ring(call, 0.0, call.a.sdp())
    call.answer(1.0, 200, call.b.sdp())
    call.ack(1.02)
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


def main():
    for name in sys.argv[1:] or SCENARIOS:
        capture = Capture(BEGAN)
        SCENARIOS[name](capture)
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        capture.write(folder / "call.pcap")


if __name__ == "__main__":
    main()
