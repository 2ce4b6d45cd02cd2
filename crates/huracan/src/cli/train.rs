//! `huracan train`: one run of the Engine.

use super::settings::{self, CandleFlags};
use super::store::RemoteCost;
use super::symbols::{Selector, Universe};
use super::{Global, Output, World};
use crate::failure::{Exit, Failure};
use crate::progress::duration;
use crate::table::figure;
use crate::wiring::{self, Session};
use clap::Args;
use huracan_core::words::{Seed, UtcMs};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// Flags of `train`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The first run takes the engine.start_with_symbols most liquid coins; each completed run in the store
grows the universe to engine.target_symbols. --symbols overrides that.
Running twice over the same candles and coins changes nothing: the second run says so and ends.
A --store that is not a folder of this machine is brought up to date before and carried to after the
run; without network the run is published here, says so, and huracan store sync carries it later.

Examples:
  huracan train --candles ./candles --bar 1h
  huracan train --candles ./candles --symbols all --workers 8
  huracan train --candles ./candles --symbols BTCUSDT,ETHUSDT --until 2025-07-01
  huracan train --candles ./candles --symbols @coins.txt --config huracan.yaml
  huracan train --candles ./candles --placebo 7      the same run on signs drawn at random: nothing
                                                     should be trade_ok; never published as champions")]
pub struct TrainArgs {
    /// Folder of candle files (Parquet, CSV, zip), any depth
    #[arg(long, value_name = "DIR")]
    pub candles: PathBuf,
    /// Flags that are settings.
    #[command(flatten)]
    pub flags: CandleFlags,
    /// Coins: all, top:N, a list such as BTCUSDT,ETHUSDT.P, or @FILE [default: the staged universe]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<Selector>,
    /// Coins worked on at once; never changes results [setting: engine.parallel_tasks]
    #[arg(long, value_name = "N")]
    pub workers: Option<u64>,
    /// Use only bars complete by this time: 2025-07-01 or 2025-07-01T12:00:00Z [default: the end of the data]
    #[arg(long, value_name = "TIME")]
    pub until: Option<UtcMs>,
    /// Draw the signs of labels and returns at random from this seed: a run that must find nothing
    #[arg(long, value_name = "SEED")]
    pub placebo: Option<u64>,
}

/// What a run of the Engine is asked to do, beside its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainRequest {
    /// Folder of candles.
    pub candles: PathBuf,
    /// Folder of results.
    pub store: PathBuf,
    /// Which coins.
    pub universe: Universe,
    /// Use only bars complete by then; `None` means the end of the data.
    pub until: Option<UtcMs>,
    /// Random signs from this seed instead of the truth.
    pub placebo: Option<Seed>,
}

/// What a run of the Engine came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunSummary {
    /// `{DATE}T{HHMMSS}Z-{8 hex}`.
    pub run_id: String,
    /// Identity of the configuration.
    pub config_id: String,
    /// Folder of results.
    pub store: PathBuf,
    /// Symbols of the universe: the next three together.
    pub total: usize,
    /// Coins with a model.
    pub trained: usize,
    /// Coins that did not pass their gates.
    pub skipped: usize,
    /// Coins whose job broke.
    pub failed: usize,
    /// Coins that may be proposed for trading.
    pub trade_ok: usize,
    /// Identity of the shared encoder, where one is used.
    pub encoder_id: Option<String>,
    /// Whether the roster was published.
    pub published: bool,
    /// Whether nothing had to be done, because the same run is there already.
    pub up_to_date: bool,
    /// What the run found out; `None` when it did not have to run.
    pub findings: Option<Findings>,
    /// What the canaries said; `None` for a placebo run and when the run was there already.
    pub canaries: Option<CanaryReport>,
    /// For a placebo run, the shares of coins that passed.
    pub placebo: Option<PlaceboShare>,
    /// For a generated market, what was found against what is true.
    pub truth: Option<Truth>,
    /// The run's report.
    pub report: Option<PathBuf>,
    /// Whether everything is in the remote store; `None` where the store is a folder and no other.
    pub carried: Option<bool>,
    /// What asking it cost, the workers of a shared run aside; `None` where nobody counts.
    pub remote_cost: Option<RemoteCost>,
    /// What keeps it from being there, where waiting alone does not help.
    #[serde(skip)]
    pub carry_failure: Option<Failure>,
    /// What a reader should know: warnings, why nothing was published.
    pub notes: Vec<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// What the coins of known truth said of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CanaryReport {
    /// Whether they ran and passed.
    pub passed: bool,
    /// Whether they ran and forbade the publication.
    pub blocked: bool,
    /// What was found, or why they did not run.
    pub found: String,
}

