//! What each kind of power cut keeps, and what none may take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsm_io::{CrashPolicy, Fs, OpenMode, SharedFile, SimFs};

use crate::rng::Rng;

const HERE: &str = "";

fn create(fs: &SimFs, name: &str) -> SharedFile {
    fs.open(Path::new(name), OpenMode::CreateNew).expect("created")
}

/// A disk with one durable file of 2048 bytes of 'a', under the name "log".
fn disk_with_a_log() -> (SimFs, SharedFile) {
    let fs = SimFs::new(0);
    let file = create(&fs, "log");
    file.write_at(0, &[b'a'; 2048]).expect("written");
    file.sync().expect("synced");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    (fs, file)
}

fn names(fs: &SimFs) -> Vec<String> {
    fs.files().into_iter().map(|(path, _)| path.display().to_string()).collect()
}

/// All files with their bytes, which a mapping shows as well.
fn contents(fs: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let content = |path: &PathBuf| {
        let bytes = fs.read_file(path);
        let mapping = fs.open(path, OpenMode::Read).and_then(|file| file.map()).expect("mapped");
        assert_eq!(&*mapping, bytes, "{} mapped", path.display());
        bytes
    };
    fs.files().into_iter().map(|(path, _)| (path.clone(), content(&path))).collect()
}

/// Every different outcome of a policy over many seeds.
fn outcomes<T: Ord>(fs: &SimFs, policy: CrashPolicy, look: impl Fn(&SimFs) -> T) -> Vec<T> {
    let mut outcomes: Vec<T> = (0..400).map(|seed| look(&fs.crash_image(policy, seed))).collect();
    outcomes.sort();
    outcomes.dedup();
    outcomes
}

// --- the eight policies, each by what sets it apart ---

#[test]
fn what_is_stored_is_a_step_and_durable_once_synced() {
    let (fs, log) = disk_with_a_log();
    let stores = log.map_for_stores().expect("mapped").expect("a simulated disk can");
    let steps = fs.count_steps(|_| stores.store(0, b"synced").expect("stored"));
    assert_eq!(steps, 1);
    log.sync().expect("synced");
    stores.store(6, b" and not").expect("stored");
    let image = |policy| fs.crash_image(policy, 0).read_file("log")[..14].to_vec();
    assert_eq!(image(CrashPolicy::LoseUnsynced), b"syncedaaaaaaaa");
    assert_eq!(fs.kill_image().read_file("log")[..14], *b"synced and not");
}

#[test]
fn what_is_written_through_is_durable_and_what_lies_in_other_pages_is_not() {
    let fs = SimFs::new(0);
    let file = create(&fs, "log");
    file.write_at(0, &[b'a'; 16 << 10]).expect("written");
    file.sync().expect("synced");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    file.write_at(4000, &[b'b'; 9000]).expect("written");
    file.write_through(5000, b"durable").expect("written through");
    let lost = fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("log");
    let mut expected = [b'a'; 16 << 10];
    expected[4096..8192].fill(b'b');
    expected[5000..5007].copy_from_slice(b"durable");
    assert_eq!(lost, expected);
    for policy in CrashPolicy::ALL {
        for image in outcomes(&fs, policy, |image| image.read_file("log")) {
            assert_eq!(image[4096..8192], expected[4096..8192], "{policy}");
        }
    }
    let behind = |image: &SimFs| image.read_file("log")[8192..13_000].contains(&b'b');
    assert_eq!(outcomes(&fs, CrashPolicy::FilePrefixes, behind), [false, true]);
}

#[test]
fn what_is_written_through_past_the_end_takes_the_rest_with_it() {
    let (fs, log) = disk_with_a_log();
    log.write_at(0, b"before").expect("written");
    log.write_through(2048, b"behind").expect("written through");
    let lost = fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("log");
    assert_eq!((&lost[..6], &lost[2048..]), (&b"before"[..], &b"behind"[..]));
}

#[test]
fn lose_unsynced_keeps_the_last_sync_of_each_file_and_directory() {
    let (fs, log) = disk_with_a_log();
    log.write_at(0, b"changed").expect("written");
    log.set_len(9000).expect("extended");
    create(&fs, "new").sync().expect("synced");
    fs.rename(Path::new("log"), Path::new("renamed")).expect("renamed");
    let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
    assert_eq!(names(&image), ["log"], "the new names were not synced, though a file was");
    assert_eq!(image.read_file("log"), [b'a'; 2048]);
}

