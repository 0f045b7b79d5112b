//! The gate: whether a session's packets pass at all.

use crate::model::Gate;

/// Signalling opens and shuts a gate as it likes. One that the recorder's refusal shut stays shut: signalling may ask
/// for it to be opened because it has not heard of the refusal yet.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    wanted: Gate,
    refused: bool,
}

impl Gatekeeper {
    pub(super) const fn new() -> Self {
        Self {
            wanted: Gate::Open,
            refused: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.wanted, Gate::Open) && !self.refused
    }

    pub(super) const fn set(&mut self, wanted: Gate) {
        self.wanted = wanted;
    }

    /// The recorder refused a strict session's packet.
    pub(super) const fn refuse(&mut self) {
        self.refused = true;
    }

    /// The session is strict no more: what was refused is a gap now, not an end.
    pub(super) const fn forgive(&mut self) {
        self.refused = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signalling_does_not_open_what_a_refusal_shut() {
        let mut gate = Gatekeeper::new();
        assert!(gate.is_open());
        gate.set(Gate::Shut);
        assert!(!gate.is_open());
        gate.refuse();
        gate.set(Gate::Open);
        assert!(!gate.is_open());
        gate.forgive();
        assert!(gate.is_open());
    }
}
