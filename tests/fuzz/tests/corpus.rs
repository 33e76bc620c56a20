//! The corpus of every fuzz target, run as it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "code of tests"
)]

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

#[test]
fn every_target_bears_its_corpus() {
    for target in TARGETS {
        let mut files: Vec<PathBuf> =
            fs::read_dir(corpus(target)).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for file in files {
            // Shown with a failure.
            println!("{}", file.display());
            (target.run)(&fs::read(file).unwrap());
        }
    }
}

#[test]
fn the_corpus_has_what_the_cases_give() {
    let update = std::env::var_os("UPDATE").is_some();
    for target in TARGETS {
        for (name, seed) in (target.seeds)() {
            let file = corpus(target).join(name);
            if update {
                fs::create_dir_all(corpus(target)).unwrap();
                fs::write(&file, &seed).unwrap();
            }
            let found = fs::read(&file).ok();
            assert!(
                found.as_ref() == Some(&seed),
                "{} is out of date; UPDATE=1 cargo test -p fuzz writes it",
                file.display()
            );
        }
    }
}

#[test]
fn every_target_has_its_libfuzzer_binary() {
    let bins = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer/src/bin");
    let mut found: Vec<String> = fs::read_dir(bins)
        .unwrap()
        .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut wanted: Vec<&str> = TARGETS.iter().map(|it| it.name).collect();
    found.sort();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}
