"""PJSIP phones (pjsip_agent.py, a process each) through the proxy."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import kamailio
from baresip import LOUD, ladder, tone
from bench import HERE, NAMES, SIP_PORT, TLS_PORT, Bench, Failed, Skipped, conversations, until

PACKAGE = "pjsua2-python==2.15.1.post1"


def python():
    """A Python that has pjsua2: $INTEROP_PYTHON, the one that runs this, or the virtual environment that .ci/run made."""
    for candidate in (os.environ.get("INTEROP_PYTHON"), sys.executable, HERE.parents[1] / "target/interop-venv/bin/python"):
        if candidate and Path(candidate).exists():
            done = subprocess.run([str(candidate), "-c", "import pjsua2"], capture_output=True)
            if done.returncode == 0:
                return str(candidate)
    raise Skipped(f"no Python here has pjsua2 (PyPI: {PACKAGE})")


def version():
    done = subprocess.run([python(), "-c", "import pjsua2 as p; e=p.Endpoint(); e.libCreate(); print('pjsip', e.libVersion().full)"],
                          capture_output=True, text=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("pjsip "))


class Phone:
    """One agent. Its calls are numbered from 0 in the order in which they came up."""

    def __init__(self, bench, who, transport, hertz, **options):
        self.bench, self.name = bench, NAMES[who]
        port = TLS_PORT if transport == "tls" else SIP_PORT
        speech = bench.folder / f"{who}.wav"
        tone(speech, hertz)
        tls = bench.folder / "tls"
        options = {"name": self.name, "ip": bench.ip(who), "port": port, "transport": transport, "speech": str(speech),
                    "proxy": f"{bench.ip('proxy')}:{port}", "ca": str(tls / "ca.pem"),
                    "certificate": str(tls / f"{who}.crt"), "key": str(tls / f"{who}.key")} | options
        with (bench.folder / f"{who}.out").open("wb") as log:
            self.child = subprocess.Popen([python(), str(HERE / "pjsip_agent.py"), json.dumps(options)],
                                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        bench.children.append(self.child)
        self.events, self.answers, self.token = [], {}, 0
        threading.Thread(target=self._read, daemon=True).start()
        until(f"{who}'s agent is ready", lambda: self.child.poll() is not None or self.events)
        if self.child.poll() is not None:
            raise Failed(f"the agent ended:\n{bench.log(f'{who}.out')}")

    def _read(self):
        for line in self.child.stdout:
            told = json.loads(line)
            if "answer" in told:
                self.answers[told["answer"]] = told
            else:
                self.events.append(told)

    def tell(self, do, **order):
        """An order and its result. What the agent cannot do yet, for a transaction that is not over, is asked again."""
        end = time.monotonic() + 3
        while True:
            answer = self._ask(do, order)
            if "error" not in answer:
                return answer["result"]
            if "EINVALIDOP" not in answer["error"] or time.monotonic() > end:
                raise Failed(f"{self.name}: {do}: {answer['error']}")
            time.sleep(0.05)

    def _ask(self, do, order):
        self.token += 1
        self.child.stdin.write(json.dumps({"do": do, "token": self.token, **order}) + "\n")
        self.child.stdin.flush()
        return until(f"{self.name}: {do}", lambda: self.answers.get(self.token))

    def heard(self, event, **wanted):
        return [told for told in self.events
                if told["event"] == event and all(told.get(key) == value for key, value in wanted.items())]

    def hears(self, event, times=1, patience=10.0, **wanted):
        try:
            until("", lambda: len(self.heard(event, **wanted)) >= times, patience)
        except Failed:
            told = [" ".join(f"{value}" for value in event.values()) for event in self.events]
            raise Failed(f"{self.name} heard no {event} {wanted} ({times}); it heard {told}\n{ladder(self.bench)}") from None
        return self.heard(event, **wanted)


def leave(phones):
    """The agents end by themselves once their stdin is closed."""
    for phone in phones:
        phone.child.stdin.close()
    for phone in phones:
        try:
            phone.child.wait(5)
        except subprocess.TimeoutExpired:
            phone.child.kill()


class Table:
    """A bench with the proxy and PJSIP phones: `with Table("tcp") as (bench, alice, bob)`."""

    def __init__(self, transport="udp", who=("caller", "callee"), parts=None, **options):
        self.transport, self.who, self.options = transport, who, options
        python()
        self.bench = Bench(f"pjsip-{transport}", parts, transport=transport)

    def __enter__(self):
        self.bench.__enter__()
        try:
            self.bench.start()
            self.phones = [Phone(self.bench, who, self.transport, 400 + 120 * at, **self.options)
                           for at, who in enumerate(self.who)]
        except BaseException:
            self.bench.__exit__(None)
            raise
        return (self.bench, *self.phones)

    def __exit__(self, *why):
        self.bench.__exit__(*why)


def dial(bench, phone, whom):
    """Rings a phone that answers; the number of the call at the caller's."""
    return phone.tell("dial", to=f"sip:{NAMES[whom]}@{bench.ip('proxy')}")


