//! Which model of a coin is in force after this run, and why; the pointers and the log that say so.
//!
//! The first champion needs finite figures and verified artifacts, nothing more. After that a
//! candidate takes over only when the champion rule says so, judged over all coins at once on the
//! days both records cover, both at tonight's fees and funding; against a champion past its age it need
//! only not be significantly worse, unless that champion was chosen too lately to be given up so.
//! A repeated publication finds its own pointers moved already: it then compares with the champion
//! before, so that it logs the same as the first time.

use super::head::POSITION_SIZE;
use super::{Candidate, Publication, metrics};
use huracan_core::choose::champion::{
    ChampionRule, Comparison, Pair, Record, RunEvidence, Tenure, Terms, challenge,
};
use huracan_core::choose::trade_ok::GateAnswer;
use huracan_core::words::{Timeframe, UtcMs};
use huracan_store::champions::{self, Nomination};
use huracan_store::formats::champion::{Champion, PromotedBy};
use huracan_store::formats::figures::GateReading;
use huracan_store::formats::metrics::{CostsUsed, Metrics};
use huracan_store::formats::promotion::{EventKind, Promotion, PromotionEvent};
use huracan_store::formats::wire::Coin;
use huracan_store::models::{self, Model, ModelArtifacts};
use huracan_store::{Revision, Store, StoreError, StorePath, encoder, promotions};
use std::collections::{BTreeMap, BTreeSet};

/// Why a candidate that the rule does not prefer takes over all the same.
const PAST_ITS_AGE: &str = "the champion is past its age; the candidate is not worse on the common days";
/// Fees and funding rates closer than this are the same rate, written and read back.
const SAME_RATE_BPS: f64 = 1e-9;

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

/// What became of the champions.
pub(super) struct Settled {
    /// One per candidate, in their order.
    pub standings: Vec<Standing>,
    /// What the coins said together; `None` where no candidate met a champion it could be held against.
    pub evidence: Option<RunEvidence>,
}

