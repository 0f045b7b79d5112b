//! Logs: lines on stderr, in which hostile text cannot forge a line or drive a terminal.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::log_queue::{self, LogThread};

/// The environment variable that filters, in the syntax of `tracing_subscriber::EnvFilter`: `onrecord=debug`.
pub const FILTER_VARIABLE: &str = "ONRECORD_LOG";
/// Without it. Of handshakes we tell ourselves what is wrong; rustls warns of each peer that names an address in SNI, rtc-dtls of each
/// extension of a hello that it does not know: of whatever a stranger sends to a media port.
const FILTER: &str = "info,rustls=error,rtc_dtls=error";

/// Sends the logs of a verb to stderr, at once.
pub fn start() {
    install(io::stderr as fn() -> io::Stderr);
}

/// Sends the logs of `serve` to stderr by a thread of their own: who logs never waits for who reads.
///
/// Keep what is returned until the end: dropping it writes what is left.
pub fn start_queued() -> io::Result<LogThread> {
    let (queue, thread) = log_queue::start(io::stderr())?;
    install(queue);
    Ok(thread)
}

fn install(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(FILTER));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(OneLine(writer));
    if subscriber.try_init().is_err() {
        tracing::debug!("logging was set up before");
    }
}

/// Makes writers that keep each event on one line of visible text.
///
/// SIP headers, SDP and file names are a stranger's text: a line feed would forge a line of log, an escape sequence
/// would drive the reader's terminal. The formatter writes an event with one `write`, its last byte the line feed.
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = LineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self.0.make_writer())
    }
}

struct LineWriter<W>(W);

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = visible(text.strip_suffix('\n').unwrap_or(&text));
        line.push('\n');
        // In one write: the lines of several threads do not mix.
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text with everything that is not seen as itself written as `\u{…}`: controls of C0 and C1, and the marks that
/// turn the direction of writing or take no room.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same for text of several lines.
pub fn visible_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => visible(line) + "\n",
            None => visible(line),
        })
        .collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_stranger_s_hello_has_in_it_is_not_logged_and_what_we_warn_of_is() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(FILTER))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "rtc_dtls::handshake::handshake_message_client_hello", "Unsupported Extension");
            tracing::warn!(target: "onrecord::live::media_thread", "of ours");
        });
        let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.contains("of ours") && !text.contains("Unsupported"), "{text}");
    }

    #[test]
    fn a_stranger_cannot_forge_a_line_or_colour_the_terminal() {
        let mut out = Vec::new();
        LineWriter(&mut out)
            .write_all(b"INFO from=eve\nINFO all is well \x1b[31m\xe2\x80\xae\n")
            .expect("a Vec takes it");
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text, "INFO from=eve\\u{a}INFO all is well \\u{1b}[31m\\u{202e}\n");
    }

    #[test]
    fn ordinary_text_of_any_script_stays() {
        assert_eq!(
            visible("Zoë Müller 東京 <sip:z@example.com>"),
            "Zoë Müller 東京 <sip:z@example.com>"
        );
    }
}