def talk(bench, alice, bob, seconds=0.8):
    number = dial(bench, alice, "callee")
    alice.hears("CONFIRMED", call=number)
    bob.hears("CONFIRMED")
    time.sleep(seconds)
    return number


def finished(bench, phones, count):
    leave(phones)
    rows = bench.finish()
    if [row["outcome"] for row in rows] != ["recorded"] * count:
        raise Failed(f"recordings: {[row['outcome'] for row in rows]}, not {count} recorded\n{ladder(bench)}")
    for row in rows:
        loudest = bench.loudest(row)
        if min(loudest) < LOUD:
            raise Failed(f"a party is not to be heard: loudest samples {loudest}")
    return rows


def crossed(row, leg, start, times):
    seen = sum(signal["leg"] == leg and signal["start_line"].startswith(start) for signal in row["shown"]["signals"])
    if seen < times:
        raise Failed(f"leg {leg} saw {seen} {start}, not {times}")


def call(transport):
    """A call with digits, hold, resume, re-INVITE and UPDATE; the callee hangs up."""
    with Table(transport) as (bench, alice, bob):
        talk(bench, alice, bob)
        alice.tell("dial_digits", call=0, digits="57")
        bob.hears("DIGIT", digit="5")
        alice.tell("hold", call=0)
        alice.hears("MEDIA", status=2)
        bob.hears("MEDIA", status=3)
        alice.tell("resume", call=0)
        alice.hears("MEDIA", 2, status=1)
        bob.hears("MEDIA", 2, status=1)
        bob.tell("reinvite", call=0)
        alice.hears("MEDIA", 3, status=1)
        bob.hears("MEDIA", 3, status=1)
        alice.tell("update", call=0)
        bob.hears("MEDIA", 4, status=1)
        time.sleep(0.5)
        bob.tell("hangup", call=0)
        alice.hears("DISCONNECTED")
        row, = finished(bench, (alice, bob), 1)
        crossed(row, "B", "INVITE", 4)
        crossed(row, "B", "UPDATE", 1)


def prack():
    """Both agents require 100rel: the 180 is reliable, PRACK crosses."""
    with Table(prack="mandatory", ring=True) as (bench, alice, bob):
        talk(bench, alice, bob)
        alice.tell("hangup", call=0)
        bob.hears("DISCONNECTED")
        row, = finished(bench, (alice, bob), 1)
        crossed(row, "B", "PRACK", 1)


def timer():
    """Both agents require session timers, of 90 s: a refresh at half of it, and the call goes on."""
    with Table(timer=90, timer_required=True) as (bench, alice, bob):
        talk(bench, alice, bob, 50)
        alice.tell("hangup", call=0)
        bob.hears("DISCONNECTED")
        row, = finished(bench, (alice, bob), 1)
        again = sum(signal["start_line"].startswith(("INVITE", "UPDATE")) for signal in row["shown"]["signals"])
        if again < 4:
            raise Failed(f"nobody refreshed the session\n{ladder(bench)}")


def transfer_blind():
    """Alice transfers Bob to Carol by REFER; she hears of it by NOTIFY; two recordings, one conversation."""
    with Table(who=("caller", "callee", "carol")) as (bench, alice, bob, carol):
        talk(bench, alice, bob)
        alice.tell("transfer", call=0, to=f"sip:carol@{bench.ip('proxy')}")
        carol.hears("CONFIRMED")
        alice.hears("TRANSFER", code=200)
        alice.tell("hangup", call=0)
        time.sleep(0.8)
        carol.tell("hangup", call=0)
        bob.hears("DISCONNECTED", 2)
        one_conversation(finished(bench, (alice, bob, carol), 2))


