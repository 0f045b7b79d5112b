"""A page that speaks SIP over a WebSocket (RFC 6455, RFC 7118) with nothing but Python's standard library, against sipp."""

import base64
import hashlib
import os
import re
import socket
import struct
import sys
import threading
import time

import flow
import kamailio
import pjsip
import sipp
from bench import NAMES, SIP_PORT, WS_PORT, Bench, Failed

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LOUD = 1000


def version():
    return f"Python {sys.version.split()[0]}, {sipp.version()}"


class Socket:
    """One WebSocket, the client's side; a message of SIP in each of it."""

    def __init__(self, at, source):
        self.stream = socket.create_connection(at, timeout=10, source_address=(source, 0))
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall(f"GET / HTTP/1.1\r\nHost: {at[0]}:{at[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
                            .encode())
        self.unread = b""
        while b"\r\n\r\n" not in self.unread:
            self._more()
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        wanted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest())
        lines = head.lower().splitlines()
        if b" 101 " not in head.splitlines()[0] + b" " or b"sec-websocket-protocol: sip" not in lines or wanted not in head:
            raise Failed(f"no WebSocket: {head.decode(errors='replace')}")

    def _more(self):
        try:
            more = self.stream.recv(65536)
        except TimeoutError:
            raise Failed("nothing came by the WebSocket") from None
        if not more:
            raise Failed("the WebSocket was closed")
        self.unread += more

    def _take(self, count):
        while len(self.unread) < count:
            self._more()
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def send(self, text, opcode=1):
        payload = text if isinstance(text, bytes) else text.encode()
        mask = os.urandom(4)
        length = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.stream.sendall(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self):
        """The next message; pings are answered meanwhile."""
        while True:
            head, length = self._take(2)
            if length & 0x80:
                raise Failed("a masked frame from the server (RFC 6455 §5.1)")
            length = struct.unpack("!H", self._take(2))[0] if length == 126 else length
            payload = self._take(length)
            if head == 0x89:
                self.send(payload, 0x0A)
            elif head in (0x81, 0x82):
                return payload.decode()
            else:
                raise Failed(f"an unexpected frame {head:#x}")


class Page:
    """Who calls or is called by a WebSocket; its media is plain RTP."""

    def __init__(self, bench, who):
        self.bench, self.name, self.ip = bench, NAMES[who], bench.ip(who)
        self.socket = Socket((bench.ip("proxy"), WS_PORT), self.ip)
        self.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bench.sockets += [self.media, self.socket.stream]
        # Not one that another case's agent has at all addresses.
        self.media.bind((self.ip, 0))
        self.media.settimeout(5)
        self.contact = f"<sip:{self.name}@{self.name}.invalid;transport=ws>"
        self.branch = self.cseq = 0
        self.heard = 0

    def sdp(self):
        return (f"v=0\r\no={self.name} 1 1 IN IP4 {self.ip}\r\ns=-\r\nc=IN IP4 {self.ip}\r\nt=0 0\r\n"
                f"m=audio {self.media.getsockname()[1]} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n")

    def send(self, lines, body=""):
        if body:
            lines.append("Content-Type: application/sdp")
        self.socket.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]))

    def request(self, method, uri, to, cseq=None, more=()):
        self.branch += 1
        if cseq is None:
            self.cseq = cseq = self.cseq + 1
        self.send([f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/WS {self.name}.invalid;branch=z9hG4bK{self.branch}",
                   "Max-Forwards: 70", f"From: <sip:{self.name}@example.com>;tag=page", f"To: {to}",
                   f"Call-ID: page-{self.name}", f"CSeq: {cseq} {method}", f"Contact: {self.contact}", *more],
                  self.sdp() if method == "INVITE" else "")

    def answer(self, request, status):
        keep = [line for line in request.splitlines() if re.match(r"(?i)(via|from|call-id|cseq|record-route):", line)]
        to = header(request, "To")
        to = to if ";tag=" in to else f"{to};tag=page"
        body = self.sdp() if request.startswith("INVITE") and status.startswith("200") else ""
        self.send([f"SIP/2.0 {status}", *keep, f"To: {to}", f"Contact: {self.contact}"], body)

    def hangs_up(self, invite):
        target = header(invite, "Contact").strip("<>")
        self.send([f"BYE {target} SIP/2.0", f"Via: SIP/2.0/WS {self.name}.invalid;branch=z9hG4bKbye", "Max-Forwards: 70",
                   f"From: {header(invite, 'To')};tag=page", f"To: {header(invite, 'From')}",
                   f"Call-ID: {header(invite, 'Call-ID')}", "CSeq: 1 BYE"])
        self.hears("SIP/2.0 200")

    def hears(self, start):
        """The next message that is no provisional answer begins like that."""
        while True:
            message = self.socket.receive()
            if message.startswith("SIP/2.0 1"):
                continue
            if not message.startswith(start):
                raise Failed(f"{self.name} heard {message.splitlines()[0]} and not {start}")
            return message

    def speak(self, description, seconds):
        """Sound to where the description says, and what comes from there."""
        ip, port = re.search(r"c=IN IP4 (\S+)", description)[1], int(re.search(r"m=audio (\d+)", description)[1])
        def listen():
            try:
                while True:
                    self.heard += len(self.media.recv(2048)) > 12
            except OSError:
                pass
        threading.Thread(target=listen, daemon=True).start()
        for number in range(int(seconds * 50)):
            sound = bytes((number * 160 + at) % 256 for at in range(160))
            self.media.sendto(struct.pack("!BBHII", 0x80, 0, number, number * 160, 7) + sound, (ip, port))
            time.sleep(0.02)
        if not self.heard:
            raise Failed(f"{self.name} hears nothing")


