//! Links between the pages, and into the repository: file and heading are there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

#[test]
fn every_link_between_the_pages_leads_to_a_file_and_a_heading_that_are_there() {
    let pages = pages();
    assert!(pages.len() > 8, "{pages:?}");
    let broken: Vec<String> = pages.iter().flat_map(|page| broken(page)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn headings_have_the_anchors_that_code_hosts_give_them() {
    let anchors = anchors(
        "# What is scanned, and what is not\n```sh\n# no heading\n```\n## `a_b`-c: D\n## Notes\n## Notes\n",
    );
    let wanted = ["a_b-c-d", "notes", "notes-1", "what-is-scanned-and-what-is-not"];
    assert_eq!(anchors.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

/// The pages for people: in the root, in docs/, and beside the crates.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut folders = vec![root.clone(), root.join("docs")];
    folders.extend(fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path()));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let mut pages: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

fn broken(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let targets = prose(&text).flat_map(targets).map(str::to_owned).collect::<Vec<_>>();
    let ours = targets.into_iter().filter(|target| !target.contains("://"));
    ours.filter(|target| !leads_somewhere(page, target))
        .map(|target| format!("{}: {target}", page.display()))
        .collect()
}

fn leads_somewhere(page: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
    if anchor.is_empty() {
        return path.exists();
    }
    fs::read_to_string(path).is_ok_and(|text| anchors(&text).contains(anchor))
}

/// The lines that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// What `](…)` holds.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text) {
        let Some((marks, title)) = line.split_once(' ') else { continue };
        if marks.is_empty() || !marks.bytes().all(|mark| mark == b'#') {
            continue;
        }
        let kept = title.to_lowercase();
        let kept = kept.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        // A title that comes again gets a number.
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}
