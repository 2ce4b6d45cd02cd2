//! What was known when: hashes of everything a fold may look at, so that what was made of it once is
//! found again.
//!
//! A fold is fitted and tested by a deterministic function of the settings, the plan up to it and the
//! bars of all coins before a moment; whatever else is computed on the way follows from these. That no
//! later bar is looked at is a law with a test of its own. So one hash a fold names all its pieces: a
//! bar that changes, a coin that goes, changes it for every fold that could have seen it and for no other.
//!
//! A coin that was listed a short time before a moment is part of no market and of no pool yet
//! ([`Survey::member_from`], [`rows_min`](super::statistics::rows_min)): its bars are in the names of its
//! own pieces, not in those of others. So a coin that is admitted today
//! because it is old enough leaves every tested fold as it was.

use super::Market;
use super::survey::{Coin, Survey};
use crate::cache::{Cache, Digest, Inputs, Key};
use crate::scratch::{Scratch, ScratchError};
use crate::settings::{Settings, Universe};
use huracan_core::encoder::Scaler;
use huracan_core::trial::plan::Plan;
use huracan_core::words::UtcMs;

/// Hashes of what was known, per moment.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Known {
    /// Settings, features and their units.
    common: Digest,
    /// Per fold of the plan: everything that its fit may know.
    fits: Vec<Digest>,
    /// Per tested fold: everything that its test may know; `None` while bars are missing for it.
    tests: Vec<Option<Digest>>,
    /// Everything that the final fit's frozen maps may know.
    frozen: Digest,
    /// Per coin of the survey, its own bars before each of these moments: fits, tests, frozen maps.
    own: Vec<Vec<Digest>>,
}

/// Hashes of the bars before each moment that matters to a run, settings aside.
pub struct Bars {
    moments: Vec<UtcMs>,
    /// Per moment, what others may know.
    worlds: Vec<Digest>,
    /// Per coin of the survey and moment, its own.
    own: Vec<Vec<Digest>>,
    /// All bars of all coins before the end of the first fold's training, whoever matters.
    first: Digest,
}

impl Bars {
    /// Hashes every series once; `None` where nothing is cached.
    ///
    /// # Errors
    /// When a series cannot be read back from scratch.
    pub fn new(
        cache: &Cache,
        settings: &Settings,
        scratch: &Scratch,
        survey: &Survey,
        plan: &Plan,
    ) -> Result<Option<Bars>, ScratchError> {
        if !cache.is_used() {
            return Ok(None);
        }
        let window = plan.window_bars as i64 * plan.timeframe.ms();
        let fits = plan.folds.iter().map(|fold| UtcMs(fold.train_end.0 + window));
        let tests = plan.tested().iter().filter_map(|fold| fold.test).map(|(_, to)| UtcMs(to.0 + window));
        let moments = fits.chain(tests).chain([plan.frozen_end]).collect();
        bars(cache, settings, scratch, survey, moments, plan.first_training_end()).map(Some)
    }

    /// The key of the features used and their units: of `coins`, those they are settled from, in order.
    pub fn units(&self, cache: &Cache, settings: &Settings, columns: &[usize], coins: &[&Coin]) -> Key {
        let inputs = cache.inputs("units").text(&recipe(settings)).numbers(&numbers(columns));
        let inputs = coins.iter().fold(inputs, |inputs, coin| inputs.text(&coin.symbol.to_string()));
        Key::new("units", inputs.digest(&self.first).finish())
    }
}

fn numbers(columns: &[usize]) -> Vec<f64> {
    columns.iter().map(|&column| column as f64).collect()
}

impl Known {
    /// Names what a run of these settings and this plan makes of the bars.
    pub fn new(
        bars: Bars,
        cache: &Cache,
        settings: &Settings,
        survey: &Survey,
        plan: &Plan,
        market: &Market,
        units: &Scaler,
    ) -> Known {
        let Bars { moments, worlds, own, .. } = bars;
        let common = {
            let inputs = cache.inputs("common").text(&recipe(settings)).number(survey.founded.0);
            inputs.numbers(&numbers(&market.columns)).numbers(&units.center).numbers(&units.scale).finish()
        };
        let folds = plan.folds.len();
        let of = |n: usize, fold: usize| {
            plan_until(Inputs::of("fold").digest(&common), plan, fold).digest(&worlds[n]).finish()
        };
        let ended = |n: usize| moments[n] <= survey.until;
        Known {
            fits: (0..folds).map(|f| of(f, f)).collect(),
            tests: (0..folds - 1).map(|f| ended(folds + f).then(|| of(folds + f, f))).collect(),
            frozen: worlds[worlds.len() - 1],
            common,
            own,
        }
    }