def header(message, name):
    return re.search(rf"(?mi)^{name}:\s*(.*?)\s*$", message)[1]


class Browsing(Bench):
    """A trunk whose peer opens WebSockets; the other is sipp."""

    def __init__(self, name, trunk, parts=None):
        super().__init__(name, {f"trunk.{trunk}": ['transport = "ws"'], **(parts or {})})
        self.listen = ("udp", "tcp", "ws")
        self.sockets = []

    def __exit__(self, *why):
        # Before the net is another case's.
        for one in self.sockets:
            one.close()
        super().__exit__(*why)


def party(bench, name, text):
    """A sipp that plays these lines."""
    path = bench.folder / f"{bench.name.replace('/', '-')}.flow"
    path.write_text(f"expect recorded\n\n{name}:\n{text}")
    read = flow.read(path)
    return {name: sipp.start(bench, read, read.parties[name], False)}


def finished(bench):
    row, = bench.finish()
    if row["outcome"] != "recorded" or min(bench.loudest(row)) < LOUD:
        raise Failed(f"{row['outcome']}, loudest {bench.loudest(row)}")


def call():
    """A page calls by WebSocket and is hung up on by the same; both are heard (RFC 7118 §5)."""
    with Browsing("websocket-call", "pbx") as bench:
        bench.start()
        children = party(bench, "callee", "  < INVITE\n  > 180\n  > 200 sdp\n  < ACK\n  wait 1200\n  > BYE\n  < 200\n")
        page = Page(bench, "caller")
        uri = f"sip:bob@{bench.ip('proxy')}"
        page.request("INVITE", uri, f"<{uri}>")
        ok = page.hears("SIP/2.0 200")
        target = header(ok, "Contact").strip("<>")
        if "transport=ws" not in target:
            raise Failed(f"the Contact is {target}")
        page.request("ACK", target, header(ok, "To"), 1)
        page.speak(ok, 1)
        page.answer(page.hears("BYE"), "200 OK")
        sipp.wait(bench, children, 20)
        finished(bench)


def called():
    """A page that has a WebSocket open is called by it, and hangs up (RFC 7118 §5)."""
    with Browsing("websocket-called", "carrier") as bench:
        bench.start()
        page = Page(bench, "callee")
        children = party(bench, "caller", "  > INVITE sdp\n  < 100 ?\n  < 180\n  < 200\n  > ACK\n  speak 1000\n  < BYE\n  > 200\n")
        invite = page.hears("INVITE")
        if not header(invite, "Via").startswith("SIP/2.0/WS "):
            raise Failed(f"Via is {header(invite, 'Via')}")
        page.answer(invite, "180 Ringing")
        page.answer(invite, "200 OK")
        page.hears("ACK")
        page.speak(invite, 1)
        page.hangs_up(invite)
        sipp.wait(bench, children, 20)
        finished(bench)


def registered():
    """A page that registered at kamailio through us is called down the WebSocket that it registered by (RFC 5626 §5.3)."""
    pjsip.python()
    with Browsing("websocket-registered", "pbx", {"trunk.carrier": ['peers = ["{kamailio}"]']}) as bench:
        bench.start()
        kamailio.start(bench, ["callee"])
        home = bench.ip("kamailio")
        page = Page(bench, "caller")
        page.request("REGISTER", f"sip:{home}", f"<sip:alice@{home}>", more=["Supported: path", "Expires: 600"])
        page.hears("SIP/2.0 200")
        # The one that was opened last is not the one that it registered by.
        Socket((bench.ip("proxy"), WS_PORT), page.ip)
        bob = pjsip.Phone(bench, "callee", "udp", 560, proxy=f"{home}:{SIP_PORT}")
        bob.tell("dial", to=f"sip:alice@{home}")
        invite = page.hears("INVITE")
        if not invite.startswith(f"INVITE {page.contact.strip('<>')} "):
            raise Failed(f"it is called as {invite.splitlines()[0]}")
        page.answer(invite, "180 Ringing")
        page.answer(invite, "200 OK")
        page.hears("ACK")
        page.speak(invite, 1)
        page.hangs_up(invite)
        bob.hears("DISCONNECTED")
        pjsip.leave([bob])
        finished(bench)


def cases():
    return {f"websocket/{one.__name__}": (one.__doc__, one) for one in (call, called, registered)}