#[test]
fn keep_everything_is_a_late_power_cut() {
    let (fs, log) = disk_with_a_log();
    log.write_at(1000, &[b'b'; 3000]).expect("written");
    fs.rename(Path::new("log"), Path::new("renamed")).expect("renamed");
    create(&fs, "new");
    let image = fs.crash_image(CrashPolicy::KeepEverything, 0);
    assert_eq!(contents(&image), contents(&fs));
}

#[test]
fn a_global_prefix_never_has_a_later_change_without_the_earlier_ones() {
    let fs = SimFs::new(0);
    let (left, right) = (create(&fs, "left"), create(&fs, "right"));
    fs.sync_dir(Path::new(HERE)).expect("synced");
    for round in 0..4 {
        left.write_at(round, b"x").expect("written");
        right.write_at(round, b"x").expect("written");
    }
    let lengths = |fs: &SimFs| (fs.read_file("left").len(), fs.read_file("right").len());
    let expected = (0..=8).map(|kept: usize| (kept.div_ceil(2), kept / 2)).collect::<Vec<_>>();
    assert_eq!(outcomes(&fs, CrashPolicy::GlobalPrefix, lengths), expected);
}

#[test]
fn a_global_prefix_counts_names_and_bytes_in_one_order() {
    let (fs, log) = disk_with_a_log();
    log.write_at(2048, b"x").expect("written");
    create(&fs, "new");
    log.write_at(2049, b"x").expect("written");
    let look = |fs: &SimFs| (fs.read_file("log").len(), fs.files().len());
    let expected = [(2048, 1), (2049, 1), (2049, 2), (2050, 2)];
    assert_eq!(outcomes(&fs, CrashPolicy::GlobalPrefix, look), expected);
}

#[test]
fn a_prefix_may_end_inside_a_write() {
    let (fs, log) = disk_with_a_log();
    log.write_at(2048, &[b'b'; 10]).expect("written");
    for policy in [CrashPolicy::GlobalPrefix, CrashPolicy::FilePrefixes] {
        let lengths = outcomes(&fs, policy, |image| image.read_file("log").len());
        assert_eq!(lengths, (2048..=2058).collect::<Vec<_>>(), "{policy}");
    }
}

#[test]
fn file_prefixes_are_independent() {
    let fs = SimFs::new(0);
    let (left, right) = (create(&fs, "left"), create(&fs, "right"));
    fs.sync_dir(Path::new(HERE)).expect("synced");
    left.write_at(0, b"x").expect("written");
    right.write_at(0, b"x").expect("written");
    let lengths = |fs: &SimFs| (fs.read_file("left").len(), fs.read_file("right").len());
    let all_four = [(0, 0), (0, 1), (1, 0), (1, 1)];
    assert_eq!(outcomes(&fs, CrashPolicy::FilePrefixes, lengths), all_four);
}

#[test]
fn any_sectors_survive_and_the_last_one_is_torn() {
    let (fs, log) = disk_with_a_log();
    log.write_at(0, &[b'b'; 2048]).expect("written");
    let images = outcomes(&fs, CrashPolicy::Sectors, |image| image.read_file("log"));
    let sector = |image: &[u8], index: usize| image[index * 512..(index + 1) * 512].to_vec();
    let (old, new) = (vec![b'a'; 512], vec![b'b'; 512]);
    for (first, second, third) in [(&old, &old, &new), (&new, &old, &new), (&old, &new, &old)] {
        assert!(images.iter().any(|image| {
            [sector(image, 0), sector(image, 1), sector(image, 2)]
                == [first.clone(), second.clone(), third.clone()]
        }));
    }
    for image in &images {
        assert!((0..3).all(|index| [&old, &new].contains(&&sector(image, index))));
        let last = sector(image, 3);
        let torn_at = last.iter().take_while(|&&byte| byte == b'b').count();
        assert!(last[torn_at..].iter().all(|&byte| byte == b'a'));
    }
    assert!(images.iter().any(|image| sector(image, 3).starts_with(b"b") && image.ends_with(b"a")));
}

#[test]
fn sectors_survive_without_the_length_that_holds_them_and_lengths_without_sectors() {
    let (fs, log) = disk_with_a_log();
    log.write_at(2048, &[b'b'; 512]).expect("written");
    log.write_at(2560, &[b'c'; 512]).expect("written");
    let images = outcomes(&fs, CrashPolicy::Sectors, |image| image.read_file("log"));
    let has = |tail: &[&[u8]]| images.iter().any(|image| image[2048..] == *tail.concat());
    assert!(has(&[]), "no length, whatever was written");
    assert!(has(&[&[0; 512]]), "length without data");
    assert!(has(&[&[0; 512], &[b'c'; 512]]), "the second write without the first");
}

