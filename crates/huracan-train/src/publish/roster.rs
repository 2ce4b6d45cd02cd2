//! The roster: every symbol of the universe in exactly one of three lists, written last.

use super::champions::Standing;
use super::costs::RoundTrip;
use super::head::{POSITION_SIZE, sides};
use super::{Candidate, Publication, costs};
use crate::engine::survey::Failed;
use huracan_core::choose::rank::{RankInput, Ranked, WEIGHTS, rank};
use huracan_core::words::Timeframe;
use huracan_store::formats::head::HeadFile;
use huracan_store::formats::roster::{self, Book, Ranking, Roster, RosterLine, Sides, SkipReason, Skipped};
use huracan_store::formats::wire::Quantity;
use huracan_store::{StoreError, roster as rosters};
use std::collections::{BTreeMap, BTreeSet};

/// Code of a coin that passed its gates and had too few labelled rows for a head.
const TOO_FEW_ROWS: &str = "too_few_training_rows";

/// Ranks the champions of this run's coins and publishes the list.
///
/// # Errors
/// What the store refuses.
pub(super) fn publish(
    publication: &Publication<'_>,
    candidates: &[Candidate<'_>],
    standings: &[Standing],
    unwritten: &[Failed],
) -> Result<Roster, StoreError> {
    let roster = document(publication, candidates, standings, unwritten);
    let seen = rosters::read(publication.store)?.map(|(_, revision)| revision);
    rosters::publish(publication.store, &roster, seen.as_ref())?;
    Ok(roster)
}

fn document(
    publication: &Publication<'_>,
    candidates: &[Candidate<'_>],
    standings: &[Standing],
    unwritten: &[Failed],
) -> Roster {
    let hedge_side_bps = costs::hedge_side_bps(publication);
    let pairs = candidates.iter().zip(standings);
    let trips: Vec<RoundTrip> =
        pairs.clone().map(|(c, s)| round_trip(publication, c, s, hedge_side_bps)).collect();
    let inputs: Vec<RankInput> =
        pairs.zip(&trips).map(|((c, s), trip)| rank_input(publication, c, s, trip)).collect();
    let symbols: Vec<RosterLine> = rank(&inputs)
        .into_iter()
        .map(|r| line(publication, &candidates[r.index], &standings[r.index], &trips[r.index], &r))
        .collect();
    let ranked = symbols.iter().map(|line| line.symbol.to_string()).collect();
    let failed = failed(publication, &ranked, unwritten);
    let taken = ranked.iter().chain(failed.keys()).cloned().collect();
    let skipped = skipped(publication, &taken);
    let names = ["recent_net", "cheapness", "liquidity"];
    Roster {
        run_id: publication.stamp.run_id.clone(),
        date: publication.until().date(),
        generated_at: publication.until().into(),
        expires_at: publication.expires_at().into(),
        total_symbols: (symbols.len() + skipped.len() + failed.len()) as u64,
        trade_ok_count: symbols.iter().filter(|line| line.trade_ok).count() as u64,
        ranking: Ranking {
            method: "trade_ok first, then weighted percentiles".to_owned(),
            weights: names.iter().zip(WEIGHTS).map(|(name, w)| ((*name).to_owned(), w)).collect(),
        },
        symbols,
        skipped,
        failed: failed.into_values().collect(),
    }
}

/// Today's round trip of the champion: its book, held for its horizon.
fn round_trip(
    publication: &Publication<'_>,
    candidate: &Candidate<'_>,
    standing: &Standing,
    hedge_side_bps: f64,
) -> RoundTrip {
    let coin = &publication.outcome.survey.coins[candidate.verdict.index];
    let head = &standing.artifacts.head;
    let bar = head.bar.parse::<Timeframe>().unwrap_or(publication.settings.timeframe);
    let hold_ms = head.label.horizon_bars as i64 * bar.ms();
    RoundTrip::new(publication, coin, hedge_side_bps, book(head) == Book::Hedged, hold_ms)
}

fn text<'a>(head: &'a HeadFile, key: &str) -> &'a str {
    head.metadata.get(key).map_or("", String::as_str)
}

fn book(head: &HeadFile) -> Book {
    if text(head, "book") == "hedged" { Book::Hedged } else { Book::Outright }
}

fn rank_input(
    publication: &Publication<'_>,
    candidate: &Candidate<'_>,
    standing: &Standing,
    trip: &RoundTrip,
) -> RankInput {
    let coin = &publication.outcome.survey.coins[candidate.verdict.index];
    let metrics = &standing.artifacts.metrics;
    RankInput {
        symbol: coin.symbol.to_string(),
        trade_ok: standing.champion.trade_ok,
        last_7d_net_bps: metrics.last_7d_net_bps,
        last_7d_trades: metrics.last_7d_trades as usize,
        round_trip_bps: trip.total_bps(),
        adv_usd: coin.costs.adv_usd,
    }
}

