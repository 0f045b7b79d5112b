"""A hundred phones and more on either side of a proxy: SIP over UDP and 20 ms of G.711, on one thread.

Every datagram that arrives carries the kernel's time of arrival, so that a figure does not depend on when this program
got its turn.
"""

import heapq
import re
import select
import socket
import struct
import time

SO_TIMESTAMPNS = 35
TICK_NS = 20_000_000
PAYLOAD_BYTES = 160
ROOM = socket.CMSG_SPACE(16)


def udp(ip, port):
    """A socket whose datagrams come with their time of arrival."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.setblocking(False)
    made.bind((ip, port))
    return made


def receive(from_socket):
    """(bytes, source, arrival in nanoseconds since 1970), or None when there is nothing."""
    try:
        data, ancillary, _, source = from_socket.recvmsg(65535, ROOM)
    except BlockingIOError:
        return None
    seconds, nanos = struct.unpack("qq", ancillary[0][2])
    return data, source, seconds * 10**9 + nanos


def payload(ssrc, sequence):
    """What a leg says in its n-th packet: every packet differs, and anyone can tell what it should have been."""
    return struct.pack("!II", ssrc, sequence) * (PAYLOAD_BYTES // 8)


def said_in(packet):
    """The payload that the leg whose packet this is said, for the first 65,536 of a call."""
    return payload(int.from_bytes(packet[8:12], "big"), int.from_bytes(packet[2:4], "big"))


class Message:
    """A SIP message, as far as these phones care."""

    def __init__(self, data, source, at):
        self.text, self.source, self.at = data.decode("utf-8", "replace"), source, at
        head, _, self.body = self.text.partition("\r\n\r\n")
        lines = head.split("\r\n")
        self.start = lines[0]
        self.headers = [tuple(part.strip() for part in line.partition(":")[::2]) for line in lines[1:]]

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        return next(iter(self.all(name)), "")

    @property
    def method(self):
        return self.get("CSeq").split()[-1]

    @property
    def status(self):
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else None

    def media(self):
        ip = re.search(r"^c=IN IP4 (\S+)", self.body, re.M).group(1)
        return ip, int(re.search(r"^m=audio (\d+)", self.body, re.M).group(1))


class Leg:
    """One end's media of a call."""

    def __init__(self, ip):
        self.socket = udp(ip, 0)
        self.address = self.socket.getsockname()
        self.reset(0)

    def reset(self, ssrc):
        self.ssrc = ssrc
        self.remote = None
        self.talks = False
        self.sent = 0
        self.sent_at = []
        self.received = 0
        self.heard_at = 0
        self.unlike = 0

    def sdp(self):
        ip, port = self.address
        return (f"v=0\r\no=phone 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
                f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n")

    def packet(self):
        head = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * 160 & 0xFFFFFFFF, self.ssrc)
        return head + payload(self.ssrc, self.sent)

    def speak(self):
        self.sent_at.append(time.time_ns())
        try:
            self.socket.sendto(self.packet(), self.remote)
        except (BlockingIOError, ConnectionRefusedError):
            pass
        self.sent += 1

    def hear(self):
        while (arrived := receive(self.socket)) is not None:
            data, _, at = arrived
            self.heard_at = at
            self.take(data)

    def take(self, data):
        """Counts as unlike what no phone of these scripts says."""
        self.received += 1
        self.unlike += data[12:] != said_in(data)


class Call:
    """Calling, ringing nobody, talking, ended: `answered` once A has its 200, `joined` once B has the ACK."""

    def __init__(self, number, a, b):
        self.number, self.a, self.b = number, a, b
        self.call_id = f"proof-{number}-{time.time_ns():x}"
        self.a_dialog = self.b_dialog = None
        self.final = None
        self.answered_at = None
        self.joined = self.hung_up = self.hang_up_answered = False
        self.hung_up_at = None
        self.byes = {}

    @property
    def over(self):
        return self.hang_up_answered or len(self.byes) == 2 or (self.final or 0) >= 300


