//! What is known of the dialogs of running calls, kept in `DATA/dialogs` for the next start: after a crash or an upgrade
//! calls go on, or are ended on both legs.
//!
//! A file of slots, one for each call, written over in place; nothing is synced: it has to outlive the process, not the
//! machine, whose peers would have given up anyway. A thread of its own writes it, so that signalling waits for no disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::clock::Clock;
use super::waker::Waker;
use crate::engine::STATE_BYTES_MAX;
use crate::model::SessionId;

const FILE_NAME: &str = "dialogs";
/// Room for one call. What is longer is not kept: that call does not survive a restart.
const SLOT_BYTES: usize = HEAD_BYTES + STATE_BYTES_MAX;
/// Magic, session, length, CRC-32C of session and state.
const HEAD_BYTES: usize = 4 + 16 + 4 + 4;
const MAGIC: [u8; 4] = *b"ORD1";
/// Entries that wait for the thread. Full: a new state is dropped, and signalling is told that the call does not survive a
/// restart; that a call is over is kept and told later.
const ENTRIES_MAX: usize = 4_096;
/// Slots that are read at the start; a file of calls is never longer.
const SLOTS_MAX: usize = 65_536;

/// How late a state may be written: what a kill may cost.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How long the thread naps when nothing came; an entry wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// Writes down the state of a call.
type Write = Box<dyn FnOnce() -> Bytes + Send>;

enum Entry {
    Remember { session: SessionId, write: Write },
    Forget { session: SessionId },
}

/// A call that ran when the process before this one ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Survivor {
    pub session: SessionId,
    pub state: Bytes,
}

/// Signalling's end of the store.
#[derive(Debug)]
pub(super) struct DialogStore {
    entries: Option<Sender<Entry>>,
    clock: Clock,
    waker: Waker,
    /// Calls to be forgotten for which the queue had no room: never more than there were calls.
    owed: VecDeque<SessionId>,
    /// Calls whose newest state found no room, to be told: never more than there are calls.
    dropped: VecDeque<SessionId>,
    /// Calls whose newest state could not be written.
    unwritten: Receiver<SessionId>,
    /// It was told once that it does not keep up.
    late: bool,
    thread: Option<JoinHandle<()>>,
}

impl DialogStore {
    /// Opens the store of this data directory and gives what the process before has left in it.
    /// `wake` is called when a call could not be kept.
    pub(super) fn open(
        clock: Clock,
        data: &Path,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<(Self, Vec<Survivor>)> {
        let (slots, survivors) = Slots::open(&data.join(FILE_NAME))?;
        let (sender, inbox) = bounded(ENTRIES_MAX);
        let (lapses, unwritten) = bounded(ENTRIES_MAX);
        let waker = Waker::new();
        let sleeper = waker.clone();
        let thread = Builder::new().name("dialogs".to_owned()).spawn(move || {
            sleeper.adopt();
            let lapses = Lapses { sender: lapses, wake };
            write_down(clock, slots, &inbox, &lapses, &sleeper);
        })?;
        let store = Self {
            entries: Some(sender),
            clock,
            waker,
            owed: VecDeque::new(),
            dropped: VecDeque::new(),
            unwritten,
            late: false,
            thread: Some(thread),
        };
        Ok((store, survivors))
    }

    /// Keeps the newest state of a call, which its thread will `write`; never waits.
    pub(super) fn remember(&mut self, session: SessionId, write: impl FnOnce() -> Bytes + Send + 'static) {
        self.settle_debts();
        let write = Box::new(write);
        if self.offer(Entry::Remember { session, write }) {
            return;
        }
        self.dropped.push_back(session);
        if !std::mem::replace(&mut self.late, true) {
            tracing::warn!("dialog store does not keep up: some calls would not survive a restart");
        }
    }

    /// A call whose newest state is not kept.
    pub(super) fn poll_lapse(&mut self) -> Option<SessionId> {
        self.dropped.pop_front().or_else(|| self.unwritten.try_recv().ok())
    }

    /// Not lost when the queue is full: a call that is over must not come back.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.owed.push_back(session);
        self.settle_debts();
    }

    fn settle_debts(&mut self) {
        while let Some(session) = self.owed.pop_front() {
            if !self.offer(Entry::Forget { session }) {
                self.owed.push_front(session);
                return;
            }
        }
    }

    fn offer(&self, entry: Entry) -> bool {
        let taken = self
            .entries
            .as_ref()
            .is_some_and(|entries| entries.try_send(entry).is_ok());
        self.waker.wake_by(self.clock.now() + WRITE_EVERY);
        taken
    }
}

