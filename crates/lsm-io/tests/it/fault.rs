//! Calls that fail on cue, wait on cue, or find no room.

use std::io::ErrorKind;
use std::path::Path;
use std::thread;

use lsm_io::{CrashPolicy, Fs, OpenMode, SharedFile, SimFs, every, nth, once};

fn create(fs: &SimFs, name: &str) -> SharedFile {
    let file = fs.open(Path::new(name), OpenMode::CreateNew).expect("created");
    fs.sync_dir(Path::new("")).expect("synced");
    file
}

#[test]
fn the_third_sync_of_a_log_fails_once() {
    let fs = SimFs::new(0).fail(nth(3).sync_of("*.log"));
    let (log, table) = (create(&fs, "1.log"), create(&fs, "2.sst"));
    let synced: Vec<bool> = (0..5).map(|_| table.sync().is_ok() && log.sync().is_ok()).collect();
    assert_eq!(synced, [true, true, false, true, true]);
    assert_eq!((fs.synced("*.log"), fs.synced("*.sst")), (4, 5));
}

#[test]
fn a_failure_can_last_until_it_is_healed() {
    let fs = SimFs::new(0);
    let log = create(&fs, "1.log");
    fs.fail(nth(2).write_of("1.log").for_ever().with(ErrorKind::StorageFull));
    log.write_at(0, b"a").expect("the first write passes");
    for _ in 0..3 {
        let error = log.write_at(1, b"b").expect_err("no room");
        assert!(error.is_no_space(), "{error}");
    }
    fs.heal();
    log.write_at(1, b"c").expect("healed");
    assert_eq!(fs.read_file("1.log"), b"ac");
}

#[test]
fn every_kind_of_call_can_fail() {
    let fs = SimFs::new(0);
    let file = create(&fs, "file");
    let here = Path::new("");
    let (old, new) = (Path::new("file"), Path::new("new"));
    let check = |fault: lsm_io::Fault, call: &dyn Fn() -> lsm_io::Result<()>| {
        fs.fail(fault.clone());
        let error = call().expect_err("the fault strikes");
        assert!(error.to_string().ends_with("injected fault"), "{error}");
        fs.heal();
    };
    check(once().sync_of("file"), &|| file.sync());
    check(once().write_of("file"), &|| file.write_at(0, b"x"));
    check(once().write_of("file"), &|| file.set_len(9));
    check(once().read_of("file"), &|| file.read_at(0, &mut []));
    check(once().map_of("file"), &|| file.map().map(drop));
    check(once().create_of("new"), &|| fs.open(new, OpenMode::CreateNew).map(drop));
    check(once().create_of("new"), &|| fs.create_dir_all(new));
    check(once().open_of("file"), &|| fs.open(old, OpenMode::Read).map(drop));
    check(once().rename_of("file"), &|| fs.rename(old, new));
    check(once().rename_of("new"), &|| fs.rename(old, new));
    check(once().link_of("new"), &|| fs.hard_link(old, new));
    check(once().remove_of("file"), &|| fs.remove_file(old));
    check(once().remove_of("new"), &|| fs.remove_dir_all(new));
    check(once().dir_sync_of("*"), &|| fs.sync_dir(here));
    check(once().list_of("*"), &|| fs.list(here).map(drop));
    check(once().lock_of("LOCK"), &|| fs.try_lock(Path::new("LOCK"), "me").map(drop));
    check(once().any_of("file"), &|| file.sync());
    assert_eq!(fs.files(), [(old.to_owned(), 0)], "a refused call has done nothing");
}

#[test]
fn a_short_write_leaves_its_first_half() {
    let fs = SimFs::new(0).fail(once().write_of("*").short());
    let file = create(&fs, "file");
    file.write_at(0, b"abcdef").expect_err("short");
    assert_eq!(fs.read_file("file"), b"abc");
}

