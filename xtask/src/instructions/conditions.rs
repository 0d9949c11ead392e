//! What a count of instructions depends on besides the code that is counted.

use std::collections::BTreeMap;

use crate::Result;
use crate::invocation::Invocation;

/// Names and values; counts made under other ones are not comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions(pub(crate) BTreeMap<String, String>);

impl Conditions {
    /// Those of this machine.
    pub(crate) fn here(valgrind: String) -> Result<Self> {
        let compiler = Invocation::new("rustc").arguments(["-vV"]).output()?;
        // It says how bytes are copied and compared.
        let c_library = Invocation::new("getconf").arguments(["GNU_LIBC_VERSION"]).output();
        let c_library = c_library.unwrap_or_else(|_| "unknown".to_owned());
        let conditions = [
            ("compiler", compiler.lines().next().unwrap_or_default().to_owned()),
            ("target", target(&compiler).to_owned()),
            ("c-library", c_library.trim().to_owned()),
            ("valgrind", valgrind),
            ("vectors", vectors().to_owned()),
        ];
        let named = conditions.into_iter().map(|(name, value)| (name.to_owned(), value));
        Ok(Self(named.collect()))
    }

    /// A sentence for each condition in which `here` is not the same.
    pub(crate) fn differences(&self, here: &Self) -> Vec<String> {
        let value = |conditions: &Self, name: &str| {
            conditions.0.get(name).map_or("unknown", String::as_str).to_owned()
        };
        let names = here.0.keys().filter(|&name| self.0.get(name) != here.0.get(name));
        names
            .map(|name| format!("{name} {} and this is {}", value(self, name), value(here, name)))
            .collect()
    }
}

/// What `rustc -vV` calls the host, for which it also compiles.
fn target(compiler: &str) -> &str {
    compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("unknown")
}

/// Code is chosen by what the processor can do, and fewer instructions do the work of longer vectors.
/// Valgrind shows programs nothing longer than these.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    "none"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(compiler: &str) -> Conditions {
        let named = [("compiler", compiler), ("valgrind", "valgrind-3.19.0")];
        Conditions(named.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn another_compiler_is_told_with_both_versions() {
        let differences = conditions("rustc 1.95.0").differences(&conditions("rustc 1.96.0"));
        assert_eq!(differences, ["compiler rustc 1.95.0 and this is rustc 1.96.0"]);
        assert!(conditions("rustc 1.95.0").differences(&conditions("rustc 1.95.0")).is_empty());
    }

    #[test]
    fn counts_without_conditions_are_comparable_to_nothing() {
        assert_eq!(Conditions::default().differences(&conditions("rustc 1.95.0")).len(), 2);
    }

    #[test]
    fn the_target_is_the_host_of_the_compiler() {
        assert_eq!(
            target("rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\n"),
            "x86_64-unknown-linux-gnu"
        );
    }
}
