//! Which way media flows, seen from who wrote the description (RFC 4566 §6, RFC 3264 §5.1).

/// The direction attribute of an m-line; `sendrecv` when none is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn from_attribute(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().parse::<sdp_types::Direction>().ok()? {
            sdp_types::Direction::SendRecv => Some(Self::SendRecv),
            sdp_types::Direction::SendOnly => Some(Self::SendOnly),
            sdp_types::Direction::RecvOnly => Some(Self::RecvOnly),
            sdp_types::Direction::Inactive => Some(Self::Inactive),
        }
    }

    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_read_as_it_is_written() {
        for (text, direction, receives) in [
            ("sendrecv", Direction::SendRecv, true),
            ("sendonly", Direction::SendOnly, false),
            ("recvonly", Direction::RecvOnly, true),
            ("inactive", Direction::Inactive, false),
        ] {
            assert_eq!(Direction::from_attribute(text), Some(direction));
            assert_eq!(direction.receives(), receives);
        }
        assert_eq!(Direction::from_attribute("SendOnly"), Some(Direction::SendOnly));
        assert_eq!(Direction::from_attribute("sendonly:1"), None);
    }
}
