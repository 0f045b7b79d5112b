//! Log lines on their way to a reader that may stall: a bounded queue and a thread that writes.
//!
//! A pipe that nobody reads must not stop the thread that sends a BYE.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for the reader. Full: the newest is lost, and counted; the count is the next line that is written.
const LINES_MAX: usize = 8192;

/// How long the end waits for the reader to take what is left.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Where log lines are put. Never blocks.
#[derive(Clone, Debug)]
pub struct LogQueue {
    lines: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Nothing is written after it.
    Last,
}

/// The writing thread. Dropped: what is in the queue is written, as far as the reader takes it within a second.
#[derive(Debug)]
pub struct LogThread {
    queue: LogQueue,
    ended: Receiver<()>,
}

/// Starts the thread that writes to `out`, a line by one write.
pub fn start(out: impl Write + Send + 'static) -> io::Result<(LogQueue, LogThread)> {
    let (lines, inbox) = sync_channel(LINES_MAX);
    let (end, ended) = sync_channel(1);
    let lost = Arc::new(AtomicU64::new(0));
    let queue = LogQueue {
        lines,
        lost: Arc::clone(&lost),
    };
    Builder::new().name("log".to_owned()).spawn(move || {
        // A reader that has gone leaves nothing to do but to empty the queue.
        write_all(&inbox, &lost, out).unwrap_or_else(|_gone| inbox.iter().take_while(is_text).for_each(drop));
        drop(end);
    })?;
    let thread = LogThread {
        queue: queue.clone(),
        ended,
    };
    Ok((queue, thread))
}

const fn is_text(line: &Line) -> bool {
    matches!(line, Line::Text(_))
}

fn write_all(inbox: &Receiver<Line>, lost: &AtomicU64, mut out: impl Write) -> io::Result<()> {
    for line in inbox {
        let Line::Text(text) = line else { break };
        out.write_all(&text)?;
        let lost = lost.swap(0, Relaxed);
        if lost > 0 {
            out.write_all(format!("{lost} lines of log are missing here: the reader was too slow\n").as_bytes())?;
        }
    }
    out.flush()
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Line::Text(line.to_vec())) {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogQueue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        // A full queue means that the reader has stalled: then there is nothing to wait for.
        if self.queue.lines.try_send(Line::Last).is_ok() {
            // It ends by an error when the thread drops its end, or by time.
            let _ended = self.ended.recv_timeout(FAREWELL_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what is written, and writes only as fast as it is asked to.
    struct Slow {
        written: SyncSender<String>,
        may_write: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may_write.recv().map_err(io::Error::other)?;
            self.written
                .send(String::from_utf8_lossy(bytes).into_owned())
                .map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_is_lost_is_counted() {
        let (written, lines) = sync_channel(4 * LINES_MAX);
        let (allow, may_write) = sync_channel(4 * LINES_MAX);
        let (mut queue, thread) = start(Slow { written, may_write }).expect("a thread");
        for number in 0..2 * LINES_MAX {
            queue.write_all(format!("{number}\n").as_bytes()).expect("never waits");
        }
        for _ in 0..3 * LINES_MAX {
            allow.send(()).expect("writes");
        }
        assert_eq!(lines.recv().as_deref(), Ok("0\n"));
        let second = lines.recv().expect("a line");
        assert!(
            second.ends_with("lines of log are missing here: the reader was too slow\n"),
            "{second}"
        );
        drop(thread);
        assert!(lines.iter().count() >= LINES_MAX - 1);
    }
}