#[test]
fn sizes_survive_without_data() {
    let (fs, log) = disk_with_a_log();
    log.write_at(1024, &[b'b'; 2048]).expect("written");
    let image = fs.crash_image(CrashPolicy::SizesWithoutData, 0);
    let expected = [vec![b'a'; 2048], vec![0; 1024]].concat();
    assert_eq!(image.read_file("log"), expected);
}

#[test]
fn renames_survive_before_the_data_of_the_renamed_file() {
    let fs = SimFs::new(0);
    let current = create(&fs, "CURRENT");
    current.write_at(0, b"old").expect("written");
    current.sync().expect("synced");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    let temp = create(&fs, "CURRENT.tmp");
    temp.write_at(0, b"new").expect("written");
    // The mistake: no sync here.
    fs.rename(Path::new("CURRENT.tmp"), Path::new("CURRENT")).expect("renamed");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    let image = fs.crash_image(CrashPolicy::RenamesBeforeData, 0);
    assert_eq!(names(&image), ["CURRENT"]);
    assert_eq!(image.read_file("CURRENT"), b"", "neither old nor new");
}

#[test]
fn deletions_are_lost() {
    let (fs, _log) = disk_with_a_log();
    fs.create_dir_all(Path::new("dir/below")).expect("created");
    create(&fs, "dir/below/file");
    for dir in ["dir/below", "dir", HERE] {
        fs.sync_dir(Path::new(dir)).expect("synced");
    }
    fs.rename(Path::new("log"), Path::new("recycled")).expect("renamed");
    fs.remove_dir_all(Path::new("dir")).expect("removed");
    assert_eq!(names(&fs), ["recycled"]);
    let image = fs.crash_image(CrashPolicy::LostDeletions, 0);
    assert_eq!(names(&image), ["dir/below/file", "log", "recycled"]);
    assert_eq!(image.read_file("log"), image.read_file("recycled"), "one file, two names");
}

#[test]
fn a_file_created_and_removed_since_the_last_sync_can_come_back() {
    let (fs, _log) = disk_with_a_log();
    fs.create_dir_all(Path::new("dir")).expect("created");
    create(&fs, "dir/short-lived");
    fs.remove_file(Path::new("dir/short-lived")).expect("removed");
    // Names elsewhere become durable, some for the last time; what is pending stays pending.
    fs.remove_file(Path::new("log")).expect("removed");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    let image = fs.crash_image(CrashPolicy::LostDeletions, 0);
    assert_eq!(names(&image), ["dir/short-lived"]);
}

#[test]
fn a_renamed_directory_has_one_name_after_every_power_cut() {
    let fs = SimFs::new(0);
    fs.create_dir_all(Path::new("left")).expect("created");
    create(&fs, "left/file");
    fs.create_dir_all(Path::new("another")).expect("created");
    fs.create_dir_all(Path::new("other")).expect("created");
    fs.sync_dir(Path::new("left")).expect("synced");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    for target in ["right", "another/dir", "other/dir"] {
        let fs = fs.kill_image();
        fs.rename(Path::new("left"), Path::new(target)).expect("renamed");
        let (old, new) = (vec!["left/file".to_owned()], vec![format!("{target}/file")]);
        for policy in CrashPolicy::ALL {
            for found in outcomes(&fs, policy, names) {
                assert!(found == old || found == new, "{policy}: {found:?}");
            }
        }
    }
}

#[test]
fn of_an_unsynced_rename_either_name_survives_or_both_but_never_none() {
    let (fs, _log) = disk_with_a_log();
    fs.rename(Path::new("log"), Path::new("recycled")).expect("renamed");
    let expected = [vec!["log"], vec!["log", "recycled"], vec!["recycled"]];
    assert_eq!(outcomes(&fs, CrashPolicy::Sectors, names), expected);
}

