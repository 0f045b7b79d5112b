#!/usr/bin/env python3
"""Is what `export` makes of G.722 and Opus as good as what a reference decoder makes of the same packets?

    tests/codecs/check.py BINARY SPEECH.wav

A call of the speech is written as a capture, replayed and exported; G.722 by libspandsp, Opus by libopus, called as the
shared libraries that Debian's baresip brings; libsndfile reads the FLAC. The same packets, with the same of them lost,
go through the reference decoder, by the same rule: the next packet's copy where it has one, else the decoder's guess.
PESQ of both against the speech; the export must not be more than 0.05 below. Needs numpy, scipy and pesq.
"""

import ctypes
import json
import random
import subprocess
import sys
import tempfile
import wave
from math import gcd
from pathlib import Path

import numpy as np
from pesq import pesq
from scipy.signal import correlate, resample_poly

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "captures"))
from stage import call_of, hang_up, ring  # noqa: E402
from wire import Capture  # noqa: E402

BEGAN = 1_795_424_400
PESQ_BELOW_MAX = 0.05
TALK_FROM, FRAME_SECONDS, OPUS_FRAME = 1.05, 0.02, 960
VOIP, BITRATE, INBAND_FEC, LOSS_PERCENT, DTX = 2048, 4002, 4012, 4014, 4016


def resampled(samples, rate, to):
    if rate == to:
        return samples
    return resample_poly(samples, to // gcd(rate, to), rate // gcd(rate, to))


def as_int16(samples):
    return np.clip(np.round(samples), -32_768, 32_767).astype(np.int16)


class G722:
    """Rate 64 kbit/s; the RTP clock is 8 kHz."""

    def __init__(self):
        self.library = ctypes.CDLL("libspandsp.so.2")
        for name in ("g722_encode_init", "g722_decode_init"):
            getattr(self.library, name).restype = ctypes.c_void_p
            getattr(self.library, name).argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        for name in ("g722_encode", "g722_decode"):
            getattr(self.library, name).argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]

    sample_rate, clock, payload_type, rtpmap = 16_000, 160, 9, "G722/8000"

    def encode(self, speech):
        state = self.library.g722_encode_init(None, 64_000, 0)
        packets = []
        for start in range(0, len(speech) - 319, 320):
            frame = np.ascontiguousarray(speech[start : start + 320])
            out = ctypes.create_string_buffer(400)
            count = self.library.g722_encode(state, out, frame.ctypes.data, 320)
            packets.append(out.raw[:count])
        return packets

    def decode(self, packets, lost):
        state = self.library.g722_decode_init(None, 64_000, 0)
        decoded = []
        for number, packet in enumerate(packets):
            out = np.zeros(320, np.int16)
            if number not in lost:
                self.library.g722_decode(state, out.ctypes.data, packet, len(packet))
            decoded.append(out)
        return np.concatenate(decoded)


class Opus:
    sample_rate, clock, payload_type, rtpmap = 48_000, 960, 111, "opus/48000/2"

    def __init__(self, bitrate, channels, protects):
        self.bitrate, self.channels, self.protects = bitrate, channels, protects
        library = self.library = ctypes.CDLL("libopus.so.0")
        library.opus_encoder_create.restype = library.opus_decoder_create.restype = ctypes.c_void_p
        library.opus_encoder_create.argtypes = [ctypes.c_int] * 3 + [ctypes.c_void_p]
        library.opus_decoder_create.argtypes = [ctypes.c_int] * 2 + [ctypes.c_void_p]
        library.opus_encoder_ctl.argtypes = [ctypes.c_void_p, ctypes.c_int]
        pointer, number = ctypes.c_void_p, ctypes.c_int
        library.opus_encode.argtypes = [pointer, pointer, number, ctypes.c_char_p, number]
        library.opus_decode.argtypes = [pointer, ctypes.c_char_p, number, pointer, number, number]

    def encode(self, speech):
        error = ctypes.c_int()
        state = self.library.opus_encoder_create(48_000, self.channels, VOIP, ctypes.byref(error))
        for setting, value in ((BITRATE, self.bitrate), (INBAND_FEC, int(self.protects)), (LOSS_PERCENT, 10)):
            assert self.library.opus_encoder_ctl(state, setting, ctypes.c_int(value)) == 0
        packets = []
        for start in range(0, len(speech) - OPUS_FRAME + 1, OPUS_FRAME):
            frame = np.repeat(speech[start : start + OPUS_FRAME], self.channels)
            out = ctypes.create_string_buffer(1_500)
            count = self.library.opus_encode(state, frame.ctypes.data, OPUS_FRAME, out, 1_500)
            packets.append(out.raw[:count])
        return packets

    def decode(self, packets, lost):
        """RFC 6716 §2.1.7: libopus takes the copy from the next packet, and guesses where that has none."""
        error = ctypes.c_int()
        state = self.library.opus_decoder_create(48_000, 1, ctypes.byref(error))
        decoded = []
        for number, packet in enumerate(packets):
            out = np.zeros(OPUS_FRAME, np.int16)
            copies = number in lost and number + 1 < len(packets) and number + 1 not in lost
            given = packets[number + 1] if copies else None if number in lost else packet
            length = len(given) if given else 0
            count = self.library.opus_decode(state, given, length, out.ctypes.data, OPUS_FRAME, int(copies))
            assert count == OPUS_FRAME, count
            decoded.append(out)
        return np.concatenate(decoded)


