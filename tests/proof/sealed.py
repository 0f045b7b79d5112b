"""Phones that speak SRTP (RFC 3711, AES_CM_128_HMAC_SHA1_80), by keys in SDP (RFC 4568) or by a handshake (RFC 5764).

Python has no AES: `openssl` makes the key stream, of many packets at once, before the call.
"""

import base64
import hashlib
import hmac
import os
import re
import select
import socket
import struct
import subprocess
import time

from phones import Leg, payload

TAG = 10
BLOCKS = 10  # of 16 bytes, for 20 ms of G.711
PROFILE = "SRTP_AES128_CM_SHA1_80"


def _aes(key, blocks):
    done = subprocess.run(["openssl", "enc", "-aes-128-ecb", "-K", key.hex(), "-nopad"], input=blocks, capture_output=True, check=True)
    return done.stdout


class Keys:
    """One direction's session keys (RFC 3711 §4.3)."""

    def __init__(self, master):
        key, salt = master[:16], int.from_bytes(master[16:30], "big") << 16
        blocks = b"".join((salt ^ label << 64 ^ number).to_bytes(16, "big") for label in (0, 1, 2) for number in (0, 1))
        stream = _aes(key, blocks)
        self.cipher, self.auth = stream[:16], stream[32:52]
        self.salt = int.from_bytes(stream[64:78], "big") << 16

    def streams(self, ssrc, count):
        """The key streams of the packets 0 to `count` (§4.1.1)."""
        ivs = (self.salt ^ ssrc << 64 ^ index << 16 for index in range(count))
        stream = _aes(self.cipher, b"".join((iv ^ block).to_bytes(16, "big") for iv in ivs for block in range(BLOCKS)))
        return [stream[at:at + 16 * BLOCKS] for at in range(0, len(stream), 16 * BLOCKS)]

    def tag(self, packet, rollovers=0):
        return hmac.new(self.auth, packet + struct.pack("!I", rollovers), hashlib.sha1).digest()[:TAG]


def _xor(one, other):
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


class SealedLeg(Leg):
    """Offers its key, and says at most `packets` in a call."""

    profile = "RTP/SAVP"

    def __init__(self, ip, packets):
        self.packets, self.kept, self.keys = packets, [], None
        super().__init__(ip)

    def reset(self, ssrc):
        super().reset(ssrc)
        self.kept.clear()
        self.master, self.sealing = os.urandom(30), []
        if ssrc:
            self.seal_by(self.master)

    def seal_by(self, master):
        self.keys = Keys(master)
        self.sealing = self.keys.streams(self.ssrc, self.packets)

    def attributes(self):
        return f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(self.master).decode()}\r\n"

    def sdp(self):
        return super().sdp().replace("RTP/AVP", self.profile) + self.attributes()

    def packet(self):
        head = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * 160 & 0xFFFFFFFF, self.ssrc)
        sealed = head + _xor(payload(self.ssrc, self.sent), self.sealing[self.sent])
        return sealed + self.keys.tag(sealed)

    def speak(self):
        if self.sealing and self.sent < self.packets:
            super().speak()

    def take(self, data):
        """What comes is opened when the call is over; what is no RTP is no packet (RFC 7983 §7)."""
        if data[0] & 0xC0 == 0x80:
            self.received += 1
            self.kept.append(data)

    def theirs(self, dialog):
        """The node's master key, by its answer."""
        inline = re.search(r"a=crypto:\d+ AES_CM_128_HMAC_SHA1_80 inline:([A-Za-z0-9+/=]+)", dialog.body)
        return base64.b64decode(inline.group(1))

    def check(self, dialog):
        """Counts as unlike what is not sealed by the node, or not what a phone of these scripts says."""
        if not self.kept:
            return
        keys = Keys(self.theirs(dialog))
        ssrc = int.from_bytes(self.kept[0][8:12], "big")
        streams = keys.streams(ssrc, self.packets)
        for data in self.kept:
            sequence = int.from_bytes(data[2:4], "big")
            opened = _xor(data[12:-TAG], streams[sequence]) if sequence < len(streams) else b""
            self.unlike += data[-TAG:] != keys.tag(data[:-TAG]) or opened != payload(ssrc, sequence)


class ShakenLeg(SealedLeg):
    """Its keys come from a handshake that it begins, by OpenSSL."""

    profile = "UDP/TLS/RTP/SAVP"

    def __init__(self, ip, packets, folder):
        self.folder = folder
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=phone", "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, capture_output=True, check=True)
        told = subprocess.run(["openssl", "x509", "-in", "cert.pem", "-noout", "-fingerprint", "-sha256"], cwd=folder,
                              capture_output=True, check=True, text=True).stdout
        self.fingerprint = told.partition("=")[2].strip()
        self.node = None
        super().__init__(ip, packets)

    def reset(self, ssrc):
        Leg.reset(self, ssrc)
        self.kept.clear()
        self.sealing = []

    def attributes(self):
        return f"a=rtcp-mux\r\na=setup:active\r\na=fingerprint:sha-256 {self.fingerprint}\r\n"

    def shake(self):
        """The handshake, from another port of this host; then it has its keys."""
        to, here = (f"{ip}:{port}" for ip, port in (self.remote, (self.address[0], 0)))
        command = ["openssl", "s_client", "-dtls1_2", "-connect", to, "-bind", here, "-cert", "cert.pem", "-key", "key.pem",
                   "-use_srtp", PROFILE, "-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "60"]
        with subprocess.Popen(command, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as openssl:
            try:
                material = bytes.fromhex(_said(openssl.stdout, rb"Keying material: ([0-9A-F]{120})").decode())
            finally:
                openssl.kill()
        # RFC 5764 §4.2: both keys, the client's first, then both salts.
        self.node = material[16:32] + material[46:60]
        self.seal_by(material[:16] + material[32:46])

    def theirs(self, dialog):
        return self.node


def _said(pipe, pattern, seconds=15):
    """The group of `pattern` in what a program says."""
    end, said = time.monotonic() + seconds, b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left)[0]:
            break
        more = os.read(pipe.fileno(), 65536)
        found = re.search(pattern, said := said + more)
        if found:
            return found.group(1)
        if not more:
            break
    raise SystemExit(f"openssl made no keys: {said[-300:]!r}")


def hello(folder):
    """A ClientHello of OpenSSL, and where its 32 random bytes are (RFC 6347 §4.2.2)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        command = ["openssl", "s_client", "-dtls1_2", "-use_srtp", PROFILE, "-connect", f"127.0.0.1:{listener.getsockname()[1]}"]
        with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as openssl:
            try:
                return listener.recv(65535), 27, 59
            finally:
                openssl.kill()