#[test]
fn a_move_to_another_directory_is_settled_name_by_name() {
    let (fs, _log) = disk_with_a_log();
    fs.create_dir_all(Path::new("lost")).expect("created");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    fs.rename(Path::new("log"), Path::new("lost/log")).expect("renamed");
    fs.sync_dir(Path::new("lost")).expect("synced");
    let both = names(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert_eq!(both, ["log", "lost/log"], "the old name's directory was not synced");
    fs.sync_dir(Path::new(HERE)).expect("synced");
    let one = names(&fs.crash_image(CrashPolicy::LostDeletions, 0));
    assert_eq!(one, ["lost/log"]);
}

#[test]
fn a_directory_is_lost_with_all_that_is_in_it_until_its_parent_is_synced() {
    let fs = SimFs::new(0);
    fs.create_dir_all(Path::new("db")).expect("created");
    create(&fs, "db/file").sync().expect("synced");
    fs.sync_dir(Path::new("db")).expect("synced");
    assert_eq!(names(&fs.crash_image(CrashPolicy::LoseUnsynced, 0)), [""; 0]);
    fs.sync_dir(Path::new(HERE)).expect("synced");
    assert_eq!(names(&fs.crash_image(CrashPolicy::LoseUnsynced, 0)), ["db/file"]);
}

// --- what holds for all policies ---

/// Random changes to a few files in two directories; open handles come and go.
fn change_at_random(fs: &SimFs, rng: &mut Rng) {
    const PATHS: [&str; 6] = ["a", "b", "c", "d/a", "d/b", "d/c"];
    let (path, other) = (Path::new(rng.pick(&PATHS)), Path::new(rng.pick(&PATHS)));
    let open = |mode| fs.open(path, mode);
    // Most calls may fail, as where there is no such file: that changes nothing.
    let _ = match rng.below(9) {
        0 | 1 => open(OpenMode::CreateNew).map(drop),
        2 => fs.rename(path, other),
        3 => fs.remove_file(path),
        4 => fs.hard_link(path, other),
        5 => open(OpenMode::ReadWrite).and_then(|file| file.set_len(rng.below(6000) as u64)),
        6 => open(OpenMode::ReadWrite).and_then(|file| file.sync()),
        _ => open(OpenMode::ReadWrite)
            .and_then(|file| file.write_at(rng.below(5000) as u64, &rng.bytes(3000))),
    };
}

fn sync_all(fs: &SimFs) {
    for (path, _) in fs.files() {
        fs.open(&path, OpenMode::Read).and_then(|file| file.sync()).expect("synced");
    }
    for dir in ["d", HERE] {
        fs.sync_dir(Path::new(dir)).expect("synced");
    }
}

#[test]
fn what_was_synced_is_there_after_every_power_cut() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let fs = SimFs::new(seed);
        fs.create_dir_all(Path::new("d")).expect("created");
        for round in 0..8 {
            for _ in 0..rng.below(40) {
                change_at_random(&fs, &mut rng);
            }
            let seen = contents(&fs);
            let late = fs.crash_image(CrashPolicy::KeepEverything, 0);
            assert_eq!(contents(&late), seen, "seed {seed}, round {round}: a late cut");
            sync_all(&fs);
            for policy in CrashPolicy::ALL {
                let image = fs.crash_image(policy, seed);
                assert_eq!(contents(&image), seen, "seed {seed}, round {round}: {policy}");
            }
            for _ in 0..rng.below(10) {
                change_at_random(&fs, &mut rng);
            }
            let nothing_new = fs.crash_image(CrashPolicy::LoseUnsynced, seed);
            // Changes since then may have included syncs of files, so only names are compared.
            assert!(names(&nothing_new).iter().eq(seen.keys().map(|it| it.to_str().unwrap())));
        }
    }
}

#[test]
fn an_image_is_durable_and_repeatable_and_leaves_the_original_alone() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let fs = SimFs::new(seed);
        fs.create_dir_all(Path::new("d")).expect("created");
        sync_all(&fs);
        (0..60).for_each(|_| change_at_random(&fs, &mut rng));
        let before = contents(&fs);
        for policy in CrashPolicy::ALL {
            let image = fs.crash_image(policy, seed);
            let found = contents(&image);
            assert_eq!(contents(&fs.crash_image(policy, seed)), found, "{policy} repeats");
            for again in CrashPolicy::ALL {
                let second = image.crash_image(again, seed + 1);
                assert_eq!(contents(&second), found, "{policy}, then {again}");
            }
            (0..10).for_each(|_| change_at_random(&image, &mut rng));
            assert_eq!(contents(&fs), before, "the original after changes to its image");
        }
    }
}

