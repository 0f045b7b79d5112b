//! Records (RFC 6347 §4.1) on their way to and from the DTLS crate, which believes what stands in them: it keeps every fragment and
//! message, of any length and number. So it gets whole messages alone, each once and in order, and of those what a handshake needs.

/// Of a record.
pub(super) const HEADER_BYTES: usize = 13;
/// Of a handshake message or fragment (RFC 6347 §4.2.2).
pub(super) const MESSAGE_HEADER_BYTES: usize = 12;

pub(super) const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const CERTIFICATE: u8 = 11;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// Messages of one end without encryption, with those that only some send; both ends' numbers begin with 0.
const MESSAGES_MAX: u16 = 12;
/// All of them together: chains of certificates are the longest.
const MESSAGES_BYTES_MAX: usize = 16 << 10;
/// Pieces of a message that do not touch each other yet.
const PIECES_MAX: usize = 16;
/// A Finished (RFC 5246 §7.4.9) by AES-128-GCM, as both suites that we have: explicit nonce, header, verify_data, tag (RFC 5288 §3).
const FINISHED_BYTES: usize = 8 + MESSAGE_HEADER_BYTES + 12 + 16;
/// Encrypted records of a client before the end: the crate keeps those that come before it has keys.
const SEALED_MAX: u8 = 64;
/// Each does what the first did.
const CHANGES_MAX: u8 = 16;

/// What is let in.
pub(super) struct Intake {
    /// The message that comes next.
    next: u16,
    waiting: Vec<Message>,
    /// Bytes of the messages that have begun.
    begun: usize,
    sealed: u8,
    changes: u8,
    /// No end comes before this message: there are no keys.
    last: u8,
    may_end: bool,
    /// Of the datagram that was taken last something counts.
    counts: bool,
    is_spoiled: bool,
    /// Of the next record that the crate gets.
    number: u64,
    /// Nothing but a repeated end counts any more.
    is_done: bool,
}

struct Message {
    number: u16,
    kind: u8,
    body: Vec<u8>,
    /// Sorted, and apart from each other.
    pieces: Vec<(usize, usize)>,
}

/// A fragment as its header says, within its bounds.
struct Fragment<'a> {
    kind: u8,
    number: u16,
    length: usize,
    offset: usize,
    bytes: &'a [u8],
}

impl Intake {
    /// What a server is told, or a client. Its client's first message is the second: of the first nothing is kept.
    pub(super) const fn new(is_server: bool) -> Self {
        Self {
            next: is_server as u16,
            waiting: Vec::new(),
            begun: 0,
            sealed: 0,
            changes: 0,
            last: if is_server {
                CLIENT_KEY_EXCHANGE
            } else {
                SERVER_HELLO_DONE
            },
            may_end: false,
            counts: false,
            is_spoiled: false,
            number: is_server as u64,
            is_done: false,
        }
    }

    /// Messages that the crate was told, with those from before the first.
    pub(super) const fn heard(&self) -> u16 {
        self.next
    }

    pub(super) fn finish(&mut self) {
        self.is_done = true;
        self.waiting = Vec::new();
    }

    /// Whether the datagram that was taken last was more than noise, or what was known.
    pub(super) const fn counts(&self) -> bool {
        self.counts
    }

    /// More came before the end than a handshake has: what its end says would not pass any more.
    pub(super) const fn is_spoiled(&self) -> bool {
        self.is_spoiled
    }

