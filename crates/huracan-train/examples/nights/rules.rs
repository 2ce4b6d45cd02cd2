//! The rules side by side, and who reigned under each.

use super::Night;
use huracan_core::choose::champion::{ChampionRule, Pair, Record, Tenure, Terms, challenge};
use huracan_core::stats::sharpe::sharpe;
use huracan_core::words::{Seed, UtcMs};
use huracan_train::settings::Settings;
use std::collections::BTreeMap;

/// When a candidate takes over.
enum Kind {
    /// Never: the first champion stays.
    Never,
    /// Always.
    Newest,
    /// When its Sharpe ratio on the common days is higher at all.
    AnySharpeGain,
    /// By the champion rule; past `days_max` also when it is not significantly worse.
    Evidence { days_max: f64 },
}

/// A rule and the name it is shown by.
pub struct Rule {
    /// For people.
    pub name: &'static str,
    kind: Kind,
    terms: Terms,
}

impl Rule {
    /// Every rule that is compared.
    pub fn all(settings: &Settings) -> Vec<Rule> {
        let terms = Terms {
            rule: settings.champion,
            long_horizon: settings.long_horizon(),
            mean_block_days: settings.metric_options(Seed(1)).mean_block_days,
            seed: settings.seed.child("champions", 0),
        };
        let few = ChampionRule { sample_size_min: 1, ..terms.rule };
        let evidence = Kind::Evidence { days_max: f64::INFINITY };
        [
            ("the first stays", Kind::Never, terms),
            ("newest wins", Kind::Newest, terms),
            ("any Sharpe gain wins", Kind::AnySharpeGain, terms),
            (
                "evidence, few trades",
                Kind::Evidence { days_max: f64::INFINITY },
                Terms { rule: few, ..terms },
            ),
            ("evidence", evidence, terms),
            ("evidence or age", Kind::Evidence { days_max: settings.model_ttl_days }, terms),
        ]
        .into_iter()
        .map(|(name, kind, terms)| Rule { name, kind, terms })
        .collect()
    }
}

/// A change of champion.
pub struct Promotion {
    /// The coin.
    pub symbol: String,
    /// Night of the champion before.
    pub from: usize,
    /// Night of the champion after.
    pub to: usize,
    /// Mean paired gain on the common days before the decision, bps a day.
    pub promised_bps: f64,
}

/// Who reigned under a rule.
#[derive(Default)]
pub struct Reigns {
    /// Per coin: nights whose candidate took over, ascending, and whether evidence chose it.
    reigns: BTreeMap<String, Vec<(usize, bool)>>,
    /// Every change after the first champion.
    pub promotions: Vec<Promotion>,
    /// Per night with evidence: the gain it could have found, bps a day.
    pub detectable_bps: Vec<f64>,
    /// How often the evidence decided for which reason.
    pub reasons: BTreeMap<&'static str, usize>,
}

impl Reigns {
    /// Lets a rule decide on the last night's candidates; returns how many took over from somebody.
    pub fn decide(&mut self, rule: &Rule, nights: &[Night]) -> usize {
        let now = nights.len() - 1;
        let night = &nights[now];
        let met: Vec<(&String, usize)> = night
            .candidates
            .keys()
            .filter_map(|symbol| self.reigns.get(symbol).and_then(|r| r.last()).map(|r| (symbol, r.0)))
            .collect();
        let record = |night: usize, symbol: &str| -> &Record { &nights[night].candidates[symbol].record };
        let days = |night: usize| (nights[now].until.0 - nights[night].until.0) as f64 / UtcMs::DAY as f64;
        let takes: Vec<(bool, bool)> = match rule.kind {
            Kind::Never => met.iter().map(|_| (false, false)).collect(),
            Kind::Newest => met.iter().map(|_| (true, false)).collect(),
            Kind::AnySharpeGain => {
                let gains = |(symbol, champion): &(&String, usize)| {
                    let (a, b) = record(*champion, symbol).common(record(now, symbol));
                    let gain = sharpe(b).unwrap_or(0.0) > sharpe(a).unwrap_or(0.0);
                    (gain, false)
                };
                met.iter().map(gains).collect()
            }
            Kind::Evidence { days_max } => {
                let pair = |&(symbol, champion): &(&String, usize)| {
                    let reigns = &self.reigns[symbol];
                    let chosen = reigns.last().is_some_and(|r| r.1);
                    let lately = |r: &&(usize, bool)| r.1 && days(r.0) < rule.terms.rule.flip_window_days;
                    Pair {
                        champion: record(champion, symbol).clone(),
                        candidate: record(now, symbol).clone(),
                        tenure: Tenure {
                            days_since_chosen: chosen.then(|| days(champion)),
                            days_watched: days(champion),
                            choices_lately: reigns.iter().filter(lately).count(),
                        },
                    }
                };
                let pairs: Vec<Pair> = met.iter().map(pair).collect();
                let decided = challenge(&pairs, &rule.terms);
                self.detectable_bps.extend(decided.run.map(|run| run.detectable_gain_bps));
                let aged = |champion: usize| days(champion) >= days_max;
                decided.coins.iter().for_each(|c| *self.reasons.entry(c.reason).or_default() += 1);
                let coins = decided.coins.iter().zip(&met);
                coins.map(|(c, m)| (c.replaces || (aged(m.1) && !c.worse && !c.held), c.replaces)).collect()
            }
        };
        let mut changed = 0;
        for ((symbol, champion), (takes_over, chosen)) in met.into_iter().zip(takes) {
            if takes_over {
                changed += 1;
                let (a, b) = record(champion, symbol).common(record(now, symbol));
                let promised = a.iter().zip(b).map(|(a, b)| b - a).sum::<f64>() / a.len().max(1) as f64;
                let symbol = symbol.clone();
                self.promotions.push(Promotion { symbol, from: champion, to: now, promised_bps: promised });
            }
            if let Some(reigns) = self.reigns.get_mut(symbol).filter(|_| takes_over) {
                reigns.push((now, chosen));
            }
        }
        for symbol in night.candidates.keys() {
            self.reigns.entry(symbol.clone()).or_insert_with(|| vec![(now, false)]);
        }
        changed
    }

    /// Day by day from the second night on: the day, the night of the champion in force, the coin.
    pub fn in_force<'a>(
        &'a self,
        nights: &'a [Night],
        end_day: i64,
    ) -> impl Iterator<Item = (i64, usize, &'a str)> {
        let first = nights.get(1).map_or(end_day, |night| night.until.day());
        self.reigns.iter().flat_map(move |(symbol, reigns)| {
            (first..end_day).filter_map(move |day| {
                let reign = reigns.iter().rfind(|r| nights[r.0].until.day() <= day)?;
                Some((day, reign.0, symbol.as_str()))
            })
        })
    }
}
