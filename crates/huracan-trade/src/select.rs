//! The live selection: from roster and wishes to the coins that may get new entries now.
//!
//! Eligible = `trade_ok` ∧ roster fresh ∧ model fresh ∧ not blocked ∧ (allowlist empty or contains it);
//! the first N by rank are taken. A block beats an allow and never uses a slot; an allow never
//! overrides `trade_ok: false`. Positions in coins that leave the set are managed to their exit by
//! others.

use std::collections::BTreeSet;

use huracan_core::words::{Symbol, UtcMs};
use huracan_store::formats::overrides::Overrides;
use huracan_store::formats::roster::{Roster, RosterLine};

/// The operator's wishes as they are known now.
#[derive(Clone, Copy, Debug)]
pub enum Wishes<'a> {
    /// Read just now (or the defaults, where there is no file).
    Known(&'a Overrides),
    /// The file is broken: the last good state, under which nothing new is opened.
    LastGood(&'a Overrides),
}

impl<'a> Wishes<'a> {
    fn overrides(self) -> &'a Overrides {
        match self {
            Wishes::Known(overrides) | Wishes::LastGood(overrides) => overrides,
        }
    }
}

/// Why a coin of the roster, or one the operator asked for, is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassedOver {
    /// The operator blocked it.
    Blocked,
    /// There is an allowlist without it.
    NotAllowed,
    /// Its gates say no.
    NotTradeOk,
    /// The roster is past its `expires_at`.
    RosterStale,
    /// Its model is past its `expires_at`.
    ModelStale,
    /// It is eligible, and N better ones are too.
    NoSlot,
    /// It is on the allowlist and has no rank in the roster.
    NotRanked,
}

impl PassedOver {
    /// Stable code for files and messages.
    pub fn code(self) -> &'static str {
        match self {
            PassedOver::Blocked => "blocked",
            PassedOver::NotAllowed => "not_allowed",
            PassedOver::NotTradeOk => "not_trade_ok",
            PassedOver::RosterStale => "roster_stale",
            PassedOver::ModelStale => "model_stale",
            PassedOver::NoSlot => "no_slot",
            PassedOver::NotRanked => "not_ranked",
        }
    }
}

/// The coins that are traded, and why the others are not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// The coins of the set, best rank first; at most `trade_n`.
    pub taken: Vec<Symbol>,
    /// Every other coin of the roster by rank, then asked-for coins without a rank.
    pub passed_over: Vec<(Symbol, PassedOver)>,
    /// Whether new positions may be opened: not while paused, not on a broken overrides file.
    pub may_open: bool,
}

