"""A party of a flow as a scenario of sipp."""

import re
from dataclasses import dataclass

from bench import NAMES, Failed

FORMING = ("INVITE", "SUBSCRIBE", "REFER")

SDP = """v=0
o={user} 1 {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] {address}
t=0 0
{lines}"""
AUDIO = """m=audio [media_port] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a={direction}"""
PLAIN = """m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000"""
T38 = """m=image [media_port+4] udptl t38
a=T38FaxVersion:0
a=T38MaxBitRate:14400
a=T38FaxRateManagement:transferredTCF
a=T38FaxMaxDatagram:400
a=T38FaxUdpEC:t38UDPRedundancy"""


@dataclass
class Dialog:
    number: int
    uac: bool
    cseq: int = 0
    stands: bool = False
    tag: str = "1"
    # Of the newest INVITE that this side sent: its CSeq and branch.
    invite: tuple = None
    refused: bool = False


@dataclass
class Asked:
    """A request that came in and may be answered still."""
    key: str
    method: str
    dialog: Dialog
    within: bool
    newest: bool = True


class Scenario:
    """Writes the sipp scenario of one party."""

    def __init__(self, flow, party, direct):
        self.flow, self.party, self.direct = flow, party, direct
        # Requests come with kamailio's Via above the first.
        self.is_behind = bool(flow.neighbour and party.name in flow.neighbour[1])
        self.out, self.variables, self.labels = [], set(), {}
        self.dialogs, self.asked = {}, []
        self.version = self.branch = self.rseq = 0
        # What was not answered yet where a jump to a label began.
        self.jumps = {}
        for at, statement in enumerate(party.statements):
            self.at, self.statement = at, statement
            self.word(statement)

    def xml(self):
        references = f'<Reference variables="{",".join(sorted(self.variables))}"/>\n' if self.variables else ""
        return ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
                f'<scenario name="{self.flow.name} {self.party.name}">\n' + "\n".join(self.out) + "\n" + references
                + "</scenario>\n")

    def word(self, statement):
        first, *rest = statement.words
        match first:
            case ">":
                self.send(rest)
            case "<":
                self.receive(rest)
            case "wait":
                self.out.append(f'<pause milliseconds="{rest[0]}"/>')
            case "speak":
                self.out.append('<nop><action><exec rtp_stream="speech.ulaw,-1,0,PCMU/8000"/></action></nop>\n'
                                f'<pause milliseconds="{rest[0]}"/>\n'
                                '<nop><action><exec rtp_stream="pause"/></action></nop>')
            case "label":
                if self.party.statements[self.at - 1].words[0] == "goto":
                    self.asked = self.jumps.get(rest[0], [])
                self.out.append(f'<label id="{self.label(rest[0])}"/>')
            case "valid":
                good = self.label(f"valid at {self.at}")
                self.out.append(f'<nop next="{good}" test="{self.variable("valid")}"/>\n<nop><action>'
                                f'<error message="the credentials are wrong"/></action></nop>\n<label id="{good}"/>')
            case "goto":
                self.out.append(f'<nop next="{self.label(rest[0])}"/>')
            case "fail":
                self.out.append(f'<nop><action><error message="{" ".join(rest)}"/></action></nop>')
            case _:
                raise Failed(f"{statement.where}: what is `{first}`?")

    def label(self, name):
        return self.labels.setdefault(name, len(self.labels) + 1)

    def variable(self, name):
        self.variables.add(name)
        return name

    def dialog(self, words, uac):
        number = next((int(word[1:]) for word in words if re.fullmatch(r"@\d", word)), 1)
        return self.dialogs.setdefault(number, Dialog(number, uac))

    def option(self, words, name, default=None):
        return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), default)

    # Sending

    def send(self, words):
        if words[0].isdigit():
            self.respond(words)
        else:
            self.request(words)

    def request(self, words):
        method, dialog = words[0], self.dialog(words, True)
        variable = f"_{dialog.number}"
        own = f"[pid]{self.party.name}[call_number]x{dialog.number}"
        if method in ("ACK", "CANCEL"):
            cseq, branch = dialog.invite
            if method == "ACK" and not dialog.refused:
                self.branch += 1
                branch = self.branch
        else:
            dialog.cseq = int(self.option(words, "cseq", dialog.cseq + 1))
            self.branch += 1
            cseq, branch = dialog.cseq, self.branch
        if method == "INVITE":
            dialog.invite, dialog.refused = (cseq, branch), False
        within = dialog.stands and method != "CANCEL" and not (method == "ACK" and dialog.refused)
        user = self.option(words, "to", "[service]")
        home = f"sip:{user}@[remote_ip]:[remote_port]"
        uri = f"[${self.variable('target' + variable)}]" if within else home
        uri = self.option(words, "uri", uri)
        me = f"<sip:{NAMES[self.party.name]}@[local_ip]:[local_port]>;tag={own}"
        them = f"<{home}>"
        if self.option(words, "me"):
            me = f"<{self.option(words, 'me')}>;tag={own}"
        if dialog.uac:
            if dialog.stands and (within or method == "ACK"):
                them = f"[${self.variable('them' + variable)}]"
            if method == "ACK" and dialog.refused:
                them = "[last_To:]"
        else:
            me, them = (f"[${self.variable(name + variable)}]" for name in ("me", "them"))
            if self.option(words, "me"):
                me = f"<{self.option(words, 'me')}>"
            me += f";tag=[pid]{self.party.name}[call_number]t{dialog.tag}"
        to_line = them if them.startswith("[last") else f"To: {them}"
        prefix = f"{dialog.number}///" if dialog.number > 1 else ""
        head = [f"{method} {uri} SIP/2.0",
                f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK[pid]-[call_number]-{branch}",
                "[routes]" if within and dialog.number == 1 else "",
                f"From: {me}", to_line, f"Call-ID: {prefix}[call_id]", f"CSeq: {cseq} {method}", "Max-Forwards: 70"]
        if method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER", "NOTIFY", "REGISTER") and not self.names("Contact"):
            head.append(f"Contact: <sip:{NAMES[self.party.name]}@[local_ip]:[local_port];transport=[transport]>")
        if method == "PRACK":
            head.append(f"RAck: [${self.variable('rseq' + variable)}] {dialog.invite[0]} INVITE")
        if "auth" in words:
            credentials = self.option(words, "as", "alice:secret")
            name, _, secret = credentials.partition(":")
            head.append(f"[authentication username={name} password={secret}]")
        self.emit(head, words, "" if method == "ACK" else ' retrans="500"')

    def respond(self, words):
        status, named = words[0], [word for word in words[1:] if word.isupper() and word.isalpha()]
        asked = next((asked for asked in reversed(self.asked) if not named or asked.method == named[0]), None)
        if asked is None:
            raise Failed(f"{self.statement.where}: nothing to answer")
        dialog, key = asked.dialog, asked.key
        newest = asked is self.asked[-1] and asked.newest
        copy = lambda name: f"[last_{name}:]" if newest else f"{name}: [${self.variable(name.replace('-', '') + key)}]"
        via = copy("Via")
        if self.is_behind and not newest:
            via += f"\nVia: [${self.variable('Via2' + key)}]"
        tag = self.option(words, "tag")
        if tag:
            dialog.tag = tag
        to_line = copy("To")
        if not asked.within and asked.method not in ("ACK",) and status != "100":
            to_line += f";tag=[pid]{self.party.name}[call_number]t{tag or dialog.tag}"
        head = [f"SIP/2.0 {status} {self.reason(status, words)}", via, self.record_route(key, newest),
                copy("From"), to_line, f"{'Call-ID: [call_id]' if not newest else '[last_Call-ID:]'}", copy("CSeq")]
        if status[0] in "12" and status != "100" and not self.names("Contact") and asked.method in (*FORMING, "UPDATE"):
            head.append(f"Contact: <sip:{NAMES[self.party.name]}@[local_ip]:[local_port];transport=[transport]>")
        if "reliable" in words:
            self.rseq += 1
            head += ["Require: 100rel", f"RSeq: {self.rseq}"]
        resend = asked.method == "INVITE" and (status[0] not in "1" or "reliable" in words)
        self.emit(head, words, ' retrans="500"' if resend else "")
        if status[0] != "1" and "again" not in words:
            self.asked.remove(asked)
        if status[0] in "12" and status != "100" and asked.method in FORMING:
            dialog.stands = True

    def record_route(self, key, newest):
        if newest:
            return "[last_Record-Route:]"
        return f"Record-Route: [${self.variable('RR' + key)}]" if self.is_behind else ""

    def reason(self, status, words):
        given = self.option(words, "reason")
        names = {"100": "Trying", "180": "Ringing", "183": "Session Progress", "200": "OK", "202": "Accepted",
                 "302": "Moved Temporarily", "401": "Unauthorized", "407": "Proxy Authentication Required",
                 "486": "Busy Here", "487": "Request Terminated", "491": "Request Pending", "481": "Gone"}
        return given.replace("_", " ") if given else names.get(status, "Said So")

    def names(self, header):
        return any(line.startswith(f"| {header}:") for line in self.statement.lines)

    def emit(self, head, words, attributes):
        given = [line[1:].removeprefix(" ") for line in self.statement.lines if line[0] == "|"]
        # A body of one's own stands after a line `| --`.
        cut = given.index("--") if "--" in given else len(given)
        head += given[:cut]
        body = "\n".join(given[cut + 1:])
        sdp = next((word for word in words if word == "sdp" or word.startswith("sdp=")), None)
        if sdp:
            described = self.sdp(sdp.partition("=")[2] or "sendrecv")
            if "{sdp}" in body:
                body = body.replace("{sdp}", described)
            else:
                head.append("Content-Type: application/sdp")
                body = described
        text = "\n".join(line for line in head if line)
        text += "\nContent-Length: " + ("[len]\n\n" + body + "\n" if body else "0\n")
        # sipp needs an empty line at the end of the head of a message without a body.
        self.out.append(f"<send{attributes}><![CDATA[\n\n{text}\n]]></send>")

    def sdp(self, kind):
        self.version += kind != "same"
        kind = "sendrecv" if kind == "same" else kind
        address = "0.0.0.0" if kind == "null" else "[media_ip]"
        lines = T38 if kind == "t38" else AUDIO.format(direction="sendrecv" if kind == "null" else kind)
        if kind == "plain":
            lines = PLAIN
        return SDP.format(user=NAMES[self.party.name], version=self.version, address=address, lines=lines)

    # Receiving

    def receive(self, words):
        name, optional = words[0], "?" in words
        dialog = self.dialog(words, name.isdigit())
        actions = []
        attributes = ' optional="true"' if optional else ""
        if "->" in words:
            attributes += f' next="{self.label(words[words.index("->") + 1])}"'
            test = self.option(words, "if")
            attributes += f' test="{self.variable(test)}"' if test else ""
        if name.isdigit():
            attributes += self.on_response(name, words, dialog, actions)
            what = f'response="{name}"'
        else:
            attributes += self.on_request(name, dialog, actions)
            what = f'request="{name}"'
        # Last: a check that fails keeps sipp from what comes after it.
        actions += [self.check(line) for line in self.statement.lines]
        if "->" in words:
            self.jumps[words[words.index("->") + 1]] = list(self.asked)
        login = self.option(words, "login")
        if login:
            user, _, secret = login.partition(":")
            actions.append(f'<verifyauth assign_to="{self.variable("valid")}" username="{user}" password="{secret}"/>')
        body = f"<action>{''.join(actions)}</action>" if actions else ""
        wait = self.option(words, "within")
        wait = f' timeout="{wait}"' if wait else ""
        self.out.append(f"<recv {what}{attributes}{wait}>{body}</recv>")
    def on_response(self, status, words, dialog, actions):
        for asked in self.asked:
            asked.newest = False
        variable = f"_{dialog.number}"
        method = next((word for word in words[1:] if word.isupper() and word.isalpha()), None)
        attributes = ""
        if status in ("401", "407") and "blind" not in words:
            attributes = ' auth="true"'
        forming = dialog.uac and status != "100" and status[0] in "12" and method not in ("CANCEL", "MESSAGE", "REGISTER", "OPTIONS")
        if forming and (not dialog.stands or "from" in words or method in (None, "INVITE") and status[0] == "2"):
            if not self.lone(dialog):
                actions.append(grab("To", "[^ ].*", self.variable("them" + variable)))
                actions.append(grab("Contact", "<([^>]*)>", f"{self.variable('whole' + variable)},{self.variable('target' + variable)}"))
                if dialog.number == 1:
                    attributes += ' rrs="true"'
                dialog.stands = True
        if "reliable" in words:
            actions.append(grab("RSeq", "[0-9]+", self.variable("rseq" + variable)))
        if status[0] in "3456" and method in (None, "INVITE"):
            dialog.refused = True
        return attributes

    def lone(self, dialog):
        """Whether only requests that make no dialog were sent in this one."""
        sent = [s.words[1] for s in self.party.statements[:self.at] if s.words[0] == ">" and
                self.dialog_number(s.words) == dialog.number]
        return not any(method in FORMING for method in sent)

    @staticmethod
    def dialog_number(words):
        return next((int(word[1:]) for word in words if re.fullmatch(r"@\d", word)), 1)

    def on_request(self, method, dialog, actions):
        attributes = ""
        for asked_before in self.asked:
            asked_before.newest = False
        if method == "ACK":
            return attributes
        key = f"_{self.at}"
        asked = Asked(key, method, dialog, dialog.stands and method != "CANCEL")
        self.asked.append(asked)
        for name in ("Via", "From", "To", "CSeq"):
            actions.append(grab(name, "[^ ].*", self.variable(name + key)))
        if self.is_behind:
            actions.append(grab("Via", "[^ ].*", self.variable("Via2" + key), 2))
            actions.append(grab("Record-Route", "[^ ].*", self.variable("RR" + key)))
        if not dialog.stands and not dialog.uac and method in FORMING:
            variable = f"_{dialog.number}"
            actions.append(grab("From", "[^ ].*", self.variable("them" + variable)))
            actions.append(grab("To", "[^ ].*", self.variable("me" + variable)))
            actions.append(grab("Contact", "<([^>]*)>", f"{self.variable('whole' + variable)},{self.variable('target' + variable)}"))
            if dialog.number == 1:
                attributes = ' rrs="true"'
        return attributes

    def check(self, line):
        """`~ Header regex` must match, `! Header regex` must not; `~ body regex` looks at the body;
        `= name Header regex` keeps what is in the first parentheses."""
        wanted, _, rest = line.partition(" ")
        if wanted == "=":
            name, header, regex = rest.split(maxsplit=2)
            return grab(header, regex, f"{self.variable('whole_' + name)},{self.variable(name)}")
        header, _, regex = rest.strip().partition(" ")
        name = self.variable(f"check_{len(self.variables)}")
        regex = escape(regex.strip())
        verdict = 'check_it="true"' if wanted == "~" else 'check_it_inverse="true"'
        place = {"body": 'search_in="body"', "start": 'search_in="msg"'}.get(
            header, f'search_in="hdr" header="{header.rstrip(":")}:" case_indep="true"')
        return f'<ereg regexp="{regex}" {place} {verdict} assign_to="{name}"/>'


def grab(header, regex, variables, occurrence=1):
    return (f'<ereg regexp="{escape(regex)}" search_in="hdr" header="{header}:" occurrence="{occurrence}" '
            f'assign_to="{variables}"/>')


def escape(text):
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
