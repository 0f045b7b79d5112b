//! Where an export goes: a file that is whole or not there, a pipe or a device as it stands, or stdout.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Recordings are nobody else's business, nor is what is made of them.
const FILE_MODE: u32 = 0o600;

const WRITE_BUFFER_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(super) struct Unwritable {
    path: PathBuf,
    source: io::Error,
}

impl Unwritable {
    pub(super) fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self { path, source }
    }
}

/// `-` is stdout. A file has a name that says that it is not finished, and gets its own when it is: half an export never looks whole.
pub(super) fn write<T, E: From<Unwritable>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    if path == Path::new("-") {
        return fill_whole(path, io::stdout().lock(), fill);
    }
    let unwritable = |source| Unwritable::at(path, source);
    // Who is root would put a file in the place of /dev/null, and a pipe's reader would wait for ever.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let opened = OpenOptions::new().write(true).open(path).map_err(unwritable)?;
        return fill_whole(path, opened, fill);
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let opened = create(&unfinished).map_err(unwritable)?;
    let filled = fill_whole(path, opened, fill).and_then(|filled| {
        fs::rename(&unfinished, path)
            .map(|()| filled)
            .map_err(|error| unwritable(error).into())
    });
    if filled.is_err()
        && let Err(error) = fs::remove_file(&unfinished)
    {
        tracing::debug!(%error, "unfinished export");
    }
    filled
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .create(true)
        .write(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(path)
}

fn fill_whole<T, E: From<Unwritable>>(
    path: &Path,
    out: impl Write,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, out);
    let filled = fill(&mut out)?;
    out.flush().map_err(|source| Unwritable::at(path, source))?;
    Ok(filled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::FileType;
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    fn call(out: &mut dyn Write) -> Result<(), Unwritable> {
        out.write_all(b"a call")
            .map_err(|source| Unwritable::at(Path::new("-"), source))
    }

    fn broken(out: &mut dyn Write) -> Result<(), Unwritable> {
        call(out)?;
        Err(Unwritable::at(Path::new("-"), io::ErrorKind::Other.into()))
    }

    fn file_type(path: &Path) -> FileType {
        fs::symlink_metadata(path).unwrap().file_type()
    }

    #[test]
    fn half_an_export_leaves_what_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("call.wav");
        write(&file, call).unwrap();
        write(&file, broken).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"a call");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_pipe_stays_a_pipe_and_its_reader_hears_the_call() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU);
        made.unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| fs::read(&pipe).unwrap());
            write(&pipe, call).unwrap();
            assert_eq!(reader.join().unwrap(), b"a call");
        });
        assert!(file_type(&pipe).is_fifo());
    }

    #[test]
    fn a_link_to_a_device_still_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("nowhere");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write(&link, call).unwrap();
        assert!(file_type(&link).is_symlink());
    }
}
