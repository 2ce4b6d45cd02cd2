//! Simulated trades: from a stream of expected edges to positions, costs and net returns.
//!
//! Decisions are made at a bar's close and carried out at the close `lag` bars later, at the cost
//! of that moment. One position a coin, never more than its capital. What does not live here: where edges
//! come from.

/// What the simulation sees of one coin over one span of bars; all slices have one length.
#[derive(Clone, Copy, Debug)]
pub struct Tape<'a> {
    /// Expected gross edge in bps of a long position held for the horizon; NaN where there is none.
    pub edge_bps: &'a [f64],
    /// Gross return in bps of one unit long from the previous close to this one (hedge included
    /// where the book is hedged); at a missing bar 0, or what the hedge alone did.
    pub return_bps: &'a [f64],
    /// Cost in bps of buying or selling one unit at this bar's close; NaN at a missing bar, where
    /// nothing can be done.
    pub one_side_bps: &'a [f64],
    /// Cost in bps of holding one unit for one bar (funding).
    pub carry_bps: f64,
    /// Units held in a position, as a share of the capital. Scales results, not decisions.
    pub size: f64,
}

/// When to enter and leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Enter when |edge| exceeds this multiple of the round-trip cost.
    pub entry_cost_multiple: f64,
    /// Leave when the edge in the position's direction falls below this share of the entry bar.
    pub exit_band: f64,
    /// Bars after which a position is closed unless its edge still justifies entry.
    pub horizon_bars: usize,
    /// Bars between decision and execution, at least one.
    pub lag_bars: usize,
    /// Whether short positions are allowed (never on spot).
    pub shorts: bool,
}

/// What happened, as it happens; implementors keep what they need.
pub trait Ledger {
    /// Net return in bps of the bar at this index, costs included. Called for every bar with a
    /// position or a cost.
    fn bar(&mut self, index: usize, net_bps: f64);
    /// A closed trade.
    fn trade(&mut self, trade: ClosedTrade);
}

/// One bet in bar indices of the tape: a position from its opening, or from its renewal at the
/// horizon, to its closing or next renewal. A renewal is a new decision, not an order: it costs
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedTrade {
    /// Bar at whose close the position was opened.
    pub entry: usize,
    /// Bar at whose close it was closed.
    pub exit: usize,
    /// +1 long, −1 short.
    pub side: f64,
    /// Return before costs, bps.
    pub gross_bps: f64,
    /// Fees, spread, slippage of the orders it took, and carry, bps.
    pub cost_bps: f64,
    /// Orders it took: 2 for a whole round trip, 1 or 0 where a renewal stands at an end.
    pub orders: u8,
}

