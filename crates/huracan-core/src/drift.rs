//! Drift: has the market left what the encoder and the heads were trained on?
//!
//! A feature's last seven days are compared with its training values by the population stability
//! index. Market features wander for weeks, so the textbook limit of .25 fires all the time; here
//! each feature's limit is what its own past weeks reached against the past before them. No
//! p-value is ever made of rows that depend on each other. What lives here compares and advises;
//! who refits what is decided above.

use crate::stats::conformal::split_conformal_quantile;
use crate::stats::divergence::{bin_shares, psi_of_shares, quantile_edges};
use crate::stats::order_counts::{OrderCounts, Places};
use crate::stats::quantiles::quantile;

/// Quantile bins of a reference; the end bins are open.
pub const BINS: usize = 10;
/// Share of quiet weeks that may breach a feature's limit.
pub const BREACH_RATE: f64 = 0.01;
/// Least limit: a tenth of a bin more or less is no drift, and the hour of the day, whose weeks are
/// all alike, would otherwise breach with its last digit. A week of hourly rows drawn at random has
/// about as much.
pub const PSI_MAX_FLOOR: f64 = 0.05;
/// Share of heavy features that may breach before anything is said.
pub const HEAVY_BREACHED_SHARE_MAX: f64 = 0.10;
/// Coverage may be this much below that of training.
pub const COVERAGE_LOSS_MAX: f64 = 0.05;
/// Share of a window's rows above the training limit from which an encoder no longer fits.
pub const RECONSTRUCTION_SHARE_MAX: f64 = 0.50;
/// Quantile of the training reconstruction errors that is the limit.
const RECONSTRUCTION_QUANTILE: f64 = 0.99;
/// Share of a window's rows that must be known for its PSI to mean anything.
const KNOWN_SHARE_MIN: f64 = 0.5;

/// What one feature looked like in training: at most 9 edges and 10 shares, whatever the rows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureReference {
    /// Name.
    pub name: String,
    /// Inner edges of the bins, ascending; fewer than nine where values tie.
    pub edges: Vec<f64>,
    /// Share of the training values in each bin, one more than edges.
    pub shares: Vec<f64>,
    /// PSI that one quiet week in a hundred exceeds; `None` when too few weeks are known to say.
    pub psi_max: Option<f64>,
}

impl FeatureReference {
    /// Of training values (NaN is missing) and the limit that past windows set ([`psi_limit`]). `None` when
    /// no value is known.
    pub fn fit(name: &str, values: &[f64], psi_max: Option<f64>) -> Option<FeatureReference> {
        let known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        let edges = quantile_edges(&known, BINS)?;
        let shares = bin_shares(&known, &edges)?;
        Some(FeatureReference { name: name.to_owned(), edges, shares, psi_max })
    }

