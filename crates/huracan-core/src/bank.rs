//! The feature bank: which features carry which coins, over the whole run.
//!
//! Two questions are kept apart. What a head *uses* is read from its weights ([`aggregate`]). What
//! a feature is *worth* is measured: its values are put in another order, in blocks, and the day's
//! out-of-sample result after costs is compared ([`permutation_delta`], Breiman 2001). Only the
//! second says that a feature helps, and only features that help coins they were not found on are
//! shared ([`shared_features`]).
//!
//! What lives here judges and sums up; what does not is how heads are scored on permuted features
//! or where the bank is written.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;

use crate::stats::hac::{SmallSample, newey_west_mean};
use crate::stats::moments::std_dev;
use crate::words::{Seed, Symbol};

/// Standard errors a delta must be away from zero to count (about 2 % a side on noise).
pub const NOISE_ERRORS: f64 = 2.0;
/// A feature is shared by at least this many coins …
pub const SHARED_COINS_MIN: usize = 5;
/// … and at least one in this many.
pub const SHARED_COINS_ONE_IN: usize = 10;

/// One coin's importances: share of its head's squared standardised weight, per feature; sum 1.
#[derive(Clone, Debug, PartialEq)]
pub struct CoinImportance {
    /// Name.
    pub symbol: String,
    /// Feature name → importance, 0..1.
    pub importance: BTreeMap<String, f64>,
}

/// What the bank knows of one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureEntry {
    /// Coins in which its importance is above an even share.
    pub symbols_using: Vec<String>,
    /// Mean importance over all coins.
    pub avg_importance: f64,
    /// Largest importance in any coin.
    pub max_importance: f64,
    /// Share of coins using it, 0..1.
    pub share_of_symbols: f64,
    /// Mean rank over coins, 1 is most important.
    pub mean_rank: f64,
    /// `avg_importance × share_of_symbols`: what next run's priority is taken from.
    pub score: f64,
}

/// Importances of one head from its weights over standardised features; even when all are zero.
pub fn importances(names: &[String], weights: &[f64]) -> BTreeMap<String, f64> {
    let total: f64 = weights.iter().map(|w| w * w).sum();
    let even = 1.0 / names.len().max(1) as f64;
    let share = |w: &f64| if total > 0.0 { w * w / total } else { even };
    names.iter().cloned().zip(weights.iter().map(share)).collect()
}

/// Aggregates all coins; deterministic whatever their order in the input.
pub fn aggregate(coins: &[CoinImportance]) -> BTreeMap<String, FeatureEntry> {
    let mut sorted: Vec<&CoinImportance> = coins.iter().collect();
    sorted.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    let mut bank: BTreeMap<String, FeatureEntry> = BTreeMap::new();
    let n = sorted.len() as f64;
    for coin in sorted {
        let even = 1.0 / coin.importance.len().max(1) as f64;
        let mut by_size: Vec<(&String, f64)> = coin.importance.iter().map(|(k, v)| (k, *v)).collect();
        by_size.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        for (place, (name, importance)) in by_size.into_iter().enumerate() {
            let entry = bank.entry(name.clone()).or_insert_with(|| FeatureEntry {
                symbols_using: Vec::new(),
                avg_importance: 0.0,
                max_importance: 0.0,
                share_of_symbols: 0.0,
                mean_rank: 0.0,
                score: 0.0,
            });
            entry.avg_importance += importance / n;
            entry.max_importance = entry.max_importance.max(importance);
            entry.mean_rank += (place + 1) as f64 / n;
            if importance > even {
                entry.symbols_using.push(coin.symbol.clone());
            }
        }
    }
    for entry in bank.values_mut() {
        entry.share_of_symbols = entry.symbols_using.len() as f64 / n;
        entry.score = entry.avg_importance * entry.share_of_symbols;
    }
    bank
}

/// Features that weigh above an even share in at least `max(5, 10 %)` of the coins, best score
/// first: widely used, which is not yet worth anything.
pub fn widely_used_features(bank: &BTreeMap<String, FeatureEntry>, coins: usize) -> Vec<String> {
    let needed = SHARED_COINS_MIN.max(coins.div_ceil(SHARED_COINS_ONE_IN));
    let mut shared: Vec<(&String, &FeatureEntry)> =
        bank.iter().filter(|(_, e)| e.symbols_using.len() >= needed).collect();
    shared.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then_with(|| a.0.cmp(b.0)));
    shared.into_iter().map(|(name, _)| name.clone()).collect()
}