/// The line describes the champion with its own evidence, at today's costs.
fn line(
    publication: &Publication<'_>,
    candidate: &Candidate<'_>,
    standing: &Standing,
    trip: &RoundTrip,
    ranked: &Ranked,
) -> RosterLine {
    let coin = &publication.outcome.survey.coins[candidate.verdict.index];
    let (champion, head) = (&standing.champion, &standing.artifacts.head);
    let metrics = &standing.artifacts.metrics;
    // Results are of capital; capacity is about notional.
    let size = text(head, POSITION_SIZE).parse::<f64>().ok().filter(|size| *size > 0.0).unwrap_or(1.0);
    let edge = 100.0 * metrics.gross_pnl_pct / metrics.sample_size.max(1) as f64 / size;
    let components = [
        ("score", ranked.score),
        ("recent_net", ranked.recent),
        ("cheapness", ranked.cheapness),
        ("liquidity", ranked.liquidity),
    ];
    RosterLine {
        symbol: champion.symbol.clone(),
        model_path: champion.model_path.clone(),
        rank: ranked.rank as u64,
        spread_bps: coin.costs.spread_bps,
        fee_bps: coin.costs.taker_fee_bps,
        avg_slip_bps: coin.costs.slippage_bps(publication.settings.costs.reference_order_usd, 1.0),
        total_cost_bps: trip.total_bps(),
        last_7d_net_bps: metrics.last_7d_net_bps,
        trade_ok: champion.trade_ok,
        trade_ok_reasons: standing.gates.clone(),
        adv_usd: coin.costs.adv_usd,
        capacity_usd: trip.capacity_usd(edge, coin),
        regime: candidate.verdict.regime.code().to_owned(),
        label: head.label.kind.clone(),
        horizon_bars: head.label.horizon_bars,
        book: book(head),
        sides: match text(head, "sides") {
            side if side == sides(huracan_core::words::Market::Perp) => Sides::LongShort,
            _ => Sides::Long,
        },
        rank_components: components.into_iter().map(|(name, v)| (name.to_owned(), v)).collect(),
        encoder_id: champion.encoder_id.clone(),
        model_sha256: champion.model_sha256.clone(),
        model_expires_at: champion.expires_at,
        metrics: metrics.figures().without_window(),
    }
}

/// Coins whose job broke, the first break of each.
fn failed(
    publication: &Publication<'_>,
    ranked: &BTreeSet<String>,
    unwritten: &[Failed],
) -> BTreeMap<String, roster::Failed> {
    let mut out = BTreeMap::new();
    for Failed { symbol, step, error, .. } in publication.outcome.failed.iter().chain(unwritten) {
        if !ranked.contains(symbol) {
            let line =
                || roster::Failed { symbol: symbol.clone(), step: (*step).to_owned(), error: error.clone() };
            out.entry(symbol.clone()).or_insert_with(line);
        }
    }
    out
}

/// Everybody else, with every reason; a symbol that several files name is one line.
fn skipped(publication: &Publication<'_>, taken: &BTreeSet<String>) -> Vec<Skipped> {
    let survey = &publication.outcome.survey;
    let mut out: BTreeMap<String, Vec<SkipReason>> = BTreeMap::new();
    for line in survey.skipped.iter().filter(|line| !taken.contains(&line.symbol)) {
        let reasons = line.reasons.iter().map(|r| SkipReason {
            code: r.code.clone(),
            found: quantity(&r.found),
            limit: quantity(&r.limit),
        });
        out.entry(line.symbol.clone()).or_default().extend(reasons);
    }
    let days = publication.settings.fold_train_days_min;
    let needed = publication.settings.timeframe.bars_in_days(days) as f64;
    for (coin, known) in survey.coins.iter().zip(&publication.outcome.statistics) {
        let symbol = coin.symbol.to_string();
        if !taken.contains(&symbol) {
            let rows = known.as_ref().and_then(|k| k.rows.last().copied()).unwrap_or(0.0);
            out.entry(symbol).or_default().push(SkipReason {
                code: TOO_FEW_ROWS.to_owned(),
                found: Some(Quantity::Number(rows)),
                limit: Some(Quantity::Number(needed)),
            });
        }
    }
    out.into_iter().map(|(symbol, skip_reasons)| Skipped { symbol, skip_reasons }).collect()
}

/// A number where the text is one.
fn quantity(text: &str) -> Option<Quantity> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Some(Quantity::Number(number)),
        _ if text.is_empty() => None,
        _ => Some(Quantity::Text(text.to_owned())),
    }
}
