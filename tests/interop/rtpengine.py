"""kamailio with rtpengine as our neighbour: baresip behind it in plain RTP, and what rtpengine makes of it towards us."""

import re
import shutil
import subprocess
import time

import baresip
import chromium
import kamailio
from bench import NAMES, Failed, Skipped, end, is_bound, until

NG_PORT, MEDIA_FROM, MEDIA_TO = 2223, 30000, 30999
HERTZ = {"caller": 440, "callee": 523}
TRUNKS = {"caller": "pbx", "callee": "carrier"}
# So that RTCP, which baresip sends every five seconds, is among what crosses.
TALK = 6.0
# Of each side, of some 350.
PACKETS_MIN = 250
EARLY_MAX = 25
# What faces the phones is plain RTP, whatever faces us.
TO_PHONES = "RTP/AVP ICE=remove rtcp-mux-demux trust-address replace-origin"
ROUTES = """route[MEDIA] {{
    if (is_method("BYE|CANCEL")) rtpengine_delete();
    if (is_method("ACK") || !has_body("application/sdp")) return;
    if (src_ip == {proxy}) {{ rtpengine_offer("{to_phones}"); }} else {{ rtpengine_offer("{to_us}"); }}
    t_on_reply("MEDIA");
}}
onreply_route[MEDIA] {{
    if (!has_body("application/sdp")) return;
    if (src_ip == {proxy}) {{ rtpengine_answer("{to_phones}"); }} else {{ rtpengine_answer("{to_us}"); }}
}}"""


def version():
    said = subprocess.run(["rtpengine", "--version"], capture_output=True, text=True)
    return "rtpengine " + re.search(r"(\d+\.\d+)", said.stdout + said.stderr)[1]


def needs():
    """None, or what is not there."""
    if not shutil.which("rtpengine"):
        return "rtpengine is not installed (Debian: rtpengine-daemon)"
    if not shutil.which("kamailio"):
        return "kamailio is not installed (Debian: kamailio)"
    return baresip.needs()


def start(bench, to_us):
    """Both at the bench's address `kamailio`. rtpengine in userspace; its certificate for DTLS is ECDSA."""
    ip, folder = bench.ip("kamailio"), bench.folder / "rtpengine"
    folder.mkdir()
    child = bench.run(["rtpengine", "--config-file=none", "--table=-1", f"--interface={ip}", f"--listen-ng={ip}:{NG_PORT}",
                       "--foreground", "--log-stderr", "--log-level=6", f"--port-min={MEDIA_FROM}", f"--port-max={MEDIA_TO}",
                       "--num-threads=1", "--delete-delay=0", "--dtls-cert-cipher=prime256v1", f"--pidfile={folder}/pid"],
                      "rtpengine.out")
    until("rtpengine is up", lambda: child.poll() is not None or is_bound(ip, NG_PORT))
    if child.poll() is not None:
        raise Failed(f"rtpengine ended:\n{bench.log('rtpengine.out')}")
    return ip, ROUTES.format(proxy=bench.ip("proxy"), to_us=to_us, to_phones=TO_PHONES)


def crossed(bench, over, muxed):
    """As rtpengine tells at the end of the call: what faced us was `over`, no packet was at fault on its ports, and RTCP had one of its
    own, or not."""
    said = bench.log("rtpengine.out", 10_000)
    lines = re.findall(r"Media #1 \(audio over (\S+)\)", said)
    if sorted(lines) != sorted([over, "RTP/AVP"]):
        raise Failed(f"rtpengine spoke {lines}, not {over} and RTP/AVP:\n{bench.log('rtpengine.out')}")
    ports = [(rtcp is not None, int(packets), int(faults)) for rtcp, packets, faults in
             (found.groups() for found in re.finditer(r"- Port .* <> [^(,]*(\(RTCP\))?, SSRC \w+, (\d+) p, \d+ b, (\d+) e", said))]
    media = [(packets, faults) for rtcp, packets, faults in ports if not rtcp]
    # It had no keys for the first, which came before the answer or the end of the handshake.
    fine = 0 if over == "RTP/AVP" else EARLY_MAX
    if len(media) != 2 or any(packets < PACKETS_MIN or faults > fine for packets, faults in media):
        raise Failed(f"packets and faults of rtpengine's ports: {media}\n{bench.log('rtpengine.out', 30)}")
    if len(ports) - len(media) != (1 if muxed else 2):
        raise Failed(f"RTCP had {len(ports) - len(media)} ports:\n{bench.log('rtpengine.out', 30)}")
    for who in TRUNKS:
        if "incoming rtp for 'audio' established" not in bench.log(f"{who}.out", 10_000):
            raise Failed(f"{who} heard nothing")


