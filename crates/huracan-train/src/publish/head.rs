//! One coin's model: the head split into weights of the shared codes and of the coin's own features,
//! with everything needed to turn a row into an edge, and where it all came from.

use super::costs::RoundTrip;
use super::{Publication, costs, metrics, recipe};
use crate::engine::extra::half;
use crate::engine::lanes::Lane;
use crate::engine::statistics::Stage;
use crate::engine::survey::Coin;
use crate::engine::tape::position_size;
use crate::engine::verdicts::CoinVerdict;
use faer::Mat;
use huracan_core::heads::pooled::split;
use huracan_core::heads::trees::Ensemble;
use huracan_core::labels::LabelKind;
use huracan_core::words::{Market, UtcMs};
use huracan_store::StoreError;
use huracan_store::formats::encoder::EncoderFile;
use huracan_store::formats::features::Recipe;
use huracan_store::formats::head::{Calibration, HeadFile};
use huracan_store::formats::manifest::{InputFile, Lineage, RowRange};
use huracan_store::models::ModelArtifacts;
use std::collections::BTreeMap;

/// Metadata key: share of the capital that a position takes.
pub(super) const POSITION_SIZE: &str = "position_size";

/// What all heads of a run share.
pub(super) struct Shared<'a> {
    encoder: Option<&'a EncoderFile>,
    /// p × k of a linear encoder; no column otherwise.
    loadings: Mat<f64>,
    /// Codes of the encoder, of whatever kind.
    codes: usize,
    /// Pooled standard deviation of each scaled feature; 0 for one that never varies.
    deviation: &'a [f64],
    /// One side of the hedge, bps.
    hedge_side_bps: f64,
}

impl<'a> Shared<'a> {
    pub fn new(publication: &Publication<'a>, encoder: Option<&'a EncoderFile>) -> Shared<'a> {
        let outcome = publication.outcome;
        let p = outcome.feature_names.len();
        let components = encoder.and_then(|e| e.tensors.get("components"));
        let k = components.map_or(0, |c| c.shape[0]);
        let loadings = Mat::from_fn(p, k, |i, j| components.map_or(0.0, |c| c.data[j * p + i]));
        let codes = encoder.map_or(0, |e| e.card.meaning.n_components as usize);
        let stage = Stage::Full.at(outcome.plan.folds.len().saturating_sub(1));
        Shared {
            encoder,
            loadings,
            codes,
            deviation: &outcome.pools.stages[stage].deviation,
            hedge_side_bps: costs::hedge_side_bps(publication),
        }
    }
}

/// The four artifacts of a coin and their lineage.
///
/// # Errors
/// `Refused` when a part breaks its format.
pub(super) fn artifacts(
    publication: &Publication<'_>,
    shared: &Shared<'_>,
    verdict: &CoinVerdict,
) -> Result<(ModelArtifacts, Lineage), StoreError> {
    let outcome = publication.outcome;
    let coin = &outcome.survey.coins[verdict.index];
    let codes = if verdict.lane.encoder().is_some() { shared.codes } else { 0 };
    let encoder_id = shared.encoder.filter(|_| codes > 0).map(|e| e.card.encoder_id.clone());
    let recipe = recipe::recipe(publication, codes)?;
    let statistics = outcome.statistics[verdict.index].as_ref().ok_or_else(|| StoreError::Refused {
        what: format!("the model of {}", coin.symbol),
        reason: "its scaler is not known, expected one from the statistics pass".to_owned(),
    })?;
    let head = head_file(publication, shared, verdict, coin, encoder_id.clone(), &recipe);
    let lineage = Lineage {
        symbol: (&coin.symbol).into(),
        run_id: publication.stamp.run_id.clone(),
        encoder_id,
        features_id: recipe.1.clone(),
        config_id: publication.stamp.config_id.clone(),
        code_version: publication.stamp.code_version.clone(),
        seed: publication.settings.seed.0,
        bar: publication.settings.timeframe.to_string(),
        inputs: coin
            .inputs
            .iter()
            .map(|f| InputFile { path: f.path.clone(), sha256: f.sha256.clone() })
            .collect(),
        rows: rows(publication, coin),
        first_bar: coin.start().into(),
        last_bar: UtcMs(coin.end().0 - publication.settings.timeframe.ms()).into(),
    };
    let artifacts = ModelArtifacts {
        head,
        metrics: metrics::metrics(publication, verdict, coin),
        costs: costs::costs(coin),
        features: recipe::features(&coin.symbol, &recipe, &statistics.scaler),
    };
    Ok((artifacts, lineage))
}