/// What one feature does for one coin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Without it the coin earns less, beyond its own noise.
    Helps,
    /// Without it the coin earns more, beyond its own noise.
    Hurts,
    /// The data cannot tell.
    Neither,
}

impl Effect {
    /// The word written in files; never reworded.
    pub fn code(self) -> &'static str {
        match self {
            Effect::Helps => "helps",
            Effect::Hurts => "hurts",
            Effect::Neither => "neither",
        }
    }
}

/// What permuting one feature cost one coin out of sample, after costs.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Delta {
    /// Mean loss, bps a day: above 0 where the feature earns something.
    pub mean_bps: f64,
    /// Its standard error; 0 where the feature never changed a trade.
    pub std_error_bps: f64,
    /// Permutations behind it.
    pub repetitions: usize,
}

impl Delta {
    /// Half the width of the coin's own noise band, bps a day.
    pub fn noise_bps(&self) -> f64 {
        NOISE_ERRORS * self.std_error_bps
    }

    /// The sign outside the noise band.
    pub fn effect(&self) -> Effect {
        let noise = self.noise_bps();
        match self.mean_bps {
            mean if mean > noise => Effect::Helps,
            mean if mean < -noise => Effect::Hurts,
            _ => Effect::Neither,
        }
    }
}

/// Rows in another order: blocks of `block_rows` are shuffled, the rows within them stay in order.
///
/// Whole blocks (a few days), because rows shuffled one by one would make a slow feature flicker:
/// the trades that causes cost money, and every slow feature would seem to help.
pub fn block_permutation(rows: usize, block_rows: usize, seed: Seed) -> Vec<usize> {
    let block = block_rows.max(1);
    let mut starts: Vec<usize> = (0..rows).step_by(block).collect();
    starts.shuffle(&mut seed.rng());
    starts.into_iter().flat_map(|start| start..(start + block).min(rows)).collect()
}

/// The loss from daily net bps as they were and under each permutation, on the same days.
///
/// The standard error is the larger of two: over days, Newey–West with `lag_days` on the mean
/// difference of all permutations, and over permutations. `None` without permutations, when lengths
/// differ, a value is not finite, or the differences are all the same but not 0 (or of one day
/// only), so that there is no telling how sure they are.
pub fn permutation_delta(intact: &[f64], permuted: &[Vec<f64>], lag_days: usize) -> Option<Delta> {
    let fits = |p: &Vec<f64>| p.len() == intact.len() && p.iter().all(|v| v.is_finite());
    if permuted.is_empty() || intact.iter().any(|v| !v.is_finite()) || !permuted.iter().all(fits) {
        return None;
    }
    let (days, repetitions) = (intact.len() as f64, permuted.len());
    let mean_of = |day: usize| permuted.iter().map(|p| p[day]).sum::<f64>() / repetitions as f64;
    let losses: Vec<f64> = intact.iter().enumerate().map(|(day, net)| net - mean_of(day)).collect();
    if permuted.iter().all(|p| p == intact) {
        return (days > 0.0).then_some(Delta { mean_bps: 0.0, std_error_bps: 0.0, repetitions });
    }
    let over_days = newey_west_mean(&losses, lag_days, SmallSample::Student)?;
    let totals: Vec<f64> = permuted.iter().map(|p| p.iter().sum::<f64>() / days).collect();
    let over_permutations = std_dev(&totals).map_or(0.0, |sd| sd / (repetitions as f64).sqrt());
    let std_error_bps = over_days.std_error.max(over_permutations);
    Some(Delta { mean_bps: over_days.mean, std_error_bps, repetitions })
}

/// One coin's measured features; those that could not be measured are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct CoinDeltas {
    /// Whose.
    pub symbol: Symbol,
    /// Feature name → what permuting it cost.
    pub deltas: BTreeMap<String, Delta>,
}

/// What one half of the coins says of a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HalfEvidence {
    /// Underlyings measured.
    pub coins: usize,
    /// Underlyings it helps.
    pub helped: usize,
    /// Mean loss without it over the half's coins, bps a day; `None` without coins.
    pub mean_bps: Option<f64>,
}

impl HalfEvidence {
    /// Whether this half alone would pick the feature: the rule for all coins at half the size.
    fn selects(&self) -> bool {
        self.helped >= SHARED_COINS_MIN.div_ceil(2).max(self.coins.div_ceil(SHARED_COINS_ONE_IN))
    }

    fn confirms(&self) -> bool {
        self.mean_bps.is_some_and(|mean| mean > 0.0)
    }
}