class Phones:
    """Both sides. `run` is the one loop; everything else sets something going and returns."""

    def __init__(self, proxy, legs):
        """`legs`: how many pairs, or the pairs."""
        self.proxy = (proxy.ip, 5060)
        self.sip = {"a": udp(proxy.a_ip, 5060), "b": udp(proxy.b_ip, 5060)}
        self.idle = [(Leg(proxy.a_ip), Leg(proxy.b_ip)) for _ in range(legs)] if isinstance(legs, int) else legs
        self.calls = {}
        self.numbers = 0
        self.branches = 0
        self.b_heard = []
        self.repeated = 0
        self.stubborn = False
        self.options_status = None
        self.answers = {}
        # For so many seconds B rings before it answers; when, and what it answers.
        self.rings = 0
        self.answering = []
        self.due = []
        self.poll = select.epoll()
        self.by_fd = {}
        for side, sip in self.sip.items():
            self._watch(sip, lambda side=side: self._hear_sip(side))
        for leg in (leg for pair in self.idle for leg in pair if leg.socket):
            self._watch(leg.socket, leg.hear)

    def _watch(self, on, act):
        self.by_fd[on.fileno()] = act
        self.poll.register(on.fileno(), select.EPOLLIN)

    # ---- the loop

    def run(self, until, seconds):
        """Goes on until `until()` holds or the time is over; says whether it held."""
        end = time.monotonic_ns() + int(seconds * 1e9)
        while True:
            if until():
                return True
            now = time.monotonic_ns()
            if now >= end:
                return False
            while self.answering and self.answering[0][0] <= now:
                self._reply("b", *self.answering.pop(0)[1])
            while self.due and self.due[0][0] <= now:
                at, order, leg = heapq.heappop(self.due)
                if leg.talks:
                    leg.speak()
                    heapq.heappush(self.due, (at + TICK_NS, order, leg))
            wake = min(end, self.due[0][0]) if self.due else end
            wait = min(max(0, wake - time.monotonic_ns()) / 1e9, 0.02)
            for fd, _ in self.poll.poll(wait):
                self.by_fd[fd]()

    def close(self):
        self.poll.close()
        legs = [leg for call in self.calls.values() for leg in (call.a, call.b)]
        legs += [leg for pair in self.idle for leg in pair]
        for each in [*self.sip.values(), *(leg.socket for leg in legs if leg.socket)]:
            each.close()

    def rest(self, seconds):
        self.run(lambda: False, seconds)

    # ---- calls

    def invite(self, ssrc_base=0):
        """A new call from A to B; a pair of idle legs must be there."""
        a, b = self.idle.pop()
        self.numbers += 1
        call = Call(self.numbers, a, b)
        a.reset(2 * self.numbers)
        b.reset(2 * self.numbers + 1)
        self.calls[call.call_id] = call
        self._request("a", call, "INVITE", 1, f"sip:bob{call.number}@{self.proxy[0]}:{self.proxy[1]}", a.sdp())
        return call

    def join(self, count, seconds=30, pace=0.002):
        """That many calls with media both ways; None if some did not come about in time."""
        calls = []
        for _ in range(count):
            calls.append(self.invite())
            self.rest(pace)
        done = lambda: all(call.joined and call.a.received and call.b.received for call in calls)
        return calls if self.run(done, seconds) else None

    def hang_up(self, call):
        self.silence(call)
        call.hung_up, call.hung_up_at = True, time.time_ns()
        self._request("a", call, "BYE", 2, self._target(call.a_dialog))

    def hang_up_all(self, calls, seconds=20, pace=0.002):
        """Whether all were answered."""
        for call in calls:
            self.hang_up(call)
            self.rest(pace)
        return self.run(lambda: all(call.hang_up_answered for call in calls), seconds)

    def leave(self, call, cseq=2):
        """A's BYE for a call that it does not count as hung up by itself: the proxy was started again meanwhile."""
        self.silence(call)
        self._request("a", call, "BYE", cseq, self._target(call.a_dialog))

    def talk(self, call):
        now = time.monotonic_ns()
        for place, leg in enumerate((call.a, call.b)):
            leg.talks = True
            order = 2 * call.number + place
            heapq.heappush(self.due, (now + order * 7_919_000 % TICK_NS, order, leg))

    def silence(self, call):
        call.a.talks = call.b.talks = False

    def forget(self, calls):
        """Their legs are idle again; what still arrives for them is nobody's."""
        for call in calls:
            self.silence(call)
            self.calls.pop(call.call_id, None)
        self.due = [entry for entry in self.due if entry[2].talks]
        heapq.heapify(self.due)
        for call in calls:
            for leg in (call.a, call.b):
                leg.hear()
            self.idle.append((call.a, call.b))
        self.answers.clear()

    def options(self):
        """Asks the proxy for its options from A's side; the answer's status comes into `options_status`."""
        self.options_status = None
        self._request("a", None, "OPTIONS", 1, f"sip:{self.proxy[0]}:{self.proxy[1]}")

    # ---- SIP

    def _target(self, message):
        return re.search(r"<([^>]+)>", message.get("Contact")).group(1)

    def _request(self, side, call, method, cseq, uri, body="", to=None):
        ip = self.sip[side].getsockname()[0]
        self.branches += 1
        dialog = call.a_dialog if call else None
        number = call.number if call else 0
        lines = [
            f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP {ip}:5060;branch=z9hG4bK-{self.branches}-{time.time_ns():x}",
            f"From: <sip:alice{number}@{ip}>;tag=a{number}", f"To: {dialog.get('To') if dialog else f'<{uri}>'}",
            f"Call-ID: {call.call_id if call else f'options-{self.branches}'}", f"CSeq: {cseq} {method}",
            "Max-Forwards: 70", f"Contact: <sip:alice@{ip}:5060>"]
        lines += ["Content-Type: application/sdp"] if body else []
        lines.append(f"Content-Length: {len(body)}")
        self.sip[side].sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.proxy)

    def _reply(self, side, request, status, reason, tag, body=""):
        ip = self.sip[side].getsockname()[0]
        to = request.get("To")
        lines = [f"SIP/2.0 {status} {reason}", *(f"Via: {via}" for via in request.all("Via")),
                 f"From: {request.get('From')}", f"To: {to if 'tag=' in to else f'{to};tag={tag}'}",
                 f"Call-ID: {request.get('Call-ID')}", f"CSeq: {request.get('CSeq')}", f"Contact: <sip:phone@{ip}:5060>"]
        lines += ["Content-Type: application/sdp"] if body else []
        lines.append(f"Content-Length: {len(body)}")
        data = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
        self.answers[side, request.get("Via"), request.method] = data
        self.sip[side].sendto(data, request.source)

    def _hear_sip(self, side):
        while (arrived := receive(self.sip[side])) is not None:
            message = Message(*arrived)
            if side == "b":
                self.b_heard.append(message)
            if message.status is not None:
                if side == "a":
                    self._a_answered(message)
                continue
            again = self.answers.get((side, message.get("Via"), message.method))
            if again is not None:
                self.repeated += 1
                self.sip[side].sendto(again, message.source)
            elif message.method == "BYE":
                self._told_bye(side, message)
            elif side == "b":
                self._b_asked(message)

    def _a_answered(self, message):
        if message.method == "OPTIONS":
            self.options_status = message.status
            return
        call = self.calls.get(message.get("Call-ID"))
        if call is None or message.status < 200:
            return
        if message.method == "BYE":
            call.hang_up_answered = True
            return
        if message.method != "INVITE":
            return
        self.repeated += call.final is not None
        call.final, call.a_dialog = message.status, message
        uri = self._target(message) if message.status < 300 else f"sip:bob@{self.proxy[0]}"
        if message.status >= 300:
            self._ack_refusal(call, message)
            return
        if call.answered_at is None:
            call.answered_at = message.at
            call.a.remote = message.media()
        self._request("a", call, "ACK", 1, uri)

    def _ack_refusal(self, call, message):
        """The ACK to a final answer that is no 2xx belongs to the INVITE's transaction (RFC 3261 §17.1.1.3)."""
        lines = [f"ACK sip:bob{call.number}@{self.proxy[0]}:{self.proxy[1]} SIP/2.0", f"Via: {message.get('Via')}",
                 f"From: {message.get('From')}", f"To: {message.get('To')}", f"Call-ID: {call.call_id}", "CSeq: 1 ACK",
                 "Max-Forwards: 70", "Content-Length: 0"]
        self.sip["a"].sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), self.proxy)

    def _b_asked(self, message):
        number = int(re.search(r"bob(\d+)@", message.get("To")).group(1))
        call = next((c for c in reversed(self.calls.values()) if c.number == number), None)
        if call is None:
            return
        if message.method == "INVITE":
            call.b.remote = message.media()
            call.b_dialog = message
            answer = (message, 200, "OK", f"b{number}", call.b.sdp())
            if self.rings:
                self._reply("b", message, 180, "Ringing", f"b{number}")
                self.answering.append((time.monotonic_ns() + int(self.rings * 1e9), answer))
            else:
                self._reply("b", *answer)
        elif message.method == "ACK" and not call.joined:
            call.joined = True
            self.talk(call)

    def _told_bye(self, side, message):
        self._reply(side, message, 200, "OK", "x")
        for call in self.calls.values():
            mine = call.a_dialog if side == "a" else call.b_dialog
            if mine is not None and mine.get("Call-ID") == message.get("Call-ID"):
                call.byes.setdefault(side, message)
                if not self.stubborn:
                    self.silence(call)
