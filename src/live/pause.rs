//! A recording is paused by hand: signalling is asked, and the board tells whether it has done it.

use std::time::Duration;

use tokio::time::{sleep_until, timeout};

use super::clock::Clock;
use super::control::Reply;
use super::threads::Threads;
use crate::engine::{CallState, CallView, Input, RecordingState};
use crate::model::SessionId;

/// How long signalling may take.
const DONE_MAX: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(super) async fn pause(threads: &Threads, clock: &Clock, session: SessionId, why: Option<String>) -> Reply {
    let refusal = threads
        .board
        .call(session)
        .map_or(Some("no such call is up"), |view| refusal(&view));
    if let Some(why) = refusal {
        return refused(why);
    }
    let input = Input::PauseRecording { session, why };
    let is_done = |view: &CallView| view.paused.is_some();
    tell(threads, clock, session, input, is_done).await
}

pub(super) async fn resume(threads: &Threads, clock: &Clock, session: SessionId) -> Reply {
    match threads.board.call(session) {
        None => refused("no such call is up"),
        Some(view) if view.paused.is_none() => refused("its recording is not paused"),
        Some(_) => {
            let is_done = |view: &CallView| view.paused.is_none();
            tell(threads, clock, session, Input::ResumeRecording { session }, is_done).await
        }
    }
}

/// Why the call's recording cannot be paused, as far as the board tells. The call itself decides.
fn refusal(view: &CallView) -> Option<&'static str> {
    match (view.state, view.recording) {
        _ if view.paused.is_some() => Some("its recording is paused already"),
        (CallState::Talking, RecordingState::Recording | RecordingState::Broken) if !view.pausable => {
            Some("its policies do not allow that: see `[policy.pause]`")
        }
        (CallState::Talking, RecordingState::Recording | RecordingState::Broken) => None,
        (CallState::Talking, _) => Some("it is not recorded"),
        _ => Some("nobody talks in it"),
    }
}

async fn tell(
    threads: &Threads,
    clock: &Clock,
    session: SessionId,
    input: Input,
    is_done: impl Fn(&CallView) -> bool,
) -> Reply {
    if !matches!(timeout(DONE_MAX, threads.events.send(input)).await, Ok(Ok(()))) {
        return refused("signalling takes no events: it hangs");
    }
    let latest = clock.now() + DONE_MAX;
    while clock.now() < latest {
        if threads.board.call(session).is_some_and(|view| is_done(&view)) {
            return Reply::Done;
        }
        sleep_until(clock.instant(clock.now() + LOOK_EVERY).into()).await;
    }
    refused("not done: the call has ended, or was paused too often")
}

fn refused(why: &str) -> Reply {
    Reply::Refused { why: why.to_owned() }
}
