"""A page in headless Chromium (chromium_page.html: SIP.js, and the browser's own WebRTC) that calls and is called through the proxy."""

import array
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
from pathlib import Path

import baresip
from bench import HERE, NAMES, ROOT, WS_PORT, Bench, Failed, Skipped, until

PACKAGE = "sip.js@0.21.2"
# `.ci/run` puts it there.
MODULES = ROOT / "target/interop-npm/node_modules"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
         "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection", "--no-proxy-server", "--enable-logging=stderr"]
TYPES = {".html": "text/html", ".js": "text/javascript"}
# A browser comes up while five other cases run.
PATIENCE = 40.0
# A tenth of a semitone is less.
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
        self.end_headers()
        self.wfile.write(body)

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
        for end in self.ends:
            end.close()


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

    def __init__(self, name, pages, parts=None):
        lacking = needs()
        if lacking:
            raise Skipped(lacking)
        trunks = {"caller": "pbx", "callee": "carrier"}
        super().__init__(f"chromium-{name}", parts)
        for who in pages:
            self.parts.setdefault(f"trunk.{trunks[who]}", []).append('transport = "ws"')
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
            baresip.end(child)
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


def part(alice, bob):
    alice.tell("hangup")
    bob.hears("TERMINATED" if isinstance(bob, Phone) else "CALL_CLOSED")


def call(**options):
    """A page calls baresip (plain RTP), holds, resumes and hangs up: DTLS-SRTP and ICE on its leg. Each hears the other, and both are recorded."""
    with Browsing("call", ["caller"]) as bench:
        bench.start()
        bob, alice = baresip.Phone(bench, "callee", "udp", 523), Phone(bench, "caller", 440, **options)
        introduce(bench, alice, bob)
        time.sleep(TALK)
        figures = alice.hears_tone(523)
        alice.tell("hold")
        alice.tell("resume")
        time.sleep(TALK)
        part(alice, bob)
        finished(bench, (440, 523))
        print(json.dumps(figures, indent=1).replace("\\r\\n", "\n"))


def called():
    """Baresip (plain RTP) calls a page, which is offered DTLS-SRTP and ICE. Each hears the other, and both are recorded."""
    with Browsing("called", ["callee"], {"trunk.carrier": ['dtls = "require"', 'ice = "offer"']}) as bench:
        bench.start()
        bob, alice = Phone(bench, "callee", 523), baresip.Phone(bench, "caller", "udp", 440)
        alice.dial("bob")
        alice.hears("CALL_ESTABLISHED")
        bob.hears("ESTABLISHED")
        time.sleep(TALK)
        figures = bob.hears_tone(440)
        part(bob, alice)
        finished(bench, (440, 523))
        print(json.dumps(figures, indent=1).replace("\\r\\n", "\n"))


def pages(**options):
    """A page calls a page: DTLS-SRTP and ICE on both legs, Opus. Each hears the other, and both are recorded."""
    with Browsing("pages", ["caller", "callee"], {"trunk.carrier": ['dtls = "require"', 'ice = "offer"']}) as bench:
        bench.start()
        bob, alice = (Phone(bench, who, hertz, **options) for who, hertz in (("callee", 523), ("caller", 440)))
        introduce(bench, alice, bob)
        time.sleep(TALK)
        print(json.dumps(bob.hears_tone(440), indent=1).replace("\\r\\n", "\n"))
        print(json.dumps(alice.hears_tone(523), indent=1).replace("\\r\\n", "\n"))
        time.sleep(TALK)
        part(alice, bob)
        finished(bench, (440, 523))


def cases():
    found = {f"chromium/{one.__name__.replace('_', '-')}": (one.__doc__, one) for one in (call, called, pages)}
    for policy in ("max-bundle", "max-compat"):
        found[f"chromium/call-{policy}"] = (call.__doc__, lambda policy=policy: call(bundlePolicy=policy))
    for policy in ("balanced", "max-bundle", "max-compat"):
        found[f"chromium/call-video-{policy}"] = (call.__doc__, lambda policy=policy: call(bundlePolicy=policy, video=True))
        found[f"chromium/pages-video-{policy}"] = (call.__doc__, lambda policy=policy: pages(bundlePolicy=policy, video=True))
    return found