/// Runs a policy over a tape. The position is closed at the last tradable bar.
pub fn simulate(tape: &Tape<'_>, policy: &Policy, ledger: &mut impl Ledger) {
    let n = tape.edge_bps.len();
    let Some(last) = (0..n).rev().find(|&i| tape.one_side_bps[i].is_finite()) else { return };
    let lag = policy.lag_bars.max(1);
    let mut queue = vec![0.0_f64; lag];
    let mut renewals = vec![false; lag];
    let (mut target, mut held) = (0.0_f64, 0.0_f64);
    let mut decided_bars = 0_usize;
    let mut open: Option<ClosedTrade> = None;
    // Where in the queues the bar stands.
    let mut slot = 0;
    let wanted_at = |i: usize| {
        let bar = policy.entry_cost_multiple * round_trip_bps(tape, policy, i);
        let tradable = || tape.one_side_bps[i].is_finite();
        match tape.edge_bps[i] {
            edge if edge > bar && tradable() => 1.0,
            edge if edge < -bar && policy.shorts && tradable() => -1.0,
            _ => 0.0,
        }
    };
    // Bars at the end of the queues that ask for nothing.
    let mut idle = lag;
    let mut i = 0;
    while i <= last {
        if idle >= lag && held == 0.0 {
            // Nothing is held and nothing is on its way: nothing happens before the next decision.
            match (i..last).find(|&i| wanted_at(i) != 0.0) {
                Some(next) => i = next,
                None => return,
            }
        }
        let mut net = 0.0;
        if held != 0.0 {
            let gross = tape.size * held * tape.return_bps[i];
            let carry = tape.size * tape.carry_bps;
            net += gross - carry;
            if let Some(trade) = open.as_mut() {
                trade.gross_bps += gross;
                trade.cost_bps += carry;
            }
        }
        let side_cost = tape.one_side_bps[i];
        let tradable = side_cost.is_finite();
        let due = if i == last { 0.0 } else { queue[slot] };
        let renewed = std::mem::take(&mut renewals[slot]);
        let charged = tape.size * side_cost;
        if tradable && due != held {
            if let Some(mut trade) = open.take() {
                trade.exit = i;
                trade.cost_bps += charged;
                trade.orders += 1;
                net -= charged;
                ledger.trade(trade);
            }
            if due != 0.0 {
                net -= charged;
                open = Some(ClosedTrade {
                    entry: i,
                    exit: i,
                    side: due,
                    gross_bps: 0.0,
                    cost_bps: charged,
                    orders: 1,
                });
            }
            held = due;
        } else if renewed
            && tradable
            && let Some(bet) = open.as_mut().filter(|bet| bet.entry < i)
        {
            ledger.trade(ClosedTrade { exit: i, ..*bet });
            *bet = ClosedTrade { entry: i, exit: i, side: held, gross_bps: 0.0, cost_bps: 0.0, orders: 0 };
        }
        if net != 0.0 {
            ledger.bar(i, net);
        }
        decided_bars += usize::from(target != 0.0);
        let wanted = wanted_at(i);
        let edge = if tradable { tape.edge_bps[i] } else { f64::NAN };
        let bar = policy.entry_cost_multiple * round_trip_bps(tape, policy, i);
        let expired = decided_bars >= policy.horizon_bars;
        let faded = edge * target < policy.exit_band * bar;
        if wanted != 0.0 && (wanted != target || expired) {
            if wanted == target {
                renewals[slot] = true;
            }
            target = wanted;
            decided_bars = 0;
        } else if wanted == 0.0 && (expired || faded) {
            target = 0.0;
            decided_bars = 0;
        }
        idle = if target == 0.0 { idle + 1 } else { 0 };
        queue[slot] = target;
        slot = if slot + 1 == lag { 0 } else { slot + 1 };
        i += 1;
    }
}

/// Cost in bps of one unit bought at a bar, held for the horizon and sold; NaN at a missing bar.
fn round_trip_bps(tape: &Tape<'_>, policy: &Policy, i: usize) -> f64 {
    2.0 * tape.one_side_bps[i] + tape.carry_bps * policy.horizon_bars as f64
}

/// A ledger that keeps only totals: cheap enough for every placebo.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Sum of net returns, bps.
    pub net_bps: f64,
    /// Closed trades.
    pub trades: usize,
}

impl Ledger for Totals {
    fn bar(&mut self, _index: usize, net_bps: f64) {
        self.net_bps += net_bps;
    }
    fn trade(&mut self, _trade: ClosedTrade) {
        self.trades += 1;
    }
}

/// A ledger that keeps everything: net return per bar and every trade.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FullLedger {
    /// (bar index, net bps), in order.
    pub bars: Vec<(usize, f64)>,
    /// Closed trades, in order of their exit.
    pub trades: Vec<ClosedTrade>,
}

