//! Tests that others wrote for any store: `kvdb-shared-tests`, all of them, unchanged.

mod columns;

use columns::Columns;
use kvdb_shared_tests as shared;

/// Runs one of their tests against an empty database with `columns` columns.
#[track_caller]
fn check_shared(columns: u32, test: fn(&dyn kvdb::KeyValueDB) -> std::io::Result<()>) {
    let dir = tempfile::tempdir().expect("a directory");
    let columns = Columns::open(dir.path(), columns).expect("opens");
    test(&columns).expect("no error");
}

#[test]
fn what_was_put_is_got() {
    check_shared(1, shared::test_put_and_get);
}

#[test]
fn what_was_deleted_is_gone() {
    check_shared(1, shared::test_delete_and_get);
}

#[test]
fn a_column_that_is_not_there_is_an_error() {
    check_shared(1, shared::test_get_fails_with_non_existing_column);
}

#[test]
fn writing_clears_what_was_buffered() {
    check_shared(1, shared::test_write_clears_buffered_ops);
}

#[test]
fn iterating_is_in_order() {
    check_shared(1, shared::test_iter);
}

#[test]
fn iterating_over_a_prefix_stays_within_it() {
    check_shared(1, shared::test_iter_with_prefix);
}

#[test]
fn reads_and_writes_are_counted() {
    check_shared(shared::IO_STATS_NUM_COLUMNS, shared::test_io_stats);
}

#[test]
fn a_prefix_is_deleted_whole_and_nothing_else() {
    check_shared(shared::DELETE_PREFIX_NUM_COLUMNS, shared::test_delete_prefix);
}

#[test]
fn all_of_it_together() {
    check_shared(1, shared::test_complex);
}
