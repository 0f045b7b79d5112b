//! One file per verb.

use std::process::ExitCode;

pub fn run() -> ExitCode {
    ExitCode::from(2)
}