    /// What the crate may read of it, in records of their own numbering; often nothing.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Vec<u8> {
        let (mut rest, mut told) = (datagram, Vec::new());
        self.counts = false;
        while let Some((header, more)) = rest.split_at_checked(HEADER_BYTES) {
            let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
            let Some((body, next)) = more.split_at_checked(length) else {
                break;
            };
            match (header[0], [header[3], header[4]]) {
                (HANDSHAKE, [0, 0]) if !self.is_done => self.take_fragments(body, &mut told),
                (CHANGE_CIPHER_SPEC, [0, 0]) if body == [1] && self.may_change() => {
                    self.changes += 1;
                    self.tell(&mut told, CHANGE_CIPHER_SPEC, body);
                }
                (HANDSHAKE, [0, 1]) if length == FINISHED_BYTES && self.has_room() => {
                    told.extend_from_slice(header);
                    told.extend_from_slice(body);
                }
                _ => {}
            }
            rest = next;
        }
        self.counts |= !told.is_empty();
        told
    }

    /// One that comes too early comes again with what it follows.
    const fn may_change(&self) -> bool {
        self.may_end && !self.is_done && self.changes < CHANGES_MAX
    }

    /// Once it is done the crate keeps none of them, nor a client whose server has said all that makes the keys.
    const fn has_room(&mut self) -> bool {
        if self.is_done {
            return true;
        }
        if self.changes == 0 {
            return false;
        }
        if self.last == SERVER_HELLO_DONE {
            return true;
        }
        self.is_spoiled |= self.sealed == SEALED_MAX;
        if !self.is_spoiled {
            self.sealed += 1;
        }
        !self.is_spoiled
    }

    fn take_fragments(&mut self, body: &[u8], told: &mut Vec<u8>) {
        let mut rest = body;
        while let Some((fragment, next)) = Fragment::parse(rest) {
            self.keep(&fragment);
            rest = next;
        }
        while let Some(place) = self.waiting.iter().position(|message| message.number == self.next) {
            if !self.waiting[place].is_whole() {
                return;
            }
            let message = self.waiting.swap_remove(place);
            self.next += 1;
            self.may_end |= message.kind == self.last;
            self.tell(told, HANDSHAKE, &message.bytes());
        }
    }

    fn keep(&mut self, fragment: &Fragment<'_>) {
        if fragment.number < self.next || fragment.number >= MESSAGES_MAX {
            return;
        }
        self.counts = true;
        let is_it = |message: &Message| message.number == fragment.number;
        let mut known = self.waiting.iter().position(is_it);
        // Who of the two is the peer is not known: it repeats itself, and nobody keeps its place by having been first.
        if let Some(place) = known.take_if(|place| !self.waiting[*place].agrees(fragment)) {
            self.forget(place);
        }
        let Some(place) = known.or_else(|| self.begin(fragment)) else {
            return;
        };
        self.waiting[place].fill(fragment);
        if self.waiting[place].is_nonsense() {
            self.forget(place);
        }
    }

    /// Its place; those that come after it make room, the last first.
    fn begin(&mut self, fragment: &Fragment<'_>) -> Option<usize> {
        while self.begun + fragment.length > MESSAGES_BYTES_MAX {
            let numbers = self.waiting.iter().map(|message| message.number).enumerate();
            let (last, number) = numbers.max_by_key(|(_, number)| *number)?;
            if number < fragment.number {
                return None;
            }
            self.forget(last);
        }
        self.begun += fragment.length;
        self.waiting.push(Message {
            number: fragment.number,
            kind: fragment.kind,
            body: vec![0; fragment.length],
            pieces: Vec::new(),
        });
        Some(self.waiting.len() - 1)
    }

    fn forget(&mut self, place: usize) {
        let message = self.waiting.swap_remove(place);
        self.begun -= message.body.len();
    }

    fn tell(&mut self, told: &mut Vec<u8>, kind: u8, body: &[u8]) {
        write_record(told, self.number, kind, body);
        self.number += 1;
    }
}

/// Without encryption.
pub(super) fn write_record(out: &mut Vec<u8>, number: u64, kind: u8, body: &[u8]) {
    let length = u16::try_from(body.len()).expect("invariant: messages are no longer than 16 KiB");
    out.extend_from_slice(&[kind, 0xfe, 0xfd, 0, 0]);
    out.extend_from_slice(&number.to_be_bytes()[2..]);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
}

