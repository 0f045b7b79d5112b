"""Runs the parties of a flow as sipp processes, and compares what they saw with what was recorded."""

import re
import subprocess
from collections import Counter

import kamailio
from bench import Bench, Failed, conversations, is_bound, until
from scenario import Scenario

MEDIA = 26000
# sipp's exit code.
BIND_ERROR = 254
# A second of mu-law that is no silence: a ramp over all 256 codes.
SPEECH = bytes(range(256)) * 31
LEGS = {"caller": "A", "callee": "B"}


def version():
    text = subprocess.run(["sipp", "-v"], capture_output=True, text=True).stdout
    return "sipp " + re.search(r"SIPp v([^\s.]+\.[\d.]+)", text)[1].rstrip(".")


class Taken(Exception):
    """A port that sipp wanted was another program's."""


def play(flow, direct=False, six=False):
    """Runs the flow; raises Failed."""
    try:
        played(flow, direct, six)
    except Taken:
        played(flow, direct, six)


def played(flow, direct, six):
    with Bench(flow.name, flow.parts, six=six) as bench:
        if not direct:
            bench.start()
        if flow.neighbour:
            kamailio.start(bench, flow.neighbour[1])
        talk(bench, flow, direct)
        for before, after in flow.bodies:
            same_body(bench, before, after)
        for who, count in flow.early:
            early_dialogs(bench, who, int(count))
        if not direct:
            judge(bench, flow)


def talk(bench, flow, direct=False):
    """Starts all parties and waits until they have done."""
    children = {}
    # Those who wait to be called first.
    for party in sorted(flow.parties.values(), key=lambda party: (party.calls_first(), bool(party.after))):
        children[party.name] = start(bench, flow, party, direct)
    wait(bench, children, flow.patience)


def start(bench, flow, party, direct):
    name, (calls, rate) = party.name, flow.calls
    folder = bench.folder / name
    folder.mkdir(exist_ok=True)
    (folder / "speech.ulaw").write_bytes(SPEECH)
    xml = bench.folder / f"{name}.xml"
    xml.write_text(Scenario(flow, party, direct).xml(), encoding="latin-1")
    other = ("callee" if name == "caller" else "caller") if direct else "proxy"
    if flow.neighbour and name in flow.neighbour[1]:
        other = "kamailio"
    ip, port = bench.ip(name), bench.port(name)
    command = ["sipp", bench.facing(name) if other == "proxy" else bench.at(other), "-sf", str(xml), "-i", ip, "-p", str(port), "-mi", ip,
               "-mp", str(port + 4 if bench.six else MEDIA), "-m", str(calls), "-r", str(rate), "-nostdin", "-timeout", f"{flow.patience}s", "-timeout_error", "-skip_rlimit",
               "-deadcall_wait", "0", "-cid_str", "%u-%p-%s",
               "-trace_err", "-error_file", str(bench.folder / f"{name}.err"), "-trace_msg", "-message_file",
               str(bench.folder / f"{name}.msg"), "-s", "bob", *([] if party.calls_first() else ["-rtp_echo"]),
               *party.options]
    if party.after:
        command += ["-key", "named", until(f"{party.after} for {name}", lambda: dialog_of(bench, *party.after))]
    child = bench.run(command, f"{name}.out", cwd=folder)
    kind = "tcp" if "t1" in party.options else "udp"
    if not party.calls_first():
        until(f"{name}'s sipp listens", lambda: child.poll() is not None or is_bound(ip, port, kind, child.pid))
    return child


def dialog_of(bench, who, method):
    """The dialog that a request to `who` belongs to, as `who` is told of it in Replaces (RFC 3891 §3)."""
    for _, way, text in messages(bench.folder / f"{who}.msg"):
        if way == "received" and text.startswith(method + " "):
            header = lambda name: re.search(rf"(?mi)^{name}:\s*(.*?)\s*$", text)[1]
            theirs, ours = (re.search(r";tag=([^;\s]+)", header(name))[1] for name in ("From", "To"))
            return f"{header('Call-ID')};to-tag={ours};from-tag={theirs}"
    return None


def wait(bench, children, patience):
    failed = []
    for name, child in sorted(children.items(), key=lambda item: item[0] != "caller"):
        try:
            # Once one has failed the others wait for what will not come.
            code = child.wait(3 if failed else patience + 5)
        except subprocess.TimeoutExpired:
            code = "no end"
        if code == BIND_ERROR and not failed:
            raise Taken(bench.log(f"{name}.out", 5))
        if code:
            failed.append(name)
            failed[-1] = f"{name}: sipp ended with {code}: {complaint(bench, name)}"
    if failed:
        raise Failed("\n".join([*failed, traces(bench)]))


