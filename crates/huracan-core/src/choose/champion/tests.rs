//! Planted truth: under no gain the rule stays within its rate, at the stated detectable gain it has
//! the stated power, and history makes it stricter.

use super::*;
use rand_distr::{Distribution, StandardNormal};

const DAYS: usize = 120;

fn terms(seed: u64) -> Terms {
    Terms { rule: ChampionRule::default(), long_horizon: true, mean_block_days: 3.0, seed: Seed(seed) }
}

fn record(daily_net_bps: Vec<f64>) -> Record {
    Record { first_day: 100, daily_net_bps, trades: 120, active_days: 100 }
}

/// Coins whose candidates gain `gain(coin)` bps a day; differences have a part common to all coins
/// (sd `common`) and one of their own (sd `own`).
fn pairs(seed: u64, coins: usize, (common, own): (f64, f64), gain: impl Fn(usize) -> f64) -> Vec<Pair> {
    let mut rng = Seed(seed).rng();
    let mut noise = |scale: f64| -> f64 {
        let z: f64 = StandardNormal.sample(&mut rng);
        scale * z
    };
    let shared: Vec<f64> = (0..DAYS).map(|_| noise(common)).collect();
    (0..coins)
        .map(|coin| {
            let old: Vec<f64> = (0..DAYS).map(|_| 5.0 + noise(80.0)).collect();
            let new = old.iter().zip(&shared).map(|(v, s)| v + gain(coin) + s + noise(own)).collect();
            Pair { champion: record(old), candidate: record(new), tenure: Tenure::default() }
        })
        .collect()
}

fn count(decisions: &Decisions, which: impl Fn(&Comparison) -> bool) -> usize {
    decisions.coins.iter().filter(|c| which(c)).count()
}

#[test]
fn newest_does_not_win_by_luck_and_a_real_gain_does() {
    let replaced =
        |gain: f64| count(&challenge(&pairs(3, 100, (0.0, 40.0), |_| gain), &terms(1)), |c| c.replaces);
    assert!(replaced(0.0) <= 2, "{}", replaced(0.0));
    assert!(replaced(12.0) >= 80, "{}", replaced(12.0));
}

/// Among runs without any gain the share with a false promotion is at most the rule's rate: alone,
/// with few coins, and when all coins move together.
#[test]
fn without_a_gain_at_most_the_nominal_share_of_runs_promotes_anybody() {
    for (coins, common, own) in [(1, 0.0, 40.0), (4, 0.0, 40.0), (20, 0.0, 40.0), (20, 20.0, 20.0)] {
        let runs = 250;
        let false_runs = (0..runs)
            .filter(|&seed| {
                let decided = challenge(&pairs(seed, coins, (common, own), |_| 0.0), &terms(seed));
                count(&decided, |c| c.evidence.is_some_and(|e| e.q_value <= c.rate)) > 0
            })
            .count();
        let rate = ChampionRule::default().false_discovery_rate;
        // Two and a half standard errors of the count itself.
        let allowed = rate * runs as f64 + 2.5 * (rate * (1.0 - rate) * runs as f64).sqrt();
        assert!(false_runs as f64 <= allowed, "{coins} coins, common {common}: {false_runs} of {runs}");
        assert!(
            coins > 1 || false_runs as f64 > 0.02 * runs as f64,
            "a test that never rejects: {false_runs}"
        );
    }
}

/// A gain of the stated size is found for about 80 of 100 coins.
#[test]
fn a_gain_of_the_detectable_size_is_found_with_the_stated_power() {
    for (coins, common, own) in [(1, 0.0, 40.0), (20, 10.0, 30.0), (20, 0.0, 40.0)] {
        let stated: f64 = (0..30)
            .map(|seed| {
                let decided = challenge(&pairs(900 + seed, coins, (common, own), |_| 0.0), &terms(seed));
                decided.run.map_or(0.0, |run| run.detectable_gain_bps) / 30.0
            })
            .sum();
        let runs = 200;
        let found: usize = (0..runs)
            .map(|seed| {
                let decided = challenge(&pairs(seed, coins, (common, own), |_| stated), &terms(seed));
                count(&decided, |c| c.evidence.is_some_and(|e| e.q_value <= c.rate))
            })
            .sum();
        let power = found as f64 / (runs as f64 * coins as f64);
        assert!((0.72..=0.88).contains(&power), "{coins} coins, {stated:.1} bps: {power}");
    }
}

