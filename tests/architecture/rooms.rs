//! The map of `docs/ARCHITECTURE.md`, below `src/`: whoever looks for a module finds it there, in its room.

use std::collections::BTreeMap;

use super::source::Source;

/// Room → the words of its lines. A line of a room begins with two spaces and the room's name; further lines are indented more.
fn rooms(page: &str) -> BTreeMap<String, Vec<String>> {
    let is_of_a_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*';
    let map = page.lines().skip_while(|line| *line != "src/").skip(1);
    let mut rooms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut room = String::new();
    for line in map.take_while(|line| line.starts_with("  ")) {
        if !line.starts_with("   ") {
            room = line.trim().split(['/', '.']).next().unwrap_or_default().to_owned();
        }
        let words = line.split(|c| !is_of_a_word(c)).map(str::to_owned);
        rooms.entry(room.clone()).or_default().extend(words);
    }
    rooms
}

/// Modules of rooms that the map does not name. `media_*` names all that begin so, `*` all there are.
fn unnamed(page: &str, sources: &[Source]) -> Vec<String> {
    let rooms = rooms(page);
    let is_named = |room: &str, module: &str| {
        rooms.get(room).is_some_and(|words| {
            words.iter().any(|word| match word.strip_suffix('*') {
                Some(beginning) => module.starts_with(beginning),
                None => word == module,
            })
        })
    };
    let unnamed = sources.iter().filter(|source| match source.module.as_slice() {
        [room, module] => !is_named(room, module),
        _ => false,
    });
    unnamed.map(|source| source.file.clone()).collect()
}

#[test]
fn every_module_of_a_room_is_on_the_map() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md is there");
    assert!(rooms(&page).len() > 12, "the map was not found");
    let unnamed = unnamed(&page, &super::sources());
    assert!(unnamed.is_empty(), "not on the map: {unnamed:#?}");
}

#[test]
fn a_module_that_its_own_room_does_not_name_is_found() {
    let page = "text\nsrc/\n  sip/   via · uri ·\n         dialog/\n  live/  media_* threads\n  cli/   *: one file per verb\nend";
    let files = [
        "src/sip/via.rs",
        "src/sip/dialog/id.rs",
        "src/sip/media_thread.rs",
        "src/live/media_thread.rs",
        "src/live/uri.rs",
        "src/cli/serve.rs",
    ];
    let sources: Vec<Source> = files
        .iter()
        .map(|file| Source::read(file, super::module_of(file), ""))
        .collect();
    assert_eq!(unnamed(page, &sources), ["src/sip/media_thread.rs", "src/live/uri.rs"]);
}