/// What a run found out about its universe.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    /// Mean net over coins, percent of capital.
    pub universe_net_pct: f64,
    /// The same for each sign-flip placebo.
    pub placebo_net_pct: Vec<f64>,
    /// Cross-sectional rank IC of the pooled heads.
    pub pooled_ics: Vec<HorizonIc>,
    /// The long/short book of the ranks, net bps a day.
    pub book_net_bps_per_day: f64,
    /// The same before costs.
    pub book_gross_bps_per_day: f64,
    /// Its annualised Sharpe ratio.
    pub book_sharpe: Option<f64>,
    /// HAC t of its daily net.
    pub book_t: Option<f64>,
    /// Coins the shared encoder helped.
    pub helped: usize,
    /// Coins it hurt.
    pub hurt: usize,
    /// Coins where the data cannot tell.
    pub undecided: usize,
    /// What is deployed; `None` when no fold was fitted.
    pub deployed: Option<DeployedVariant>,
    /// Every variant's information coefficient out of sample.
    pub variant_ics: Vec<VariantIc>,
    /// Every way of sharing against doing without.
    pub sharing: Vec<SharingLine>,
    /// Probability that choosing the best variant was luck, 0..1.
    pub overfitting_probability: Option<f64>,
    /// The mixture of experts; `None` when there was nothing to learn from.
    pub meta_learner: Option<MixtureLine>,
    /// Coins by what their drift asks for, mildest first.
    pub drift: Vec<Counted>,
    /// Coins by their regime at the end of the data.
    pub regimes_now: Vec<Counted>,
    /// Champion pointers that moved to a model of this run.
    pub champions_moved: usize,
    /// Champions that kept their place against a candidate of this run.
    pub champions_kept: usize,
    /// What champions and candidates said together; `None` where none could be compared.
    pub challenge: Option<ChallengeFigures>,
}

/// Candidates against champions over all coins, bps a day a coin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ChallengeFigures {
    /// Coins compared.
    pub coins: usize,
    /// Days compared.
    pub days: usize,
    /// Mean paired gain of the candidates.
    pub gain_bps: f64,
    /// Its standard error.
    pub error_bps: f64,
    /// The smallest common gain that is found with a power of 80 %.
    pub minimum_detectable_gain_bps: f64,
}

/// The variant that validation chose for the final fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeployedVariant {
    /// Code of the lane.
    pub variant: String,
    /// Whether nothing earned anything on validation, so that the zero head is deployed.
    pub is_zero: bool,
    /// Multiple of the round-trip cost asked for entry.
    pub entry_cost_multiple: f64,
    /// Share of the entry threshold below which a position is left; `None`: held to its horizon.
    pub exit_band: Option<f64>,
    /// Variants that competed, per coin.
    pub variants_tried: usize,
}

/// What one variant foretold out of sample, traded or not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VariantIc {
    /// Code of the lane.
    pub variant: String,
    /// Correlation of its heads' scores with the label over all coins, mean over folds.
    pub ic: Option<f64>,
    /// Standard error over folds.
    pub std_error: Option<f64>,
}

/// What one way of sharing gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SharingLine {
    /// Code of the comparison.
    pub comparison: String,
    /// Coins it helped after false-discovery control.
    pub helped: usize,
    /// Coins it hurt.
    pub hurt: usize,
    /// Coins where the data cannot tell.
    pub undecided: usize,
    /// Mean over coins of the daily difference in net.
    pub mean_bps: f64,
    /// 90 % interval of it; `None` when the two never differed.
    pub interval_bps: Option<[f64; 2]>,
}

/// The mixture of experts against what is deployed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MixtureLine {
    /// Whether its gain lies above zero, so that it may be used.
    pub used: bool,
    /// Mean daily net of the mixture minus what is deployed.
    pub gain_bps: Option<f64>,
    /// 90 % interval of it.
    pub interval_bps: Option<[f64; 2]>,
}

/// A word and how many coins it holds for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counted {
    /// The word.
    pub code: String,
    /// Coins.
    pub coins: usize,
}

/// Agreement of the pooled score with what came, at one horizon.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HorizonIc {
    /// Bars ahead.
    pub horizon_bars: usize,
    /// Mean rank correlation over times.
    pub rank_ic: Option<f64>,
    /// Its HAC t.
    pub t: Option<f64>,
}

