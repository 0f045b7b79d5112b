//! `onrecord init`: files to start from.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::fail;

/// Writes a commented config, sample policies with their tests, and the trunk for a PBX. Overwrites nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the trunk for this PBX too, and print it
    #[arg(long, value_enum)]
    pub pbx: Option<Pbx>,
    /// Where to write
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Pbx {
    Asterisk,
    Freeswitch,
    Kamailio,
    Opensips,
    #[value(name = "3cx")]
    ThreeCx,
}

impl Pbx {
    const fn snippet(self) -> (&'static str, &'static str) {
        match self {
            Self::Asterisk => ("trunk-asterisk.conf", include_str!("snippets/asterisk.txt")),
            Self::Freeswitch => ("trunk-freeswitch.xml", include_str!("snippets/freeswitch.txt")),
            Self::Kamailio => ("trunk-kamailio.cfg", include_str!("snippets/kamailio.txt")),
            Self::Opensips => ("trunk-opensips.cfg", include_str!("snippets/opensips.txt")),
            Self::ThreeCx => ("trunk-3cx.txt", include_str!("snippets/3cx.txt")),
        }
    }
}

const CONFIG: &str = include_str!("snippets/onrecord.toml");
const TESTS: &str = include_str!("../../policies/tests/desk.toml");

pub(crate) fn run(args: &Args) -> ExitCode {
    let files = files(args.pbx);
    if let Some((name, _)) = files.iter().find(|(name, _)| args.dir.join(name).exists()) {
        let there = args.dir.join(name);
        return fail(
            format_args!("{} is there already, and nothing is overwritten", there.display()),
            "name another folder with --dir",
        );
    }
    for (name, text) in &files {
        let path = args.dir.join(name);
        if let Err(error) = write_new(&path, text) {
            return fail(
                format_args!("cannot write {}: {error}", path.display()),
                "check the folder's permissions",
            );
        }
        eprintln!("wrote {}", path.display());
    }
    if let Some(pbx) = args.pbx {
        print!("{}", pbx.snippet().1);
    }
    let config = if args.dir == Path::new(".") {
        PathBuf::from("onrecord.toml")
    } else {
        args.dir.join("onrecord.toml")
    };
    let config = config.display();
    eprintln!("\nnext: onrecord check {config} && onrecord serve --config {config}");
    ExitCode::SUCCESS
}

/// Every file by its place below the folder.
fn files(pbx: Option<Pbx>) -> Vec<(String, &'static str)> {
    let mut files = vec![("onrecord.toml".to_owned(), CONFIG)];
    files.extend(
        crate::config::samples()
            .iter()
            .map(|(name, text)| (format!("policies/{name}"), *text)),
    );
    files.push(("policies/tests/desk.toml".to_owned(), TESTS));
    files.extend(pbx.map(|pbx| (pbx.snippet().0.to_owned(), pbx.snippet().1)));
    files
}

/// Fails if the file is there, also when it came between the look and the writing.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_passes_the_check_and_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let args = Args {
            pbx: Some(Pbx::Asterisk),
            dir: folder.path().to_owned(),
        };
        assert_eq!(run(&args), ExitCode::SUCCESS);

        let (config, notes) = crate::config::load_with_notes(&folder.path().join("onrecord.toml")).expect("a config");
        assert_eq!(notes, []);
        let set = crate::config::load_policies(&folder.path().join("policies"), Default::default()).expect("policies");
        assert_eq!(set.unknown_trunks(&config.trunk_names()), []);

        fs::remove_file(folder.path().join("onrecord.toml")).expect("removed");
        assert_eq!(run(&args), ExitCode::from(super::super::COULD_NOT));
        assert!(
            !folder.path().join("onrecord.toml").exists(),
            "wrote one file of a set that is refused"
        );
    }

    #[test]
    fn every_pbx_has_its_trunk() {
        for pbx in [
            Pbx::Asterisk,
            Pbx::Freeswitch,
            Pbx::Kamailio,
            Pbx::Opensips,
            Pbx::ThreeCx,
        ] {
            let (name, text) = pbx.snippet();
            assert!(
                name.starts_with("trunk-")
                    && text.contains("5060")
                    && text.contains("media must pass") | text.contains("refused")
            );
        }
    }
}
