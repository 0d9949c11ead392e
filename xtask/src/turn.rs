//! A few of a long list, others at each commit: what a build has no time to try whole.

use crate::invocation::Invocation;

/// How many of a list, and which.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Turn {
    /// Only so many, whose turn it is
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Whose turn it is: the next number continues where this one ends
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "count")]
    rotate: u64,
}

impl Turn {
    /// So many, others at each commit.
    pub(crate) fn of_this_commit(count: usize) -> Self {
        let commit = Invocation::new("git").arguments(["rev-parse", "--short=8", "HEAD"]).output();
        let number = commit.ok().and_then(|hash| u64::from_str_radix(hash.trim(), 16).ok());
        Self { count: Some(count), rotate: number.unwrap_or(0) }
    }

    /// Whether it leaves none out.
    pub(crate) fn is_all(&self) -> bool {
        self.count.is_none()
    }

    /// The words that choose the same; none for the whole list.
    pub(crate) fn words(&self) -> String {
        let count = self.count.map(|count| format!("--count {count} --rotate {}", self.rotate));
        count.unwrap_or_default()
    }

    /// Those of `list` whose turn it is; it begins again after the last.
    pub(crate) fn of<T: Clone>(&self, list: Vec<T>) -> Vec<T> {
        let Some(count) = self.count.filter(|_| !list.is_empty()) else { return list };
        let total = list.len() as u64;
        let first = (self.rotate % total) * count as u64 % total;
        list.iter().cycle().skip(first as usize).take(count.min(list.len())).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_each_other_through_the_whole_list() {
        let bugs = vec!["a", "b", "c", "d"];
        let turn = |count, rotate| Turn { count: Some(count), rotate }.of(bugs.clone());
        assert_eq!(turn(3, 0), ["a", "b", "c"]);
        assert_eq!(turn(3, 1), ["d", "a", "b"]);
        assert_eq!(turn(9, 0), ["a", "b", "c", "d"]);
        assert_eq!(turn(1, u64::MAX), ["d"]);
        assert_eq!(Turn::default().of(bugs.clone()), bugs);
        assert!(Turn::of_this_commit(3).of(Vec::<u8>::new()).is_empty());
    }

    #[test]
    fn the_words_say_which_turn_it_is() {
        assert_eq!(Turn { count: Some(3), rotate: 7 }.words(), "--count 3 --rotate 7");
        assert_eq!(Turn::default().words(), "");
    }
}