/// Shares of coins that passed on random signs, 0..1; both should be near 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PlaceboShare {
    /// By the product's five gates alone.
    pub product_ok: f64,
    /// By all gates.
    pub trade_ok: f64,
}

/// What a run said of coins whose truth is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Truth {
    /// Coins with a planted edge.
    pub planted: usize,
    /// Those of them that are trade_ok.
    pub planted_found: usize,
    /// Those of them whose daily net passes the false-discovery test.
    pub planted_significant: usize,
    /// Coins without an edge.
    pub others: usize,
    /// Those of them that are trade_ok; must be none.
    pub others_trade_ok: usize,
    /// Share of the planted ones that must be trade_ok, 0..1.
    pub found_share_min: f64,
    /// Share of the planted ones that must be significant, 0..1.
    pub significant_share_min: f64,
}

impl Truth {
    /// Whether enough was found and nothing was made up.
    pub fn holds(&self) -> bool {
        let enough = |found: usize, share: f64| found as f64 >= share * self.planted as f64;
        self.others_trade_ok == 0
            && enough(self.planted_found, self.found_share_min)
            && enough(self.planted_significant, self.significant_share_min)
    }
}

/// Runs the command.
///
/// # Errors
/// What the configuration, the candles, the store or the run refuse.
pub fn run(args: &TrainArgs, global: &Global, world: &World, session: &Session) -> Result<Output, Failure> {
    let mut flags = args.flags.said();
    flags.extend(args.workers.map(|n| settings::said("engine.parallel_tasks", n.into(), "--workers")));
    let loaded = settings::load(global, world, flags)?;
    let universe = match &args.symbols {
        Some(selector) => selector.resolve(loaded.config.market)?,
        None => Universe::Staged,
    };
    let request = TrainRequest {
        candles: args.candles.clone(),
        store: loaded.store.local.clone(),
        universe,
        until: args.until,
        placebo: args.placebo.map(Seed),
    };
    Ok(output(&wiring::train(&request, &loaded, session)?))
}

/// A run's summary for people and programs.
pub fn output(summary: &RunSummary) -> Output {
    let store = summary.store.display();
    let mut text = format!(
        "run {}: {} symbols = {} ranked + {} skipped + {} failed; {} trade_ok, in {}\n",
        summary.run_id,
        summary.total,
        summary.trained,
        summary.skipped,
        summary.failed,
        summary.trade_ok,
        duration(summary.seconds)
    );
    if let Some(findings) = &summary.findings {
        text.push_str(&said(findings));
    }
    if let Some(canaries) = &summary.canaries {
        text.push_str(&format!("  canaries: {}\n", canaries.found));
    }
    if let Some(share) = &summary.placebo {
        text.push_str(&format!(
            "  on random signs: {:.1} % of coins pass the five product gates, {:.1} % pass all gates\n",
            100.0 * share.product_ok,
            100.0 * share.trade_ok
        ));
    }
    if let Some(truth) = &summary.truth {
        text.push_str(&format!(
            "  of {} planted coins {} are significant after costs (at least {:.0} % must be) and {} trade_ok \
             (at least {:.0} %), of {} others {} (none may be)\n",
            truth.planted,
            truth.planted_significant,
            100.0 * truth.significant_share_min,
            truth.planted_found,
            100.0 * truth.found_share_min,
            truth.others,
            truth.others_trade_ok
        ));
    }
    for note in &summary.notes {
        text.push_str(&format!("  {note}\n"));
    }
    if let Some(cost) = &summary.remote_cost {
        text.push_str(&format!("the remote store: {cost}\n"));
    }
    if let Some(report) = &summary.report {
        text.push_str(&format!("report: {}\n", report.display()));
    }
    if summary.published {
        if summary.trade_ok == 0 {
            text.push_str("No coin may be traded. That is a result: nothing survived its costs and gates.\n");
        }
        text.push_str(&format!("next: huracan roster --store {store}\n"));
    } else {
        text.push_str("Nothing was published.\n");
    }
    let exit = match (summary.published || summary.placebo.is_some(), &summary.truth) {
        (false, _) => Exit::NotPublished,
        (true, Some(truth)) if !truth.holds() => Exit::VerificationFailed,
        (true, _) => summary.carry_failure.as_ref().map_or(Exit::Ok, |failure| failure.exit),
    };
    Output { exit, text, json: json!({"schema": "huracan-cli-run/1", "run": summary}) }
}