impl Ledger for FullLedger {
    fn bar(&mut self, index: usize, net_bps: f64) {
        self.bars.push((index, net_bps));
    }
    fn trade(&mut self, trade: ClosedTrade) {
        self.trades.push(trade);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    const POLICY: Policy =
        Policy { entry_cost_multiple: 1.0, exit_band: 0.3, horizon_bars: 4, lag_bars: 1, shorts: true };

    fn run(edge: &[f64], returns: &[f64], policy: &Policy) -> FullLedger {
        let cost = vec![5.0; edge.len()];
        let tape =
            Tape { edge_bps: edge, return_bps: returns, one_side_bps: &cost, carry_bps: 0.0, size: 1.0 };
        let mut ledger = FullLedger::default();
        simulate(&tape, policy, &mut ledger);
        ledger
    }

    #[test]
    fn a_decision_earns_only_what_comes_after_its_execution() {
        let edge = [100.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let returns = [1000.0, 1000.0, 7.0, 1000.0, 0.0, 0.0];
        let ledger = run(&edge, &returns, &POLICY);
        // Decided at 0, bought at the close of 1, edge gone at 1, sold at the close of 2.
        let expected =
            ClosedTrade { entry: 1, exit: 2, side: 1.0, gross_bps: 7.0, cost_bps: 10.0, orders: 2 };
        assert_eq!(ledger.trades, [expected]);
        assert_eq!(ledger.bars, [(1, -5.0), (2, 2.0)]);
    }

    #[test]
    fn an_edge_below_the_round_trip_never_trades_and_spot_never_shorts() {
        let returns = [0.0; 8];
        assert!(run(&[9.9; 8], &returns, &POLICY).trades.is_empty());
        assert!(run(&[-50.0; 8], &returns, &Policy { shorts: false, ..POLICY }).trades.is_empty());
        assert_eq!(run(&[-50.0; 8], &returns, &POLICY).trades[0].side, -1.0);
    }

    #[test]
    fn half_the_size_is_half_the_result_of_the_same_trades() {
        let edge: Vec<f64> = (0..40).map(|i| if i % 9 < 3 { 60.0 } else { -8.0 }).collect();
        let returns: Vec<f64> = (0..40).map(|i| f64::from(i % 5) - 2.0).collect();
        let cost = vec![5.0; 40];
        let run = |size: f64| {
            let tape =
                Tape { edge_bps: &edge, return_bps: &returns, one_side_bps: &cost, carry_bps: 0.2, size };
            let mut ledger = FullLedger::default();
            simulate(&tape, &POLICY, &mut ledger);
            ledger
        };
        let (whole, half) = (run(1.0), run(0.5));
        assert!(whole.trades.len() > 3);
        for (a, b) in whole.trades.iter().zip(&half.trades) {
            assert_eq!((a.entry, a.exit, a.side), (b.entry, b.exit, b.side));
            assert!((a.gross_bps - 2.0 * b.gross_bps).abs() < 1e-12);
            assert!((a.cost_bps - 2.0 * b.cost_bps).abs() < 1e-12);
        }
    }

    #[test]
    fn a_position_is_held_to_its_horizon_and_no_longer_without_a_new_reason() {
        let mut edge = vec![50.0];
        edge.extend([5.0; 11]);
        let trades = run(&edge, &[1.0; 12], &POLICY).trades;
        assert_eq!((trades.len(), trades[0].entry, trades[0].exit), (1, 1, 5));
        let kept = run(&[50.0; 12], &[1.0; 12], &POLICY).trades;
        let bets: Vec<_> = kept.iter().map(|t| (t.entry, t.exit, t.orders, t.cost_bps)).collect();
        assert_eq!(bets, [(1, 5, 1, 5.0), (5, 9, 0, 0.0), (9, 11, 1, 5.0)]);
    }

    #[test]
    fn what_was_quiet_between_two_spells_changes_neither() {
        let mut rng = crate::words::Seed(5).rng();
        for case in 0..60 {
            let policy = Policy { lag_bars: 1 + case % 3, ..POLICY };
            let mut spell = || -> Vec<[f64; 3]> {
                let bar = |_| match rng.random_range(0..6) {
                    0 => [40.0, 0.0, f64::NAN],
                    _ => [60.0 * (rng.random::<f64>() - 0.5), rng.random(), 5.0],
                };
                (0..1 + case % 20).map(bar).collect()
            };
            let (before, after) = (spell(), spell());
            // Long enough for a position to fade and its orders to be carried out.
            let quiet = |bars: usize| -> Vec<[f64; 3]> {
                (0..bars).map(|i| [0.0, 3.0, if i > 8 && i % 5 == 0 { f64::NAN } else { 5.0 }]).collect()
            };
            let play = |bars: &[[f64; 3]]| {
                let [edge_bps, return_bps, cost] =
                    [0, 1, 2].map(|j| bars.iter().map(|bar| bar[j]).collect::<Vec<f64>>());
                let (edge_bps, return_bps, one_side_bps) = (&edge_bps[..], &return_bps[..], &cost[..]);
                let tape = Tape { edge_bps, return_bps, one_side_bps, carry_bps: 0.1, size: 0.5 };
                let mut ledger = FullLedger::default();
                simulate(&tape, &policy, &mut ledger);
                ledger
            };
            let apart = [[before.clone(), quiet(9)].concat(), [after.clone(), quiet(9)].concat()];
            let [first, second] = apart.map(|bars| play(&bars));
            for gap in [9, 10, 40] {
                let both = play(&[before.clone(), quiet(gap), after.clone(), quiet(9)].concat());
                let shift = before.len() + gap;
                let moved = second.bars.iter().map(|(i, net)| (i + shift, *net));
                let bars: Vec<(usize, f64)> = first.bars.iter().copied().chain(moved).collect();
                assert_eq!(both.bars, bars, "case {case}, gap {gap}");
                let moved =
                    |t: &ClosedTrade| ClosedTrade { entry: t.entry + shift, exit: t.exit + shift, ..*t };
                let trades: Vec<ClosedTrade> =
                    first.trades.iter().copied().chain(second.trades.iter().map(moved)).collect();
                assert_eq!(both.trades, trades, "case {case}, gap {gap}");
            }
        }
    }

    #[test]
    fn bars_add_up_to_trades_and_totals_agree_whatever_the_path() {
        let mut rng = crate::words::Seed(3).rng();
        for case in 0..200 {
            let n = 5 + case % 60;
            let edge: Vec<f64> = (0..n)
                .map(
                    |_| if rng.random::<f64>() < 0.1 { f64::NAN } else { 80.0 * (rng.random::<f64>() - 0.5) },
                )
                .collect();
            let cost: Vec<f64> = (0..n)
                .map(|_| if rng.random::<f64>() < 0.1 { f64::NAN } else { 3.0 + rng.random::<f64>() })
                .collect();
            let returns: Vec<f64> = (0..n)
                .map(|i| if cost[i].is_nan() { 0.0 } else { 60.0 * (rng.random::<f64>() - 0.5) })
                .collect();
            let tape = Tape {
                edge_bps: &edge,
                return_bps: &returns,
                one_side_bps: &cost,
                carry_bps: 0.1,
                size: 0.5,
            };
            let policy = Policy { lag_bars: 1 + case % 3, ..POLICY };
            let (mut full, mut totals) = (FullLedger::default(), Totals::default());
            simulate(&tape, &policy, &mut full);
            simulate(&tape, &policy, &mut totals);
            let by_bar: f64 = full.bars.iter().map(|b| b.1).sum();
            let by_trade: f64 = full.trades.iter().map(|t| t.gross_bps - t.cost_bps).sum();
            assert!((by_bar - by_trade).abs() < 1e-9, "case {case}: {by_bar} {by_trade}");
            assert!((by_bar - totals.net_bps).abs() < 1e-9);
            assert_eq!(full.trades.len(), totals.trades);
            assert!(full.trades.iter().all(|t| t.exit > t.entry));
        }
    }
}
