"""A page in headless Chromium (chromium_page.html: SIP.js, and the browser's own WebRTC) that calls and is called through the proxy."""

import array
import functools
import json
import math
import queue
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import baresip
from bench import HERE, NAMES, ROOT, WS_PORT, Bench, Failed, Skipped, end, until

PACKAGE = "sip.js@0.21.2"
# `.ci/run` puts it there.
MODULES = ROOT / "target/interop-npm/node_modules"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
         "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection", "--no-proxy-server", "--enable-logging=stderr"]
TYPES = {".html": "text/html", ".js": "text/javascript"}
# A browser comes up while five other cases run.
PATIENCE = 40.0
# The analyser's bins are 6 Hz wide.
HERTZ_OFF = 12.0
# How long each is heard.
TALK = 1.0


def program():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def version():
    said = subprocess.run([program(), "--version"], capture_output=True, text=True).stdout
    number = re.search(r"(\d+)\.", said)[1]
    return f"chromium {number}, SIP.js {PACKAGE.partition('@')[2]}"


def needs():
    """None, or what is not there."""
    if not program():
        return "Chromium is not installed (Debian: chromium)"
    if not (MODULES / "sip.js/lib/index.js").is_file():
        return f"no {PACKAGE} of the npm registry in target/interop-npm"
    return baresip.needs()