    /// Whether the numbers can be a reference: for one that was read back.
    pub fn is_sound(&self) -> bool {
        let ascending = self.edges.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = self.edges.iter().all(|edge| edge.is_finite());
        let fits = self.shares.len() == self.edges.len() + 1 && self.shares.len() <= BINS;
        let shares = self.shares.iter().all(|share| (0.0..=1.0).contains(share));
        let whole = (self.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9;
        let limit = self.psi_max.is_none_or(|max| max.is_finite() && max >= 0.0);
        ascending && finite && fits && shares && whole && limit
    }

    /// PSI of a window against the reference; `None` when fewer than half of its rows are known.
    pub fn psi(&self, window: &[f64]) -> Option<f64> {
        psi_of_window(&self.shares, &self.edges, window)
    }
}

/// A feature's limit from the PSIs of past windows ([`past_psis`], of one coin or of several): a
/// split-conformal quantile, with exchangeable weeks exceeded with probability at most [`BREACH_RATE`]
/// however few they are, unknown below 99 of them, and never below [`PSI_MAX_FLOOR`].
pub fn psi_limit(past_psis: &[f64]) -> Option<f64> {
    split_conformal_quantile(past_psis, BREACH_RATE).map(|max| max.max(PSI_MAX_FLOOR))
}

fn psi_of_window(shares: &[f64], edges: &[f64], window: &[f64]) -> Option<f64> {
    let known = window.iter().filter(|v| !v.is_nan()).count();
    if (known as f64) < KNOWN_SHARE_MIN * window.len() as f64 {
        return None;
    }
    Some(psi_of_shares(shares, &bin_shares(window, edges)?))
}

/// PSI of each past window of `window_rows` rows against everything before it: windows start after
/// `past_rows_min` rows and every `stride_rows` from there. `values` are in time order, NaN where
/// missing; a window or a past of which less than half is known is left out.
///
/// O((n + windows · bins) log n) and one look at each window's rows.
pub fn past_psis(values: &[f64], window_rows: usize, stride_rows: usize, past_rows_min: usize) -> Vec<f64> {
    let places = Places::new(values);
    let mut past = OrderCounts::new(places.values.len());
    let mut taken = 0;
    let first = past_rows_min.max(1);
    let last = (values.len() + 1).saturating_sub(window_rows.max(1));
    let mut psis = Vec::new();
    for start in (first..last).step_by(stride_rows.max(1)) {
        places.of[taken..start].iter().flatten().for_each(|&place| past.add(place));
        taken = start;
        if (past.total() as f64) < KNOWN_SHARE_MIN * start as f64 {
            continue;
        }
        let edges = edges_of(&past, &places);
        let below = |edge: &f64| past.below(places.values.partition_point(|v| v < edge));
        let ends: Vec<usize> = edges.iter().map(below).chain([past.total()]).collect();
        let counts = ends.iter().scan(0, |before, &end| Some(end - std::mem::replace(before, end)));
        let shares: Vec<f64> = counts.map(|count| count as f64 / past.total() as f64).collect();
        psis.extend(psi_of_window(&shares, &edges, &values[start..start + window_rows.max(1)]));
    }
    psis
}

/// [`quantile_edges`] of everything held, which is at least one value.
fn edges_of(held: &OrderCounts, places: &Places) -> Vec<f64> {
    let at = |k: usize| held.select(k).map_or(f64::NAN, |place| places.values[place]);
    let mut edges: Vec<f64> = (1..BINS)
        .map(|i| {
            let position = i as f64 / BINS as f64 * (held.total() - 1) as f64;
            let below = position.floor() as usize;
            let (a, b) = (at(below), at((below + 1).min(held.total() - 1)));
            let weight = position - below as f64;
            if weight < 0.5 { a + (b - a) * weight } else { b - (b - a) * (1.0 - weight) }
        })
        .collect();
    edges.dedup();
    edges
}

/// What training looked like, small enough to be kept beside a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Each feature, in the order of the columns.
    pub features: Vec<FeatureReference>,
    /// Rows of a window; another length has another PSI and is refused.
    pub window_rows: usize,
    /// Share of training values that were known, 0..1.
    pub coverage: f64,
    /// 99th percentile of the encoder's training reconstruction errors; `None` without an encoder.
    pub reconstruction_max: Option<f64>,
}

impl Reference {
    /// Puts features together. `coverage` is [`coverage`] of the training columns; errors that are
    /// not finite are left out.
    pub fn new(
        features: Vec<FeatureReference>,
        window_rows: usize,
        coverage: f64,
        reconstruction_errors: &[f64],
    ) -> Reference {
        let known: Vec<f64> = reconstruction_errors.iter().copied().filter(|e| e.is_finite()).collect();
        let reconstruction_max = quantile(&known, RECONSTRUCTION_QUANTILE);
        Reference { features, window_rows, coverage, reconstruction_max }
    }
}

/// Share of all values that are known (not NaN; a missing bar is a row of NaN); `None` when there
/// are none.
pub fn coverage(columns: &[&[f64]]) -> Option<f64> {
    let all: usize = columns.iter().map(|column| column.len()).sum();
    let known = columns.iter().flat_map(|column| *column).filter(|v| !v.is_nan()).count();
    (all > 0).then(|| known as f64 / all as f64)
}

