//! The feature bank: which features carry which coins, over the whole run.
//!
//! What lives here aggregates per-coin importances; what does not is how an importance is measured
//! or where the bank is written.

use std::collections::BTreeMap;

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

/// Features used by at least `max(5, 10 %)` of the coins, best score first.
pub fn shared_features(bank: &BTreeMap<String, FeatureEntry>, coins: usize) -> Vec<String> {
    let needed = 5_usize.max(coins.div_ceil(10));
    let mut shared: Vec<(&String, &FeatureEntry)> =
        bank.iter().filter(|(_, e)| e.symbols_using.len() >= needed).collect();
    shared.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then_with(|| a.0.cmp(b.0)));
    shared.into_iter().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_feature_is_shared_when_enough_coins_use_it() {
        let coins: Vec<CoinImportance> = (0..6).map(|i| coin(&format!("S{i}"), &[1.0, 0.0, 0.1])).collect();
        assert_eq!(shared_features(&aggregate(&coins), 6), ["a"]);
        assert!(shared_features(&aggregate(&coins[..4]), 4).is_empty());
    }
}
