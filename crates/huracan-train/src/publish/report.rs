//! A run as the report page shows it. Figures are those of the artifacts; only times of day are new.

use super::findings;
use crate::canary::{CanaryVerdicts, FOUND_MIN};
use crate::engine::Outcome;
use crate::engine::verdicts::{CoinVerdict, ENCODER};
use crate::report::{
    Canaries, ChampionEvent, ComponentLoadings, CrossSectionIc, Curve, EncoderSummary, FailedCoin, Fold,
    GateReason, RankBand, ReportData, RosterRow, RunHeader, SkipCount, StageTiming, Universe,
};
use crate::settings::Settings;
use huracan_core::stats::bootstrap::{percentile_interval, stationary_sharpes};
use huracan_core::stats::sharpe::annualised_sharpe;
use huracan_core::words::UtcMs;
use huracan_store::formats::encoder::EncoderFile;
use huracan_store::formats::roster::{Roster, RosterLine};
use std::collections::BTreeMap;

/// What the page tells of the run itself.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// `{DATE}T{HHMMSS}Z-{8 hex}`.
    pub run_id: String,
    /// SHA-256 of the effective configuration.
    pub config_id: String,
    /// Version of the program.
    pub code_version: String,
    /// When the work began.
    pub started_at: UtcMs,
    /// When it ended.
    pub finished_at: UtcMs,
    /// Where the time went.
    pub timings: Vec<StageTiming>,
    /// What happened to champions so far; `None` where it was not read.
    pub champion_events: Option<Vec<ChampionEvent>>,
    /// What the canaries said, where they ran.
    pub canaries: Option<Canaries>,
}

/// Components of the encoder whose loadings are shown, and loadings shown of each.
const SHOWN: (usize, usize) = (5, 8);

/// Fills the report. `roster` is what was published, `encoder` what its heads need.
pub fn report_data(
    settings: &Settings,
    outcome: &Outcome,
    roster: &Roster,
    encoder: Option<&EncoderFile>,
    facts: &RunFacts,
) -> ReportData {
    let total = roster.total_symbols as usize;
    ReportData {
        run: RunHeader {
            run_id: facts.run_id.clone(),
            verdict: format!("{} of {total} coins trade_ok", roster.trade_ok_count),
            started_at: facts.started_at.to_string(),
            finished_at: facts.finished_at.to_string(),
            data_from_ms: outcome.survey.grid.start.0,
            data_until_ms: outcome.survey.until.0,
            bar: settings.timeframe.to_string(),
            bars: outcome.survey.coins.iter().map(|c| c.profile.present_bars as u64).sum(),
            coins: total,
            skipped: roster.skipped.len(),
            facts: header_facts(settings, outcome, encoder, facts),
            canaries: facts.canaries.clone(),
        },
        roster: rows(outcome, roster),
        skip_reasons: skip_reasons(roster),
        failed: roster
            .failed
            .iter()
            .map(|f| FailedCoin { symbol: f.symbol.clone(), step: f.step.clone(), error: f.error.clone() })
            .collect(),
        universe: Some(universe(outcome)),
        rank_band: Some(rank_band(settings, outcome)),
        encoder: encoder.map(|file| encoder_summary(outcome, file)),
        sharing: findings::sharing(outcome),
        cross_section: cross_section(settings, outcome),
        variants: Some(findings::variants(settings, outcome)),
        feature_bank: findings::feature_bank(outcome),
        regimes: Some(findings::regimes(outcome)),
        drift: findings::drift(outcome),
        champion_events: facts.champion_events.clone(),
        folds: folds(outcome),
        timings: facts.timings.clone(),
    }
}

