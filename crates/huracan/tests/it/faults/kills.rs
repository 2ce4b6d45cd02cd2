//! The kill loop at the size of a test; `examples/kill_loop.rs` is the same at any size.

use super::bench;
use crate::kill_loop::scenarios::{Coordinator, TornWrites, TwoCoordinators};
use crate::kill_loop::table::{self, Line};
use crate::kill_loop::{self, Reference, Scenario};
use crate::market::fresh;
use huracan_core::words::Seed;
use std::rc::Rc;

#[test]
fn runs_killed_at_seeded_instants_end_in_the_bytes_of_an_undisturbed_one() {
    let place = fresh("kill-loop");
    let bench = bench();
    let scenarios: [(&mut dyn Scenario, u64); 3] =
        [(&mut Coordinator("first-night"), 6), (&mut TornWrites, 3), (&mut TwoCoordinators, 3)];
    let reference = Rc::new(Reference::make(&bench, &place.join("undisturbed"), None).unwrap());
    let mut lines = Vec::new();
    for (scenario, kills) in scenarios {
        let name = scenario.name();
        let tally = kill_loop::run(&bench, &reference, scenario, &place, kills, Seed(11)).unwrap();
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