/// The false share is held on average, not in every run.
#[test]
fn coins_that_gain_among_many_that_do_not_are_told_apart() {
    let planted = |coin: usize| coin.is_multiple_of(5);
    let (runs, mut found, mut false_share) = (25, 0, 0.0);
    for seed in 0..runs {
        let gain = |c: usize| if planted(c) { 20.0 } else { 0.0 };
        let decided = challenge(&pairs(seed, 100, (3.0, 40.0), gain), &terms(seed));
        let chosen: Vec<usize> = (0..100)
            .filter(|&i| decided.coins[i].evidence.is_some_and(|e| e.q_value <= decided.coins[i].rate))
            .collect();
        let right = chosen.iter().filter(|&&i| planted(i)).count();
        found += right;
        false_share += (chosen.len() - right) as f64 / chosen.len().max(1) as f64 / runs as f64;
        assert!(decided.run.unwrap().between_sd_bps > 3.0);
    }
    assert!(found >= 17 * runs as usize, "{found} of {}", 20 * runs);
    assert!(false_share <= 0.13, "{false_share}");
}

#[test]
fn a_loss_is_named_and_an_equal_is_not() {
    let worse = |gain: f64| count(&challenge(&pairs(5, 100, (0.0, 40.0), |_| gain), &terms(1)), |c| c.worse);
    assert!(worse(0.0) <= 2, "{}", worse(0.0));
    assert!(worse(-12.0) >= 80, "{}", worse(-12.0));
}

#[test]
fn a_champion_chosen_lately_and_a_coin_that_flips_ask_for_stronger_evidence() {
    let rule = ChampionRule::default();
    let after = |days: f64, choices_lately: usize| Tenure {
        days_since_chosen: Some(days),
        days_watched: 0.0,
        choices_lately,
    };
    let check = |tenure: Tenure, expected: f64| {
        assert!((rule.rate(&tenure) - expected).abs() < 1e-12, "{tenure:?}: {}", rule.rate(&tenure));
    };
    check(Tenure::default(), 0.10);
    check(after(0.0, 1), 0.10 * 0.1 * 0.5);
    check(after(6.99, 1), 0.10 * 0.1 * 0.5);
    check(after(7.0, 1), 0.05);
    check(after(-2.0, 1), 0.005);
    check(after(40.0, 0), 0.10);
    check(Tenure { days_since_chosen: None, days_watched: 0.0, choices_lately: 3 }, 0.0125);

    // A gain that suffices against a settled champion does not against one of yesterday; a larger does.
    let decide = |gain: f64, tenure: Tenure| {
        let mut pairs = pairs(21, 50, (12.0, 20.0), |_| gain);
        pairs.iter_mut().for_each(|pair| pair.tenure = tenure);
        challenge(&pairs, &terms(4))
    };
    let settled = decide(1.5, after(60.0, 0));
    assert!(count(&settled, |c| c.replaces) >= 25, "{:?}", settled.run);
    let young = decide(1.5, after(1.0, 1));
    assert_eq!(count(&young, |c| c.replaces), 0);
    let reason = "the gain is significant, but replacing a choice this new asks for stronger evidence";
    assert!(count(&young, |c| c.held && c.reason == reason) >= 25, "{:#?}", young.coins[0]);
    assert!(count(&decide(10.0, after(1.0, 1)), |c| c.replaces) >= 40);
}

#[test]
fn a_lower_bound_above_zero_and_the_rate_say_the_same_of_one_coin() {
    for gain in [0.0, 4.0, 6.0, 8.0, 12.0] {
        for seed in 0..20 {
            let decided = challenge(&pairs(seed, 1, (0.0, 40.0), |_| gain), &terms(seed));
            let evidence = decided.coins[0].evidence.unwrap();
            assert_eq!(evidence.lower_bound_bps > 0.0, evidence.q_value < 0.10, "{evidence:?}");
        }
    }
}