/// One feature's week.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureDrift {
    /// Name.
    pub name: String,
    /// PSI against training; `None` when too little of the week is known.
    pub psi: Option<f64>,
    /// The feature's own limit; `None` when it has none.
    pub psi_max: Option<f64>,
    /// Whether it matters to the head: above-average |importance|.
    pub heavy: bool,
    /// Whether the PSI is above the limit.
    pub breached: bool,
}

/// How well the encoder still describes the rows.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReconstructionDrift {
    /// Share of the window's rows above the training limit; .01 in training.
    pub share_above: f64,
    /// That limit.
    pub limit: f64,
}

/// One window against training.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DriftReport {
    /// Each feature, in the order of the reference.
    pub features: Vec<FeatureDrift>,
    /// Share of the heavy features with PSI and limit that breached; `None` when there are none.
    pub heavy_breached_share: Option<f64>,
    /// Share of the window's values that are known.
    pub coverage: f64,
    /// The same in training.
    pub coverage_training: f64,
    /// `None` without an encoder or without an error to look at.
    pub reconstruction: Option<ReconstructionDrift>,
}

/// Which features are heavy: |importance| above the mean; one that is not finite counts as 0.
pub fn heavy(importance: &[f64]) -> Vec<bool> {
    let size = |v: &f64| if v.is_finite() { v.abs() } else { 0.0 };
    let mean = importance.iter().map(size).sum::<f64>() / importance.len() as f64;
    importance.iter().map(|v| size(v) > mean).collect()
}

/// Compares the last window with training: one column and one importance a feature of the
/// reference, in its order; `reconstruction_errors` of the window's rows, empty without an encoder.
///
/// `None` when shapes disagree or a column does not have [`Reference::window_rows`] rows.
pub fn report(
    reference: &Reference,
    window: &[&[f64]],
    importance: &[f64],
    reconstruction_errors: &[f64],
) -> Option<DriftReport> {
    let n = reference.features.len();
    let fits = window.iter().all(|column| column.len() == reference.window_rows);
    if window.len() != n || importance.len() != n || !fits {
        return None;
    }
    let judge = |((known, column), heavy): ((&FeatureReference, &&[f64]), bool)| {
        let psi = known.psi(column);
        let breached = psi.zip(known.psi_max).is_some_and(|(psi, max)| psi > max);
        FeatureDrift { name: known.name.clone(), psi, psi_max: known.psi_max, heavy, breached }
    };
    let features: Vec<FeatureDrift> =
        reference.features.iter().zip(window).zip(heavy(importance)).map(judge).collect();
    let weighed: Vec<&FeatureDrift> =
        features.iter().filter(|f| f.heavy && f.psi.is_some() && f.psi_max.is_some()).collect();
    let breached = weighed.iter().filter(|f| f.breached).count();
    let heavy_breached_share = (!weighed.is_empty()).then(|| breached as f64 / weighed.len() as f64);
    Some(DriftReport {
        heavy_breached_share,
        coverage: coverage(window)?,
        coverage_training: reference.coverage,
        reconstruction: reconstruction(reference, reconstruction_errors),
        features,
    })
}

fn reconstruction(reference: &Reference, errors: &[f64]) -> Option<ReconstructionDrift> {
    let limit = reference.reconstruction_max?;
    let known: Vec<f64> = errors.iter().copied().filter(|e| !e.is_nan()).collect();
    let above = known.iter().filter(|error| **error > limit).count();
    (!known.is_empty()).then(|| ReconstructionDrift { share_above: above as f64 / known.len() as f64, limit })
}

/// What to do about a report, mildest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DriftAction {
    /// Nothing.
    None,
    /// Say so.
    Warn,
    /// No challenger is promoted until it is over.
    NoPromotion,
    /// The encoder no longer describes the market: fit it again.
    RefitEncoder,
}

impl DriftAction {
    /// The word written in files; never reworded.
    pub fn code(self) -> &'static str {
        match self {
            DriftAction::None => "none",
            DriftAction::Warn => "warn",
            DriftAction::NoPromotion => "no_promotion",
            DriftAction::RefitEncoder => "refit_encoder",
        }
    }
}