/// `score = code_weights · codes + own_weights · (z / scale) + intercept`, in label units, where
/// `codes` are the encoder's and `z` is the row after the coin's scaler. Its expectation over the training
/// rows is 0: `intercept = −Σ w · mean / scale` over the weights before they were split among codes and own
/// features. A head of kind `trees` has no weights: its ensemble over `[codes, z]` gives the score.
fn head_file(
    publication: &Publication<'_>,
    shared: &Shared<'_>,
    verdict: &CoinVerdict,
    coin: &Coin,
    encoder_id: Option<String>,
    (_, features_id): &(Recipe, String),
) -> HeadFile {
    let head = &verdict.head;
    let names = &publication.outcome.feature_names;
    let varies = |i: usize| shared.deviation[i] > 0.0;
    let weights: Vec<f64> =
        head.weights.iter().enumerate().map(|(i, &w)| if varies(i) { w } else { 0.0 }).collect();
    let scale: Vec<f64> = shared.deviation.iter().map(|&s| if s > 0.0 { s } else { 1.0 }).collect();
    let mut intercept = -(0..weights.len()).map(|i| weights[i] * head.mean[i] / scale[i]).sum::<f64>();
    intercept -= head.code_weights.iter().zip(&head.code_mean).map(|(w, m)| w * m).sum::<f64>();
    let layout = publication.outcome.extra.layout;
    let (codes, own) = match (&encoder_id, verdict.lane) {
        (Some(_), Lane::Autoencoder) => (head.code_weights[..layout.codes].to_vec(), weights),
        (Some(_), Lane::TreesCoded) => (vec![0.0; shared.codes], weights),
        (Some(_), _) if head.alone => (on_codes(&weights, &shared.loadings), vec![0.0; weights.len()]),
        (Some(_), _) => split(&weights, &shared.loadings),
        (None, _) => (Vec::new(), weights),
    };
    let columns = (0..codes.len()).map(|k| format!("code_{k}")).chain(names.iter().cloned());
    let (kind, arrays) = match trees(publication, verdict, coin) {
        Some(ensemble) => {
            let weight = head.code_weights[layout.column(verdict.lane)];
            ("trees", tree_arrays(ensemble, names.len(), codes.len(), weight, intercept))
        }
        None => {
            let weights = codes.iter().chain(&own).copied().collect();
            let arrays = BTreeMap::from([
                ("weights".to_owned(), weights),
                ("scale".to_owned(), scale),
                ("mean".to_owned(), head.mean.clone()),
                ("intercept".to_owned(), vec![intercept]),
            ]);
            ("ridge", arrays)
        }
    };
    HeadFile {
        kind: kind.to_owned(),
        symbol: (&coin.symbol).into(),
        bar: publication.settings.timeframe.to_string(),
        label: recipe::label(publication),
        columns: columns.collect(),
        encoder_id,
        features_id: features_id.clone(),
        calibration: calibration(publication),
        decision_threshold_bps: threshold_bps(publication, shared, verdict, coin),
        arrays,
        metadata: metadata(publication, verdict, coin),
    }
}

/// Weights of codes alone whose folded head is `weights`: `W'β` of orthonormal loadings.
fn on_codes(weights: &[f64], loadings: &Mat<f64>) -> Vec<f64> {
    loadings.col_iter().map(|w| w.iter().zip(weights).map(|(w, b)| w * b).sum()).collect()
}

/// The shared ensemble as the coin's own: leaves times the weight it is given, over `[codes, z]`.
fn tree_arrays(
    ensemble: &Ensemble,
    features: usize,
    codes: usize,
    weight: f64,
    intercept: f64,
) -> BTreeMap<String, Vec<f64>> {
    let column = |j: f64| if (j as usize) < features { j + codes as f64 } else { j - features as f64 };
    let own = |(name, data): (&str, Vec<f64>)| {
        let data = match name {
            "feature" => data.into_iter().map(column).collect(),
            "value" => data.into_iter().map(|v| weight * v).collect(),
            "base" => data.into_iter().map(|v| weight * v + intercept).collect(),
            _ => data,
        };
        (name.to_owned(), data)
    };
    ensemble.to_arrays().into_iter().map(own).collect()
}

/// The shared ensemble that a coin's head of trees reads.
fn trees<'a>(publication: &Publication<'a>, verdict: &CoinVerdict, coin: &Coin) -> Option<&'a Ensemble> {
    let outcome = publication.outcome;
    let models = match verdict.lane {
        Lane::Trees => &outcome.extra.models.trees,
        Lane::TreesCoded => &outcome.extra.models.trees_coded,
        _ => return None,
    };
    let last = outcome.plan.folds.len().checked_sub(1)?;
    let trees = models.get(Stage::Full.at(last))?.as_ref()?;
    Some(&trees.halves[half(coin.symbol.underlying())])
}