/// Appends to the log what pointers did without it, decides for all coins, moves the pointers, then
/// appends the decisions; in the candidates' order.
///
/// # Errors
/// What the store refuses; `Stale` when somebody else moved a pointer meanwhile.
pub(super) fn settle(
    publication: &Publication<'_>,
    candidates: &[Candidate<'_>],
) -> Result<Settled, StoreError> {
    let store = publication.store;
    let meetings: Vec<Meeting<'_>> = candidates.iter().map(|c| meet(store, c)).collect::<Result<_, _>>()?;
    promotions::append(store, &unlogged(store, &meetings)?)?;
    let log = promotions::read(store)?;
    let (decisions, evidence) = decide(publication, &meetings, &log);
    let (mut standings, mut events) = (Vec::new(), Vec::new());
    for (meeting, decision) in meetings.into_iter().zip(decisions) {
        events.push(event(publication, &meeting, &decision));
        standings.push(point(publication, meeting, &decision)?);
    }
    promotions::append(store, &events)?;
    Ok(Settled { standings, evidence })
}

/// A line for every pointer that is not where the log left it. What this run has moved itself it logs
/// itself.
fn unlogged(store: &dyn Store, meetings: &[Meeting<'_>]) -> Result<Vec<PromotionEvent>, StoreError> {
    let log = promotions::read(store)?;
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
        let by_run = champion.promoted_by == PromotedBy::Engine && own.contains(champion.model_path.as_str());
        if !by_run {
            events.extend(promotions::missing_line(&log, &champion));
        }
    }
    Ok(events)
}

/// Moves of every coin in the log, in its order.
fn moves(log: &[Promotion]) -> BTreeMap<&Coin, Vec<&PromotionEvent>> {
    let mut moves: BTreeMap<&Coin, Vec<&PromotionEvent>> = BTreeMap::new();
    for event in log.iter().map(|line| &line.event).filter(|event| promotions::moves(event.event)) {
        moves.entry(&event.symbol).or_default().push(event);
    }
    moves
}

/// Whether evidence or a person decided it, not age, nor that there was nobody before.
fn is_choice(event: &PromotionEvent) -> bool {
    match event.event {
        EventKind::Promote | EventKind::Rollback => true,
        EventKind::EngineUpdate => event.rule_values.get(REPLACES) == Some(&Some(1.0)),
        EventKind::Reject | EventKind::Expire => false,
    }
}

/// How the champion that a candidate meets came to its place. What a repeated publication has logged of
/// its own candidate does not count.
fn tenure(meeting: &Meeting<'_>, moves: &[&PromotionEvent], until: UtcMs, rule: &ChampionRule) -> Tenure {
    let own = meeting.candidate.written.path.as_str();
    let is_own = |event: &PromotionEvent| {
        event.event == EventKind::EngineUpdate && event.after_model_path.as_deref() == Some(own)
    };
    let days = |event: &PromotionEvent| (until.0 - event.at.0.0) as f64 / UtcMs::DAY as f64;
    let before = || moves.iter().copied().filter(|event| !is_own(event));
    Tenure {
        days_since_chosen: before().next_back().filter(|event| is_choice(event)).map(days),
        days_watched: before().next_back().map_or(0.0, |event| days(event).max(0.0)),
        choices_lately: before().filter(|e| is_choice(e) && days(e) < rule.flip_window_days).count(),
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
        trades: metrics.sample_size as usize,
        active_days: metrics.active_days as usize,
    }
}

/// Bps a day by which a champion's net would be lower at the candidate's fees and funding, spread
/// evenly over its days. (Spread and slippage come from the same candles either way.) 0 where one of
/// them never traded.
fn recharge_bps_per_day(champion: &ModelArtifacts, candidate: &ModelArtifacts) -> f64 {
    let (old, new) = (&champion.metrics, &candidate.metrics);
    let (Some(old_costs), Some(new_costs)) = (&old.costs_used, &new.costs_used) else { return 0.0 };
    let metadata = |key: &str| champion.head.metadata.get(key).map_or("", String::as_str);
    let size = metadata(POSITION_SIZE).parse::<f64>().ok().filter(|size| size.is_finite()).unwrap_or(1.0);
    let legs = if metadata("book") == "hedged" { 2.0 } else { 1.0 };
    let bars_per_day = champion.head.bar.parse::<Timeframe>().map_or(0.0, |bar| bar.bars_per_day());
    // Funding of a held bar: of a trade, times trades, over bars held.
    let carry = |m: &Metrics, c: &CostsUsed| {
        let held = m.exposure * m.oos_bars as f64;
        if held > 0.0 { c.round_trip.funding_bps * m.sample_size as f64 / held } else { 0.0 }
    };
    let change = |old: f64, new: f64| if (new - old).abs() > SAME_RATE_BPS { new - old } else { 0.0 };
    let fee = change(old_costs.per_side.fee_bps, new_costs.per_side.fee_bps);
    let funding = change(carry(old, old_costs), carry(new, new_costs));
    size * (legs * fee * old.turnover_per_day + funding * old.exposure * bars_per_day)
}

fn decide(
    publication: &Publication<'_>,
    meetings: &[Meeting<'_>],
    log: &[Promotion],
) -> (Vec<Decision>, Option<RunEvidence>) {
    let settings = publication.settings;
    let (moves, nothing) = (moves(log), Vec::new());
    let mut recharged = Vec::new();
    let mut pairs: Vec<Pair> = Vec::new();
    for meeting in meetings {
        let Incumbent::Standing(model) = &meeting.incumbent else { continue };
        let candidate = &meeting.candidate.artifacts;
        let charge = recharge_bps_per_day(&model.artifacts, candidate);
        let mut champion = record(&model.artifacts.metrics);
        champion.daily_net_bps.iter_mut().for_each(|net| *net -= charge);
        let of_coin = moves.get(&candidate.head.symbol).unwrap_or(&nothing);
        let tenure = tenure(meeting, of_coin, publication.until(), &settings.champion);
        pairs.push(Pair { champion, candidate: record(&candidate.metrics), tenure });
        recharged.push(charge);
    }
    let terms = Terms {
        rule: settings.champion,
        long_horizon: settings.long_horizon(),
        mean_block_days: settings.metric_options(settings.seed).mean_block_days,
        seed: settings.seed.child("champions", 0),
    };
    let decided = challenge(&pairs, &terms);
    let run = decided.run;
    let mut compared = decided.coins.into_iter().zip(recharged);
    let plain =
        |takes_over: bool, reason: String| Decision { takes_over, reason, rule_values: BTreeMap::new() };
    let decisions = meetings
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
                Some((comparison, charge)) => {
                    // A run moves a pointer by the rule or because of age: where this one has moved it
                    // already and the rule did not ask for it, age did. (The new pointer no longer says
                    // when the old model expired.)
                    let own = meeting.is_own();
                    let expired = own || meeting.expired(publication.until());
                    let drifted = meeting.candidate.verdict.promotion_held;
                    let (takes_over, reason) = match succeeds(&comparison, expired) {
                        (true, _) if drifted && !expired => (false, DRIFTED),
                        decided => decided,
                    };
                    let mut values = rule_values(&terms, &comparison, run.as_ref());
                    values.insert("recharged_bps_per_day".to_owned(), Some(charge));
                    Decision { takes_over: takes_over || own, reason: reason.to_owned(), rule_values: values }
                }
                None => plain(false, "the comparison is missing".to_owned()),
            },
        })
        .collect();
    (decisions, run)
}