class Fronted(baresip.Home):
    """baresip at both ends; `side` is behind kamailio and rtpengine."""

    def __init__(self, name, side, parts):
        if lacking := needs():
            raise Skipped(lacking)
        super().__init__("udp", parts=parts)
        self.name, self.side = f"rtpengine-{name}", side

    def peer(self, who):
        return self.ip("kamailio") if who == self.side else super().peer(who)


def call(name, side, over, to_us, config=(), other=(), encryption=None, muxed=False):
    """A call with hold and resume through rtpengine: each phone hears, each channel of the recording has its party's tone, and both
    parties' RTCP is in it."""
    parts = {f"trunk.{trunk}": list(config if who == side else other) for who, trunk in TRUNKS.items()}
    with Fronted(name, side, parts) as bench:
        bench.start()
        ip, routes = start(bench, f"{to_us} trust-address replace-origin")
        loaded = ['loadmodule "rtpengine.so"', f'modparam("rtpengine", "rtpengine_sock", "udp:{ip}:{NG_PORT}")']
        kamailio.start(bench, [side], loaded, routes, bench.at_home)
        bob = baresip.Phone(bench, "callee", "udp", HERTZ["callee"], rtcp_mux=muxed)
        alice = baresip.Phone(bench, "caller", "udp", HERTZ["caller"], behind="kamailio" if side == "caller" else "proxy")
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("CALL_ESTABLISHED")
        time.sleep(TALK)
        baresip.hold_and_end(alice, bob)
        until("rtpengine has ended the call", lambda: "Final packet stats" in bench.log("rtpengine.out", 10_000))
        for child in bench.children:
            if child is not bench.serve:
                end(child)
        row, = bench.finish()
        if row["outcome"] != "recorded" or row.get("encryption") != encryption:
            raise Failed(f"{row['outcome']}, {row.get('encryption')}\n{baresip.ladder(bench)}\n{bench.log('rtpengine.out')}")
        chromium.tones(bench, row, HERTZ.values())
        crossed(bench, over, muxed)
        names = {stream["leg"]: stream["quality"].get("reported", {}).get("name", "") for stream in row["streams"]}
        if not all(f"sip:{NAMES[who]}@" in names.get(leg, "") for leg, who in (("A", "caller"), ("B", "callee"))):
            raise Failed(f"RTCP did not cross both ways: {names}")


def cases():
    clear, keyed, shaken = "RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF"
    dtls, encrypted = f"{shaken} ICE=force SDES-off rtcp-mux-offer", {"encryption": "decrypted"}
    wants = ['dtls = "require"', 'ice = "offer"']
    any_way = 'sdes_over = "any"'
    told = {
        "caller": ("G.711 in clear from behind it.", "caller", clear, "RTP/AVP ICE=remove", {}),
        "callee": ("G.711 in clear to behind it.", "callee", clear, "RTP/AVP ICE=remove", {}),
        "caller-rtcp-mux": ("It offers a=rtcp-mux (RFC 5761), which the callee takes.", "caller", clear, "RTP/AVP ICE=remove rtcp-mux-offer", {"muxed": True}),
        "caller-srtp": ("It offers SRTP by SDES (RFC 4568); the callee has RTP.", "caller", keyed, "RTP/SAVP ICE=remove",
                        {"config": [any_way], "other": ['srtp = "refuse"']} | encrypted),
        "callee-srtp": ("It is offered SRTP by SDES (RFC 4568); the caller has RTP.", "callee", keyed, "RTP/SAVP ICE=remove",
                        {"config": [any_way, 'srtp = "require"']} | encrypted),
        "caller-dtls": ("It offers DTLS-SRTP (RFC 5763) with ICE, which is answered by ICE-lite, and a=rtcp-mux.", "caller", shaken, dtls,
                        {"other": ['srtp = "refuse"'], "muxed": True} | encrypted),
        "callee-dtls": ("It is offered DTLS-SRTP (RFC 5763) with ICE and a=rtcp-mux, and begins the handshake.", "callee", shaken,
                        f"{dtls} DTLS=active", {"config": wants, "muxed": True} | encrypted),
        "callee-dtls-passive": ("It is offered DTLS-SRTP (RFC 5763) with ICE and a=rtcp-mux, and waits for the handshake.", "callee",
                                shaken, f"{dtls} DTLS=passive", {"config": wants, "muxed": True} | encrypted),
    }
    return {f"rtpengine/{name}": (f"{about} {' '.join(call.__doc__.split())}",
                                  lambda name=name, how=how, more=more: call(name, *how, **more))
            for name, (about, *how, more) in told.items()}
