//! Runs what the documentation shows: the examples of every crate, and the Rust in README.md and in the
//! pages for users.
//!
//! Each runs in an empty directory of its own below `target/xtask`, so that an example may create
//! "my.db" where it stands, as a reader's first program would.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::Result;
use crate::invocation::Invocation;
use crate::workspace::{self, Workspace};

/// Something that cargo has built.
struct Artifact {
    name: String,
    kinds: Vec<String>,
    executable: Option<String>,
    files: Vec<String>,
}

/// Runs the examples that `names` lists, or all if it is empty; `false` when one fails.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    let workspace = Workspace::read()?;
    let mut examples: Vec<(String, String)> = build("--workspace --examples --all-features")?
        .into_iter()
        .filter(|artifact| artifact.kinds.iter().any(|kind| kind == "example"))
        .filter_map(|artifact| Some((artifact.name, artifact.executable?)))
        .collect();
    examples.sort();
    if let Some(unknown) = names.iter().find(|name| !examples.iter().any(|(own, _)| own == *name)) {
        return Err(format!("no crate has an example `{unknown}`").into());
    }
    let mut all_succeeded = true;
    for (name, executable) in examples {
        if names.is_empty() || names.contains(&name) {
            all_succeeded &= run_one(&name, executable, &workspace)?;
        }
    }
    Ok(all_succeeded)
}

/// Runs one example, quietly: what it prints is shown only if it fails or was asked for by name.
fn run_one(name: &str, executable: String, workspace: &Workspace) -> Result<bool> {
    let directory = empty_directory(&workspace.target_directory, name)?;
    let begun = Instant::now();
    let (succeeded, printed) =
        Invocation::new(executable).in_directory(directory).output_and_success()?;
    let verdict = if succeeded { "ok" } else { "FAILED" };
    println!("  {name:<28}{verdict:<8}{:>6.1} s", begun.elapsed().as_secs_f64());
    if !succeeded {
        print!("{printed}");
        println!("      rerun: cargo xtask examples {name}");
    }
    Ok(succeeded)
}

/// Where the pages for users lie, whose Rust is run too, unless it is marked `rust,ignore`.
const PAGES: &str = "docs/operations";

/// Compiles and runs the Rust blocks of README.md and of the pages as a stranger's program would be:
/// against the engine with its default features.
pub(crate) fn run_readme() -> Result<bool> {
    let workspace = Workspace::read()?;
    let library = build("--package lsm-engine --lib")?
        .into_iter()
        .filter(|artifact| artifact.name == "lsm_engine")
        .flat_map(|artifact| artifact.files)
        .find(|file| file.ends_with(".rlib"))
        .ok_or("cargo did not say where the library of lsm-engine is")?;
    let directory = Path::new(&library).parent().unwrap_or(Path::new(".")).join("deps");
    let mut all_succeeded = true;
    for page in pages()? {
        all_succeeded &= run_page(&page, &library, &directory, &workspace)?;
    }
    Ok(all_succeeded)
}

/// README.md, and those pages that hold Rust.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![workspace::root().join("README.md")];
    for entry in std::fs::read_dir(workspace::root().join(PAGES))? {
        let page = entry?.path();
        if std::fs::read_to_string(&page)?.lines().any(|line| line == "```rust") {
            pages.push(page);
        }
    }
    pages.sort();
    Ok(pages)
}

fn run_page(page: &Path, library: &str, directory: &Path, workspace: &Workspace) -> Result<bool> {
    Invocation::new(std::env::var("RUSTDOC").unwrap_or_else(|_| "rustdoc".to_owned()))
        .arguments(["--test", "--edition", "2024"])
        .arguments(["--extern".to_owned(), format!("lsm_engine={library}")])
        .arguments(["-L".to_owned(), format!("dependency={}", directory.display())])
        .arguments([page.display().to_string()])
        .in_directory(empty_directory(&workspace.target_directory, "readme")?)
        .run()
}

/// Builds what `words` select and says what came of it.
fn build(words: &str) -> Result<Vec<Artifact>> {
    let messages = Invocation::cargo("build --quiet --message-format json-render-diagnostics")
        .arguments(words.split_whitespace())
        .output()?;
    messages
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?))
        .filter_map(|message| message.map(|message| artifact(&message)).transpose())
        .collect()
}

fn artifact(message: &Value) -> Option<Artifact> {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    (message["reason"] == "compiler-artifact").then(|| Artifact {
        name: message["target"]["name"].as_str().unwrap_or_default().to_owned(),
        kinds: texts(&message["target"]["kind"]),
        executable: message["executable"].as_str().map(str::to_owned),
        files: texts(&message["filenames"]),
    })
}

/// The directory `target/xtask/NAME`, emptied of what an earlier run left.
fn empty_directory(target_directory: &Path, name: &str) -> Result<PathBuf> {
    let directory = target_directory.join("xtask").join(name);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("could not empty {}: {error}", directory.display()).into());
        }
        _ => {}
    }
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_what_cargo_reports_only_artifacts_count() {
        assert!(artifact(&json!({ "reason": "build-finished" })).is_none());
        let journal = artifact(&json!({
            "reason": "compiler-artifact",
            "target": { "name": "event_journal", "kind": ["example"] },
            "executable": "/target/debug/examples/event_journal",
            "filenames": ["/target/debug/examples/event_journal"],
        }));
        let journal = journal.unwrap();
        assert_eq!(
            (journal.name.as_str(), journal.kinds.as_slice()),
            ("event_journal", &["example".to_owned()][..])
        );
        assert!(journal.executable.is_some() && journal.files.len() == 1);
    }
}
