//! `metrics.json` from a coin's verdict. Nothing is computed here that a reader could not compute
//! from the verdict; undefined stays undefined.

use super::Publication;
use crate::engine::lanes::Lane;
use crate::engine::survey::Coin;
use crate::engine::verdicts::{self, CoinVerdict};
use huracan_core::choose::sharing::{SharingGain, SharingVerdict};
use huracan_core::choose::trade_ok::GateAnswer;
use huracan_core::words::{Market, UtcMs};
use huracan_store::formats::figures::GateReading;
use huracan_store::formats::metrics::{
    BaselineFigures, Baselines, CostParts, CostsUsed, DailyNet, DriftFigures, EncoderGain, EncoderVerdict,
    Metrics, RegimeFigures, Window,
};
use huracan_store::formats::wire::Span;
use std::collections::BTreeMap;

/// The document.
pub(super) fn metrics(publication: &Publication<'_>, verdict: &CoinVerdict, coin: &Coin) -> Metrics {
    let plan = &publication.outcome.plan;
    let m = &verdict.metrics;
    let agreement = verdict.agreement;
    let trades = m.sample_size as f64;
    Metrics {
        symbol: (&coin.symbol).into(),
        sample_size: m.sample_size as u64,
        oos_bars: verdict.oos_bars as u64,
        train_rows: verdict.head.rows as u64,
        active_days: m.active_days as u64,
        window: Span { from: plan.test_start.into(), until: plan.test_end.into() },
        gross_pnl_pct: m.gross_pnl_pct,
        net_pnl_pct: m.net_pnl_pct,
        net_pnl_shrunk_pct: Some(verdict.shrunk_trade_bps * trades / 100.0),
        net_pnl_ex_best_day_pct: Some(m.net_ex_best_day_pct),
        net_pnl_winsorised_pct: Some(m.net_winsorised_pct),
        sharpe: m.sharpe,
        sharpe_ci_95: m.sharpe_ci_95,
        sharpe_lo_adjusted: m.lo_sharpe,
        probabilistic_sharpe: m.psr,
        deflated_sharpe: m.deflated_sharpe,
        n_trials: m.n_trials as u64,
        net_t_hac: m.hac_t,
        net_p_one_sided: m.hac_p_one_sided,
        q_value: verdict.q_value,
        hit_rate: m.hit_rate,
        max_drawdown_pct: m.max_drawdown_pct,
        avg_trade_bps: m.avg_trade_bps,
        turnover_per_day: m.turnover_per_day,
        profit_factor: m.profit_factor,
        exposure: m.exposure.clamp(0.0, 1.0),
        last_7d_net_bps: m.last_7d_net_bps,
        last_7d_trades: m.last_7d_trades as u64,
        ic: agreement.map(|a| a.ic),
        ic_t_hac: agreement.and_then(|a| a.ic_t),
        rank_ic: agreement.map(|a| a.rank_ic),
        rank_ic_t_hac: agreement.and_then(|a| a.rank_ic_t),
        r2: agreement.map(|a| a.r2),
        windows: windows(publication, verdict, coin),
        by_regime: by_regime(verdict),
        costs_used: costs_used(publication, verdict, coin),
        baselines: baselines(verdict),
        encoder_gain: Some(gain(&verdict.encoder_gain, verdict)),
        sharing: sharing(publication, verdict),
        variant: Some(verdict.lane.code().to_owned()),
        regime: Some(verdict.regime.code().to_owned()),
        drift: verdict.explained.drift.as_ref().map(|report| DriftFigures {
            action: verdict.drift_action.code().to_owned(),
            heavy_breached_share: report.heavy_breached_share,
            coverage: report.coverage,
        }),
        trade_ok: verdict.trade_ok,
        trade_ok_reasons: verdict.gates.iter().map(reading).collect(),
        daily: Some(DailyNet { first_day: plan.test_start.date(), net_bps: verdict.daily_net_bps.clone() }),
    }
}

fn gain(gain: &SharingGain, verdict: &CoinVerdict) -> EncoderGain {
    EncoderGain {
        mean_bps: gain.mean_bps,
        interval_bps: gain.interval_bps,
        n_days: verdict.daily_net_bps.len() as u64,
        verdict: match gain.verdict {
            SharingVerdict::Helped => EncoderVerdict::Helped,
            SharingVerdict::Hurt => EncoderVerdict::Hurt,
            SharingVerdict::Undecided => EncoderVerdict::Undecided,
        },
    }
}