/// What the run measured of one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureWorth {
    /// Coins it helps, by name.
    pub helped: Vec<Symbol>,
    /// Coins it hurts, by name.
    pub hurt: Vec<Symbol>,
    /// Coins it was measured on.
    pub coins: usize,
    /// Mean loss without it over these coins, bps a day.
    pub mean_delta_net_bps: f64,
    /// That mean times the share of coins it helps (or, below 0, hurts): what the next run's
    /// priority is taken from.
    pub score: f64,
    /// The two halves of the coins, by [`half_of`].
    pub halves: [HalfEvidence; 2],
    /// Whether it helps enough coins, and each half's finding is confirmed by the other.
    pub is_shared: bool,
}

/// The half, 0 or 1, a coin belongs to: by a stable hash of its underlying, so that spot and
/// perpetual of one asset are never on both sides, and the same in every run.
pub fn half_of(symbol: &Symbol) -> usize {
    (Seed(0).child(symbol.underlying(), 0).0 % 2) as usize
}

/// Sums up all coins; deterministic whatever their order in the input.
///
/// Several coins of one underlying are one piece of evidence where coins are counted for sharing.
pub fn worth(coins: &[CoinDeltas]) -> BTreeMap<String, FeatureWorth> {
    let mut sorted: Vec<&CoinDeltas> = coins.iter().collect();
    sorted.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    let mut measured: BTreeMap<&String, Vec<(&Symbol, &Delta)>> = BTreeMap::new();
    for coin in sorted {
        for (name, delta) in &coin.deltas {
            measured.entry(name).or_default().push((&coin.symbol, delta));
        }
    }
    measured.into_iter().map(|(name, rows)| (name.clone(), worth_of(&rows))).collect()
}

fn worth_of(rows: &[(&Symbol, &Delta)]) -> FeatureWorth {
    let with = |effect: Effect| -> Vec<Symbol> {
        rows.iter().filter(|(_, d)| d.effect() == effect).map(|(symbol, _)| (*symbol).clone()).collect()
    };
    let (helped, hurt) = (with(Effect::Helps), with(Effect::Hurts));
    let coins = rows.len();
    let mean = rows.iter().map(|(_, d)| d.mean_bps).sum::<f64>() / coins as f64;
    let moved = if mean > 0.0 { helped.len() } else { hurt.len() };
    let halves = [0, 1].map(|half| half_evidence(rows, half));
    let all: usize = halves.iter().map(|h| h.coins).sum();
    let enough = halves.iter().map(|h| h.helped).sum::<usize>()
        >= SHARED_COINS_MIN.max(all.div_ceil(SHARED_COINS_ONE_IN));
    let [a, b] = &halves;
    let replicated = a.selects() && b.confirms() && b.selects() && a.confirms();
    FeatureWorth {
        helped,
        hurt,
        coins,
        mean_delta_net_bps: mean,
        score: mean * moved as f64 / coins as f64,
        halves,
        is_shared: enough && replicated,
    }
}

fn half_evidence(rows: &[(&Symbol, &Delta)], half: usize) -> HalfEvidence {
    let mine: Vec<_> = rows.iter().filter(|(symbol, _)| half_of(symbol) == half).collect();
    let all: BTreeSet<&str> = mine.iter().map(|(symbol, _)| symbol.underlying()).collect();
    let helps = mine.iter().filter(|(_, d)| d.effect() == Effect::Helps);
    let helped: BTreeSet<&str> = helps.map(|(symbol, _)| symbol.underlying()).collect();
    let sum: f64 = mine.iter().map(|(_, d)| d.mean_bps).sum();
    let mean_bps = (!mine.is_empty()).then(|| sum / mine.len() as f64);
    HalfEvidence { coins: all.len(), helped: helped.len(), mean_bps }
}

/// Features that help at least `max(5, 10 %)` of the coins beyond each coin's own noise, and that
/// each half of the coins finds and the other confirms by a mean above zero; best score first.
///
/// Halves guard against what is peculiar to coins, not against what is peculiar to the period: all
/// coins lived through the same days.
pub fn shared_features(worth: &BTreeMap<String, FeatureWorth>) -> Vec<String> {
    let shared: Vec<String> =
        worth.iter().filter(|(_, w)| w.is_shared).map(|(name, _)| name.clone()).collect();
    priority(&shared, worth)
}

