"""baresip to baresip through the proxy, told what to do over its ctrl_tcp module."""

import array
import json
import math
import re
import shutil
import socket
import subprocess
import time
import wave
from pathlib import Path

from bench import HOSTS, NAMES, SIP_PORT, TLS_PORT, Bench, Failed, Skipped, conversations, end, is_bound, until

MODULES = Path("/usr/lib/baresip/modules")
NEEDED = ("g711.so", "aufile.so", "uuid.so", "account.so", "ctrl_tcp.so", "menu.so")
LOUD = 3000
DTLS = "dtls_srtp"
CONFIG = """poll_method epoll
net_interface {net}
sip_listen {listen}:{port}
rtp_ports {media}-{media_end}
{certificate}
{srtp}
rtcp_mux {mux}
call_max_calls 4
audio_source aufile,{home}/speech.wav
audio_player aufile,{home}/heard.wav
audio_alert aufile,{home}/alert.wav
audio_buffer 20-160
module_path {modules}
module g711.so
{more}
module aufile.so
module uuid.so
module account.so
module ctrl_tcp.so
module_app menu.so
ctrl_tcp_listen {ip}:{control}
"""

# What it says is a file of 8 kHz, whatever the codec has.
AT_8_KHZ = """module {module}
ausrc_srate 8000
ausrc_channels 1"""
# Writes what it decodes.
KEEPER = "sndfile.so"


def module_of(codec):
    return f"{codec.partition('/')[0].lower()}.so"


def version():
    said = subprocess.run(["baresip", "-h"], capture_output=True, text=True).stdout
    return "baresip " + re.search(r"v(\d[\d.]*)", said)[1]


def needs():
    """None, or what is not there."""
    if not shutil.which("baresip"):
        return "baresip is not installed (Debian: baresip-core)"
    lacking = [name for name in NEEDED if not (MODULES / name).is_file()]
    return f"baresip lacks its modules {lacking}" if lacking else None


def ciphers(encrypts):
    """The modules of an account's `mediaenc`."""
    return [*(["srtp.so"] if encrypts else []), *(["dtls_srtp.so"] if encrypts == DTLS else [])]


def tone(path, hertz):
    """Ten seconds that are no silence."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(array.array("h", [int(12000 * math.sin(2 * math.pi * hertz * n / 8000))
                                            for n in range(80000)]).tobytes())


class Phone:
    """One baresip with one account; calls that come in are answered at once. `behind`: through whom it calls. `codec`: the only one that
    it has, as its accounts name it, with the module of that name. `keeps`: what it hears becomes a file."""

    def __init__(self, bench, who, transport, hertz=440, encrypts=None, behind="proxy", rtcp_mux=False, codec=None, keeps=False):
        self.bench, self.name = bench, NAMES[who]
        self.ip, at = bench.at_home(who)
        home_ip = "[::1]" if bench.six else self.ip
        control = at + 2
        home = bench.folder / who
        home.mkdir()
        tone(home / "speech.wav", hertz)
        more = [*([AT_8_KHZ.format(module=module_of(codec))] if codec else []), *([f"module {KEEPER}\nsnd_path {home}"] if keeps else [])]
        port, certificate = SIP_PORT, ""
        if transport == "tls":
            port = TLS_PORT
            certificate = f"sip_certificate {bench.folder}/tls/{who}.pem\nsip_cafile {bench.folder}/tls/ca.pem"
        # For TLS it listens on the port after the one that it is told.
        (home / "config").write_text(CONFIG.format(
            ip=self.ip, listen=home_ip, net="::1" if bench.six else self.ip, port=at, certificate=certificate, srtp="\n".join(f"module {name}" for name in ciphers(encrypts)), mux="yes" if rtcp_mux else "no", more="\n".join(more), home=home, modules=MODULES, control=control, media=at + 10,
            media_end=at + 38))
        proxy = f"sip:{bench.at(behind) if bench.six else bench.ip(behind)}{'' if bench.six else f':{port}'};transport={transport}"
        (home / "accounts").write_text(f"<sip:{self.name}@{home_ip};transport={transport}>;regint=0;answermode=auto;"
                                       f"outbound=\"{proxy}\"{f';mediaenc={encrypts}' if encrypts else ''}"
                                       f"{f';audio_codecs={codec}' if codec else ''}\n")
        (home / "contacts").write_text("")
        (home / "uuid").write_text(f"00000000-0000-4000-8000-{HOSTS[who]:012}")
        self.child = bench.run(["baresip", *(["-6"] if bench.six else []), "-f", str(home)], f"{who}.out")
        until(f"{who}'s baresip is up", lambda: self.child.poll() is not None or is_bound(self.ip, control, "tcp"))
        if self.child.poll() is not None:
            raise Failed(f"baresip ended:\n{bench.log(f'{who}.out')}")
        self.control = socket.create_connection((self.ip, control))
        self.control.settimeout(0.05)
        self.unread, self.events = b"", []

    def tell(self, command, params=""):
        """A command, and its answer; a refused one is a failure."""
        message = json.dumps({"command": command, "params": params, "token": command}).encode()
        self.control.sendall(b"%d:%s," % (len(message), message))

        def answered():
            for answer in self.heard():
                if answer.get("response") and answer.get("token") == command:
                    self.events.remove(answer)
                    return answer
            return None

        answer = until(f"{self.name}: {command}", answered)
        if not answer["ok"]:
            raise Failed(f"{self.name}: {command} {params}: {answer['data']}")
        return answer["data"]

    def dial(self, name):
        """Once more if the port that it took by lot was another's."""
        for again in (True, True, False):
            try:
                return self.tell("dial", f"sip:{name}@{self.bench.uri_host('proxy')}")
            except Failed as failed:
                if not again or "in use" not in str(failed):
                    raise

    def heard(self):
        """All events since the start; netstrings of JSON."""
        try:
            self.unread += self.control.recv(65536)
        except TimeoutError:
            pass
        while (head := re.match(rb"(\d+):", self.unread)) and len(self.unread) > head.end() + int(head[1]):
            stop = head.end() + int(head[1])
            self.events.append(json.loads(self.unread[head.end():stop]))
            self.unread = self.unread[stop + 1:]
        return list(self.events)

    def count(self, kind):
        return sum(event.get("type") == kind for event in self.heard())

    def hears(self, kind, times=1):
        def enough():
            return self.count(kind) >= times
        try:
            until("", enough)
        except Failed:
            told = [f"{event.get('type')} {event.get('param', '')}" for event in self.events if event.get("event")]
            raise Failed(f"{self.name} heard no {kind} ({times}); it heard {told}\n{ladder(self.bench)}") from None