impl Drop for DialogStore {
    /// Waits until what was handed over is written: the next start reads it.
    fn drop(&mut self) {
        if let Some(entries) = self.entries.take() {
            // The thread empties its queue while this waits.
            self.waker.wake();
            for session in self.owed.drain(..) {
                if entries.send(Entry::Forget { session }).is_err() {
                    break;
                }
            }
        }
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the dialog store had panicked");
        }
    }
}

/// Where calls are told that could not be written.
struct Lapses<F> {
    sender: Sender<SessionId>,
    wake: F,
}

/// Looks into its inbox once in a while: a wake for each entry would cost more than its writing.
fn write_down(clock: Clock, mut slots: Slots, inbox: &Receiver<Entry>, lapses: &Lapses<impl Fn()>, waker: &Waker) {
    let (mut failing, mut busy) = (false, false);
    // Not told yet, for there was no room: never more than there are calls.
    let mut untold = BTreeSet::new();
    loop {
        while let Some(session) = untold.pop_first() {
            if lapses.sender.try_send(session).is_err() {
                untold.insert(session);
                break;
            }
            (lapses.wake)();
        }
        let entry = match inbox.try_recv() {
            Ok(entry) => entry,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // Announced before the last look: no entry after it goes without a wake, nor the end of all entries.
                let nap = if std::mem::replace(&mut busy, false) {
                    WRITE_EVERY
                } else {
                    IDLE
                };
                waker.announce(clock.now() + nap);
                match inbox.try_recv() {
                    Ok(entry) => entry,
                    Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => {
                        waker.sleep(clock);
                        continue;
                    }
                }
            }
        };
        busy = true;
        let (session, is_lost, done) = match entry {
            Entry::Remember { session, write } => {
                let kept = slots.remember(session, &write());
                (session, !matches!(kept, Ok(true)), kept.map(|_| ()))
            }
            Entry::Forget { session } => (session, false, slots.forget(session)),
        };
        if let Err(error) = &done
            && !failing
        {
            tracing::warn!(%error, "dialog store: calls would not survive a restart");
        }
        failing = done.is_err();
        if is_lost {
            untold.insert(session);
        } else {
            untold.remove(&session);
        }
    }
}

#[derive(Debug)]
struct Slots {
    file: File,
    taken: BTreeMap<SessionId, u64>,
    free: Vec<u64>,
    /// Slots in the file.
    count: u64,
}

impl Slots {
    fn open(path: &Path) -> io::Result<(Self, Vec<Survivor>)> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let count = file.metadata()?.len().div_ceil(SLOT_BYTES as u64).min(SLOTS_MAX as u64);
        let mut slots = Self {
            file,
            taken: BTreeMap::new(),
            free: Vec::new(),
            count,
        };
        let mut survivors = Vec::new();
        for slot in (0..count).rev() {
            match slots.read(slot)? {
                Some(survivor) if slots.taken.insert(survivor.session, slot).is_none() => survivors.push(survivor),
                _ => slots.free.push(slot),
            }
        }
        survivors.sort_by_key(|survivor| survivor.session);
        Ok((slots, survivors))
    }

    /// None: free, or cut short when the process ended.
    fn read(&self, slot: u64) -> io::Result<Option<Survivor>> {
        let mut bytes = vec![0; SLOT_BYTES];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, slot * SLOT_BYTES as u64 + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(decode(&bytes))
    }

    /// Whether there is room for so much.
    fn remember(&mut self, session: SessionId, state: &[u8]) -> io::Result<bool> {
        let Some(bytes) = encode(session, state) else {
            tracing::warn!(%session, bytes = state.len(), "too long for the dialog store: would not survive a restart");
            return self.forget(session).map(|()| false);
        };
        let slot = match self.taken.get(&session) {
            Some(slot) => *slot,
            None => self.free.pop().unwrap_or_else(|| {
                self.count += 1;
                self.count - 1
            }),
        };
        self.taken.insert(session, slot);
        self.file.write_all_at(&bytes, slot * SLOT_BYTES as u64)?;
        Ok(true)
    }

    fn forget(&mut self, session: SessionId) -> io::Result<()> {
        let Some(slot) = self.taken.remove(&session) else {
            return Ok(());
        };
        self.free.push(slot);
        if self.taken.is_empty() {
            // The quiet hour: the file gives its space back.
            self.free.clear();
            self.count = 0;
            return self.file.set_len(0);
        }
        self.file.write_all_at(&[0; HEAD_BYTES], slot * SLOT_BYTES as u64)
    }
}

fn encode(session: SessionId, state: &[u8]) -> Option<Vec<u8>> {
    if state.len() > SLOT_BYTES - HEAD_BYTES {
        return None;
    }
    let session = session.as_u128().to_le_bytes();
    let length = u32::try_from(state.len()).ok()?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&session), state);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + state.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&session);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(state);
    Some(bytes)
}