def complaint(bench, name):
    """What sipp said, without the message that it said it of."""
    text = re.sub(r"\d{4}-\d\d-\d\d\s+\S+\s+[\d.]+: ", "\n", bench.log(f"{name}.err", 200))
    said = [line for line in text.splitlines() if line.startswith(("Abort", "Failed", "Error", name))]
    return "; ".join(line[:200] for line in said[:3]) or bench.log(f"{name}.out", 2)


def traces(bench):
    """The start lines of all parties, as they saw them."""
    lines = []
    for path in sorted(bench.folder.glob("*.msg")):
        for at, way, text in messages(path):
            lines.append(f"{at} {path.stem} {'→' if way == 'sent' else '←'} {text.splitlines()[0]}")
    return "\n".join([*sorted(lines)[-40:], *bench.warnings()])


def messages(path):
    """(time, sent or received, text) of a message trace of sipp."""
    text = path.read_bytes().decode("latin-1") if path.is_file() else ""
    parts = re.split(r"-{20,} (\S+ \S+)\n", text)
    for at, part in zip(parts[1::2], parts[2::2]):
        head = re.match(r"\w+ message (sent|received) [^\n]*\n\n?", part)
        if head:
            yield at[11:], head[1], part[head.end():].lstrip("\n")


def same_body(bench, before, after):
    """`caller:INVITE callee:INVITE multipart/mixed`: every part but the SDP crosses byte for byte."""
    def body(spec, way):
        who, _, method = spec.partition(":")
        for _, found, text in messages(bench.folder / f"{who}.msg"):
            if found == way and text.startswith(method + " "):
                head, _, rest = text.partition("\r\n\r\n")
                boundary = re.search(r"boundary=\"?([^\";\r]+)", head)
                if not boundary:
                    raise Failed(f"{spec}: no multipart body")
                parts = rest.split(f"--{boundary[1]}")[1:-1]
                return [part for part in parts if "application/sdp" not in part.lower()]
        raise Failed(f"{spec}: no such message {way}")
    was, became = body(before, "sent"), body(after, "received")
    if not was or was != became:
        raise Failed(f"the body changed: {was!r} became {became!r}")


def early_dialogs(bench, who, count):
    """How many early dialogs a caller saw: one for each tag of To in a provisional answer."""
    tags = set()
    for _, way, text in messages(bench.folder / f"{who}.msg"):
        if way == "received" and re.match(r"SIP/2.0 1(?!00)", text):
            tags.update(re.findall(r"(?mi)^To:.*;tag=([^;\s]+)", text))
    if len(tags) != count:
        raise Failed(f"{who} saw {len(tags)} early dialogs, not {count}")


def judge(bench, flow):
    rows = bench.finish(flow.linger or 6.0)
    outcomes = sorted(row["outcome"] for row in rows)
    wanted = sorted(flow.expect * flow.calls[0] if flow.expect != ["nothing"] else [])
    if outcomes != wanted:
        raise Failed(f"recordings: {outcomes or 'none'}, not {wanted or 'none'}")
    if flow.conversation:
        kept = conversations(rows)
        if kept != {"one": 1, "each": len(rows)}[flow.conversation]:
            raise Failed(f"{len(rows)} recordings are {kept} conversations, not {flow.conversation}")
    # Of what was refused before its recording opened there is no ladder.
    if [row["outcome"] for row in rows] in (["recorded"], ["no_media"]) and set(flow.parties) <= set(LEGS):
        for name, leg in LEGS.items():
            ladder_has(bench, name, rows[0], leg)


def ladder_has(bench, name, row, leg):
    """What a party of a lone call sent is in its recording's ladder, each message at least once."""
    kept = Counter(kind(signal["start_line"]) for signal in row["shown"]["signals"]
                   if signal["leg"] == leg and signal["direction"] == "received")
    sent = Counter(kind(text.splitlines()[0]) for _, way, text in messages(bench.folder / f"{name}.msg") if way == "sent" and not re.search(r"(?mi)^CSeq:.*CANCEL", text))
    # CANCEL, its 200 and the ACK of a refusal may stay with its transaction.
    missing = [what for what in sent if what not in kept and what != "ACK"]
    if missing:
        raise Failed(f"the recording's ladder lacks what {name} sent: {missing}; it has {dict(kept)}")


def kind(start_line):
    return start_line.split()[1] if start_line.startswith("SIP/2.0") else start_line.split()[0]
