"""A `.flow` file: what each party sends and receives, line by line. The language is described in README.md."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from bench import HERE, Failed

FLOWS = HERE / "flows"
HEADING = re.compile(r"(caller|callee|carol|dave)\s*:\s*(.*)")


@dataclass
class Statement:
    words: list
    where: str
    # Header lines and body lines to send, checks of what was received.
    lines: list = field(default_factory=list)


@dataclass
class Party:
    name: str
    options: list
    # Starts when that party has received that method, and is told its dialog as `[named]`.
    after: tuple = None
    statements: list = field(default_factory=list)

    def calls_first(self):
        return next(s for s in self.statements if s.words[0] in "<>").words[0] == ">"


@dataclass
class Flow:
    name: str
    about: str = ""
    expect: list = None
    conversation: str = None
    pending: str = None
    proxied: bool = False
    linger: float = None
    patience: int = 40
    # How many, and how many a second.
    calls: tuple = (1, 1)
    parts: dict = field(default_factory=dict)
    bodies: list = field(default_factory=list)
    # Which side's neighbour is kamailio, and who is behind it.
    neighbour: tuple = None
    early: list = field(default_factory=list)
    parties: dict = field(default_factory=dict)


def flows():
    return [read(path) for path in sorted(FLOWS.glob("*.flow"))]


def read(path):
    flow, party = Flow(Path(path).stem), None
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        where, text = f"{flow.name}.flow:{number}", line.strip()
        if not text:
            continue
        heading = HEADING.fullmatch(line)
        if text.startswith("#"):
            if party is None:
                flow.about = f"{flow.about} {text[1:].strip()}".strip()
        elif heading:
            options = heading[2].split()
            after = next((tuple(option[6:].split(":")) for option in options if option.startswith("after=")), None)
            options = [option for option in options if not option.startswith("after=")]
            party = flow.parties[heading[1]] = Party(heading[1], options, after)
        elif party is None:
            _head(flow, text, where)
        elif text[0] in "|~=" or text.startswith("! "):
            party.statements[-1].lines.append(text)
        else:
            party.statements.append(Statement(text.split(), where))
    if flow.expect is None:
        raise Failed(f"{flow.name}: no `expect`")
    return flow


def _head(flow, text, where):
    word, _, rest = text.partition(" ")
    rest = rest.strip()
    match word:
        case "expect":
            flow.expect = rest.split()
        case "conversation":
            flow.conversation = rest
        case "pending":
            flow.pending = rest
        case "proxied":
            flow.proxied = True
        case "linger":
            flow.linger = float(rest)
        case "patience":
            flow.patience = int(rest)
        case "calls":
            flow.calls = tuple(map(int, rest.split()))
        case "config":
            table, _, line = rest.partition(": ")
            flow.parts.setdefault(table, []).append(line)
        case "kamailio":
            trunk, *behind = rest.split()
            flow.neighbour, flow.proxied = (trunk, behind), True
            flow.parts.setdefault(f"trunk.{trunk}", []).append('peers = ["{kamailio}"]')
        case "early-dialogs":
            flow.early.append(rest.split())
        case "same-body":
            flow.bodies.append(rest.split())
        case _:
            raise Failed(f"{where}: what is `{word}`?")