fn said(findings: &Findings) -> String {
    let placebos = &findings.placebo_net_pct;
    let low = placebos.iter().copied().fold(f64::INFINITY, f64::min);
    let high = placebos.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut text = format!("  universe: {:.2} % net a coin", findings.universe_net_pct);
    match placebos.len() {
        0 => text.push_str("; no placebo was run\n"),
        n => {
            let beats = if findings.universe_net_pct > high { "above all" } else { "not above all" };
            text.push_str(&format!(", {beats} {n} sign-flip placebos ({low:.2} to {high:.2} %)\n"));
        }
    }
    let ics = findings
        .pooled_ics
        .iter()
        .map(|ic| format!("{} bars {} (t {})", ic.horizon_bars, figure(ic.rank_ic, 3), figure(ic.t, 1)));
    text.push_str(&format!("  pooled rank IC: {}\n", ics.collect::<Vec<_>>().join(", ")));
    text.push_str(&format!(
        "  long/short book: {:.1} bps a day net ({:.1} gross), sharpe {}, t {}\n",
        findings.book_net_bps_per_day,
        findings.book_gross_bps_per_day,
        figure(findings.book_sharpe, 2),
        figure(findings.book_t, 1)
    ));
    text.push_str(&chosen(findings));
    text.push_str(&format!(
        "  champions: {} new, {} kept\n",
        findings.champions_moved, findings.champions_kept
    ));
    if let Some(c) = &findings.challenge {
        text.push_str(&format!(
            "  candidates against champions: {:+.2} ± {:.2} bps a day over {} coins and {} days; a gain of {:.2} \
             is found in 80 of 100 runs\n",
            c.gain_bps, c.error_bps, c.coins, c.days, c.minimum_detectable_gain_bps
        ));
    }
    text
}