#[test]
fn a_short_read_fails() {
    let fs = SimFs::new(0);
    let file = create(&fs, "file");
    file.write_at(0, b"abcdef").expect("written");
    fs.fail(once().read_of("*").short().with(ErrorKind::UnexpectedEof));
    let mut buffer = [0; 6];
    let error = file.read_at(0, &mut buffer).expect_err("short");
    assert_eq!(error.io_kind(), Some(ErrorKind::UnexpectedEof));
    assert_eq!(&buffer, b"abc\0\0\0");
}

#[test]
fn a_failed_sync_drops_the_pages_and_the_next_one_reports_success() {
    let fs = SimFs::new(0).fail(nth(1).sync_of("*.log").losing_pages());
    let log = create(&fs, "1.log");
    log.write_at(0, b"acknowledged?").expect("written");
    log.sync().expect_err("the disk failed");
    log.sync().expect("the kernel has forgotten, and reports success");
    assert_eq!(fs.read_file("1.log"), b"acknowledged?", "readers still see the bytes");
    for policy in CrashPolicy::ALL {
        let after = fs.crash_image(policy, 0).read_file("1.log");
        assert_eq!(after, b"", "no power cut leaves any of it: {policy}");
    }
    log.write_at(8192, b"later").expect("written");
    log.sync().expect("synced");
    let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("1.log");
    assert_eq!(after, [&[0; 8192][..], b"later"].concat(), "a hole, where the lost bytes were");
}

#[test]
fn a_failed_directory_sync_drops_the_names_and_the_next_one_reports_success() {
    let (here, added) = (Path::new(""), Path::new("added"));
    for policy in CrashPolicy::ALL {
        let fs = SimFs::new(0).fail(nth(3).dir_sync_of("*").losing_pages());
        create(&fs, "renamed");
        create(&fs, "removed");
        let file = fs.open(added, OpenMode::CreateNew).expect("created");
        file.sync().expect("synced");
        fs.rename(Path::new("renamed"), Path::new("new")).expect("renamed");
        fs.remove_file(Path::new("removed")).expect("removed");
        let error = fs.sync_dir(here).expect_err("the disk failed");
        assert!(error.is_failed_dir_sync(), "{error}");
        fs.sync_dir(here).expect("the kernel has forgotten, and reports success");
        assert_eq!(names(&fs), ["added", "new"], "readers still see the names");
        let after = fs.crash_image(policy, 0);
        assert_eq!(names(&after), ["removed", "renamed"], "no power cut leaves any: {policy}");
        fs.open(Path::new("later"), OpenMode::CreateNew).expect("created");
        fs.sync_dir(here).expect("synced");
        let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
        assert_eq!(names(&after), ["later", "removed", "renamed"], "a later sync brings none back");
    }
}

