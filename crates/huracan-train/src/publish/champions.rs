//! Which model of a coin is in force after this run, and why; the pointers and the log that say so.
//!
//! The first champion needs finite figures and verified artifacts, nothing more. After that a
//! candidate takes over only when the champion rule says so, judged over all coins at once on the
//! days both records cover; against a champion past its age it need only not be significantly worse.
//! A repeated publication finds its own pointers moved already: it then compares with the champion
//! before, so that it logs the same as the first time.

use super::{Candidate, Publication, metrics};
use huracan_core::choose::champion::{Comparison, Record, challenge};
use huracan_core::choose::trade_ok::GateAnswer;
use huracan_core::words::UtcMs;
use huracan_store::champions::{self, Nomination};
use huracan_store::formats::champion::{Champion, PromotedBy};
use huracan_store::formats::figures::GateReading;
use huracan_store::formats::metrics::Metrics;
use huracan_store::formats::promotion::{EventKind, PromotionEvent};
use huracan_store::formats::wire::Coin;
use huracan_store::models::{self, Model, ModelArtifacts};
use huracan_store::{Revision, Store, StoreError, StorePath, encoder, promotions};
use std::collections::{BTreeMap, BTreeSet};

/// Why a candidate that the rule does not prefer takes over all the same.
const PAST_ITS_AGE: &str = "the champion is past its age; the candidate is not worse on the common days";

/// The model of one coin that is in force after this run.
pub(super) struct Standing {
    /// The pointer.
    pub champion: Champion,
    /// What it points to.
    pub artifacts: ModelArtifacts,
    /// Its gates: this run's, or those of its own evidence with what this run knows of its freshness.
    pub gates: Vec<GateReading>,
    /// Whether it is this run's model.
    pub is_candidate: bool,
    /// Whether the pointer moved now.
    pub moved: bool,
}

/// What a candidate meets.
enum Incumbent {
    /// No champion before.
    Nobody,
    /// A champion that does not verify any more.
    Broken { path: String, reason: String },
    /// A champion whose evidence ends later than the candidate's.
    Newer(Box<Model>),
    /// A champion to be compared with.
    Standing(Box<Model>),
}

struct Meeting<'a> {
    candidate: &'a Candidate<'a>,
    pointer: Option<(Champion, Revision)>,
    incumbent: Incumbent,
}

impl Meeting<'_> {
    /// Whether the pointer has moved to the candidate already.
    fn is_own(&self) -> bool {
        let path = self.candidate.written.path.as_str();
        self.pointer.as_ref().is_some_and(|(champion, _)| champion.model_path == path)
    }

    /// Whether the champion that the candidate meets is past its age.
    fn expired(&self, until: UtcMs) -> bool {
        self.pointer.as_ref().is_some_and(|(champion, _)| champion.expires_at.0 <= until)
    }
}

/// The outcome for one coin: whether the candidate takes over, and what the log says.
struct Decision {
    takes_over: bool,
    reason: String,
    rule_values: BTreeMap<String, Option<f64>>,
}