/// Whether the features have drifted and predictions fail: more than a tenth of the heavy features breach
/// and the information coefficient of the last 14 days is below zero.
pub fn drifted_and_failing(report: &DriftReport, recent_ic: Option<f64>) -> bool {
    let drifted = report.heavy_breached_share.is_some_and(|share| share > HEAVY_BREACHED_SHARE_MAX);
    drifted && recent_ic.is_some_and(|ic| ic < 0.0)
}

/// Whether most of the window's rows are reconstructed worse than 99 % of the training rows were.
pub fn encoder_misfit(report: &DriftReport) -> bool {
    report.reconstruction.is_some_and(|r| r.share_above > RECONSTRUCTION_SHARE_MAX)
}

/// What to do. Drift alone is only said: promotions stop when more than a tenth of the heavy
/// features breach **and** the information coefficient of the last 14 days is below zero. An
/// encoder is refitted when most of the window's rows are reconstructed worse than 99 % of its
/// training rows were. A loss of coverage is said.
pub fn policy(report: &DriftReport, recent_ic: Option<f64>) -> DriftAction {
    let drifted = report.heavy_breached_share.is_some_and(|share| share > HEAVY_BREACHED_SHARE_MAX);
    let holes = report.coverage < report.coverage_training - COVERAGE_LOSS_MAX;
    match (encoder_misfit(report), drifted_and_failing(report, recent_ic), drifted || holes) {
        (true, ..) => DriftAction::RefitEncoder,
        (_, true, _) => DriftAction::NoPromotion,
        (.., true) => DriftAction::Warn,
        _ => DriftAction::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::divergence::psi;
    use crate::words::Seed;
    use rand::rngs::StdRng;
    use rand_distr::{Distribution, StandardNormal};

    const WEEK: usize = 168;

    fn normal(rng: &mut StdRng) -> f64 {
        StandardNormal.sample(rng)
    }

    /// A stationary feature that remembers `memory` of its last value; variance 1.
    fn wander(rows: usize, memory: f64, rng: &mut StdRng) -> Vec<f64> {
        let mut value = normal(rng);
        (0..rows)
            .map(|_| {
                value = memory * value + (1.0 - memory * memory).sqrt() * normal(rng);
                value
            })
            .collect()
    }

    #[test]
    fn past_windows_are_measured_as_if_each_were_today() {
        let mut rng = Seed(2).rng();
        let mut values: Vec<f64> = (0..900).map(|_| (normal(&mut rng) * 4.0).round()).collect();
        values[300] = -0.0;
        let found = past_psis(&values, 100, 37, 200);
        let starts: Vec<usize> = (200..=800).step_by(37).collect();
        assert_eq!(found.len(), starts.len());
        for (found, start) in found.iter().zip(starts) {
            assert_eq!(*found, psi(&values[..start], &values[start..start + 100], BINS).unwrap());
        }
        let mut bent = values.clone();
        bent[700..].fill(99.0);
        let earlier = (200..=600).step_by(37).count();
        assert_eq!(past_psis(&bent, 100, 37, 200)[..earlier], found_prefix(&values, earlier));
        values[200..300].fill(f64::NAN);
        assert_eq!(past_psis(&values, 100, 100, 200).len(), 6);
        assert!(past_psis(&[], 100, 1, 0).is_empty() && past_psis(&values, 1000, 1, 0).is_empty());
        assert!(past_psis(&[f64::NAN; 50], 0, 0, 0).is_empty());
    }

    fn found_prefix(values: &[f64], n: usize) -> Vec<f64> {
        past_psis(values, 100, 37, 200)[..n].to_vec()
    }

    #[test]
    fn one_quiet_week_in_a_hundred_breaches_where_the_textbook_cries_wolf() {
        let (training, weeks, coins) = (150 * 24, 12, 100);
        for (memory, textbook_at_least) in [(0.0, 0.0), (0.9, 0.25), (0.98, 0.9)] {
            let mut rng = Seed(11).rng();
            let all: Vec<Vec<f64>> =
                (0..coins).map(|_| wander(training + weeks * WEEK, memory, &mut rng)).collect();
            let psis: Vec<f64> =
                all.iter().flat_map(|x| past_psis(&x[..training], WEEK, 24, 60 * 24)).collect();
            let (mut breached, mut textbook, mut judged) = (0, 0, 0);
            for x in &all {
                let known = FeatureReference::fit("f", &x[..training], psi_limit(&psis)).unwrap();
                for week in x[training..].chunks(WEEK) {
                    let psi = known.psi(week).unwrap();
                    breached += usize::from(psi > known.psi_max.unwrap());
                    textbook += usize::from(psi > 0.25);
                    judged += 1;
                }
            }
            let rate = |count: usize| count as f64 / judged as f64;
            assert!((0.002..=0.02).contains(&rate(breached)), "{memory}: {}", rate(breached));
            assert!(rate(textbook) >= textbook_at_least, "{memory}: {}", rate(textbook));
        }
    }

    #[test]
    fn the_hour_of_the_day_never_drifts_until_hours_are_missing() {
        let hour: Vec<f64> = (0..150 * 24 + 7).map(|i| f64::from(i % 24)).collect();
        let (training, next) = hour.split_at(120 * 24 + 5);
        let psis = past_psis(training, WEEK, 12, 30 * 24);
        let known = FeatureReference::fit("hour", training, psi_limit(&psis)).unwrap();
        assert_eq!(known.psi_max, Some(PSI_MAX_FLOOR));
        assert!(next.chunks_exact(WEEK).all(|week| known.psi(week).unwrap() < PSI_MAX_FLOOR));
        let mornings: Vec<f64> = next[..WEEK].iter().map(|h| h % 12.0).collect();
        assert!(known.psi(&mornings).unwrap() > PSI_MAX_FLOOR);
    }

    /// Twelve features, the first four heavy, on 120 days; and their next week.
    fn trained() -> (Reference, Vec<Vec<f64>>, Vec<f64>) {
        let mut rng = Seed(5).rng();
        let rows = 120 * 24;
        let columns: Vec<Vec<f64>> = (0..12).map(|_| wander(rows + WEEK, 0.7, &mut rng)).collect();
        let features = columns
            .iter()
            .enumerate()
            .map(|(j, x)| {
                let psis = past_psis(&x[..rows], WEEK, 12, 20 * 24);
                FeatureReference::fit(&format!("f{j}"), &x[..rows], psi_limit(&psis)).unwrap()
            })
            .collect();
        let training: Vec<&[f64]> = columns.iter().map(|x| &x[..rows]).collect();
        let errors: Vec<f64> = (0..rows).map(|_| normal(&mut rng).abs()).collect();
        let reference = Reference::new(features, WEEK, coverage(&training).unwrap(), &errors);
        let week = columns.iter().map(|x| x[rows..].to_vec()).collect();
        (reference, week, errors[..WEEK].to_vec())
    }

    const IMPORTANCE: [f64; 12] = [3.0, -2.0, 2.0, 1.5, 0.1, 0.1, 0.0, -0.1, 0.1, 0.2, 0.0, f64::NAN];

    fn judged(reference: &Reference, week: &[Vec<f64>], errors: &[f64]) -> DriftReport {
        let window: Vec<&[f64]> = week.iter().map(Vec::as_slice).collect();
        report(reference, &window, &IMPORTANCE, errors).unwrap()
    }

    #[test]
    fn shifts_and_scales_are_caught_and_only_in_their_feature() {
        let (reference, week, errors) = trained();
        let quiet = judged(&reference, &week, &errors);
        assert_eq!(quiet.heavy_breached_share, Some(0.0));
        assert_eq!(policy(&quiet, Some(-0.1)), DriftAction::None);
        assert!(reference.features.iter().all(FeatureReference::is_sound));
        let bend = |change: fn(f64) -> f64| {
            let mut bent = week.clone();
            bent[1].iter_mut().for_each(|v| *v = change(*v));
            let found = judged(&reference, &bent, &errors);
            found.features.iter().filter(|f| f.breached).map(|f| f.name.clone()).collect::<Vec<_>>()
        };
        for change in [|v| v + 1.0, |v| v - 1.0, |v| 2.5 * v, |v| 0.3 * v, |_| 0.0, |_| f64::INFINITY] {
            assert_eq!(bend(change), ["f1"]);
        }
    }

    #[test]
    fn promotions_stop_only_when_both_conditions_hold() {
        let (reference, mut week, errors) = trained();
        week[1].iter_mut().for_each(|v| *v += 3.0);
        let drifted = judged(&reference, &week, &errors);
        assert_eq!(drifted.heavy_breached_share, Some(0.25));
        assert_eq!(policy(&drifted, Some(-0.01)), DriftAction::NoPromotion);
        assert_eq!(policy(&drifted, Some(0.01)), DriftAction::Warn);
        assert_eq!(policy(&drifted, None), DriftAction::Warn);
        assert_eq!(policy(&drifted, Some(f64::NAN)), DriftAction::Warn);
        let (_, mut week, _) = trained();
        for light in &mut week[4..] {
            light.iter_mut().for_each(|v| *v += 3.0);
        }
        let light = judged(&reference, &week, &errors);
        assert!(light.features.iter().filter(|f| f.breached).count() >= 8);
        assert_eq!(policy(&light, Some(-0.01)), DriftAction::None);
    }

    #[test]
    fn an_encoder_that_no_longer_fits_is_refitted_and_holes_are_said() {
        let (reference, mut week, errors) = trained();
        let worse = |rows: usize| -> Vec<f64> {
            errors.iter().enumerate().map(|(i, e)| if i < rows { e + 9.0 } else { *e }).collect()
        };
        let action = |errors: &[f64]| policy(&judged(&reference, &week, errors), Some(0.05));
        assert_eq!(action(&worse(70)), DriftAction::None);
        assert_eq!(action(&worse(90)), DriftAction::RefitEncoder);
        assert_eq!(action(&[]), DriftAction::None);
        let quiet = judged(&reference, &week, &errors).reconstruction.unwrap();
        assert!(quiet.share_above < 0.04, "{}", quiet.share_above);
        week[2][..100].fill(f64::NAN);
        let holes = judged(&reference, &week, &errors);
        assert_eq!(holes.features[2].psi, None);
        assert_eq!(policy(&holes, Some(-0.1)), DriftAction::None);
        week[3][..100].fill(f64::NAN);
        week[4].fill(f64::NAN);
        assert_eq!(policy(&judged(&reference, &week, &errors), Some(0.1)), DriftAction::Warn);
    }

    #[test]
    fn what_cannot_be_compared_is_none() {
        let (mut reference, week, errors) = trained();
        let window: Vec<&[f64]> = week.iter().map(Vec::as_slice).collect();
        assert_eq!(report(&reference, &window[1..], &IMPORTANCE, &errors), None);
        assert_eq!(report(&reference, &window, &IMPORTANCE[1..], &errors), None);
        let short: Vec<&[f64]> = window.iter().map(|x| &x[1..]).collect();
        assert_eq!(report(&reference, &short, &IMPORTANCE, &errors), None);
        assert_eq!(FeatureReference::fit("f", &[f64::NAN; 9], None), None);
        let few = FeatureReference::fit("f", &[1.0, 2.0], psi_limit(&[0.1; 98])).unwrap();
        assert_eq!(few.psi_max, None);
        assert_eq!(
            FeatureReference::fit("f", &[1.0, 2.0], psi_limit(&[0.1; 99])).unwrap().psi_max,
            Some(0.1)
        );
        reference.features[0].shares[0] += 0.1;
        assert!(!reference.features[0].is_sound());
        reference.features[1].edges.swap(0, 1);
        assert!(!reference.features[1].is_sound());
        assert_eq!((coverage(&[]), heavy(&[])), (None, vec![]));
    }
}