/// What was chosen and what speaks for it, a line each; what was not measured is left out.
fn chosen(findings: &Findings) -> String {
    let mut lines = Vec::new();
    if let Some(deployed) = &findings.deployed {
        let DeployedVariant { variant, entry_cost_multiple, exit_band, variants_tried, .. } = deployed;
        let exit = exit_band.map_or("held to the horizon".to_owned(), |band| format!("exit band {band}"));
        let what = match deployed.is_zero {
            true => format!("the zero head: no policy of {variant} earned anything on validation"),
            false => format!("{variant}, entry above {entry_cost_multiple} × cost, {exit}"),
        };
        lines.push(format!("deployed: {what} ({variants_tried} variants tried)"));
    }
    let ics = findings.variant_ics.iter().filter_map(|v| v.ic.map(|ic| format!("{} {ic:.3}", v.variant)));
    let ics: Vec<String> = ics.collect();
    if !ics.is_empty() {
        lines.push(format!("out-of-sample IC of every variant: {}", ics.join(", ")));
    }
    lines.extend(findings.sharing.iter().map(|line| {
        let SharingLine { comparison, helped, hurt, undecided, .. } = line;
        let gain = gain(Some(line.mean_bps), line.interval_bps);
        format!("{comparison}: {helped} helped / {hurt} hurt / {undecided} undecided, {gain}")
    }));
    if let Some(probability) = findings.overfitting_probability {
        lines.push(format!("probability that choosing the best was luck (PBO): {probability:.2}"));
    }
    if let Some(mixture) = &findings.meta_learner {
        let used = if mixture.used { "fit for use" } else { "not used" };
        lines.push(format!("meta learner: {used}, {}", gain(mixture.gain_bps, mixture.interval_bps)));
    }
    let counted = |all: &[Counted]| {
        let some = all.iter().filter(|c| c.coins > 0).map(|c| format!("{} {}", c.coins, c.code));
        some.collect::<Vec<_>>().join(", ")
    };
    let both = [("drift actions", &findings.drift), ("regimes now", &findings.regimes_now)];
    let told = both.iter().filter(|(_, all)| all.iter().any(|c| c.coins > 0));
    lines.extend(told.map(|(what, all)| format!("{what}: {}", counted(all))));
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

/// "+0.1 bps a day [-0.3, 0.5]".
fn gain(mean_bps: Option<f64>, interval_bps: Option<[f64; 2]>) -> String {
    match (mean_bps, interval_bps) {
        (None, _) => "gain not known".to_owned(),
        (Some(mean), None) => format!("{mean:+.1} bps a day, no interval"),
        (Some(mean), Some([low, high])) => format!("{mean:+.1} bps a day [{low:.1}, {high:.1}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(published: bool) -> RunSummary {
        RunSummary {
            run_id: "20250701T000000Z-0a1b2c3d".into(),
            config_id: "c".into(),
            total: 4,
            store: "s".into(),
            trained: 3,
            skipped: 1,
            failed: 0,
            trade_ok: 0,
            encoder_id: None,
            published,
            notes: vec!["two coins are stale".into()],
            seconds: 3.0,
            ..RunSummary::default()
        }
    }

    #[test]
    fn no_coin_to_trade_is_a_result_and_nothing_published_is_not() {
        let published = output(&summary(true));
        assert_eq!(published.exit, Exit::Ok);
        assert!(published.text.contains("That is a result"), "{}", published.text);
        assert_eq!(output(&summary(false)).exit, Exit::NotPublished);
        assert_eq!(published.json["run"]["encoder_id"], serde_json::Value::Null);
    }

    #[test]
    fn a_placebo_run_that_publishes_nothing_did_what_was_asked() {
        let share = PlaceboShare { product_ok: 0.05, trade_ok: 0.0 };
        let output = output(&RunSummary { placebo: Some(share), ..summary(false) });
        assert_eq!(output.exit, Exit::Ok);
        assert!(output.text.contains("5.0 % of coins pass the five product gates"), "{}", output.text);
    }

    #[test]
    fn a_demo_fails_when_it_makes_something_up_or_finds_too_little() {
        let check = |planted_found: usize, planted_significant: usize, others_trade_ok: usize, exit: Exit| {
            let truth = Truth {
                planted: 10,
                planted_found,
                planted_significant,
                others: 9,
                others_trade_ok,
                found_share_min: 0.5,
                significant_share_min: 0.7,
            };
            assert_eq!(output(&RunSummary { truth: Some(truth), ..summary(true) }).exit, exit);
        };
        check(5, 7, 0, Exit::Ok);
        check(4, 7, 0, Exit::VerificationFailed);
        check(5, 6, 0, Exit::VerificationFailed);
        check(10, 10, 1, Exit::VerificationFailed);
    }

    #[test]
    fn what_was_chosen_and_what_sharing_gave_is_a_line_each() {
        let counted = |code: &str, coins: usize| Counted { code: code.into(), coins };
        let mut findings = Findings {
            deployed: Some(DeployedVariant {
                variant: "ridge_pca".into(),
                is_zero: false,
                entry_cost_multiple: 1.5,
                exit_band: Some(0.3),
                variants_tried: 33,
            }),
            variant_ics: vec![VariantIc { variant: "ridge".into(), ic: Some(0.0312), std_error: None }],
            sharing: vec![SharingLine {
                comparison: "pca".into(),
                undecided: 361,
                mean_bps: 0.1,
                interval_bps: Some([-0.3, 0.5]),
                ..SharingLine::default()
            }],
            overfitting_probability: Some(0.43),
            meta_learner: Some(MixtureLine { used: false, gain_bps: Some(-0.2), interval_bps: None }),
            drift: vec![counted("none", 300), counted("warn", 61), counted("no_promotion", 0)],
            regimes_now: vec![counted("trend", 361)],
            ..Findings::default()
        };
        let lines = |findings: &Findings| chosen(findings).lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            lines(&findings),
            [
                "  deployed: ridge_pca, entry above 1.5 × cost, exit band 0.3 (33 variants tried)",
                "  out-of-sample IC of every variant: ridge 0.031",
                "  pca: 0 helped / 0 hurt / 361 undecided, +0.1 bps a day [-0.3, 0.5]",
                "  probability that choosing the best was luck (PBO): 0.43",
                "  meta learner: not used, -0.2 bps a day, no interval",
                "  drift actions: 300 none, 61 warn",
                "  regimes now: 361 trend",
            ]
        );
        findings.deployed.as_mut().unwrap().exit_band = None;
        assert!(lines(&findings)[0].contains("cost, held to the horizon ("), "{:?}", lines(&findings));
        findings.deployed.as_mut().unwrap().is_zero = true;
        assert!(lines(&findings)[0].contains("the zero head"), "{:?}", lines(&findings));
        assert!(lines(&Findings::default()).is_empty());
    }

    #[test]
    fn the_universe_is_held_against_its_placebos() {
        let findings =
            Findings { universe_net_pct: 1.0, placebo_net_pct: vec![-2.0, 0.5], ..Findings::default() };
        let text = output(&RunSummary { findings: Some(findings), ..summary(true) }).text;
        assert!(text.contains("above all 2 sign-flip placebos (-2.00 to 0.50 %)"), "{text}");
    }
}
