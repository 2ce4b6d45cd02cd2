//! The kill loop at the size of a test; `examples/kill_loop.rs` is the same at any size.

use super::bench;
use crate::kill_loop::scenarios::{Coordinator, TornWrites, TwoCoordinators, Workers};
use crate::kill_loop::table::{self, Line};
use crate::kill_loop::{self, Reference, Scenario};
use crate::market::fresh;
use huracan_core::words::Seed;
use huracan_jobs::testing::Cluster;
use std::rc::Rc;

#[test]
fn runs_killed_at_seeded_instants_end_in_the_bytes_of_an_undisturbed_one() {
    let place = fresh("kill-loop");
    let bench = bench();
    let cluster = Cluster::start();
    let queue = cluster.as_ref().map_or_else(String::new, Cluster::url);
    let mut scenarios: Vec<(Box<dyn Scenario>, u64)> = vec![
        (Box::new(Coordinator("first-night")), 6),
        (Box::new(TornWrites), 3),
        (Box::new(TwoCoordinators), 3),
    ];
    if cluster.is_some() {
        scenarios.push((Box::new(Workers { queue, lives: 0 }), 4));
    }
    let reference = Rc::new(Reference::make(&bench, &place.join("undisturbed"), None).unwrap());
    let mut lines = Vec::new();
    for (mut scenario, kills) in scenarios {
        let name = scenario.name();
        let tally = kill_loop::run(&bench, &reference, scenario.as_mut(), &place, kills, Seed(11)).unwrap();
        assert!(tally.kills >= kills && tally.completed > 0 && tally.looked_at >= tally.completed);
        lines.push(Line { name, tally, reference: reference.clone() });
    }
    println!("{}\n{:#}", table::text(&lines), table::json(&lines, 11));
    for line in &lines {
        assert_eq!(line.tally.violations(), Vec::<String>::new());
    }
    let refused: u64 = lines.iter().map(|line| line.tally.refused).sum();
    assert!(refused > 0, "nobody was turned away from a store in use");
}