def ladder(bench):
    """What the proxy kept, for whoever has to find the fault."""
    lines = []
    for row in json.loads(bench.verb("calls", "list", "--json").stdout or "[]"):
        shown = bench.verb("calls", "show", row["id"], "--json")
        if shown.returncode == 0:
            lines.append(f"{row['id']} {row['outcome']}")
            lines += [f"  {signal['leg']} {signal['direction']:8} {signal['start_line']}"
                      for signal in json.loads(shown.stdout)["signals"]]
    return "\n".join(lines)


class Home(Bench):
    """Phones at 127.0.0.1, each with a port of its own: baresip binds neither media nor connections to an address."""

    def __init__(self, transport, six=False, parts=None):
        lacking = needs()
        if lacking:
            raise Skipped(lacking)
        super().__init__(f"baresip-{transport}", parts, transport=transport, six=six)

    def peer(self, who):
        ip, port = self.at_home(who)
        ip = "[::1]" if self.six else ip
        return f"{ip}:{port + (self.transport == 'tls')}"


def hold_and_end(alice, bob):
    """One holds, talks on, and the other hangs up."""
    alice.tell("hold")
    time.sleep(0.5)
    alice.tell("resume")
    time.sleep(1)
    bob.tell("hangup")
    alice.hears("CALL_CLOSED")


def call(transport, six=False):
    """A call with digits, hold and resume; both parties are loud in the recording."""
    with Home(transport, six) as bench:
        bench.start()
        bob, alice = Phone(bench, "callee", transport, 523), Phone(bench, "caller", transport)
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("CALL_ESTABLISHED")
        time.sleep(1)
        alice.tell("sndcode", "5")
        time.sleep(0.3)
        hold_and_end(alice, bob)
        row, = finished(bench, 1)
        invites = [signal for signal in row["shown"]["signals"]
                   if signal["leg"] == "B" and signal["start_line"].startswith("INVITE")]
        if len(invites) < 3:
            raise Failed(f"B saw {len(invites)} INVITEs, not 3: hold or resume did not cross\n{ladder(bench)}")


def srtp(caller, callee, parts, transport="tls", encryption="decrypted"):
    """Both parties are loud in the recording, before a hold and after, and its signalling has no key."""
    with Home(transport, parts=parts) as bench:
        lacking = [name for name in ciphers(caller) + ciphers(callee) if not (MODULES / name).is_file()]
        if lacking:
            raise Skipped(f"baresip lacks its modules {lacking}")
        bench.start()
        bob, alice = Phone(bench, "callee", transport, 523, callee), Phone(bench, "caller", transport, 440, caller)
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("CALL_ESTABLISHED")
        time.sleep(1)
        hold_and_end(alice, bob)
        row, = finished(bench, 1)
        if row.get("encryption") != encryption:
            raise Failed(f"encryption is {row['shown'].get('encryption')!r}, not {encryption!r}")
        for who in ("caller", "callee"):
            told = bench.log(f"{who}.out", 1000)
            # Said behind the decryption, of the first packet that passed it.
            if "incoming rtp for 'audio' established" not in told or re.search("failed to (decrypt|unprotect)", told):
                raise Failed(f"{who} could not open what it was sent:\n{told}")