#[test]
fn restarts_meet_every_policy_in_time() {
    let lengths: std::collections::BTreeSet<usize> = (0..200)
        .map(|seed| {
            let fs = SimFs::new(seed);
            let log = create(&fs, "log");
            fs.sync_dir(Path::new(HERE)).expect("synced");
            log.write_at(0, &[1; 4]).expect("written");
            fs.restart().read_file("log").len()
        })
        .collect();
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_killed_process_loses_nothing_but_its_locks_and_what_a_later_power_cut_takes() {
    let (fs, log) = disk_with_a_log();
    log.write_at(0, b"changed").expect("written");
    let lock = fs.try_lock(Path::new("LOCK"), "process 1").expect("no error");
    let killed = fs.kill_image();
    assert_eq!(contents(&killed), contents(&fs));
    let taken = killed.try_lock(Path::new("LOCK"), "process 2").expect("no error");
    assert!(matches!(taken, lsm_io::LockOutcome::Acquired(_)));
    let power_cut = killed.crash_image(CrashPolicy::LoseUnsynced, 0);
    assert_eq!(power_cut.read_file("log"), [b'a'; 2048], "killing a process syncs nothing");
    drop(lock);
}

// --- crashing at a step ---

/// Replaces a file's content the way that databases do.
fn replace(fs: &SimFs, text: &str) -> lsm_io::Result<()> {
    let (temp, target) = (Path::new("CURRENT.tmp"), Path::new("CURRENT"));
    if fs.exists(temp)? {
        fs.remove_file(temp)?;
    }
    let file = fs.open(temp, OpenMode::CreateNew)?;
    file.write_at(0, text.as_bytes())?;
    file.sync()?;
    fs.rename(temp, target)?;
    fs.sync_dir(Path::new(HERE))
}

#[test]
fn a_replaced_file_is_old_or_new_after_a_crash_at_any_step() {
    let start = SimFs::new(0);
    replace(&start, "the old text").expect("no crash yet");
    let steps = start.kill_image().count_steps(|fs| replace(fs, "the new one"));
    assert_eq!(steps, 5, "create, write, sync, rename, sync of the directory");
    for step in 0..steps {
        let fs = start.kill_image().crash_at(step);
        assert!(replace(&fs, "the new one").is_err());
        assert!(fs.has_crashed());
        for policy in CrashPolicy::ALL {
            for seed in 0..20 {
                let after = fs.crash_image(policy, seed);
                let text = after.read_file("CURRENT");
                let is_whole = text == b"the old text" || text == b"the new one";
                assert!(is_whole, "step {step}, {policy}, seed {seed}: {text:?}");
                replace(&after, "once more").expect("the program goes on");
                assert_eq!(after.restart().read_file("CURRENT"), b"once more");
            }
        }
    }
}

#[test]
fn a_forgotten_sync_is_found() {
    // The check above must be able to fail: without the sync, some policy shows a broken file.
    let broken = (0..4).any(|step| {
        let fs = SimFs::new(0);
        replace(&fs, "the old text").expect("no crash yet");
        let fs = fs.kill_image().crash_at(step);
        let without_sync = || -> lsm_io::Result<()> {
            let file = fs.open(Path::new("CURRENT.tmp"), OpenMode::CreateNew)?;
            file.write_at(0, b"the new one")?;
            fs.rename(Path::new("CURRENT.tmp"), Path::new("CURRENT"))?;
            fs.sync_dir(Path::new(HERE))
        };
        let _ = without_sync();
        CrashPolicy::ALL.iter().any(|policy| {
            let text = fs.crash_image(*policy, 1).read_file("CURRENT");
            text != b"the old text" && text != b"the new one"
        })
    });
    assert!(broken);
}

#[test]
fn an_interrupted_write_may_have_happened_and_an_interrupted_sync_proves_nothing() {
    let (fs, log) = disk_with_a_log();
    log.set_len(0).expect("cut");
    log.sync().expect("synced");
    let write_and_sync = |log: &SharedFile| log.write_at(0, b"text").and_then(|()| log.sync());
    for interrupted in [0, 1] {
        let fs = fs.kill_image();
        let log = fs.open(Path::new("log"), OpenMode::ReadWrite).expect("opened");
        fs.crash_at(interrupted);
        write_and_sync(&log).expect_err("the crash");
        let found = |policy| fs.crash_image(policy, 0).read_file("log");
        assert_eq!(found(CrashPolicy::LoseUnsynced), b"", "step {interrupted}");
        assert_eq!(found(CrashPolicy::KeepEverything), b"text", "step {interrupted}");
    }
}

#[test]
fn after_the_crash_every_call_fails_and_says_why() {
    let (fs, log) = disk_with_a_log();
    fs.crash_at(fs.steps());
    let error = log.write_at(0, b"x").expect_err("the machine is off");
    assert_eq!(error.to_string(), "could not write log: simulated crash");
    assert!(log.len().is_err() && log.read_at(0, &mut [0]).is_err() && log.sync().is_err());
    assert!(fs.exists(Path::new("log")).is_err() && fs.list(Path::new(HERE)).is_err());
}
