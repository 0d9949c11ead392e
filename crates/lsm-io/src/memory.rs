//! How much memory this process may use.
//!
//! A container's limit is that of a control group, of the first version (`memory.limit_in_bytes`)
//! or the second (`memory.max`). Groups lie within each other, and the tightest limit counts. The
//! machine's own memory is the outermost limit of all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the first version calls no limit is a little less than 2^63; nobody has so much.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// The most memory that this process may use, in bytes: what its container is allowed, or what the
/// machine has if that is less. `None` where the system does not tell. Asked of the system once.
///
/// ```
/// if let Some(bytes) = lsm_io::memory_limit_bytes() {
///     println!("this process may use {} MiB", bytes >> 20);
/// }
/// ```
pub fn memory_limit_bytes() -> Option<u64> {
    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    *LIMIT.get_or_init(|| limit_of_system(Path::new("/")))
}

/// The limit by the files of a system whose root is `root`.
fn limit_of_system(root: &Path) -> Option<u64> {
    let groups = read(root, "proc/self/cgroup").unwrap_or_default();
    let mounts = read(root, "proc/self/mountinfo").unwrap_or_default();
    let of_groups = mounts.lines().filter_map(Hierarchy::parse).filter_map(|hierarchy| {
        let group = groups.lines().find_map(|line| hierarchy.group(line))?;
        hierarchy.limit(root, group)
    });
    of_groups.chain(machine_bytes(root)).min()
}

/// A mounted tree of control groups that can limit memory.
struct Hierarchy<'a> {
    /// The group that is seen at the mount's top.
    top: &'a str,
    mounted_at: &'a str,
    is_second_version: bool,
}

impl<'a> Hierarchy<'a> {
    /// Of a line such as `36 32 0:31 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory`.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (top, mounted_at) = (fields.next()?, fields.next()?);
        let mut kind = kind.split(' ');
        let is_second_version = match kind.next()? {
            "cgroup2" => true,
            "cgroup" if kind.nth(1)?.split(',').any(|option| option == "memory") => false,
            _ => return None,
        };
        Some(Self { top, mounted_at, is_second_version })
    }

    /// The group in this hierarchy, if that is what a line such as `4:memory:/box` tells.
    fn group(&self, line: &'a str) -> Option<&'a str> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        let is_ours = if self.is_second_version {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "memory")
        };
        is_ours.then_some(group)
    }

    /// The tightest limit of a group and of those that it lies in, as far up as is mounted.
    fn limit(&self, root: &Path, group: &str) -> Option<u64> {
        let file = if self.is_second_version { "memory.max" } else { "memory.limit_in_bytes" };
        // A container may see its own group as the top one, under which the group's path, as seen
        // from outside, is not to be found.
        let below = Path::new(group).strip_prefix(self.top).unwrap_or(Path::new(""));
        let limits = below.ancestors().filter_map(|group| {
            let text = read(root, PathBuf::from(self.mounted_at).join(group).join(file))?;
            // The second version says "max" where there is none.
            text.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED_BYTES)
        });
        limits.min()
    }
}

/// What the machine has.
fn machine_bytes(root: &Path) -> Option<u64> {
    let text = read(root, "proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn read(root: &Path, path: impl AsRef<Path>) -> Option<String> {
    let path = path.as_ref();
    fs::read_to_string(root.join(path.strip_prefix("/").unwrap_or(path))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a system that has these files and no others.
    #[track_caller]
    fn check_limit(files: &[(&str, &str)], expected: Option<u64>) {
        let root = tempfile::tempdir().expect("a directory for the test");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a path of a file")).expect("made");
            fs::write(path, text).expect("written");
        }
        assert_eq!(limit_of_system(root.path()), expected);
    }

    const MEMORY: (&str, &str) = ("proc/meminfo", "MemTotal:  1024 kB\nMemFree: 1 kB\n");
    const FIRST: (&str, &str) =
        ("proc/self/mountinfo", "36 32 0:31 / /cg/memory rw shared:1 - cgroup none rw,memory\n");
    const SECOND: (&str, &str) =
        ("proc/self/mountinfo", "30 23 0:26 / /cg rw,nosuid - cgroup2 cgroup2 rw\n");

    #[test]
    fn without_groups_the_machine_is_the_limit() {
        check_limit(&[MEMORY], Some(1 << 20));
        check_limit(&[], None);
    }

    #[test]
    fn a_group_of_the_first_version_limits_and_so_do_those_it_lies_in() {
        let group = ("proc/self/cgroup", "5:cpu:/x\n4:memory:/pod/box\n0::/\n");
        let unlimited = ("cg/memory/pod/box/memory.limit_in_bytes", "9223372036854771712\n");
        check_limit(&[MEMORY, FIRST, group, unlimited], Some(1 << 20));
        let pod = ("cg/memory/pod/memory.limit_in_bytes", "65536\n");
        check_limit(&[MEMORY, FIRST, group, unlimited, pod], Some(65_536));
        let own = ("cg/memory/pod/box/memory.limit_in_bytes", "4096\n");
        check_limit(&[MEMORY, FIRST, group, own, pod], Some(4096));
    }

    #[test]
    fn a_group_of_the_second_version_limits() {
        let group = ("proc/self/cgroup", "0::/box\n");
        check_limit(&[MEMORY, SECOND, group, ("cg/box/memory.max", "8192\n")], Some(8192));
        check_limit(&[MEMORY, SECOND, group, ("cg/box/memory.max", "max\n")], Some(1 << 20));
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_top_finds_its_limit() {
        let mount = "36 32 0:31 /docker/7f /cg/memory ro - cgroup none rw,memory\n";
        let files = [
            ("proc/self/mountinfo", mount),
            ("proc/self/cgroup", "4:memory:/docker/7f\n"),
            ("cg/memory/memory.limit_in_bytes", "12288\n"),
        ];
        check_limit(&files, Some(12_288));
        // Seen from inside of a namespace, the group is the top itself.
        let inside = ("proc/self/cgroup", "4:memory:/\n");
        check_limit(&[files[0], inside, files[2]], Some(12_288));
    }
}