def transfer(transport):
    """Alice transfers Bob to Carol: Bob calls Carol, Alice leaves, Bob and Carol are recorded."""
    with Home(transport) as bench:
        bench.start()
        bob, carol, alice = (Phone(bench, who, transport, hertz)
                             for who, hertz in (("callee", 523), ("carol", 659), ("caller", 440)))
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("CALL_ESTABLISHED")
        time.sleep(0.8)
        alice.tell("transfer", f"sip:carol@{bench.uri_host('proxy')}")
        carol.hears("CALL_ESTABLISHED")
        alice.hears("CALL_CLOSED")
        time.sleep(0.8)
        carol.tell("hangup")
        bob.hears("CALL_CLOSED", 2)
        rows = finished(bench, 2)
        if conversations(rows) != 1:
            raise Failed("the two recordings are not one conversation")


def transfer_executed(transport, encrypts=None):
    """Alice transfers Bob to Carol and we execute it: Bob stays in his dialog and hears Carol, Alice is let go."""
    with Home(transport, parts={"trunk.pbx": ['refer = "execute"']}) as bench:
        bench.start()
        bob, carol, alice = (Phone(bench, who, transport, hertz, encrypts)
                             for who, hertz in (("callee", 523), ("carol", 659), ("caller", 440)))
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("CALL_ESTABLISHED")
        time.sleep(0.8)
        alice.tell("transfer", f"sip:carol@{bench.uri_host('proxy')}")
        carol.hears("CALL_ESTABLISHED")
        alice.hears("CALL_CLOSED")
        time.sleep(0.8)
        carol.tell("hangup")
        bob.hears("CALL_CLOSED")
        rows = finished(bench, 2)
        if conversations(rows) != 1:
            raise Failed("the two recordings are not one conversation")


def finished(bench, count):
    for child in bench.children:
        if child is not bench.serve:
            end(child)
    rows = bench.finish()
    if [row["outcome"] for row in rows] != ["recorded"] * count:
        raise Failed(f"recordings: {[row['outcome'] for row in rows]}, not {count} recorded\n{ladder(bench)}")
    for row in rows:
        loudest = bench.loudest(row)
        if min(loudest) < LOUD:
            raise Failed(f"a party is not to be heard: loudest samples {loudest}")
    return rows


def cases():
    found = {}
    for transport in ("udp", "tcp", "tls"):
        found[f"baresip/call-{transport}"] = (call.__doc__, lambda t=transport: call(t))
    for transport in ("udp", "tcp"):
        found[f"baresip/call-{transport}-ipv6"] = (f"{call.__doc__} By IPv6.", lambda t=transport: call(t, six=True))
    for name, about, ends in (
            ("both", "SRTP by SDES (RFC 4568) on both legs.", ("srtp-mand", "srtp-mand", {})),
            ("if-wanted", "RTP/AVP with keys (RFC 8643) on both legs.", ("srtp", "srtp", {})),
            ("caller", "SRTP on the caller's leg, RTP on the callee's.",
             ("srtp-mand", None, {"trunk.pbx": ['srtp = "require"'], "trunk.carrier": ['srtp = "refuse"']})),
            ("callee", "RTP on the caller's leg, SRTP on the callee's.",
             (None, "srtp-mand", {"trunk.carrier": ['srtp = "require"']}))):
        found[f"baresip/srtp-{name}"] = (f"{about} Over TLS both ways. {srtp.__doc__}", lambda ends=ends: srtp(*ends))
    asked = {"trunk.carrier": ['dtls = "require"']}
    for name, about, ends in (
            ("both", "DTLS-SRTP on both legs.", (DTLS, DTLS, asked)),
            ("caller", "DTLS-SRTP on the caller's leg, RTP on the callee's.", (DTLS, None, {})),
            ("callee", "RTP on the caller's leg, DTLS-SRTP on the callee's, who begins the handshake.", (None, DTLS, asked))):
        found[f"baresip/dtls-{name}"] = (f"{about} baresip's certificate has an RSA key. {srtp.__doc__}",
                                         lambda ends=ends: srtp(*ends, transport="udp"))
    found["baresip/transfer"] = (transfer.__doc__, lambda: transfer("udp"))
    found["baresip/transfer-executed"] = (transfer_executed.__doc__, lambda: transfer_executed("udp"))
    found["baresip/srtp-transfer-executed"] = (f"{transfer_executed.__doc__} SRTP on all legs.",
                                               lambda: transfer_executed("tls", "srtp-mand"))
    return found
