"""baresip hears by a prompt and a tone that it is recorded, and answers by keys (RFC 4733) whether it agrees."""

import array
import json
import math
import time
import wave

from baresip import KEEPER, MODULES, Home, Phone, ladder, module_of
from bench import Failed, Skipped, end
from chromium import power, tones

ALICE, BOB = 440, 523
# Of the prompt; and of the tone, as the policies have it.
PROMPT, TONE = 1000, 1400
PROMPT_SECONDS = 1.0
CODECS = {"g722": "G722/16000/1", "l16": "L16/16000/1", "opus": "opus/48000/2"}
POLICY = """[policy]
id = "everyone"
enabled = true
record_rerouted_calls = true
prompts = {{ package = "desk" }}
notify = {{ {notify} }}
[[policy.recorder]]
id = "embedded"
required_before_call_establishment = {strict}
required_during_call = {strict}
required_before_meeting_join = {strict}
required_during_meeting = {strict}
"""


def prompt(bench):
    folder = bench.folder / "policies/prompts/desk"
    folder.mkdir(parents=True)
    rate = 16000
    with wave.open(str(folder / "notice.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(array.array("h", [int(12000 * math.sin(2 * math.pi * PROMPT * n / rate))
                                            for n in range(int(rate * PROMPT_SECONDS))]).tobytes())


class Told(Home):
    """Two phones, and the policy that tells them."""

    def __init__(self, notify, strict=True):
        policy = POLICY.format(notify=notify, strict="true" if strict else "false")
        super().__init__("udp", parts={"policy": [policy]})

    def start(self):
        prompt(self)
        super().start()

    def phones(self, codec=None):
        lacking = [name for name in (KEEPER, *([module_of(codec)] if codec else [])) if not (MODULES / name).is_file()]
        if lacking:
            raise Skipped(f"baresip lacks its modules {lacking}")
        bob, alice = (Phone(self, who, "udp", hertz, codec=codec, keeps=True) for who, hertz in (("callee", BOB), ("caller", ALICE)))
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("CALL_ESTABLISHED")
        return alice, bob

    def over(self):
        """The one recording, and what its export tells."""
        for child in self.children:
            if child is not self.serve:
                end(child)
        row, = self.finish()
        done = self.verb("export", row["id"], "--wav", str(self.folder / "told.wav"), "--json")
        if done.returncode:
            raise Failed(f"export: {done.stderr.strip()}")
        return row, json.loads(done.stdout)

    def heard(self, who, hertz):
        """How much of the quarter of a second that has most of it is that tone, in what a phone decoded."""
        kept = sorted((self.folder / who).glob("dump-*-dec.wav"))
        if not kept:
            return 0.0
        with wave.open(str(kept[-1])) as sound:
            # All tones are far below 4 kHz.
            rate, step = sound.getframerate(), sound.getframerate() // 8000
            samples = array.array("h", sound.readframes(sound.getnframes()))[::sound.getnchannels() * step]
        rate //= step
        length = rate // 4
        step = length // 2
        return max((power(samples[at:at + length], rate, hertz) for at in range(0, len(samples) - length + 1, step)), default=0)

    def must_hear(self, who, hertz, least=0.8):
        if (heard := self.heard(who, hertz)) < least:
            raise Failed(f"{who} heard no {hertz} Hz: {heard:.2f} of any quarter of a second")


def consent(key, refused, consents, outcome, streams, talks):
    """A caller is asked by the prompt and presses a key (RFC 4733 §3.2)."""
    notify = f'mode = "prompt", to = "caller", consent = {{ within = "10s", refused = "{refused}" }}'
    with Told(notify, strict=refused in ("hang_up", "mute")) as bench:
        bench.start()
        alice, bob = bench.phones()
        time.sleep(PROMPT_SECONDS + 0.6)
        alice.tell("sndcode", key)
        if talks:
            time.sleep(1.5)
            bob.tell("hangup")
        alice.hears("CALL_CLOSED")
        bob.hears("CALL_CLOSED")
        row, report = bench.over()
        told = [(one["leg"], one["consent"]) for one in report.get("consents", [])]
        if told != [("A", consents)] or row["outcome"] != outcome:
            raise Failed(f"consents {told}, {row['outcome']}; not {consents}, {outcome}\n{ladder(bench)}")
        # Before the answer nothing is kept of who is asked.
        left_out = [one["from"] for one in report.get("left_out", []) if one["leg"] == "A"]
        if len(left_out) != 1:
            raise Failed(f"left out: {report.get('left_out')}")
        # Where a refusal ends the call, what came before the question is.
        legs = {stream["leg"] for stream in row["shown"]["streams"] if refused != "hang_up" or stream["last"] > left_out[0]}
        if legs != set(streams):
            raise Failed(f"of {sorted(legs)} there are streams on disk, not of {streams}\n{ladder(bench)}")
        bench.must_hear("caller", PROMPT)
        if bench.heard("callee", PROMPT) > 0.3:
            raise Failed("the callee heard the caller's prompt")
        if talks:
            bench.must_hear("callee", ALICE)
            bench.must_hear("caller", BOB)
        elif bench.heard("callee", ALICE) > 0.3:
            raise Failed("the callee heard a caller that had not agreed")
        if streams == "AB":
            tones(bench, row, (ALICE, BOB))


def notice(codec):
    """Both hear the prompt, each other, and the tone; the recording has marks of each."""
    with Told('mode = "prompt+tone", every = "2s"') as bench:
        bench.start()
        _, bob = bench.phones(CODECS[codec])
        time.sleep(PROMPT_SECONDS + 4.5)
        bob.tell("hangup")
        row, report = bench.over()
        for who, other in (("caller", BOB), ("callee", ALICE)):
            bench.must_hear(who, PROMPT)
            bench.must_hear(who, TONE)
            bench.must_hear(who, other)
        for leg in "AB":
            kinds = {one["kind"]: one for one in report["notices"] if one["leg"] == leg and one["whole"]}
            if set(kinds) != {"prompt", "tone"}:
                raise Failed(f"{leg} was told {report['notices']}")
            # 20 ms each.
            if kinds["prompt"]["packets"] != PROMPT_SECONDS * 50:
                raise Failed(f"the prompt of {leg} had {kinds['prompt']['packets']} packets")
        if row["outcome"] != "recorded":
            raise Failed(f"{row['outcome']}\n{ladder(bench)}")
        tones(bench, row, (ALICE, BOB))


def cases():
    found = {}
    for name, about, how in (
            ("agrees", "It agrees: both are recorded from there on.", ("1", "mute", "given", "recorded", "AB", True)),
            ("muted", "It does not: they talk on, and of it nothing is on any disk.", ("2", "mute", "refused", "recorded", "B", True)),
            ("unrecorded", "It does not: they talk on, and of nobody anything is on any disk.",
             ("2", "unrecorded", "refused", "unrecorded", "", True)),
            ("let-go", "It does not, and the call is ended.", ("2", "hang_up", "refused", "recorded", "B", False))):
        found[f"baresip/consent-{name}"] = (f"{consent.__doc__} {about}", lambda how=how: consent(*how))
    for codec in CODECS:
        found[f"baresip/notice-{codec}"] = (f"{notice.__doc__} {CODECS[codec].partition('/')[0]} on both legs.",
                                            lambda codec=codec: notice(codec))
    return found