/// Why nothing changes although the rule asked for it.
const DRIFTED: &str =
    "the last week has drifted from training and predictions fail: nothing is promoted until that is over";

/// Whether the candidate takes over, and why: by the rule, or from a champion past its age that it
/// is not significantly worse than and that was not chosen lately. A stale model is no safer for being
/// kept, but what an operator has just brought back is not to be undone by its age.
fn succeeds(comparison: &Comparison, expired: bool) -> (bool, &'static str) {
    if !comparison.replaces && expired && !comparison.worse && !comparison.held {
        return (true, PAST_ITS_AGE);
    }
    (comparison.replaces, comparison.reason)
}

/// Among the rule values: 1 where the evidence asked for the change.
const REPLACES: &str = "replaces";

/// Every number the rule looked at, and every limit.
fn rule_values(
    terms: &Terms,
    comparison: &Comparison,
    run: Option<&RunEvidence>,
) -> BTreeMap<String, Option<f64>> {
    let Terms { rule, long_horizon, .. } = terms;
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    let count = |n: usize| Some(n as f64);
    let own = comparison.evidence;
    let values = [
        ("common_days", count(comparison.common_days)),
        ("common_days_min", count(rule.common_days_min)),
        ("trades", count(comparison.trades)),
        ("sample_size_min", count(rule.sample_size_min)),
        ("active_days", count(comparison.active_days)),
        ("long_horizon", flag(*long_horizon)),
        ("long_horizon_trades_min", count(rule.long_horizon_trades_min)),
        ("long_horizon_active_days_min", count(rule.long_horizon_active_days_min)),
        ("sharpe_gain", comparison.sharpe_gain),
        ("sharpe_gain_min", Some(rule.sharpe_gain_min)),
        ("net_gain_pct", Some(comparison.net_gain_pct)),
        ("net_gain_pct_min", Some(rule.net_gain_pct_min)),
        ("drawdown_change_pct", Some(comparison.drawdown_change_pct)),
        ("drawdown_slack_pct", Some(rule.drawdown_slack_pct)),
        ("own_gain_bps", own.map(|e| e.own_gain_bps)),
        ("paired_sd_bps", own.map(|e| e.paired_sd_bps)),
        ("pooled_gain_bps", own.map(|e| e.gain_bps)),
        ("pooled_gain_error_bps", own.map(|e| e.error_bps)),
        ("lower_bound_bps", own.map(|e| e.lower_bound_bps)),
        ("lower_bound_bps_min", Some(0.0)),
        ("q_value", own.map(|e| e.q_value)),
        ("q_value_max", Some(comparison.rate)),
        ("false_discovery_rate", Some(rule.false_discovery_rate)),
        ("minimum_detectable_gain_bps", own.map(|e| e.detectable_gain_bps)),
        ("minimum_detectable_gain_alone_bps", own.map(|e| e.detectable_alone_bps)),
        ("run_coins", run.and_then(|r| count(r.coins))),
        ("run_gain_bps", run.map(|r| r.pooled_gain_bps)),
        ("run_gain_error_bps", run.map(|r| r.pooled_error_bps)),
        ("run_lower_bound_bps", run.map(|r| r.lower_bound_bps)),
        ("run_between_sd_bps", run.map(|r| r.between_sd_bps)),
        ("run_minimum_detectable_gain_bps", run.map(|r| r.detectable_gain_bps)),
        ("days_since_chosen", comparison.tenure.days_since_chosen),
        ("hold_days", Some(rule.hold_days)),
        ("hold_rate_factor", Some(rule.hold_rate_factor)),
        ("choices_lately", count(comparison.tenure.choices_lately)),
        ("flip_window_days", Some(rule.flip_window_days)),
        ("flip_rate_factor", Some(rule.flip_rate_factor)),
        ("significantly_worse", flag(comparison.worse)),
        (REPLACES, flag(comparison.replaces)),
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
    let mut today = vec![
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
    // What tonight's run found of its own health and of the coin's last week counts for every champion.
    let tonight = candidate
        .verdict
        .gates
        .iter()
        .filter(|gate| matches!(gate.gate, "canaries" | "drift" | "encoder_fit"));
    today.extend(tonight.cloned());
    let metrics = &model.artifacts.metrics;
    let trade_ok = metrics.trade_ok && today.iter().all(|gate| gate.passed);
    let mut gates = metrics.trade_ok_reasons.clone();
    gates.retain(|gate| !today.iter().any(|answer| answer.gate == gate.gate));
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
