"""Sealed calls and acknowledged bytes, read without the program under test: docs/JOURNAL.md §3 and §5 written down again."""

import json
import re
import struct
from collections import defaultdict

CALL_HEAD = TRAILER = 64
EXTENT_HEAD = 96
FRAME_HEAD = 16
RTP = 0


class Extent:
    """One extent: whose, which, and its bytes."""

    def __init__(self, data):
        self.bytes = data
        self.session = int.from_bytes(data[16:32], "little")
        self.ordinal, self.frames = struct.unpack_from("<II", data, 40)

    def packets(self):
        """(leg, UDP payload) of each RTP packet."""
        at = EXTENT_HEAD
        for _ in range(self.frames):
            length, tag, leg = struct.unpack_from("<IBB", self.bytes, at + 8)
            if tag == RTP:
                yield "ab"[leg], self.bytes[at + FRAME_HEAD:at + FRAME_HEAD + length]
            at += FRAME_HEAD + length


def extents(data, at=0):
    """The extents that lie end to end, or from block to block, in `data`."""
    while at + EXTENT_HEAD <= len(data):
        if data[at:at + 4] == b"ORX1":
            length = struct.unpack_from("<I", data, at + 8)[0]
            yield Extent(data[at:at + length])
            at += length
        else:
            at = (at // 4096 + 1) * 4096


class Sealed:
    """A sealed call."""

    def __init__(self, path):
        data = path.read_bytes()
        if data[:8] != b"ONRCALL1" or data[-TRAILER:-TRAILER + 8] != b"ONRSEAL1":
            raise ValueError(f"{path} is no sealed call")
        manifest_bytes, _, extents_bytes = struct.unpack_from("<IIQ", data, len(data) - TRAILER + 8)
        end = CALL_HEAD + extents_bytes
        self.manifest = json.loads(data[end:end + manifest_bytes])
        self.extents = {}
        at = CALL_HEAD
        while at < end:
            length = struct.unpack_from("<I", data, at + 8)[0]
            extent = Extent(data[at:at + length])
            self.extents[extent.ordinal] = extent
            at += length

    def packets(self):
        """{leg: [UDP payload, …]} in order of arrival."""
        found = {"a": [], "b": []}
        for ordinal in sorted(self.extents):
            for leg, data in self.extents[ordinal].packets():
                found[leg].append(data)
        return found


# ---- the witness: strace sees what the kernel answered

WITNESS = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "16777216", "-e", "signal=none",
           "-e", "trace=pwrite64,fdatasync", "-o"]
CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(pwrite64|fdatasync)\b")
RESULT = re.compile(r"= (-?\d+)[^=]*$")


def acknowledged(trace):
    """Extents of journal segments whose `pwrite64` took every byte and whose `fdatasync` then returned 0."""
    begun = {}
    written = defaultdict(list)
    kept = []
    for line in trace.open(encoding="ascii", errors="replace"):
        named = CALL.match(line)
        if not named:
            continue
        thread = named.group(1)
        if line.rstrip().endswith("<unfinished ...>"):
            begun[thread] = line
            continue
        if "resumed>" in line:
            line = begun.pop(thread, "") + line
        result = RESULT.search(line)
        file = _file(line)
        if result is None or file is None or "/seg-" not in file:
            continue
        if named.group(2) == "pwrite64":
            data = _string(line)
            if int(result.group(1)) == len(data):
                written[file].append(data)
        else:
            done = written.pop(file, [])
            if int(result.group(1)) == 0:
                kept.extend(extent for data in done for extent in extents(data))
    return kept


def _file(line):
    """The path that `-y` prints behind a descriptor; `-xx` writes it in hexadecimal too."""
    found = re.search(r"\(\d+<([^>]*)>", line)
    return found and _unhex(found.group(1))


def _unhex(text):
    if "\\x" not in text:
        return text
    return bytes.fromhex(text.replace("\\x", "")).decode()


def _string(line):
    start = line.index('"') + 1
    return bytes.fromhex(line[start:line.index('"', start)].replace("\\x", ""))
