//! Ranking: `trade_ok` first, then recent net, cheapness and liquidity, as percentiles.

use crate::stats::ranks::percentiles;

/// What one coin is ranked by.
#[derive(Clone, Debug, PartialEq)]
pub struct RankInput {
    /// Name; breaks ties.
    pub symbol: String,
    /// Every `trade_ok` coin ranks before every other.
    pub trade_ok: bool,
    /// After-cost bps of the trades closed in the last seven days.
    pub last_7d_net_bps: f64,
    /// How many those were.
    pub last_7d_trades: usize,
    /// Round-trip cost, bps.
    pub round_trip_bps: f64,
    /// Average daily quote volume, USD.
    pub adv_usd: f64,
}

/// A coin's place and how it came by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Position of the coin in the input.
    pub index: usize,
    /// 1 is best.
    pub rank: usize,
    /// Weighted score, 0..1.
    pub score: f64,
    /// Percentile of the shrunk recent net.
    pub recent: f64,
    /// Percentile of cheapness.
    pub cheapness: f64,
    /// Percentile of log ADV.
    pub liquidity: f64,
}

/// Weights of recent net, cheapness and liquidity.
pub const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
/// Trades at which recent net counts for one half.
const SHRINK_TRADES: f64 = 20.0;

/// Ranks all coins: a permutation of the input, best first.
pub fn rank(coins: &[RankInput]) -> Vec<Ranked> {
    let shrunk = |c: &RankInput| {
        let n = c.last_7d_trades as f64;
        c.last_7d_net_bps * n / (n + SHRINK_TRADES)
    };
    let recent = percentiles(&coins.iter().map(shrunk).collect::<Vec<_>>());
    let cheap = percentiles(&coins.iter().map(|c| -c.round_trip_bps).collect::<Vec<_>>());
    let liquid = percentiles(&coins.iter().map(|c| c.adv_usd.max(1.0).ln()).collect::<Vec<_>>());
    let mut ranked: Vec<Ranked> = (0..coins.len())
        .map(|i| Ranked {
            index: i,
            rank: 0,
            score: WEIGHTS[0] * recent[i] + WEIGHTS[1] * cheap[i] + WEIGHTS[2] * liquid[i],
            recent: recent[i],
            cheapness: cheap[i],
            liquidity: liquid[i],
        })
        .collect();
    ranked.sort_by(|a, b| {
        let (ca, cb) = (&coins[a.index], &coins[b.index]);
        cb.trade_ok
            .cmp(&ca.trade_ok)
            .then(b.score.total_cmp(&a.score))
            .then_with(|| ca.symbol.cmp(&cb.symbol))
    });
    ranked.iter_mut().enumerate().for_each(|(place, r)| r.rank = place + 1);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coin(symbol: &str, trade_ok: bool, net: f64, cost: f64, adv: f64) -> RankInput {
        RankInput {
            symbol: symbol.into(),
            trade_ok,
            last_7d_net_bps: net,
            last_7d_trades: 10,
            round_trip_bps: cost,
            adv_usd: adv,
        }
    }

    #[test]
    fn tradable_coins_come_first_then_score_then_name() {
        let coins = [
            coin("CCC", false, 500.0, 5.0, 1e9),
            coin("BBB", true, 10.0, 20.0, 1e6),
            coin("AAA", true, 10.0, 20.0, 1e6),
            coin("DDD", true, 90.0, 20.0, 1e6),
        ];
        let order: Vec<&str> = rank(&coins).iter().map(|r| coins[r.index].symbol.as_str()).collect();
        assert_eq!(order, ["DDD", "AAA", "BBB", "CCC"]);
        assert_eq!(rank(&coins).iter().map(|r| r.rank).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn no_coins_rank_to_nothing() {
        assert!(rank(&[]).is_empty());
    }
}
