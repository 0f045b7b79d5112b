//! The program `onrecord`: its verbs live in `cli`.

fn main() -> std::process::ExitCode {
    onrecord::cli::run()
}
