//! The program `onrecord`: its verbs live in `cli`.

/// What one thread allocates another often frees: parties, headers and extents go from signalling to the recorder.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    onrecord::cli::run()
}
