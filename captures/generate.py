#!/usr/bin/env python3
"""Writes the captures that no real peers made: `captures/generate.py` all of them, `captures/generate.py NAME…` some.

Every run writes the same bytes: times, tags and sources are written down here, the speech lies beside. What a scenario
is about, and what the proxy has to make of it, is told in its README.
"""

import sys

import attempts  # noqa: F401 (its scenarios)
import crossing  # noqa: F401
import early  # noqa: F401
import endings  # noqa: F401
import offers  # noqa: F401
import outside  # noqa: F401
import recorded  # noqa: F401
import replaces  # noqa: F401
import talking  # noqa: F401
import taps  # noqa: F401
import told  # noqa: F401
from stage import HERE, SCENARIOS
from wire import Capture

# 2026-11-23 09:00:00 UTC
BEGAN = 1_795_424_400


def main():
    for name in sys.argv[1:] or SCENARIOS:
        capture = Capture(BEGAN)
        SCENARIOS[name](capture)
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        capture.write(folder / "call.pcap")


if __name__ == "__main__":
    main()