/// The message of the first record, if it is a handshake's, not encrypted.
pub(super) fn first_message(records: &[u8]) -> Option<&[u8]> {
    let (header, rest) = records.split_at_checked(HEADER_BYTES)?;
    let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
    (header[0] == HANDSHAKE && header[3..5] == [0, 0]).then(|| rest.get(..length))?
}

impl<'a> Fragment<'a> {
    /// None for one that is cut short, or outside of its own message.
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_at_checked(MESSAGE_HEADER_BYTES)?;
        let three =
            |at: usize| usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2]);
        let (length, offset) = (three(1), three(6));
        let (bytes, rest) = rest.split_at_checked(three(9))?;
        let is_within = offset + bytes.len() <= length && length <= MESSAGES_BYTES_MAX;
        let fragment = Self {
            kind: header[0],
            number: u16::from_be_bytes([header[4], header[5]]),
            length,
            offset,
            bytes,
        };
        is_within.then_some((fragment, rest))
    }
}

impl Message {
    /// One that disagrees about the message is of somebody else.
    const fn agrees(&self, fragment: &Fragment<'_>) -> bool {
        fragment.kind == self.kind && fragment.length == self.body.len()
    }

    /// Where too many pieces wait they are forgotten: the peer repeats its own.
    fn fill(&mut self, fragment: &Fragment<'_>) {
        let end = fragment.offset + fragment.bytes.len();
        let mut piece = (fragment.offset, end);
        let mut apart = self.pieces.clone();
        apart.retain(|&(from, to)| {
            let touches = from <= piece.1 && piece.0 <= to;
            if touches {
                piece = (piece.0.min(from), piece.1.max(to));
            }
            !touches
        });
        if apart.len() == PIECES_MAX {
            apart.clear();
        }
        apart.push(piece);
        apart.sort_unstable();
        self.pieces = apart;
        self.body[fragment.offset..end].copy_from_slice(fragment.bytes);
    }

    fn is_whole(&self) -> bool {
        self.pieces == [(0, self.body.len())]
    }

    /// The crate takes memory for a certificate of the length that it claims.
    fn is_nonsense(&self) -> bool {
        self.kind == CERTIFICATE && self.is_whole() && !is_chain(&self.body)
    }

    /// As if it had come in one piece.
    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len()).expect("invariant: messages are no longer than 16 KiB");
        let length = &length.to_be_bytes()[1..];
        let [high, low] = self.number.to_be_bytes();
        let header = [&[self.kind], length, &[high, low, 0, 0, 0], length].concat();
        [header.as_slice(), &self.body].concat()
    }
}

/// A list of certificates (RFC 5246 §7.4.2) whose lengths are true.
fn is_chain(body: &[u8]) -> bool {
    let split = |bytes: &[u8]| {
        let (length, rest) = bytes.split_first_chunk::<3>()?;
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        (length <= rest.len()).then_some((length, rest.len()))
    };
    let Some((mut left, total)) = split(body) else {
        return false;
    };
    if left != total {
        return false;
    }
    while left > 0 {
        match split(&body[body.len() - left..]) {
            Some((length, _)) => left -= 3 + length,
            None => return false,
        }
    }
    true
}

/// Adds to the numbers of the records that are not encrypted: a server goes on with that of the hello that it answers (RFC 6347 §4.2.1).
pub(super) fn renumber(datagram: &mut [u8], more: u64) {
    let mut rest = datagram;
    while let Some((header, next)) = rest.split_first_chunk_mut::<HEADER_BYTES>() {
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        if header[3..5] == [0, 0] {
            let number = u64::from_be_bytes([0, 0, header[5], header[6], header[7], header[8], header[9], header[10]]);
            let number = number.wrapping_add(more).to_be_bytes();
            header[5..11].copy_from_slice(&number[2..]);
        }
        rest = next.get_mut(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