class Site(BaseHTTPRequestHandler):
    """The page's own server: files, orders to it, and what it tells."""

    def log_message(self, *_):
        pass

    def give(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # The browser has ended meanwhile.
            pass

    def do_GET(self):
        path = urllib.parse.urlparse(self.path).path
        if path == "/order":
            try:
                order = self.server.phone.orders.get(timeout=5)
            except queue.Empty:
                order = {}
            return self.give(json.dumps(order).encode(), "application/json")
        file = HERE / "chromium_page.html" if path == "/" else (MODULES / path.lstrip("/")).resolve()
        if not file.is_file() or path != "/" and not file.is_relative_to(MODULES.resolve()):
            return self.send_error(404)
        return self.give(file.read_bytes(), TYPES.get(file.suffix, "application/octet-stream"))

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        phone = self.server.phone
        if "answer" in told:
            phone.answers[told["answer"]] = told
        else:
            phone.events.append(told)
        self.give(b"", "text/plain")


class Cable:
    """Takes a connection from a browser, which has no address but 127.0.0.1, and goes on from the party's own."""

    def __init__(self, source, to):
        self.source, self.to = source, to
        self.door = socket.create_server(("127.0.0.1", 0))
        self.ends = [self.door]
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            while True:
                near, _ = self.door.accept()
                far = socket.create_connection(self.to, source_address=(self.source, 0))
                self.ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def _carry(source, to):
        try:
            while some := source.recv(65536):
                to.sendall(some)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        for one in self.ends:
            one.close()


class Phone:
    """One browser with one page. `options` are the page's."""

    def __init__(self, bench, who, hertz, **options):
        self.bench, self.who, self.name = bench, who, NAMES[who]
        self.orders, self.answers, self.events, self.token = queue.Queue(), {}, [], 0
        self.site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
        self.site.daemon_threads = True
        self.site.phone = self
        cable = Cable(bench.ip(who), (bench.ip("proxy"), WS_PORT))
        bench.sites.append((self.site, cable))
        threading.Thread(target=self.site.serve_forever, daemon=True).start()
        speech = bench.folder / f"{who}.wav"
        baresip.tone(speech, hertz)
        told = {"name": self.name, "server": f"ws://127.0.0.1:{cable.port}"} | options
        url = f"http://127.0.0.1:{self.site.server_port}/#{urllib.parse.quote(json.dumps(told))}"
        self.child = bench.run([program(), *FLAGS, f"--use-file-for-fake-audio-capture={speech}",
                                f"--user-data-dir={bench.folder / who}-browser", url], f"{who}.out")
        self.hears("READY", patience=PATIENCE)

    def tell(self, do, **order):
        self.token += 1
        self.orders.put({"do": do, "token": self.token, **order})
        answer = until(f"{self.name}: {do}", lambda: self.answers.get(self.token))
        if "error" in answer:
            raise Failed(f"{self.name}: {do}: {answer['error']}\n{baresip.ladder(self.bench)}")
        return answer["result"]

    def hears(self, event, patience=15.0):
        try:
            until("", lambda: any(told["event"] == event for told in self.events), patience)
        except Failed:
            raise Failed(f"{self.name} heard no {event}; it heard {self.events}\n{self.console()}\n"
                         f"{baresip.ladder(self.bench)}") from None
        if faults := [told for told in self.events if told["event"] == "FAULT"]:
            raise Failed(f"{self.name}: {faults}")

    def console(self):
        """What the page complained of."""
        said = self.bench.log(f"{self.who}.out", 1000).splitlines()
        return "\n".join(line for line in said if "CONSOLE" in line)[-3000:]

    def hears_tone(self, hertz):
        """What sounds loudest at the page's loudspeaker is that."""
        figures = {}

        def is_there():
            figures.update(self.tell("figures"))
            return abs(figures["hertz"] - hertz) <= HERTZ_OFF

        try:
            until("", is_there)
        except Failed:
            raise Failed(f"{self.name} hears no {hertz} Hz: {figures}") from None
        return figures


class Browsing(Bench):
    """Pages with WebSockets to the proxy; whoever is no page is a baresip, at 127.0.0.1."""

    def __init__(self, name, pages):
        lacking = needs()
        if lacking:
            raise Skipped(lacking)
        ws = 'transport = "ws"'
        of = {"caller": ("trunk.pbx", [ws]), "callee": ("trunk.carrier", [ws, 'dtls = "require"', 'ice = "offer"'])}
        super().__init__(f"chromium-{name}", dict(of[who] for who in pages))
        self.pages, self.sites = pages, []
        self.listen = ("udp", "tcp", "ws")

    def __exit__(self, *why):
        super().__exit__(*why)
        for site, cable in self.sites:
            site.shutdown()
            site.server_close()
            cable.close()

    def peer(self, who):
        return super().peer(who) if who in self.pages else "{}:{}".format(*self.at_home(who))


def power(samples, rate, hertz):
    """How much of the signal is that tone, of 1."""
    total = sum(sample * sample for sample in samples)
    if not total:
        return 0.0
    step = 2 * math.pi * hertz / rate
    real = sum(sample * math.cos(step * at) for at, sample in enumerate(samples))
    imaginary = sum(sample * math.sin(step * at) for at, sample in enumerate(samples))
    return 2 * (real * real + imaginary * imaginary) / (len(samples) * total)


def tones(bench, row, wanted):
    """Each leg of the recording has its own tone: most of the power of some quarter of a second."""
    path = bench.folder / f"{row['id']}.wav"
    done = bench.verb("export", row["id"], "--wav", str(path))
    if done.returncode:
        raise Failed(f"export: {done.stderr.strip()}")
    with wave.open(str(path)) as sound:
        rate = sound.getframerate()
        samples = array.array("h", sound.readframes(sound.getnframes()))
    for leg, hertz in enumerate(wanted):
        channel = samples[leg::2]
        length = rate // 4
        found = [power(channel[at:at + length], rate, hertz) for at in range(0, len(channel) - length + 1, length)]
        if max(found, default=0) < 0.8:
            raise Failed(f"leg {leg} has no {hertz} Hz; of each quarter of a second: {[round(one, 2) for one in found]}")


def finished(bench, wanted):
    """One recording, in clear, with the tones of both."""
    for child in bench.children:
        if child is not bench.serve:
            end(child)
    row, = bench.finish()
    if row["outcome"] != "recorded" or row.get("encryption") != "decrypted":
        raise Failed(f"{row['outcome']}, {row.get('encryption')}\n{baresip.ladder(bench)}")
    tones(bench, row, wanted)
    return row


def introduce(bench, alice, bob):
    """Alice calls Bob."""
    alice.tell("call", to=f"sip:bob@{bench.ip('proxy')}")
    alice.hears("ESTABLISHED")
    bob.hears("ESTABLISHED" if isinstance(bob, Phone) else "CALL_ESTABLISHED")
    time.sleep(TALK)


def call(**options):
    """A page calls baresip (plain RTP): DTLS-SRTP and ICE on its leg. Each holds and resumes and hears the other, and both are recorded."""
    with Browsing("call", ["caller"]) as bench:
        bench.start()
        bob, alice = baresip.Phone(bench, "callee", "udp", 523), Phone(bench, "caller", 440, **options)
        introduce(bench, alice, bob)
        alice.hears_tone(523)
        for order in ("hold", "resume"):
            alice.tell(order)
        time.sleep(TALK)
        for order in ("hold", "resume"):
            bob.tell(order)
            time.sleep(TALK / 2)
        alice.hears_tone(523)
        time.sleep(TALK)
        alice.tell("hangup")
        bob.hears("CALL_CLOSED")
        row = finished(bench, (440, 523))
        offers = [signal for signal in row["shown"]["signals"] if signal["leg"] == "A" and signal["start_line"].startswith("INVITE")]
        if len(offers) != 5:
            raise Failed(f"the page's leg saw {len(offers)} INVITEs, not 5\n{baresip.ladder(bench)}")


def called(**options):
    """Baresip (plain RTP) calls a page, which is offered DTLS-SRTP and ICE. Each hears the other, and both are recorded."""
    with Browsing("called", ["callee"]) as bench:
        bench.start()
        bob, alice = Phone(bench, "callee", 523, **options), baresip.Phone(bench, "caller", "udp", 440)
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("ESTABLISHED")
        time.sleep(TALK)
        bob.hears_tone(440)
        time.sleep(TALK)
        bob.tell("hangup")
        alice.hears("CALL_CLOSED")
        finished(bench, (440, 523))


def pages(shows=False, **options):
    """A page calls a page, with Opus: DTLS-SRTP and ICE on both legs. Each hears the other, and both are recorded."""
    with Browsing("pages", ["caller", "callee"]) as bench:
        bench.start()
        bob, alice = (Phone(bench, who, hertz, **options) for who, hertz in (("callee", 523), ("caller", 440)))
        introduce(bench, alice, bob)
        figures = [phone.hears_tone(hertz) for phone, hertz in ((bob, 440), (alice, 523))]
        if any("audio/opus" not in one["codecs"] for one in figures):
            raise Failed(f"no Opus: {figures}")
        seen = [one["received"].get("video", 0) > 0 and one["reported"] > 0 for one in figures]
        if seen != [shows, shows]:
            raise Failed(f"video and reports of it have come: {seen}\n{figures}")
        time.sleep(TALK)
        alice.tell("hangup")
        bob.hears("TERMINATED")
        row = finished(bench, (440, 523))
        lines = {stream["line"] for stream in row["shown"]["streams"]}
        if lines != ({0, 1} if shows else {0}):
            raise Failed(f"of the lines {lines} something is recorded")


def cases():
    found = {f"chromium/{one.__name__}": (one.__doc__, one) for one in (call, called, pages)}
    one_port = "The page wants all media on one port (bundlePolicy max-bundle)."
    found["chromium/call-max-bundle"] = (f"{call.__doc__} {one_port}", lambda: call(bundlePolicy="max-bundle"))
    found["chromium/called-max-bundle"] = (f"{called.__doc__} {one_port}", lambda: called(bundlePolicy="max-bundle"))
    refused = {"video": ({"video": True}, "The phone refuses its video."), "two-sounds": ({"sounds": 2}, "The phone refuses a second line of sound.")}
    for name, (options, what) in refused.items():
        for suffix, more, how in (("", {}, ""), ("-max-bundle", {"bundlePolicy": "max-bundle"}, f" {one_port}")):
            found[f"chromium/call-{name}{suffix}"] = (f"{call.__doc__} {what}{how}", functools.partial(call, **options, **more))
    found["chromium/pages-video"] = (f"{pages.__doc__} So is video, on a port of its own, with its RTCP reports.",
                                     lambda: pages(True, video=True))
    found["chromium/pages-video-max-bundle"] = (f"{pages.__doc__} {one_port} Video, which has none of its own, is refused.",
                                                lambda: pages(video=True, bundlePolicy="max-bundle"))
    return found
