//! Puts the report into the page for users, between two markers.

use crate::{Result, workspace};

const PAGE: &str = "docs/fault-model.md";
const BEGIN: &str = "<!-- figures: begin, written by cargo xtask torture --report --write -->\n";
const END: &str = "<!-- figures: end -->\n";

/// Replaces what stands between the markers.
pub(crate) fn write(report: &str) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let told = |error| format!("could not read or write {PAGE}: {error}");
    let page = std::fs::read_to_string(&path).map_err(told)?;
    let page = replaced(&page, report)?;
    std::fs::write(&path, page).map_err(told)?;
    println!("{PAGE} has the figures");
    Ok(())
}

fn replaced(page: &str, report: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| {
        format!("{PAGE} lacks the lines `{}` and `{}`", BEGIN.trim_end(), END.trim_end())
    })?;
    Ok(format!("{before}{BEGIN}{report}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_markers_is_replaced_and_nothing_else() {
        let page = format!("one\n{BEGIN}old\n{END}two\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), format!("one\n{BEGIN}new\n{END}two\n"));
    }

    #[test]
    fn a_page_without_markers_is_refused() {
        assert!(replaced("one\n", "new\n").unwrap_err().to_string().contains("lacks the lines"));
    }

    #[test]
    fn the_page_has_its_markers() {
        let page = std::fs::read_to_string(workspace::root().join(PAGE)).unwrap();
        assert!(replaced(&page, "").is_ok());
    }
}