def transfer_attended():
    """Alice, in calls with Bob and with Carol, joins the two: REFER and INVITE with Replaces."""
    with Table(who=("caller", "callee", "carol")) as (bench, alice, bob, carol):
        talk(bench, alice, bob)
        other = dial(bench, alice, "carol")
        carol.hears("CONFIRMED")
        alice.hears("CONFIRMED", call=other)
        time.sleep(0.5)
        alice.tell("transfer_to_call", call=0, other=other)
        bob.hears("CONFIRMED", 2)
        carol.hears("CONFIRMED", 2)
        time.sleep(0.8)
        bob.tell("hangup", call=1)
        carol.hears("DISCONNECTED", 2)
        if alice.tell("info", call=0) == "CONFIRMED":
            alice.tell("hangup", call=0)
        one_conversation(finished(bench, (alice, bob, carol), 3))


EXECUTES = {"trunk.pbx": ['refer = "execute"']}


def transfer_blind_executed():
    """Alice transfers Bob to Carol and we execute it: Bob stays in his dialog, Alice hears of it and is let go."""
    with Table(who=("caller", "callee", "carol"), parts=EXECUTES) as (bench, alice, bob, carol):
        talk(bench, alice, bob)
        alice.tell("transfer", call=0, to=f"sip:carol@{bench.ip('proxy')}")
        carol.hears("CONFIRMED")
        alice.hears("TRANSFER", code=200)
        alice.hears("DISCONNECTED")
        time.sleep(0.8)
        carol.tell("hangup", call=0)
        bob.hears("DISCONNECTED")
        one_conversation(finished(bench, (alice, bob, carol), 2))


def transfer_attended_executed():
    """Alice, in calls with Bob and with Carol, joins the two and we execute it: each stays in its dialog."""
    with Table(who=("caller", "callee", "carol"), parts=EXECUTES) as (bench, alice, bob, carol):
        talk(bench, alice, bob)
        other = dial(bench, alice, "carol")
        carol.hears("CONFIRMED")
        alice.hears("CONFIRMED", call=other)
        time.sleep(0.5)
        alice.tell("transfer_to_call", call=0, other=other)
        alice.hears("DISCONNECTED", 2)
        time.sleep(0.8)
        bob.tell("hangup", call=0)
        carol.hears("DISCONNECTED")
        one_conversation(finished(bench, (alice, bob, carol), 3))


def registrar():
    """Alice registers at kamailio through us, with Path; Bob's call to her comes back through us."""
    python()
    bench = Bench("pjsip-registrar", {"trunk.carrier": ['peers = ["{kamailio}"]']})
    with bench:
        bench.start()
        kamailio.start(bench, ["callee"])
        home = bench.ip("kamailio")
        alice = Phone(bench, "caller", "udp", 440, registrar=home)
        alice.hears("REGISTERED", code=200)
        bob = Phone(bench, "callee", "udp", 560, proxy=f"{home}:{SIP_PORT}")
        bob.tell("dial", to=f"sip:alice@{home}")
        bob.hears("CONFIRMED")
        alice.hears("CONFIRMED")
        time.sleep(0.8)
        alice.tell("hangup", call=0)
        bob.hears("DISCONNECTED")
        row, = finished(bench, (alice, bob), 1)
        if row["shown"]["header"]["from_trunk"] != "carrier":
            raise Failed("the call did not come by the carrier")


def one_conversation(rows):
    if conversations(rows) != 1:
        raise Failed(f"{len(rows)} recordings are {conversations(rows)} conversations, not one")


def srtp():
    """SRTP by SDES (RFC 4568) over TLS on both legs, through hold, re-INVITE and UPDATE: both parties are loud in the recording."""
    with Table("tls", srtp="mandatory") as (bench, alice, bob):
        talk(bench, alice, bob)
        alice.tell("hold", call=0)
        bob.hears("MEDIA", status=3)
        alice.tell("resume", call=0)
        bob.hears("MEDIA", 2, status=1)
        bob.tell("reinvite", call=0)
        alice.hears("MEDIA", 3, status=1)
        time.sleep(0.8)
        bob.tell("hangup", call=0)
        alice.hears("DISCONNECTED")
        row, = finished(bench, (alice, bob), 1)
        if row.get("encryption") != "decrypted":
            raise Failed(f"encryption is {row['shown'].get('encryption')!r}")


def cases():
    found = {f"pjsip/call-{transport}": (call.__doc__, lambda t=transport: call(t)) for transport in ("udp", "tcp", "tls")}
    for one in (
        prack, timer, transfer_blind, transfer_attended, transfer_blind_executed, transfer_attended_executed, registrar, srtp,
    ):
        found[f"pjsip/{one.__name__.replace('_', '-')}"] = (one.__doc__, one)
    return found
