//! What cargo knows of the workspace: its packages, their dependencies and their targets.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::invocation::Invocation;

/// The benchmarks: a package of their own outside the workspace, since they bring in dependencies
/// that nothing else here may have.
pub(crate) const BENCHES_MANIFEST: &str = "benches/Cargo.toml";

/// A package that belongs to this repository.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The names of all packages it depends on, for building and testing too.
    pub(crate) dependencies: Vec<String>,
    pub(crate) targets: Vec<Target>,
}

/// Something that cargo builds from a package.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// "lib", "bin", "example", "test", ...
    pub(crate) kinds: Vec<String>,
}

/// The workspace, and where cargo puts what it builds.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the root of the repository").to_owned()
}

impl Workspace {
    /// Asks cargo about the workspace.
    pub(crate) fn read() -> Result<Self> {
        Self::read_manifest("Cargo.toml")
    }

    /// Asks cargo about the workspace of `manifest`, a path from the root of the repository.
    pub(crate) fn read_manifest(manifest: &str) -> Result<Self> {
        let text = Invocation::cargo("metadata --no-deps --format-version 1 --manifest-path")
            .arguments([manifest])
            .output()?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(text)?;
        Ok(Self {
            packages: list(&metadata, "packages")?.iter().map(package).collect::<Result<_>>()?,
            target_directory: PathBuf::from(string(&metadata, "target_directory")?),
        })
    }

    /// The package of this name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

impl Package {
    /// The names of its targets of one kind.
    pub(crate) fn targets_of(&self, kind: &str) -> impl Iterator<Item = &str> {
        let of_kind = move |target: &&Target| target.kinds.iter().any(|own| own == kind);
        self.targets.iter().filter(of_kind).map(|target| target.name.as_str())
    }
}

fn package(value: &Value) -> Result<Package> {
    Ok(Package {
        name: string(value, "name")?,
        dependencies: list(value, "dependencies")?
            .iter()
            .map(|dependency| string(dependency, "name"))
            .collect::<Result<_>>()?,
        targets: list(value, "targets")?.iter().map(target).collect::<Result<_>>()?,
    })
}

fn target(value: &Value) -> Result<Target> {
    let kinds = list(value, "kind")?.iter().filter_map(Value::as_str).map(str::to_owned);
    Ok(Target { name: string(value, "name")?, kinds: kinds.collect() })
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field].as_array().ok_or_else(|| missing(field))
}

fn string(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Box<dyn std::error::Error> {
    format!("cargo metadata lacks the field `{field}`").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_describes_this_workspace() {
        let workspace = Workspace::read().unwrap();
        let xtask = workspace.package("xtask").unwrap();
        assert!(xtask.dependencies.iter().any(|name| name == "clap"));
        assert_eq!(xtask.targets_of("bin").collect::<Vec<_>>(), ["xtask"]);
        assert!(root().join("xtask/Cargo.toml").exists());
    }

    #[test]
    fn a_field_that_cargo_does_not_give_is_named() {
        let error = Workspace::parse("{}").unwrap_err();
        assert_eq!(error.to_string(), "cargo metadata lacks the field `packages`");
    }
}
