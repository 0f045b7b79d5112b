//! The house keeps its plan: `docs/ARCHITECTURE.md` says who may import whom and what is named only where, and this
//! test reads the plan from there.

mod evidence;
mod paths;
mod rooms;
mod rules;
mod self_test;
mod source;

use std::path::Path;

use rules::Rules;
use source::Source;

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path
                    .strip_prefix(root)
                    .expect("src lies in the root")
                    .to_string_lossy()
                    .into_owned();
                let text = std::fs::read_to_string(&path).expect("a source file is UTF-8");
                sources.push(Source::read(&file, module_of(&file), &text));
            }
        }
    }
    sources.sort_by(|a, b| a.file.cmp(&b.file));
    let tests: Vec<Vec<String>> = sources
        .iter()
        .flat_map(|source| {
            source
                .test_modules
                .iter()
                .map(|name| [source.module.as_slice(), std::slice::from_ref(name)].concat())
        })
        .collect();
    sources.retain(|source| !tests.iter().any(|test| source.module.starts_with(test)));
    sources
}

/// `src/sip/transaction/mod.rs` → `["sip", "transaction"]`.
fn module_of(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
    module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    module
}

#[test]
fn the_house_keeps_its_plan() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md"))
        .expect("docs/ARCHITECTURE.md is there");
    let rules = Rules::parse(&page);
    assert!(
        rules.imports.len() > 12 && rules.reserved.len() > 12,
        "the tables of the page were not found: {rules:?}"
    );

    let findings = rules.findings(&sources());

    assert!(
        findings.is_empty(),
        "{} findings:\n{}",
        findings.len(),
        findings.join("\n")
    );
}
