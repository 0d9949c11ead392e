//! Threads whose answers one order must explain; `lsm-sim linearizability` runs more of the same.

#[test]
fn one_order_explains_what_threads_see_through_kills_and_power_cuts() {
    let figures =
        lsm_sim::linearizability::run(0..48, || ()).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(figures.count("linearizability.histories"), 48);
    assert!(figures.count("linearizability.crashes") > 0, "{figures}");
}
