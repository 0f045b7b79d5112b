//! Signalling's ends of all media threads.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::media_thread::MediaLink;
use crate::model::{MediaCommand, MediaEvent, SessionId};

/// A session's media lives on one thread, always the same: the one that its id's entropy names.
pub(super) struct MediaLinks {
    links: Vec<MediaLink>,
    news: Arc<Notify>,
}

impl MediaLinks {
    /// `news` is notified by every thread that has put an event into its queue.
    pub(super) const fn new(links: Vec<MediaLink>, news: Arc<Notify>) -> Self {
        Self { links, news }
    }

    /// Queues a command for its session's thread; gives it back when that queue is full. Never waits.
    pub(super) fn offer(&mut self, command: MediaCommand) -> Result<(), MediaCommand> {
        let threads = self.links.len().max(1) as u128;
        let place = usize::try_from(session(&command).as_u128() % threads).unwrap_or_default();
        match self.links.get_mut(place) {
            Some(link) => link.send(command),
            None => Err(command),
        }
    }

    /// Returns when there may be events. May be cancelled.
    pub(super) fn news(&self) -> Notified<'_> {
        self.news.notified()
    }

    pub(super) fn poll_event(&mut self) -> Option<MediaEvent> {
        self.links.iter_mut().find_map(MediaLink::poll_event)
    }
}

const fn session(command: &MediaCommand) -> SessionId {
    match command {
        MediaCommand::Open(plan) | MediaCommand::Modify(plan) => plan.session,
        MediaCommand::Gate { session, .. }
        | MediaCommand::Pausing { session, .. }
        | MediaCommand::Close { session } => *session,
    }
}