fn header_facts(
    settings: &Settings,
    outcome: &Outcome,
    encoder: Option<&EncoderFile>,
    facts: &RunFacts,
) -> Vec<(String, String)> {
    let label = &settings.label;
    let verdicts = &outcome.verdicts;
    let (helped, hurt, undecided) = verdicts
        .sharing
        .iter()
        .find(|c| c.comparison.code == ENCODER)
        .map_or((0, 0, verdicts.coins.len()), |c| c.counts());
    let deployed = match verdicts.deployed.last() {
        Some(last) if last.policy.is_zero => "the zero head: nothing earned on validation".to_owned(),
        Some(last) => format!("{}, entry above {} × cost", last.lane.code(), last.policy.multiple),
        None => "nothing".to_owned(),
    };
    let best = verdicts.placebo_net_pct.iter().copied().reduce(f64::max);
    let lag = label.entry_lag_bars;
    let texts = [
        ("Label", format!("{}, {} bars, entered {lag} bar(s) late", label.kind.code(), label.horizon_bars)),
        ("Universe net", format!("{:.2} % a coin", verdicts.universe_net_pct)),
        ("Best placebo", best.map_or("none".to_owned(), |b| format!("{b:.2} % a coin"))),
        ("Deployed", deployed),
        ("Best encoder", format!("{helped} helped, {hurt} hurt, {undecided} undecided")),
        ("Encoder", encoder.map_or("none".to_owned(), |e| e.card.encoder_id.clone())),
        ("Seed", settings.seed.0.to_string()),
        ("Configuration", facts.config_id.clone()),
        ("Code", format!("huracan {}", facts.code_version)),
    ];
    texts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn cumulative_pct(daily_bps: &[f64]) -> Vec<f64> {
    let step = |sum: &mut f64, bps: &f64| {
        *sum += bps / 100.0;
        Some(*sum)
    };
    daily_bps.iter().scan(0.0, step).collect()
}

fn curve(outcome: &Outcome, daily_bps: &[f64]) -> Curve {
    let first_day_ms = outcome.plan.test_start.day() * UtcMs::DAY;
    Curve { first_day_ms, step_days: 1, pct: cumulative_pct(daily_bps) }
}

/// The lines of the roster; a champion of an earlier run has no curve here.
fn rows(outcome: &Outcome, roster: &Roster) -> Vec<RosterRow> {
    let verdicts = outcome.verdicts.coins.iter();
    let of: BTreeMap<String, &CoinVerdict> =
        verdicts.map(|v| (outcome.survey.coins[v.index].symbol.to_string(), v)).collect();
    let equity = |line: &RosterLine| match of.get(&line.symbol.to_string()) {
        Some(v) if v.metrics.net_pnl_pct == line.metrics.net_pnl_pct => curve(outcome, &v.daily_net_bps),
        _ => Curve::default(),
    };
    let row = |line: &RosterLine| {
        let symbol = line.symbol.to_string();
        RosterRow {
            rank: line.rank as usize,
            trade_ok: line.trade_ok,
            sharpe: line.metrics.sharpe,
            net_pnl_pct: Some(line.metrics.net_pnl_pct),
            sample_size: line.metrics.sample_size as usize,
            hit_rate: line.metrics.hit_rate,
            max_drawdown_pct: Some(line.metrics.max_drawdown_pct),
            fee_bps: line.fee_bps,
            spread_bps: line.spread_bps,
            slip_bps: line.avg_slip_bps,
            total_cost_bps: line.total_cost_bps,
            adv_usd: line.adv_usd,
            capacity_usd: line.capacity_usd,
            last_7d_net_bps: line.last_7d_net_bps,
            reasons: line
                .trade_ok_reasons
                .iter()
                .map(|gate| GateReason {
                    gate: gate.gate.clone(),
                    value: figure(gate.value),
                    limit: format!("{} {}", gate.comparison.as_deref().unwrap_or(""), figure(gate.limit)),
                    passed: gate.passed,
                })
                .collect(),
            equity: equity(line),
            symbol,
        }
    };
    roster.symbols.iter().map(row).collect()
}

fn figure(value: Option<f64>) -> String {
    value.map_or("undefined".to_owned(), |v| format!("{v:.3}"))
}

fn skip_reasons(roster: &Roster) -> Vec<SkipCount> {
    let mut counts: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for reason in roster.skipped.iter().flat_map(|s| &s.skip_reasons) {
        let limit = match &reason.limit {
            Some(huracan_store::formats::wire::Quantity::Number(n)) => format!("limit {n}"),
            Some(huracan_store::formats::wire::Quantity::Text(text)) => text.clone(),
            None => String::new(),
        };
        counts.entry(&reason.code).or_insert((0, limit)).0 += 1;
    }
    counts
        .into_iter()
        .map(|(code, (coins, meaning))| SkipCount { code: code.to_owned(), coins, meaning })
        .collect()
}

fn universe(outcome: &Outcome) -> Universe {
    let verdicts = &outcome.verdicts;
    Universe {
        net: curve(outcome, &verdicts.universe_daily_net_bps),
        placebos: verdicts.placebo_net_pct.len(),
        placebo_net_pct: verdicts.placebo_net_pct.clone(),
        sharpe: annualised_sharpe(&verdicts.universe_daily_net_bps, 365.0),
        ..Universe::default()
    }
}

fn rank_band(settings: &Settings, outcome: &Outcome) -> RankBand {
    let book = &outcome.verdicts.book;
    let options = settings.metric_options(settings.seed.child("rank band", 0));
    let draws =
        stationary_sharpes(&book.daily_net_bps, options.mean_block_days, options.repetitions, options.seed);
    let annual = |s: [f64; 2]| s.map(|v| v * 365.0_f64.sqrt());
    RankBand {
        net: curve(outcome, &book.daily_net_bps),
        gross_pct: Vec::new(),
        rule: "enter the top and bottom 10 % of the scores, leave outside 25 %".to_owned(),
        sharpe: book.sharpe,
        sharpe_ci_90: percentile_interval(draws, 0.90).map(annual),
    }
}

fn encoder_summary(outcome: &Outcome, encoder: &EncoderFile) -> EncoderSummary {
    let meaning = &encoder.card.meaning;
    let p = meaning.feature_names.len();
    let components = encoder.tensors.get("components").map_or(&[][..], |t| t.data.as_slice());
    let loadings = |row: &[f64]| {
        let mut named: Vec<(String, f64)> =
            meaning.feature_names.iter().cloned().zip(row.iter().copied()).collect();
        named.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
        named.truncate(SHOWN.1);
        named
    };
    let (training_loss, kept_epoch) = match meaning.encoder_type.as_str() {
        "autoencoder" => findings::training_loss(outcome),
        _ => (Vec::new(), None),
    };
    EncoderSummary {
        kind: meaning.encoder_type.clone(),
        encoder_id: encoder.card.encoder_id.clone(),
        explained_variance_ratio: encoder.card.explained_variance_ratio.clone(),
        top_loadings: components
            .chunks_exact(p.max(1))
            .take(SHOWN.0)
            .enumerate()
            .map(|(k, row)| ComponentLoadings { component: k + 1, loadings: loadings(row) })
            .collect(),
        training_loss,
        kept_epoch,
    }
}

fn cross_section(settings: &Settings, outcome: &Outcome) -> Vec<CrossSectionIc> {
    let days = |times: usize| (times as f64 / settings.timeframe.bars_per_day()).round() as usize;
    outcome
        .verdicts
        .ics
        .iter()
        .map(|ic| CrossSectionIc {
            head: "pooled".to_owned(),
            horizon_bars: ic.horizon_bars,
            ic: ic.mean,
            t_stat: ic.t,
            days: days(ic.times),
        })
        .collect()
}

fn folds(outcome: &Outcome) -> Vec<Fold> {
    let (plan, verdicts) = (&outcome.plan, &outcome.verdicts);
    let day = |at: UtcMs| at.format("%Y-%m-%d");
    let tested = plan.tested().iter().enumerate().filter_map(|(f, fold)| Some((f, fold, fold.test?)));
    tested
        .map(|(f, fold, (from, until))| {
            let windows: Vec<_> = verdicts.coins.iter().filter_map(|c| c.windows.get(f)).collect();
            let scored = windows.iter().filter(|w| w.train_rows > 0.0).count();
            let start = (from.day() - plan.test_start.day()).max(0) as usize;
            let end = ((until.0 - 1).div_euclid(UtcMs::DAY) + 1 - plan.test_start.day()).max(0) as usize;
            let daily = &verdicts.universe_daily_net_bps;
            let span = &daily[start.min(daily.len())..end.min(daily.len())];
            let net = windows.iter().map(|w| w.net_pnl_pct).sum::<f64>();
            Fold {
                train: format!("until {}", day(fold.train_end)),
                test: format!("{} to {}", day(from), day(until)),
                coins: scored,
                trades: windows.iter().map(|w| w.trades).sum(),
                net_pnl_pct: (!windows.is_empty()).then(|| net / windows.len() as f64),
                sharpe: annualised_sharpe(span, 365.0),
                ic: None,
            }
        })
        .collect()
}

/// What the canaries said, for the page.
pub fn canary_facts(said: &CanaryVerdicts) -> Canaries {
    Canaries {
        noise: said.noise(),
        noise_trade_ok: said.noise_trade_ok(),
        planted: said.planted(),
        planted_found: said.planted_found(),
        planted_needed: FOUND_MIN,
        passed: said.passed(),
        detail: String::new(),
    }
}