/// Selects at `now`. Pure: the same roster, wishes and moment give the same selection.
///
/// Moments are exclusive: at its `expires_at` a roster or model is stale.
pub fn select(roster: &Roster, wishes: Wishes<'_>, now: UtcMs) -> Selection {
    let overrides = wishes.overrides();
    let allowed: BTreeSet<&Symbol> = overrides.user_allowlist.iter().map(|coin| &coin.0).collect();
    let blocked: BTreeSet<&Symbol> = overrides.user_blocklist.iter().map(|coin| &coin.0).collect();
    let roster_fresh = now < roster.expires_at.0;

    let objection = |line: &RosterLine| {
        let symbol = &line.symbol.0;
        if blocked.contains(symbol) {
            Some(PassedOver::Blocked)
        } else if !allowed.is_empty() && !allowed.contains(symbol) {
            Some(PassedOver::NotAllowed)
        } else if !line.trade_ok {
            Some(PassedOver::NotTradeOk)
        } else if !roster_fresh {
            Some(PassedOver::RosterStale)
        } else if now >= line.model_expires_at.0 {
            Some(PassedOver::ModelStale)
        } else {
            None
        }
    };

    let mut by_rank: Vec<&RosterLine> = roster.symbols.iter().collect();
    by_rank.sort_by(|a, b| (a.rank, &a.symbol).cmp(&(b.rank, &b.symbol)));
    let slots = usize::try_from(overrides.trade_n).unwrap_or(usize::MAX);
    let mut selection = Selection {
        taken: Vec::new(),
        passed_over: Vec::new(),
        may_open: matches!(wishes, Wishes::Known(_)) && !overrides.paused,
    };
    for line in &by_rank {
        let symbol = line.symbol.0.clone();
        match objection(line) {
            Some(why) => selection.passed_over.push((symbol, why)),
            None if selection.taken.len() < slots => selection.taken.push(symbol),
            None => selection.passed_over.push((symbol, PassedOver::NoSlot)),
        }
    }
    let ranked: BTreeSet<&Symbol> = by_rank.iter().map(|line| &line.symbol.0).collect();
    let unranked = allowed.into_iter().filter(|symbol| !ranked.contains(symbol));
    selection.passed_over.extend(unranked.map(|symbol| (symbol.clone(), PassedOver::NotRanked)));
    selection
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use huracan_store::formats::figures::Figures;
    use huracan_store::formats::overrides::Mode;
    use huracan_store::formats::roster::{Book, Ranking, Sides};
    use huracan_store::formats::wire::{Coin, Time};

    use super::*;

    const NOW: UtcMs = UtcMs(1_000_000);
    const LATER: Time = Time(UtcMs(2_000_000));

    fn coins(names: &str) -> Vec<Coin> {
        names.split_whitespace().map(|name| Coin(format!("{name}USDT").parse().unwrap())).collect()
    }

    fn line(name: &str, rank: u64, trade_ok: bool) -> RosterLine {
        RosterLine {
            symbol: coins(name).remove(0),
            model_path: format!("models/{name}USDT/baseline_20250801"),
            rank,
            spread_bps: 1.0,
            fee_bps: 5.0,
            avg_slip_bps: 1.0,
            total_cost_bps: 13.0,
            last_7d_net_bps: 0.0,
            trade_ok,
            trade_ok_reasons: vec![],
            adv_usd: 1e9,
            capacity_usd: None,
            regime: "trend".into(),
            label: "relative".into(),
            horizon_bars: 24,
            book: Book::Outright,
            sides: Sides::Long,
            rank_components: BTreeMap::new(),
            encoder_id: None,
            model_sha256: "0".repeat(64),
            model_expires_at: LATER,
            metrics: Figures {
                sharpe: None,
                hit_rate: None,
                net_pnl_pct: 0.0,
                max_drawdown_pct: 0.0,
                sample_size: 0,
                window: None,
            },
        }
    }

    /// AAA, BBB and CCC may be traded, in this order; DDD may not.
    fn roster() -> Roster {
        Roster {
            run_id: "20250801T000000Z-0a1b2c3d".into(),
            date: "20250801".into(),
            generated_at: Time(UtcMs(0)),
            expires_at: LATER,
            total_symbols: 4,
            trade_ok_count: 3,
            ranking: Ranking { method: "percentiles".into(), weights: BTreeMap::new() },
            symbols: vec![
                line("AAA", 1, true),
                line("BBB", 2, true),
                line("CCC", 3, true),
                line("DDD", 4, false),
            ],
            skipped: vec![],
            failed: vec![],
        }
    }

    fn overrides(trade_n: u64, allow: &str, block: &str) -> Overrides {
        Overrides {
            trade_n,
            user_allowlist: coins(allow),
            user_blocklist: coins(block),
            paused: false,
            mode: Mode::Shadow,
            revision: 1,
            updated_at: Time(UtcMs(0)),
            updated_by: "test".into(),
        }
    }

    fn check(roster: &Roster, overrides: &Overrides, taken: &str) -> Selection {
        let selection = select(roster, Wishes::Known(overrides), NOW);
        let expected: Vec<Symbol> = coins(taken).into_iter().map(|coin| coin.0).collect();
        assert_eq!(selection.taken, expected);
        selection
    }

    fn why(selection: &Selection, name: &str) -> &'static str {
        let symbol = coins(name).remove(0).0;
        selection.passed_over.iter().find(|(s, _)| *s == symbol).map_or("taken", |(_, why)| why.code())
    }

    #[test]
    fn the_best_n_by_rank_are_taken_whatever_the_order_of_the_file() {
        let mut shuffled = roster();
        shuffled.symbols.reverse();
        let selection = check(&shuffled, &overrides(2, "", ""), "AAA BBB");
        assert_eq!((why(&selection, "CCC"), why(&selection, "DDD")), ("no_slot", "not_trade_ok"));
        check(&roster(), &overrides(0, "", ""), "");
        check(&roster(), &overrides(u64::MAX, "", ""), "AAA BBB CCC");
    }

    #[test]
    fn a_blocked_symbol_is_never_taken_and_never_uses_a_slot() {
        let selection = check(&roster(), &overrides(2, "", "AAA"), "BBB CCC");
        assert_eq!(why(&selection, "AAA"), "blocked");
        check(&roster(), &overrides(2, "AAA BBB", "AAA"), "BBB");
    }

    #[test]
    fn an_allowlist_restricts_and_never_overrides_the_gates() {
        let selection = check(&roster(), &overrides(2, "CCC DDD EEE", ""), "CCC");
        assert_eq!(why(&selection, "AAA"), "not_allowed");
        assert_eq!(why(&selection, "DDD"), "not_trade_ok");
        assert_eq!(why(&selection, "EEE"), "not_ranked");
    }

    #[test]
    fn a_stale_roster_takes_nobody_from_the_moment_it_expires() {
        let mut stale = roster();
        stale.expires_at = Time(NOW);
        let selection = check(&stale, &overrides(2, "", ""), "");
        assert_eq!(why(&selection, "AAA"), "roster_stale");
        stale.expires_at = Time(UtcMs(NOW.0 + 1));
        check(&stale, &overrides(1, "", ""), "AAA");
    }

    #[test]
    fn a_stale_model_leaves_its_slot_to_the_next() {
        let mut stale = roster();
        stale.symbols[0].model_expires_at = Time(NOW);
        let selection = check(&stale, &overrides(2, "", ""), "BBB CCC");
        assert_eq!(why(&selection, "AAA"), "model_stale");
    }

    #[test]
    fn paused_or_unreadable_wishes_open_nothing_and_keep_the_set() {
        let mut paused = overrides(1, "", "");
        assert!(check(&roster(), &paused, "AAA").may_open);
        let last_good = select(&roster(), Wishes::LastGood(&paused), NOW);
        assert_eq!((last_good.taken.len(), last_good.may_open), (1, false));
        paused.paused = true;
        assert!(!check(&roster(), &paused, "AAA").may_open);
    }

    #[test]
    fn a_spot_block_does_not_block_the_perpetual() {
        let mut perp = roster();
        perp.symbols[0].symbol = Coin("AAAUSDT.P".parse().unwrap());
        let selection = select(&perp, Wishes::Known(&overrides(1, "", "AAA")), NOW);
        assert_eq!(selection.taken, ["AAAUSDT.P".parse().unwrap()]);
    }

    #[test]
    fn nobody_fit_to_trade_is_an_empty_selection() {
        let mut empty = roster();
        empty.symbols.clear();
        assert_eq!(check(&empty, &overrides(5, "", ""), "").passed_over, []);
    }
}
