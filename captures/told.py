"""Scenarios in which the parties are told that they are recorded: by a prompt of the policy's, and by SDP (RFC 7866)."""

import wave

from phone import EVENTS, PCMU, mu_law_to_linear
from stage import HERE, SPEECH, call_of, hang_up, ring, scenario, set_up

PROMPT_SECONDS = 1.5


def prompt(name):
    """The prompt that the scenario's policy names: 16-bit PCM of one channel, 8 kHz."""
    folder = HERE / name / "prompts" / "desk"
    folder.mkdir(parents=True, exist_ok=True)
    samples = SPEECH["announcement"][: round(PROMPT_SECONDS * 8_000)]
    with wave.open(str(folder / "notice.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(b"".join(mu_law_to_linear(sample).to_bytes(2, "little", signed=True) for sample in samples))


def asked(capture, key):
    """Bob answers; the prompt asks Alice for a key, and she presses it when it is over."""
    call = call_of(capture)
    set_up(call, formats=(PCMU, EVENTS))
    call.talk(call.a, 1.05, 2.75)
    call.talk(call.b, 1.057, 4.2)
    call.digit(call.a, 2.8, key)
    call.talk(call.a, 3.0, 4.2)
    return call


@scenario
def consent_given(capture):
    """Alice, who calls, agrees to be recorded by key 1."""
    prompt("consent-given")
    hang_up(asked(capture, 1), 4.25)


@scenario
def consent_refused(capture):
    """She does not agree, by key 2; what the phones did from there on is what they had done without a proxy."""
    prompt("consent-refused")
    hang_up(asked(capture, 2), 4.25)


@scenario
def prompt_before_connect(capture):
    """Alice is told before Bob is asked to answer: his phone rings when the prompt is over."""
    prompt("prompt-before-connect")
    call = call_of(capture)
    set_up(call, answered=2.5)
    call.both_talk(2.55, 3.55)
    hang_up(call, 3.6)


@scenario
def recording_aware(capture):
    """Alice's phone reads what descriptions say of the recording, Bob's does not; he pauses it by *9, and lets it go on."""
    call = call_of(capture)
    formats = (PCMU, EVENTS)
    ring(call, 0.0, call.a.sdp(formats) + "a=recordpref:nopreference\r\n", headers=[("Supported", "record-aware")])
    call.answer(1.0, 200, call.b.sdp(formats))
    call.ack(1.02)
    call.talk(call.a, 1.05, 4.65)
    call.talk(call.b, 1.057, 1.85)
    for at in (1.9, 3.1):
        call.digit(call.b, at, 10)
        call.digit(call.b, at + 0.2, 9)
        call.talk(call.b, at + 0.45, at + 1.15)
    hang_up(call, 4.7)