/// Appends to the log what pointers did without it, decides for all coins, moves the pointers, then
/// appends the decisions; in the candidates' order.
///
/// # Errors
/// What the store refuses; `Stale` when somebody else moved a pointer meanwhile.
pub(super) fn settle(
    publication: &Publication<'_>,
    candidates: &[Candidate<'_>],
) -> Result<Vec<Standing>, StoreError> {
    let meetings: Vec<Meeting<'_>> =
        candidates.iter().map(|c| meet(publication.store, c)).collect::<Result<_, _>>()?;
    promotions::append(publication.store, &unlogged(publication.store, &meetings)?)?;
    let decisions = decide(publication, &meetings);
    let (mut standings, mut events) = (Vec::new(), Vec::new());
    for (meeting, decision) in meetings.into_iter().zip(decisions) {
        events.push(event(publication, &meeting, &decision));
        standings.push(point(publication, meeting, &decision)?);
    }
    promotions::append(publication.store, &events)?;
    Ok(standings)
}

/// A line for every pointer that is not where the log left it: whoever moved it was stopped before
/// writing the line, or never writes any. What this run has moved itself it logs itself.
fn unlogged(store: &dyn Store, meetings: &[Meeting<'_>]) -> Result<Vec<PromotionEvent>, StoreError> {
    let log = promotions::read(store)?;
    let moves = log.iter().map(|line| &line.event).filter(|event| event.event != EventKind::Reject);
    let logged: BTreeMap<&Coin, &Option<String>> =
        moves.map(|event| (&event.symbol, &event.after_model_path)).collect();
    let own: BTreeSet<&str> = meetings
        .iter()
        .filter(|meeting| meeting.is_own())
        .map(|meeting| meeting.candidate.written.path.as_str())
        .collect();
    let mut events = Vec::new();
    for symbol in champions::list(store)? {
        let champion = match champions::read(store, &symbol) {
            Ok(Some((champion, _))) => champion,
            // No pointer, no move; a coin of this run whose pointer is broken has stopped it before.
            Ok(None) | Err(StoreError::Corrupt { .. }) => continue,
            Err(error) => return Err(error),
        };
        let known = logged.get(&champion.symbol).and_then(|path| path.as_deref());
        let by_run = champion.promoted_by == PromotedBy::Engine && own.contains(champion.model_path.as_str());
        if known != Some(champion.model_path.as_str()) && !by_run {
            events.push(found(champion));
        }
    }
    Ok(events)
}

/// The line of a move that is known from the pointer alone.
fn found(champion: Champion) -> PromotionEvent {
    PromotionEvent {
        at: champion.updated_at,
        symbol: champion.symbol,
        event: match champion.promoted_by {
            PromotedBy::Engine => EventKind::EngineUpdate,
            PromotedBy::Mechanic | PromotedBy::Operator => EventKind::Promote,
            PromotedBy::Rollback => EventKind::Rollback,
        },
        champion_metrics: None,
        challenger_metrics: Some(champion.metrics),
        rule_values: BTreeMap::new(),
        promotion_reason: "the pointer had moved and the log did not say so; why is not known".to_owned(),
        before_model_path: champion.previous.map(|before| before.model_path),
        after_model_path: Some(champion.model_path),
        decided_by: match champion.promoted_by {
            PromotedBy::Engine => "engine",
            PromotedBy::Mechanic => "mechanic",
            PromotedBy::Operator => "operator",
            PromotedBy::Rollback => "rollback",
        }
        .to_owned(),
    }
}

fn meet<'a>(store: &dyn Store, candidate: &'a Candidate<'a>) -> Result<Meeting<'a>, StoreError> {
    let pointer = champions::read(store, &candidate.artifacts.head.symbol)?;
    let path = match &pointer {
        Some((champion, _)) if champion.model_path == candidate.written.path.as_str() => {
            champion.previous.as_ref().map(|before| before.model_path.clone())
        }
        Some((champion, _)) => Some(champion.model_path.clone()),
        None => None,
    };
    let incumbent = match path {
        None => Incumbent::Nobody,
        Some(path) => match load(store, &path) {
            Ok(model) => {
                let until = |m: &Metrics| m.window.until;
                if until(&model.artifacts.metrics) > until(&candidate.artifacts.metrics) {
                    Incumbent::Newer(Box::new(model))
                } else {
                    Incumbent::Standing(Box::new(model))
                }
            }
            Err(error @ (StoreError::NotFound { .. } | StoreError::Corrupt { .. })) => {
                Incumbent::Broken { path, reason: error.to_string() }
            }
            Err(error) => return Err(error),
        },
    };
    Ok(Meeting { candidate, pointer, incumbent })
}

/// A model with its encoder, both verified.
fn load(store: &dyn Store, path: &str) -> Result<Model, StoreError> {
    let model = models::read_model(store, &StorePath::new(path)?)?;
    if let Some(id) = &model.manifest.lineage.encoder_id {
        encoder::load(store, id)?;
    }
    Ok(model)
}

/// The record of a model; empty for one written before records were kept.
fn record(metrics: &Metrics) -> Record {
    let daily = metrics.daily.as_ref();
    let first = daily.and_then(|d| d.first_day.parse::<UtcMs>().ok());
    Record {
        first_day: first.map_or(0, UtcMs::day),
        daily_net_bps: first.and(daily).map_or_else(Vec::new, |d| d.net_bps.clone()),
    }
}

fn decide(publication: &Publication<'_>, meetings: &[Meeting<'_>]) -> Vec<Decision> {
    let settings = publication.settings;
    let pairs: Vec<(Record, Record)> = meetings
        .iter()
        .filter_map(|meeting| match &meeting.incumbent {
            Incumbent::Standing(model) => {
                Some((record(&model.artifacts.metrics), record(&meeting.candidate.artifacts.metrics)))
            }
            _ => None,
        })
        .collect();
    let block = settings.metric_options(settings.seed).mean_block_days;
    let mut compared =
        challenge(&pairs, &settings.champion, block, settings.seed.child("champions", 0)).into_iter();
    let plain =
        |takes_over: bool, reason: String| Decision { takes_over, reason, rule_values: BTreeMap::new() };
    meetings
        .iter()
        .map(|meeting| match &meeting.incumbent {
            Incumbent::Nobody => plain(
                true,
                "first champion: its figures are finite and its files verify; this is no proof of an edge"
                    .to_owned(),
            ),
            Incumbent::Broken { reason, .. } => {
                plain(true, format!("the champion before it does not verify: {reason}"))
            }
            Incumbent::Newer(_) => plain(
                meeting.is_own(),
                "the champion was judged on later data than this candidate".to_owned(),
            ),
            Incumbent::Standing(_) => match compared.next() {
                Some(comparison) => {
                    // A run moves a pointer by the rule or because of age: where this one has moved it
                    // already and the rule did not ask for it, age did. (The new pointer no longer says
                    // when the old model expired.)
                    let own = meeting.is_own();
                    let expired = own || meeting.expired(publication.until());
                    let (takes_over, reason) = succeeds(&comparison, expired);
                    Decision {
                        takes_over: takes_over || own,
                        reason: reason.to_owned(),
                        rule_values: rule_values(publication, &comparison),
                    }
                }
                None => plain(false, "the comparison is missing".to_owned()),
            },
        })
        .collect()
}

/// Whether the candidate takes over, and why: by the rule, or from a champion past its age that it
/// is not significantly worse than. A stale model is no safer for being kept.
fn succeeds(comparison: &Comparison, expired: bool) -> (bool, &'static str) {
    if !comparison.replaces && expired && !comparison.worse {
        return (true, PAST_ITS_AGE);
    }
    (comparison.replaces, comparison.reason)
}

/// Every number the rule looked at, and every limit.
fn rule_values(publication: &Publication<'_>, comparison: &Comparison) -> BTreeMap<String, Option<f64>> {
    let rule = &publication.settings.champion;
    let values = [
        ("common_days", Some(comparison.common_days as f64)),
        ("common_days_min", Some(rule.common_days_min as f64)),
        ("sharpe_gain", comparison.sharpe_gain),
        ("sharpe_gain_min", Some(rule.sharpe_gain_min)),
        ("net_gain_pct", Some(comparison.net_gain_pct)),
        ("net_gain_pct_min", Some(rule.net_gain_pct_min)),
        ("drawdown_change_pct", Some(comparison.drawdown_change_pct)),
        ("drawdown_slack_pct", Some(rule.drawdown_slack_pct)),
        ("pooled_gain_bps", comparison.pooled_gain_bps),
        ("q_value", comparison.q_value),
        ("significantly_worse", Some(f64::from(u8::from(comparison.worse)))),
        ("false_discovery_rate", Some(rule.false_discovery_rate)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value.filter(|v| v.is_finite()))).collect()
}

fn event(publication: &Publication<'_>, meeting: &Meeting<'_>, decision: &Decision) -> PromotionEvent {
    let candidate = &meeting.candidate.artifacts;
    let (before, figures) = match &meeting.incumbent {
        Incumbent::Nobody => (None, None),
        Incumbent::Broken { path, .. } => (Some(path.clone()), None),
        Incumbent::Newer(model) | Incumbent::Standing(model) => {
            (Some(model.path.to_string()), Some(model.artifacts.metrics.figures()))
        }
    };
    PromotionEvent {
        at: publication.until().into(),
        symbol: candidate.head.symbol.clone(),
        event: if decision.takes_over { EventKind::EngineUpdate } else { EventKind::Reject },
        champion_metrics: figures,
        challenger_metrics: Some(candidate.metrics.figures()),
        rule_values: decision.rule_values.clone(),
        promotion_reason: decision.reason.clone(),
        after_model_path: if decision.takes_over {
            Some(meeting.candidate.written.path.to_string())
        } else {
            before.clone()
        },
        before_model_path: before,
        decided_by: "engine".to_owned(),
    }
}

fn point(
    publication: &Publication<'_>,
    meeting: Meeting<'_>,
    decision: &Decision,
) -> Result<Standing, StoreError> {
    let own = meeting.is_own();
    let Meeting { candidate, pointer, incumbent } = meeting;
    let seen = pointer.as_ref().map(|(_, revision)| revision);
    let model = match incumbent {
        Incumbent::Newer(model) | Incumbent::Standing(model) if !decision.takes_over && !own => model,
        _ => {
            let nomination = Nomination {
                model_path: candidate.written.path.clone(),
                trade_ok: candidate.verdict.trade_ok,
                promoted_by: PromotedBy::Engine,
                at: publication.until(),
                expires_at: publication.expires_at(),
            };
            let pointed = champions::point(publication.store, &nomination, seen)?;
            return Ok(Standing {
                champion: pointed.champion,
                artifacts: candidate.artifacts.clone(),
                gates: candidate.artifacts.metrics.trade_ok_reasons.clone(),
                is_candidate: true,
                moved: pointed.moved,
            });
        }
    };
    keep(publication, candidate, *model, pointer)
}

/// The champion stays. It may be traded when its own evidence says so, it is not past its age, and
/// the coin's data are fit for trading today; where that changes its verdict the pointer says so.
fn keep(
    publication: &Publication<'_>,
    candidate: &Candidate<'_>,
    model: Model,
    pointer: Option<(Champion, Revision)>,
) -> Result<Standing, StoreError> {
    let (champion, revision) = pointer.ok_or(StoreError::NotFound {
        path: format!("champions/{}.json", candidate.artifacts.head.symbol),
        help: "the pointer vanished during the run; run again",
    })?;
    let coin = &publication.outcome.survey.coins[candidate.verdict.index];
    let left_ms = champion.expires_at.0.0 - publication.until().0;
    let today = [
        GateAnswer {
            gate: "model_days_left",
            value: Some(left_ms as f64 / UtcMs::DAY as f64),
            limit: Some(0.0),
            comparison: ">",
            passed: left_ms > 0,
        },
        GateAnswer {
            gate: "data_gates_failed_today",
            value: Some(coin.verdict.trade.len() as f64),
            limit: Some(0.0),
            comparison: "<=",
            passed: coin.verdict.may_trade(),
        },
    ];
    let metrics = &model.artifacts.metrics;
    let trade_ok = metrics.trade_ok && today.iter().all(|gate| gate.passed);
    let mut gates = metrics.trade_ok_reasons.clone();
    gates.extend(today.iter().map(metrics::reading));
    let nomination = Nomination {
        model_path: model.path.clone(),
        trade_ok,
        promoted_by: champion.promoted_by,
        at: publication.until(),
        expires_at: champion.expires_at.0,
    };
    let pointed = champions::point(publication.store, &nomination, Some(&revision))?;
    Ok(Standing {
        champion: pointed.champion,
        artifacts: model.artifacts,
        gates,
        is_candidate: false,
        moved: false,
    })
}