fn decode(bytes: &[u8]) -> Option<Survivor> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (session, rest) = rest.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let state = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let is_whole = crc32c::crc32c_append(crc32c::crc32c(session), state) == u32::from_le_bytes(*sum);
    is_whole.then(|| Survivor {
        session: SessionId::from_u128(u128::from_le_bytes(*session)),
        state: Bytes::copy_from_slice(state),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn session(number: u128) -> SessionId {
        SessionId::from_u128(number)
    }

    fn survivors(data: &Path) -> Vec<(u128, Vec<u8>)> {
        let (store, survivors) = DialogStore::open(Clock::start(), data, || {}).unwrap();
        drop(store);
        survivors
            .iter()
            .map(|survivor| (survivor.session.as_u128(), survivor.state.to_vec()))
            .collect()
    }

    #[test]
    fn what_was_remembered_and_not_forgotten_survives_in_its_newest_state() {
        let data = tempfile::tempdir().unwrap();
        let (mut store, none) = DialogStore::open(Clock::start(), data.path(), || {}).unwrap();
        assert_eq!(none, []);
        store.remember(session(1), || Bytes::from_static(b"ringing"));
        store.remember(session(2), || Bytes::from_static(b"two"));
        store.remember(session(1), || Bytes::from_static(b"talking"));
        store.forget(session(2));
        store.remember(session(3), || Bytes::from_static(b"three"));
        drop(store);
        assert_eq!(
            survivors(data.path()),
            [(1, b"talking".to_vec()), (3, b"three".to_vec())]
        );
        assert_eq!(survivors(data.path()).len(), 2, "reading forgets nothing");
    }

    #[test]
    fn places_are_used_again_and_an_empty_store_takes_no_space() {
        let data = tempfile::tempdir().unwrap();
        let (mut store, _) = DialogStore::open(Clock::start(), data.path(), || {}).unwrap();
        for number in 0..1_000 {
            store.remember(session(number), || Bytes::from_static(b"x"));
            if number >= 5 {
                store.forget(session(number - 5));
            }
        }
        drop(store);
        let bytes = || std::fs::metadata(data.path().join(FILE_NAME)).unwrap().len();
        assert!(bytes() <= 6 * SLOT_BYTES as u64, "{}", bytes());
        let (mut store, survivors) = DialogStore::open(Clock::start(), data.path(), || {}).unwrap();
        survivors.iter().for_each(|survivor| store.forget(survivor.session));
        drop(store);
        assert_eq!(bytes(), 0);
    }

    #[test]
    fn a_slot_that_was_cut_short_and_one_too_long_are_left_out() {
        let data = tempfile::tempdir().unwrap();
        let (mut store, _) = DialogStore::open(Clock::start(), data.path(), || {}).unwrap();
        store.remember(session(1), || Bytes::from_static(b"whole"));
        store.remember(session(2), || Bytes::from_static(b"cut short"));
        store.remember(session(3), || Bytes::from(vec![7; SLOT_BYTES]));
        drop(store);
        let file = OpenOptions::new()
            .write(true)
            .open(data.path().join(FILE_NAME))
            .unwrap();
        file.write_all_at(b"?", (SLOT_BYTES + HEAD_BYTES + 3) as u64).unwrap();
        assert_eq!(survivors(data.path()), [(1, b"whole".to_vec())]);
    }

    #[test]
    fn who_is_not_kept_is_told_whether_the_disk_fails_or_the_queue_is_full() {
        let data = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", data.path().join(FILE_NAME)).unwrap();
        let (mut store, _) = DialogStore::open(Clock::start(), data.path(), || {}).unwrap();
        store.remember(session(1), || Bytes::from_static(b"x"));
        let mut told = None;
        while told.is_none() {
            told = store.poll_lapse();
            std::thread::yield_now();
        }
        assert_eq!(told, Some(session(1)));
        assert_eq!(store.poll_lapse(), None, "once");
        // As if there were no room.
        store.entries.take();
        store.remember(session(2), || Bytes::from_static(b"x"));
        assert_eq!(store.poll_lapse(), Some(session(2)));
    }

    #[test]
    fn the_store_ends_at_once_also_while_its_thread_naps_after_an_entry() {
        let data = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let (mut store, _) = DialogStore::open(clock, data.path(), || {}).unwrap();
        store.remember(session(1), || Bytes::from_static(b"x"));
        let written = || std::fs::metadata(data.path().join(FILE_NAME)).unwrap().len() > 0;
        while !written() {
            std::thread::yield_now();
        }
        let begun = clock.now();
        drop(store);
        assert!(clock.now().since(begun) < IDLE / 2);
    }
}
