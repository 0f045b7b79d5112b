//! The tables of docs/SAFETY.md and docs/CONFORMANCE.md name tests: each has to be where they say.

use std::collections::BTreeSet;
use std::path::Path;

/// Names in backticks in the last cell of each table row: a file, then what is looked for in it.
fn claims(page: &str) -> Vec<(usize, String, String)> {
    let mut claims = Vec::new();
    for (at, line) in page.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let last = line.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let mut file = String::new();
        for name in last.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                name.clone_into(&mut file);
            } else {
                claims.push((at + 1, file.clone(), name.to_owned()));
            }
        }
    }
    claims
}

fn unproven(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, file, name) in claims(page) {
        let is_word = |text: &str| {
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| word == name)
        };
        match read(&file) {
            None => findings.push(format!("{line}: no file `{file}`")),
            Some(text) if !is_word(&text) => findings.push(format!("{line}: no `{name}` in {file}")),
            Some(_) => {}
        }
    }
    findings
}

#[test]
fn every_test_that_the_pages_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(root.join(file)).ok();
    for page in ["docs/SAFETY.md", "docs/CONFORMANCE.md"] {
        let text = read(page).expect("the page is there");
        assert!(claims(&text).len() > 8, "{page} names hardly any test");
        let findings = unproven(&text, read);
        assert!(findings.is_empty(), "{page}:{}", findings.join(&format!("\n{page}:")));
    }
}

#[test]
fn every_flow_with_real_peers_is_in_the_table_of_them_and_nothing_else_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/CONFORMANCE.md")).expect("the page is there");
    let (_, table) = page
        .split_once("\n## Flows with real peers\n")
        .expect("the table is there");
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let named = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let listed: BTreeSet<String> = named.filter(|name| !name.contains('/')).map(str::to_owned).collect();
    let folder = std::fs::read_dir(root.join("tests/interop/flows")).expect("the flows are there");
    let names = folder.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let there: BTreeSet<String> = names
        .filter_map(|name| Some(name.strip_suffix(".flow")?.to_owned()))
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn a_test_that_is_gone_is_named_with_its_line() {
    let page = "text\n| RFC 1 §2 | what | `src/a.rs`: `a_test`, `gone` |\n| x | y | `src/b.rs`: `a_test` |\n| – | not done | – |\n";
    let read = |file: &str| (file == "src/a.rs").then(|| "fn a_test() {} fn gone_too() {}".to_owned());
    assert_eq!(
        unproven(page, read),
        ["2: no `gone` in src/a.rs", "3: no file `src/b.rs`"]
    );
}