/// `names` in the order the next run should take them: highest score first, unmeasured ones (0)
/// before those that hurt, ties by name.
pub fn priority(names: &[String], worth: &BTreeMap<String, FeatureWorth>) -> Vec<String> {
    let score = |name: &String| worth.get(name).map_or(0.0, |w| w.score + 0.0);
    let mut order = names.to_vec();
    order.sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| a.cmp(b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Market;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution, StandardNormal};

    fn coin(symbol: &str, weights: &[f64]) -> CoinImportance {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        CoinImportance { symbol: symbol.into(), importance: importances(&names, weights) }
    }

    #[test]
    fn the_bank_does_not_depend_on_the_order_of_coins() {
        let coins = [coin("X", &[2.0, 1.0, 0.0]), coin("Y", &[0.0, 0.0, 0.0]), coin("Z", &[0.1, 3.0, 0.0])];
        let reversed: Vec<CoinImportance> = coins.iter().rev().cloned().collect();
        assert_eq!(aggregate(&coins), aggregate(&reversed));
        let bank = aggregate(&coins);
        assert_eq!(bank["a"].symbols_using, ["X"]);
        assert_eq!(bank["b"].symbols_using, ["Z"]);
        assert!((bank.values().map(|e| e.avg_importance).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_feature_is_widely_used_when_enough_coins_use_it() {
        let coins: Vec<CoinImportance> = (0..6).map(|i| coin(&format!("S{i}"), &[1.0, 0.0, 0.1])).collect();
        assert_eq!(widely_used_features(&aggregate(&coins), 6), ["a"]);
        assert!(widely_used_features(&aggregate(&coins[..4]), 4).is_empty());
    }

    fn symbol(i: usize) -> Symbol {
        Symbol::parse(&format!("COIN{i:03}USDT"), Market::Perp).unwrap()
    }

    fn normal(rng: &mut StdRng) -> f64 {
        StandardNormal.sample(rng)
    }

    /// 150 days of a coin whose feature is worth `edge` bps a day, permuted five times: noise of
    /// the day that permuting changes, and noise of each permutation.
    fn measured(edge: f64, rng: &mut StdRng) -> Delta {
        let intact: Vec<f64> = (0..150).map(|_| 50.0 * normal(rng)).collect();
        let shift: Vec<f64> = (0..150).map(|_| edge + 10.0 * normal(rng)).collect();
        let permuted: Vec<Vec<f64>> = (0..5)
            .map(|_| intact.iter().zip(&shift).map(|(v, s)| v - s + 5.0 * normal(rng)).collect())
            .collect();
        permutation_delta(&intact, &permuted, 2).unwrap()
    }

    #[test]
    fn planted_effects_are_named_and_noise_stays_in_its_band() {
        let mut rng = Seed(1).rng();
        let mut count = |edge: f64, effect: Effect| {
            (0..400).filter(|_| measured(edge, &mut rng).effect() == effect).count()
        };
        assert!(count(5.0, Effect::Helps) > 395);
        assert!(count(-5.0, Effect::Hurts) > 395);
        let (helps, hurts) = (count(0.0, Effect::Helps), count(0.0, Effect::Hurts));
        assert!(helps < 20 && hurts < 20, "{helps} {hurts}");
    }

    #[test]
    fn a_delta_is_by_hand_what_it_is_in_code() {
        let delta = permutation_delta(&[1.0, 3.0], &[vec![0.0, 1.0], vec![0.0, 0.0]], 0).unwrap();
        // Losses 1 and 2.5: mean 1.75, standard error .75; over permutations (½/√2)/√2 = .25.
        assert!((delta.mean_bps - 1.75).abs() < 1e-12 && delta.repetitions == 2);
        assert!((delta.std_error_bps - 0.75).abs() < 1e-12);
        // Two days alike and permutations far apart: the latter decide.
        let delta = permutation_delta(&[0.0, 0.1], &[vec![9.0, 9.0], vec![-9.0, -9.0]], 0).unwrap();
        assert!((delta.std_error_bps - 9.0).abs() < 1e-12);
        assert_eq!(delta.effect(), Effect::Neither);
    }

    #[test]
    fn what_cannot_be_measured_is_none_and_an_idle_feature_is_zero() {
        let days = vec![1.0, -2.0, 0.5];
        let idle = permutation_delta(&days, &[days.clone(), days.clone()], 1).unwrap();
        assert_eq!((idle.mean_bps, idle.std_error_bps, idle.effect()), (0.0, 0.0, Effect::Neither));
        assert_eq!(permutation_delta(&days, &[], 1), None);
        assert_eq!(permutation_delta(&days, &[vec![0.0; 2]], 1), None);
        assert_eq!(permutation_delta(&days, &[vec![0.0, f64::NAN, 0.0]], 1), None);
        assert_eq!(permutation_delta(&[1.0, 1.0], &[vec![0.0, 0.0]], 1), None);
        assert_eq!(permutation_delta(&[], &[vec![]], 1), None);
    }

    #[test]
    fn blocks_are_shuffled_whole_and_every_row_comes_once() {
        let order = block_permutation(1_000, 48, Seed(3));
        assert_eq!(order, block_permutation(1_000, 48, Seed(3)));
        assert_ne!(order, block_permutation(1_000, 48, Seed(4)));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
        let breaks = order.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!((10..=20).contains(&breaks), "{breaks}");
        assert!(block_permutation(0, 0, Seed(1)).is_empty());
    }

    /// `coins` coins with features: `all` helps everybody, `some` one coin in five, `one_half` only
    /// the coins of half 0 (and costs the others), `bad` hurts everybody, twenty are noise.
    fn universe(coins: usize) -> Vec<CoinDeltas> {
        let mut rng = Seed(7).rng();
        (0..coins)
            .map(|i| {
                let symbol = symbol(i);
                let one_half = if half_of(&symbol) == 0 { 6.0 } else { -1.0 };
                let some = if i % 5 == 0 { 6.0 } else { 0.0 };
                let planted = [("all", 4.0), ("some", some), ("one_half", one_half), ("bad", -4.0)];
                let mut deltas: BTreeMap<String, Delta> = planted
                    .into_iter()
                    .map(|(name, edge)| (name.to_owned(), measured(edge, &mut rng)))
                    .collect();
                deltas.extend((0..20).map(|k| (format!("noise{k:02}"), measured(0.0, &mut rng))));
                CoinDeltas { symbol, deltas }
            })
            .collect()
    }

    #[test]
    fn only_what_both_halves_find_is_shared_best_first() {
        let coins = universe(100);
        let bank = worth(&coins);
        assert_eq!(shared_features(&bank), ["all", "some"]);
        assert!(bank["one_half"].helped.len() > 30 && bank["one_half"].mean_delta_net_bps > 0.0);
        assert!(bank["bad"].hurt.len() > 90 && bank["bad"].score < -3.0);
        let mut reversed = coins.clone();
        reversed.reverse();
        assert_eq!(worth(&reversed), bank);
        assert!(shared_features(&worth(&coins[..4])).is_empty());
        assert!(worth(&[]).is_empty());
    }

    #[test]
    fn twins_of_an_underlying_are_one_coin_and_stay_on_one_side() {
        let mut sides = [0; 2];
        (0..400).for_each(|i| sides[half_of(&symbol(i))] += 1);
        assert!(sides.iter().all(|n| (160..=240).contains(n)), "{sides:?}");
        // The split is part of what runs share: these two never move.
        let half = |text: &str| half_of(&Symbol::parse(text, Market::Spot).unwrap());
        assert_eq!((half("BTCUSDT"), half("ETHUSDT")), (0, 1));
        assert_eq!((half("BTCUSDT.P"), half("BTCUSDC")), (half("BTCUSDT"), half("BTCUSDT")));
        assert_eq!(half("1000PEPEUSDT.P"), half("PEPEUSDT"));

        let sure = Delta { mean_bps: 5.0, std_error_bps: 1.0, repetitions: 5 };
        let helped = |symbol: Symbol| CoinDeltas { symbol, deltas: [("f".to_owned(), sure)].into() };
        let spot = |i: usize| Symbol::parse(symbol(i).pair(), Market::Spot).unwrap();
        let of_half = |half: usize| (0..400).filter(move |&i| half_of(&symbol(i)) == half).take(2);
        let four: Vec<usize> = of_half(0).chain(of_half(1)).collect();
        let twins: Vec<CoinDeltas> =
            four.iter().flat_map(|&i| [helped(symbol(i)), helped(spot(i))]).collect();
        let bank = worth(&twins);
        assert_eq!((bank["f"].coins, bank["f"].helped.len(), bank["f"].is_shared), (8, 8, false));
        assert_eq!(bank["f"].halves.map(|h| (h.coins, h.helped)), [(2, 2); 2]);
    }

    #[test]
    fn the_next_run_starts_with_the_best_and_ends_with_what_hurts() {
        let bank = worth(&universe(60));
        let names = ["bad", "unseen_b", "all", "unseen_a", "some"].map(String::from);
        assert_eq!(priority(&names, &bank), ["all", "some", "unseen_a", "unseen_b", "bad"]);
    }
}