def capture_of(codec, packets, lost, late, path):
    """A calls B and talks; B is silent. The `late` packets come 50 ms later."""
    capture = Capture(BEGAN)
    call = call_of(capture)
    body = lambda phone: (  # noqa: E731
        f"v=0\r\no={phone.user} 1 1 IN IP4 {phone.address}\r\ns=-\r\nc=IN IP4 {phone.address}\r\nt=0 0\r\n"
        f"m=audio {phone.rtp[1]} RTP/AVP {codec.payload_type}\r\na=rtpmap:{codec.payload_type} {codec.rtpmap}\r\n"
    )
    ring(call, 0.0, body(call.a))
    call.answer(1.0, 200, body(call.b))
    call.ack(1.02)
    for number, payload in enumerate(packets):
        packet = call.a.packet(codec.payload_type, payload, clock=call.a.clock + number * codec.clock)
        if number not in lost:
            at = TALK_FROM + number * FRAME_SECONDS + (0.05 if number in late else 0)
            capture.udp(at, call.a.rtp, call.b.rtp, packet)
    ends = TALK_FROM + len(packets) * FRAME_SECONDS + 0.5
    hang_up(call, ends)
    capture.write(path)
    return ends - 1.0  # the answer


def exported(binary, pcap, folder):
    run = [binary, "replay", pcap, "--policies", ROOT / "policies", "--out", folder / "out", "--json"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode < 2, done.stderr
    rows = subprocess.run([binary, "calls", "list", "--data", folder / "out", "--json"], capture_output=True, text=True)
    calls = json.loads(rows.stdout)
    call = (calls["calls"] if isinstance(calls, dict) else calls)[0]["id"]
    target = folder / "out.wav"
    flac = folder / "out.flac"
    run = [binary, "export", call, "--wav", target, "--flac", flac, "--json", "--data", folder / "out"]
    report = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)["wav"]
    assert not report["undecoded"], report["undecoded"]
    with wave.open(str(target)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
        assert np.array_equal(flac_samples(flac, len(samples)), samples), "another reader finds other samples in the FLAC"
        return samples[:, 0], file.getframerate(), report


def flac_samples(path, count):
    """As libsndfile reads them."""
    library = ctypes.CDLL("libsndfile.so.1")
    library.sf_open.restype = ctypes.c_void_p
    library.sf_readf_short.restype = ctypes.c_int64
    library.sf_readf_short.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    info = ctypes.create_string_buffer(64)
    file = library.sf_open(str(path).encode(), 0x10, info)
    assert file, "no FLAC"
    samples = np.zeros((count + 1, 2), np.int16)
    return samples[: library.sf_readf_short(file, samples.ctypes.data, count + 1)]


def quality(speech, decoded, rate):
    """PESQ, wide band, of the first 20 seconds, after the best delay."""
    found = resampled(decoded.astype(float), rate, 16_000)
    score = correlate(found, speech.astype(float), mode="full", method="fft")
    delay = max(0, int(np.argmax(score)) - (len(speech) - 1))
    found = found[delay:]
    count = min(len(found), len(speech), 20 * 16_000)
    return float(pesq(16_000, speech[:count], as_int16(found[:count]), "wb"))


def check(binary, speech, name, codec, loss_percent):
    dice = random.Random(7)
    packets = codec.encode(as_int16(resampled(speech.astype(float), 16_000, codec.sample_rate)))
    inner = range(20, len(packets) - 20)
    lost = {number for number in inner if dice.random() * 100 < loss_percent}
    late = {number for number in inner if dice.random() * 100 < loss_percent}
    reference = codec.decode(packets, lost)
    with tempfile.TemporaryDirectory() as folder:
        seconds = capture_of(codec, packets, lost, late, Path(folder) / "call.pcap")
        found, rate, report = exported(binary, Path(folder) / "call.pcap", Path(folder))
    assert rate == codec.sample_rate, rate
    assert abs(len(found) / rate - seconds) <= 0.02, (len(found) / rate, seconds)
    start = round((TALK_FROM - 1.0) * rate)
    same = found[start : start + len(reference)] == reference
    ours, theirs = quality(speech, found, rate), quality(speech, reference, rate)
    fine = ours >= theirs - PESQ_BELOW_MAX and report["packets_lost"] == len(lost)
    print(
        f"{name:28} {loss_percent} % lost: PESQ {ours:.3f}, reference {theirs:.3f}; {100 * np.mean(same):.2f} % of the samples the "
        f"same; {report['packets_lost']} of {len(packets)} packets lost, {report['holes_recovered']} holes recovered"
        f"{'' if fine else '  FAILED'}"
    )
    return fine


def main():
    binary, source = Path(sys.argv[1]).resolve(), sys.argv[2]
    with wave.open(source) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), np.int16)[:: file.getnchannels()]
        speech = as_int16(resampled(speech.astype(float), file.getframerate(), 16_000))
    checks = [
        ("G.722", G722(), 0),
        ("G.722", G722(), 5),
        ("Opus 16 kbit/s", Opus(16_000, 1, False), 0),
        ("Opus 24 kbit/s, copies", Opus(24_000, 1, True), 0),
        ("Opus 24 kbit/s, copies", Opus(24_000, 1, True), 5),
        ("Opus 24 kbit/s", Opus(24_000, 1, False), 5),
        ("Opus 64 kbit/s, stereo", Opus(64_000, 2, False), 0),
        ("Opus 64 kbit/s, stereo", Opus(64_000, 2, False), 5),
    ]
    verdicts = [check(binary, speech, name, codec, loss) for name, codec, loss in checks]
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