fn names(fs: &SimFs) -> Vec<String> {
    let files = fs.files().into_iter();
    files.map(|(path, _)| path.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_plainly_failed_sync_leaves_all_open() {
    let fs = SimFs::new(0).fail(once().sync_of("*.log"));
    let log = create(&fs, "1.log");
    log.write_at(0, b"x").expect("written");
    log.sync().expect_err("injected");
    assert_eq!(fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("1.log"), b"");
    assert_eq!(fs.crash_image(CrashPolicy::KeepEverything, 0).read_file("1.log"), b"x");
}

#[test]
fn a_full_disk_refuses_growth_and_recovers_when_something_goes() {
    let fs = SimFs::new(0);
    let (log, table) = (create(&fs, "log"), create(&fs, "table"));
    table.write_at(0, &[1; 60]).expect("written");
    fs.limit_bytes(100);
    assert_eq!(fs.available_bytes(Path::new("")).expect("an answer"), 40);
    log.write_at(0, &[2; 30]).expect("fits");
    let error = log.write_at(30, &[3; 30]).expect_err("does not fit");
    assert!(error.is_no_space(), "{error}");
    assert_eq!(fs.read_file("log").len(), 40, "what fits is written");
    assert!(log.set_len(41).expect_err("no room").is_no_space());
    log.write_at(0, &[4; 40]).expect("overwriting needs no room");
    fs.remove_file(Path::new("table")).expect("removed");
    assert!(log.set_len(41).expect_err("an open file keeps its room").is_no_space());
    drop(table);
    log.write_at(40, &[5; 60]).expect("now there is room");
    let spare = create(&fs, "spare");
    drop(spare);
    fs.rename(Path::new("spare"), Path::new("log")).expect("a rename needs no room");
    drop(log);
    let log = fs.open(Path::new("new log"), OpenMode::CreateNew).expect("created");
    log.write_at(0, &[6; 100]).expect("what was replaced has given up its room");
    fs.unlimit();
    log.write_at(100, &[6; 60]).expect("and now more");
}

#[test]
fn held_calls_wait_until_they_are_released() {
    let fs = SimFs::new(0);
    let log = create(&fs, "1.log");
    log.write_at(0, b"x").expect("written");
    let hold = fs.hold(every().sync_of("*.log"));
    let steps_before = fs.steps();
    thread::scope(|scope| {
        let syncs = [scope.spawn(|| log.sync()), scope.spawn(|| log.sync())];
        hold.wait_for(2);
        assert_eq!(hold.waiting(), 2);
        assert!(syncs.iter().all(|sync| !sync.is_finished()));
        log.read_at(0, &mut [0]).expect("readers do not wait");
        assert_eq!(fs.steps(), steps_before, "nothing of a held call has happened");
        assert_eq!(fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("1.log"), b"");
        hold.release();
        syncs.into_iter().for_each(|sync| sync.join().expect("no panic").expect("synced"));
    });
    assert_eq!(fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("1.log"), b"x");
    log.sync().expect("later calls pass");
}

#[test]
fn a_hold_can_wait_for_the_second_call_only() {
    let fs = SimFs::new(0);
    let log = create(&fs, "1.log");
    let hold = fs.hold(nth(2).sync_of("1.log"));
    log.sync().expect("the first passes");
    thread::scope(|scope| {
        scope.spawn(|| log.sync());
        hold.wait_for(1);
        log.sync().expect("the third passes");
        drop(hold);
    });
}

#[test]
fn damage_is_durable() {
    let fs = SimFs::new(0);
    let file = create(&fs, "file");
    file.write_at(0, b"right").expect("written");
    let mapping = file.map().expect("mapped");
    fs.damage("file", |bytes| bytes[1] ^= 1);
    assert_eq!(fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file("file"), b"rhght");
    assert_eq!(&*file.map().expect("mapped"), b"rhght");
    assert_eq!(&*mapping, b"right", "a held mapping is a copy");
}

#[test]
fn counters_count_calls_by_name() {
    let fs = SimFs::new(0);
    let file = create(&fs, "db.sst");
    file.write_at(0, &[7; 100]).expect("written");
    file.read_at(10, &mut [0; 30]).expect("read");
    file.map().expect("mapped");
    fs.open(Path::new("db.sst"), OpenMode::Read).expect("opened");
    assert_eq!((fs.bytes_written(), fs.bytes_read()), (100, 30), "mapping reads nothing");
    assert_eq!((fs.opened("*.sst"), fs.mapped("*.sst"), fs.opened("*.log")), (2, 1, 0));
    fs.reset_counters();
    assert_eq!((fs.bytes_written(), fs.bytes_read(), fs.opened("*")), (0, 0, 0));
}

#[test]
fn an_absurd_offset_is_refused_and_not_allocated() {
    let fs = SimFs::new(0);
    let file = create(&fs, "file");
    for offset in [1 << 50, u64::MAX - 1] {
        let error = file.write_at(offset, b"xyz").expect_err("too far");
        assert_eq!(error.io_kind(), Some(ErrorKind::FileTooLarge));
    }
    assert!(file.set_len(u64::MAX).is_err());
    assert_eq!(file.len().expect("an answer"), 0);
}