#[test]
fn too_few_trades_are_named_and_a_long_horizon_needs_fewer() {
    let reason = |trades: usize, active_days: usize, long_horizon: bool| {
        let mut pairs = pairs(3, 20, (0.0, 20.0), |_| 40.0);
        for pair in &mut pairs {
            (pair.candidate.trades, pair.candidate.active_days) = (trades, active_days);
            (pair.champion.trades, pair.champion.active_days) = (0, 0);
        }
        challenge(&pairs, &Terms { long_horizon, ..terms(1) }).coins[0].reason
    };
    let few = "too few out-of-sample trades of either model";
    let fine = "better on the same bars, significantly";
    assert_eq!(reason(100, 20, false), fine);
    assert_eq!(reason(99, 90, false), few);
    assert_eq!(reason(30, 60, true), fine);
    assert_eq!(reason(29, 60, true), few);
    assert_eq!(reason(30, 59, true), few);
}

#[test]
fn the_head_that_never_trades_takes_the_place_of_losers_only() {
    let decide = |drift: f64| {
        let mut pairs = pairs(8, 12, (0.0, 20.0), |_| 0.0);
        for pair in &mut pairs {
            pair.champion.daily_net_bps.iter_mut().for_each(|v| *v += drift);
            pair.candidate.daily_net_bps = vec![0.0; DAYS];
            (pair.candidate.trades, pair.candidate.active_days) = (0, 0);
        }
        let coins = challenge(&pairs, &terms(1)).coins;
        coins.iter().filter(|c| c.replaces).count()
    };
    assert_eq!(decide(-30.0), 12);
    assert_eq!(decide(0.0), 0);
    assert_eq!(decide(30.0), 0);
}

#[test]
fn only_common_days_count() {
    let of = |first_day: i64, values: Vec<f64>| Record { first_day, ..record(values) };
    let old = of(10, (0..50).map(f64::from).collect());
    let new = of(40, (0..50).map(f64::from).collect());
    let (a, b) = old.common(&new);
    assert_eq!((a.len(), b.len(), a[0], b[0]), (20, 20, 30.0, 0.0));
    let far = of(500, vec![1.0]);
    assert!(old.common(&far).0.is_empty());
    let pair = Pair { champion: old, candidate: far, tenure: Tenure::default() };
    let decided = challenge(&[pair], &terms(1));
    let decision = &decided.coins[0];
    assert_eq!((decision.replaces, decision.reason), (false, "too few common out-of-sample days"));
    assert_eq!((decided.run, decision.evidence), (None, None));
}

#[test]
fn equal_records_keep_the_champion_and_are_no_evidence() {
    let mut pairs = pairs(8, 30, (0.0, 20.0), |_| 20.0);
    let alone = challenge(&pairs[..29], &terms(1));
    let champion = pairs[29].champion.clone();
    pairs[29].candidate = champion;
    let decided = challenge(&pairs, &terms(1));
    let decision = &decided.coins[29];
    assert_eq!((decision.replaces, decision.reason), (false, "the records are equal"));
    assert_eq!(decided.run, alone.run);
    assert_eq!(decided, challenge(&pairs, &terms(1)));
}

#[test]
fn days_of_no_coin_and_days_of_few_do_not_break_the_pool() {
    let mut pairs = pairs(9, 6, (0.0, 30.0), |_| 15.0);
    for (i, pair) in pairs.iter_mut().enumerate() {
        let shift = if i == 5 { 1_000_000_000_000 } else { 13 * i as i64 };
        pair.champion.first_day += shift;
        pair.candidate.first_day += shift;
    }
    let decided = challenge(&pairs, &terms(1));
    assert!(decided.coins.iter().all(|c| c.evidence.is_some_and(|e| e.error_bps > 0.0)));
    pairs[0].candidate.daily_net_bps[3] = f64::NAN;
    assert_eq!(challenge(&pairs, &terms(1)).coins[0].evidence, None);
}
