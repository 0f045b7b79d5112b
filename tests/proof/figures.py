"""What the scripts print: figures beside what is required of them, and an exit code."""

import os
import sys
import time


def percentile(values, percent):
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def spread(values, unit="ms", digits=1):
    """Median, 99th percentile and maximum, as text."""
    if not values:
        return "none"
    parts = ((name, percentile(values, p)) for name, p in (("median", 50), ("p99", 99), ("max", 100)))
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in parts) + f" {unit} (n={len(values)})"


class Report:
    """Lines of figures. `end` exits with 1 if any requirement was missed."""

    def __init__(self, title):
        self.missed = 0
        self.begun = time.monotonic()
        print(f"{title}   (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start)", flush=True)

    def figure(self, what, value):
        print(f"        {what}: {value}", flush=True)

    def require(self, holds, what, value=""):
        self.missed += not holds
        print(f"{'  ok  ' if holds else 'MISSED'}  {what}{f': {value}' if value != '' else ''}", flush=True)
        return holds

    def end(self):
        seconds = time.monotonic() - self.begun
        verdict = "fine" if not self.missed else f"{self.missed} requirements missed"
        print(f"{verdict}, {seconds:.0f} s, load average {os.getloadavg()[0]:.1f} at the end")
        sys.exit(1 if self.missed else 0)
