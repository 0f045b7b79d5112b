//! Live calls, for readers.