/// The coin's answer to every comparison of the run.
fn sharing(publication: &Publication<'_>, verdict: &CoinVerdict) -> BTreeMap<String, EncoderGain> {
    let verdicts = &publication.outcome.verdicts;
    let Some(n) = verdicts.coins.iter().position(|v| v.index == verdict.index) else {
        return BTreeMap::new();
    };
    let answers = verdicts.sharing.iter().filter_map(|c| Some((c.comparison.code, c.coins.get(n)?)));
    answers.map(|(code, answer)| (code.to_owned(), gain(answer, verdict))).collect()
}

/// Regimes that the coin was in or traded in.
fn by_regime(verdict: &CoinVerdict) -> BTreeMap<String, RegimeFigures> {
    let seen = verdict.by_regime.iter().filter(|r| r.share > 0.0 || r.trades > 0);
    seen.map(|r| {
        let figures = RegimeFigures {
            bars: (r.share * verdict.oos_bars as f64).round() as u64,
            trades: r.trades as u64,
            net_pnl_pct: r.net_pnl_pct,
            sharpe: r.sharpe,
            hit_rate: r.hit_rate,
            avg_trade_bps: (r.trades > 0).then(|| 100.0 * r.net_pnl_pct / r.trades as f64),
        };
        (r.regime.code().to_owned(), figures)
    })
    .collect()
}

/// A gate's answer as files write it. A limit that is not known stays `null`.
pub(super) fn reading(answer: &GateAnswer) -> GateReading {
    let finite = |v: Option<f64>| v.filter(|v| v.is_finite());
    GateReading {
        gate: answer.gate.to_owned(),
        value: finite(answer.value),
        limit: finite(answer.limit),
        comparison: Some(answer.comparison.to_owned()),
        passed: answer.passed,
    }
}

fn windows(publication: &Publication<'_>, verdict: &CoinVerdict, coin: &Coin) -> Vec<Window> {
    let plan = &publication.outcome.plan;
    let bar = publication.settings.timeframe.ms();
    let one = |(fold, window): (&huracan_core::trial::plan::Fold, &verdicts::Window)| Window {
        train_from: UtcMs(coin.start().0.min(fold.train_end.0)).into(),
        train_until: fold.train_end.into(),
        test_from: window.test.0.into(),
        test_until: window.test.1.into(),
        embargo_bars: ((window.test.0.0 - fold.train_end.0) / bar).max(0) as u64,
        trades: window.trades as u64,
        net_pnl_pct: window.net_pnl_pct,
        sharpe: window.sharpe,
        ic: window.ic,
    };
    plan.tested().iter().zip(&verdict.windows).map(one).collect()
}

/// Fee, spread and slippage as calibrated at the end of the data; what was charged beyond them is
/// the remainder. Funding is for the mean time a position was held.
fn costs_used(publication: &Publication<'_>, verdict: &CoinVerdict, coin: &Coin) -> Option<CostsUsed> {
    let trades = verdict.metrics.sample_size;
    if trades == 0 {
        return None;
    }
    let settings = publication.settings;
    let model = &coin.costs;
    let held_bars = verdict.metrics.exposure * verdict.oos_bars as f64 / trades as f64;
    let funding = match coin.symbol.market() {
        Market::Perp => {
            let held_ms = held_bars * settings.timeframe.ms() as f64;
            settings.trading.funding_bps_per_8h * held_ms / (8 * UtcMs::HOUR) as f64
        }
        Market::Spot => 0.0,
    };
    let slippage = model.slippage_bps(settings.costs.reference_order_usd, 1.0);
    let half_spread = 0.5 * model.spread_bps;
    let remainder = verdict.one_side_bps - model.taker_fee_bps - half_spread - slippage;
    let parts = |sides: f64| CostParts {
        fee_bps: sides * model.taker_fee_bps,
        spread_bps: sides * half_spread,
        slippage_bps: sides * slippage,
        funding_bps: funding * sides / 2.0,
        remainder_bps: Some(sides * remainder),
    };
    Some(CostsUsed {
        per_side: parts(1.0),
        round_trip: parts(2.0),
        total_bps: 2.0 * verdict.one_side_bps + funding,
    })
}

fn baselines(verdict: &CoinVerdict) -> Baselines {
    let figures = |b: &verdicts::Baseline| BaselineFigures {
        sharpe: b.sharpe,
        hit_rate: None,
        net_pnl_pct: b.net_pnl_pct,
        max_drawdown_pct: None,
        sample_size: b.trades as u64,
        window: None,
    };
    let of = |name: &str| verdict.baselines.iter().find(|b| b.name == name).map(figures);
    let lanes = Lane::ALL.iter().filter_map(|lane| Some((lane.code().to_owned(), of(lane.code())?)));
    Baselines {
        buy_and_hold: of("buy_and_hold"),
        zero: of("zero"),
        without_encoder: of(Lane::Plain.code()),
        own_pca: of(Lane::OwnPca.code()),
        pooled_head: of("pooled_head"),
        lanes: lanes.collect(),
    }
}
