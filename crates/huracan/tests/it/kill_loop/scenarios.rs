//! What is done to runs.

use super::process::{Ran, Running, When};
use super::{Dice, Scenario, Scene, Tally};
use std::time::Duration;

/// Long enough for a process to open its store and look at its candles, short enough to be over
/// before it trains.
const RECOVERY: Duration = Duration::from_millis(60);

/// One run at a time; it is killed.
///
/// Of ten kills four come at an instant that is uniform over a run, three in its publication, one
/// just after the start, while the store is being recovered, and two in quick succession: the second
/// hits the run that follows the first before it has got anywhere.
pub struct Coordinator;

impl Scenario for Coordinator {
    fn name(&self) -> &'static str {
        "coordinator"
    }

    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let Scene { bench, store, reference } = *scene;
        let drawn = dice.below(10);
        let when = match drawn {
            0..4 => When::AfterStart(dice.time(reference.wall)),
            4..7 => When::InStage("publish", dice.time(reference.publish)),
            7 => When::AfterStart(dice.time(RECOVERY)),
            _ => When::AfterStart(dice.time(reference.wall)),
        };
        tally.killed(&ended_well(bench.start(store)?.kill_at(when)?)?);
        if drawn > 7 {
            let again = When::AfterStart(dice.time(RECOVERY));
            tally.killed(&ended_well(bench.start(store)?.kill_at(again)?)?);
        }
        Ok(())
    }
}

/// Two runs on one store: whoever comes second is turned away and changes nothing; when the first is
/// killed, the store is free at once.
pub struct TwoCoordinators;

impl Scenario for TwoCoordinators {
    fn name(&self) -> &'static str {
        "two-coordinators"
    }

    fn disturb(&mut self, scene: &Scene<'_>, dice: &mut Dice, tally: &mut Tally) -> Result<(), String> {
        let Scene { bench, store, reference } = *scene;
        let mut first = bench.start(store)?;
        // Half of the time they start together, and either may win.
        let together = dice.below(2) == 0;
        let alone = if together { Duration::ZERO } else { dice.time(reference.wall.mul_f64(0.8)) };
        first.wait_until(When::AfterStart(alone));
        let second = bench.start(store)?;
        let (winner, refused) = one_is_refused(first, second)?;
        tally.refused += u64::from(refused);
        let Some(winner) = winner else { return Ok(()) };
        let when = match dice.below(2) {
            0 => When::AfterStart(alone + dice.time(reference.wall)),
            _ => When::InStage("publish", dice.time(reference.publish)),
        };
        tally.killed(&ended_well(winner.kill_at(when)?)?);
        // The lock went with its holder.
        let mut next = bench.start(store)?;
        next.wait_until(When::InStage("survey", Duration::ZERO));
        tally.killed(&ended_well(next.kill_at(When::AfterStart(Duration::ZERO))?)?);
        Ok(())
    }
}

/// Waits until one of two runs has been turned away; gives back the other, if it is still at work. When
/// the first had published before the second looked, both end well.
fn one_is_refused(first: Running, second: Running) -> Result<(Option<Running>, bool), String> {
    let mut both = [first, second];
    let ended = loop {
        match both.iter_mut().position(Running::has_ended) {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let [first, second] = both;
    let (ended, other) = if ended == 0 { (first, second) } else { (second, first) };
    let ran = ended.let_through()?;
    match (ran.code, ran.error().as_deref()) {
        (Some(5), Some("store_locked")) => Ok((Some(other), true)),
        (Some(0), None) => {
            // It was through before the other looked; that one found the lock, or nothing to do.
            let other = other.let_through()?;
            match (other.code, other.error().as_deref()) {
                (Some(5), Some("store_locked")) => Ok((None, true)),
                (Some(0), None) => Ok((None, false)),
                _ => Err(format!("beside a run that ended well one ended so: {other:?}")),
            }
        }
        _ => Err(format!("of two runs on one store one ended so: {ran:?}")),
    }
}

/// A run that was killed, or was faster and ended well; nothing else may happen to it.
fn ended_well(ran: Ran) -> Result<Ran, String> {
    if ran.killed || ran.code == Some(0) { Ok(ran) } else { Err(format!("a run ended so: {ran:?}")) }
}