    /// What names the pieces of a fold that are read back from where they outlive the run; `None` for those of
    /// the final fit, and where nothing does: they are left on scratch.
    pub fn kept<'k>(known: Option<&'k Known>, cache: &Cache, plan: &Plan, fold: usize) -> Option<&'k Known> {
        known.filter(|_| cache.is_used() && plan.folds[fold].test.is_some())
    }

    /// The key of something of one coin, by its position in the survey, made of what the fit of a fold may
    /// know.
    pub fn fit_of(
        &self,
        kind: &'static str,
        fold: usize,
        coin: usize,
        of: impl FnOnce(Inputs) -> Inputs,
    ) -> Key {
        self.fit(kind, fold, |inputs| of(inputs.digest(&self.own[coin][fold])))
    }

    /// The same for the test of a fold; none while its last labels are open.
    pub fn test_of(
        &self,
        kind: &'static str,
        fold: usize,
        coin: usize,
        of: impl FnOnce(Inputs) -> Inputs,
    ) -> Option<Key> {
        let known = (*self.tests.get(fold)?)?;
        let inputs = Inputs::of(kind).digest(&known).digest(&self.own[coin][self.fits.len() + fold]);
        Some(Key::new(kind, of(inputs).finish()))
    }

    /// The same for what is frozen.
    pub fn frozen_of(&self, kind: &'static str, coin: usize, of: impl FnOnce(Inputs) -> Inputs) -> Key {
        let last = self.own[coin].len() - 1;
        self.frozen(kind, |inputs| of(inputs.digest(&self.own[coin][last])))
    }

    /// The key of something made of what the fit of a fold may know. What the final fit is made of changes
    /// with every bar.
    pub fn fit(&self, kind: &'static str, fold: usize, of: impl FnOnce(Inputs) -> Inputs) -> Key {
        Key::new(kind, of(Inputs::of(kind).digest(&self.fits[fold])).finish())
    }

    /// The key of something frozen, made in the units of the last tested fold.
    pub fn frozen(&self, kind: &'static str, of: impl FnOnce(Inputs) -> Inputs) -> Key {
        let units = self.fits.len().checked_sub(2).map_or(&self.common, |last| &self.fits[last]);
        Key::new(kind, of(Inputs::of(kind).digest(units).digest(&self.frozen)).finish())
    }
}

/// Everything a run is told that may change a piece of it; not where the data end, not which coins are
/// asked for (those found are hashed by name), not what earlier runs tried.
fn recipe(settings: &Settings) -> String {
    let settings =
        Settings { until: None, universe: Universe::All, prior_trials: Vec::new(), ..settings.clone() };
    format!("{settings:?}")
}

/// Where a fold and those before it lie. Ends of tests are told by the bars that are known.
fn plan_until(mut inputs: Inputs, plan: &Plan, fold: usize) -> Inputs {
    for fold in &plan.folds[..=fold] {
        let test = fold.test.map_or(UtcMs(i64::MAX), |(from, _)| from);
        let moments = [fold.validation_start, fold.train_end, fold.inner_train_end, test];
        inputs = moments.into_iter().fold(inputs, |inputs, moment| inputs.number(moment.0));
    }
    let edges = &plan.edges[..=plan.folds[fold].train.end];
    edges.iter().fold(inputs.number(plan.test_start.0), |inputs, edge| inputs.number(edge.0))
}

/// From when on a coin can matter to others: as a member of the market, with enough rows for a pool, or as
/// one that leads the market. What is frozen takes in members only.
fn matters_from(settings: &Settings, survey: &Survey, coin: &Coin, is_frozen: bool) -> UtcMs {
    if matches!(coin.symbol.underlying(), "BTC" | "ETH") {
        return coin.start();
    }
    let member = survey.member_from(settings, coin);
    let pooled = UtcMs(coin.start().0 + (settings.fold_train_days_min * UtcMs::DAY as f64) as i64);
    if is_frozen { member } else { member.min(pooled) }
}

/// For every moment the hash of the bars before it of all coins that can matter to others by then, and per
/// coin of the survey those of its own bars before it. The last moment is that of what is frozen. Beside
/// them, that of all bars of all coins before `first`.
fn bars(
    cache: &Cache,
    settings: &Settings,
    scratch: &Scratch,
    survey: &Survey,
    moments: Vec<UtcMs>,
    first: UtcMs,
) -> Result<Bars, ScratchError> {
    let mut order: Vec<(UtcMs, Option<usize>)> =
        moments.iter().enumerate().map(|(n, moment)| (*moment, Some(n))).chain([(first, None)]).collect();
    order.sort_unstable();
    let mut worlds: Vec<Inputs> = moments.iter().map(|m| cache.inputs("world").number(m.0)).collect();
    let mut all = cache.inputs("first bars").number(first.0).number(survey.founded.0);
    let mut own = Vec::with_capacity(survey.coins.len());
    let roles = [("coin", &survey.coins), ("bystander", &survey.bystanders)];
    for (role, coin) in roles.into_iter().flat_map(|(role, coins)| coins.iter().map(move |c| (role, c))) {
        let series = coin.series(scratch)?;
        let mut bars = Inputs::of(role).text(&coin.symbol.to_string()).number(coin.start().0);
        let mut columns: Vec<&[f64]> = vec![
            &series.open,
            &series.high,
            &series.low,
            &series.close,
            &series.volume,
            &series.quote_volume,
        ];
        columns.extend([&series.trades, &series.taker_buy_base].into_iter().flatten().map(Vec::as_slice));
        let (trades, taker) = coin.extras();
        bars = bars.number(i64::from(trades) + 2 * i64::from(taker));
        let twins = trained_twins(survey, coin);
        let mut taken = 0;
        let mut until_moments = vec![Inputs::of("no bars").finish(); moments.len()];
        for &(moment, n) in order.iter().filter(|(moment, _)| *moment > coin.start()) {
            let until = series.index_at_or_after(moment);
            bars.extend((taken..until).flat_map(|i| columns.iter().map(move |column| column[i])));
            taken = until;
            let Some(n) = n else {
                all = all.digest(&bars.clone().finish());
                continue;
            };
            until_moments[n] = bars.clone().number(twins).finish();
            if matters_from(settings, survey, coin, n + 1 == moments.len()) <= moments[n] {
                worlds[n] = worlds[n].clone().digest(&until_moments[n]);
            }
        }
        if role == "coin" {
            own.push(until_moments);
        }
    }
    let worlds = worlds.into_iter().map(Inputs::finish).collect();
    Ok(Bars { moments, worlds, own, first: all.finish() })
}

/// Trained coins of the same underlying, which share its weight.
fn trained_twins(survey: &Survey, coin: &Coin) -> i64 {
    let same = |other: &&Coin| other.symbol.underlying() == coin.symbol.underlying();
    survey.coins.iter().filter(same).count() as i64
}