/// `edge_bps = score · bps_per_unit · σ`, σ the causal EWMA volatility of a bar as a fraction; a raw
/// label needs no σ.
fn calibration(publication: &Publication<'_>) -> Calibration {
    let label = &publication.settings.label;
    let scaled = label.kind != LabelKind::Raw;
    let root = if scaled { (label.horizon_bars as f64).sqrt() } else { 1.0 };
    Calibration {
        kind: "linear".to_owned(),
        parameters: BTreeMap::from([
            ("bps_per_unit".to_owned(), 1e4 * root),
            ("sigma_power".to_owned(), f64::from(u8::from(scaled))),
            ("sigma_half_life_bars".to_owned(), label.sigma_half_life_bars),
        ]),
    }
}

/// The final fold's multiple of today's round trip.
fn threshold_bps(
    publication: &Publication<'_>,
    shared: &Shared<'_>,
    verdict: &CoinVerdict,
    coin: &Coin,
) -> f64 {
    let settings = publication.settings;
    let hold_ms = settings.label.horizon_bars as i64 * settings.timeframe.ms();
    let trip = RoundTrip::new(publication, coin, shared.hedge_side_bps, verdict.hedged, hold_ms);
    if is_zero(publication) { NEVER_BPS } else { policy(publication).0 * trip.total_bps() }
}

/// An edge that no head claims: where not trading did best, the head is kept and the zero head deployed.
const NEVER_BPS: f64 = 1e6;

/// Whether the final fold's validation found that not trading at all does best.
fn is_zero(publication: &Publication<'_>) -> bool {
    publication.outcome.verdicts.deployed.last().is_some_and(|d| d.policy.is_zero)
}

/// The policy that the final fold's validation chose: entry multiple and exit band.
fn policy(publication: &Publication<'_>) -> (f64, f64) {
    let last = publication.outcome.verdicts.deployed.last();
    last.map_or((1.0, 0.0), |d| (d.policy.multiple, d.policy.exit_band))
}

/// `long_short` where the market can be sold short, else `long`.
pub(super) fn sides(market: Market) -> &'static str {
    match market {
        Market::Perp => "long_short",
        Market::Spot => "long",
    }
}

fn metadata(publication: &Publication<'_>, verdict: &CoinVerdict, coin: &Coin) -> BTreeMap<String, String> {
    let settings = publication.settings;
    let head = &verdict.head;
    let (multiple, exit_band) = policy(publication);
    let texts = [
        ("book", if verdict.hedged { "hedged" } else { "outright" }.to_owned()),
        ("sides", sides(coin.symbol.market()).to_owned()),
        ("entry_cost_multiple", multiple.to_string()),
        ("exit_band", exit_band.to_string()),
        (POSITION_SIZE, position_size(settings, &coin.costs).to_string()),
        ("horizon_bars", settings.label.horizon_bars.to_string()),
        ("entry_lag_bars", settings.label.entry_lag_bars.to_string()),
        ("reference_order_usd", settings.costs.reference_order_usd.to_string()),
        ("variant", head.lane.code().to_owned()),
        ("codes_alone", head.alone.to_string()),
        ("policy", if is_zero(publication) { "zero" } else { "edge" }.to_owned()),
        ("lambda", head.lambda.to_string()),
        ("tau", head.tau.map_or("inf".to_owned(), |t| t.to_string())),
        ("slope", head.slope.to_string()),
        ("survival", head.survival.to_string()),
        ("train_rows", head.rows.to_string()),
    ];
    texts.into_iter().map(|(key, text)| (key.to_owned(), text)).collect()
}

/// Rows of the aligned series by use: the final fit, its inner validation, the test folds.
fn rows(publication: &Publication<'_>, coin: &Coin) -> BTreeMap<String, RowRange> {
    let plan = &publication.outcome.plan;
    let bar = publication.settings.timeframe.ms();
    let row =
        |at: UtcMs| (at.0 - coin.start().0 + bar - 1).div_euclid(bar).clamp(0, coin.len() as i64) as u64;
    let span = |from: UtcMs, until: UtcMs| RowRange { from: row(from), until: row(until) };
    let mut rows = BTreeMap::from([("test".to_owned(), span(plan.test_start, plan.test_end))]);
    if let Some(fold) = plan.folds.last() {
        rows.insert("train".to_owned(), span(coin.start(), fold.train_end));
        rows.insert("validation".to_owned(), span(fold.validation_start, fold.train_end));
    }
    rows
}
