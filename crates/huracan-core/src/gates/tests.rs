//! Laws over the table: every gate is silent on a clean coin, and each fires on its own defect.

use std::collections::BTreeSet;

use super::*;
use crate::series::testing::{HOUR, START, random_bars, symbol};
use crate::series::{Bars, Note, Series, align, cut_at_last_relisting};
use crate::words::{Symbol, UtcMs};

const ROWS: usize = 24 * 200;

fn clean() -> Bars {
    random_bars(ROWS, 21)
}

fn until() -> UtcMs {
    UtcMs(START + ROWS as i64 * HOUR)
}

fn profiled(bars: Bars) -> (Series, Profile) {
    align(&symbol(), Timeframe::H1, bars, Some(until())).unwrap()
}

fn verdict_of(profile: &Profile, spread_bps: Option<f64>) -> Verdict {
    judge(profile, spread_bps, &GateLimits::default(), Timeframe::H1)
}

fn codes(reasons: &[SkipReason]) -> Vec<&'static str> {
    reasons.iter().map(SkipReason::code).collect()
}

fn scale(bars: &mut Bars, rows: std::ops::Range<usize>, factor: f64) {
    for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close] {
        column[rows.clone()].iter_mut().for_each(|price| *price *= factor);
    }
}

fn drop_rows(bars: &mut Bars, rows: std::ops::Range<usize>) {
    bars.open_time.drain(rows.clone());
    for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume] {
        column.drain(rows.clone());
    }
}

fn flatten(bars: &mut Bars, row: usize) {
    let price = bars.close[row];
    bars.open[row] = price;
    bars.high[row] = price;
    bars.low[row] = price;
}

#[test]
fn every_gate_is_silent_on_a_clean_coin() {
    let (_, profile) = profiled(clean());
    assert_eq!(verdict_of(&profile, Some(3.0)), Verdict::default());
    assert_eq!(verdict_of(&profile, None), Verdict::default());
}

/// Spoils clean bars in one way.
type Spoil = fn(&mut Bars);

/// Spoils clean bars with one defect per gate; a gate added to the table without a line here fails
/// the test below.
fn defects() -> Vec<(&'static str, Spoil)> {
    vec![
        ("mixed_bars", |bars| bars.open_time.iter_mut().step_by(50).for_each(|time| *time += 1)),
        ("two_venues", |bars| {
            let other = random_bars(ROWS, 22);
            bars.open_time.extend(other.open_time);
            bars.open.extend(other.open);
            bars.high.extend(other.high);
            bars.low.extend(other.low);
            bars.close.extend(other.close);
            bars.volume.extend(other.volume);
        }),
        ("bad_prices", |bars| bars.close.iter_mut().step_by(500).for_each(|price| *price = -1.0)),
        ("relisted", |bars| {
            scale(bars, 2400..ROWS, 100.0);
            drop_rows(bars, 2376..2400);
        }),
        ("jump_across_gap", |bars| {
            scale(bars, 2400..ROWS, 100.0);
            drop_rows(bars, 2395..2400);
        }),
        ("short_history", |bars| drop_rows(bars, 0..ROWS - 24 * 59)),
        ("low_coverage", |bars| {
            for day in (0..200).rev() {
                drop_rows(bars, day * 24..day * 24 + 2);
            }
        }),
        ("missing_run", |bars| drop_rows(bars, 1000..1025)),
        ("stale", |bars| drop_rows(bars, ROWS - 4..ROWS)),
        ("dead_tail", |bars| {
            for row in ROWS - 25..ROWS {
                bars.volume[row] = 0.0;
                flatten(bars, row);
            }
        }),
        ("zero_volume", |bars| bars.volume[ROWS - 720..].iter_mut().step_by(15).for_each(|v| *v = 0.0)),
        ("flat_bars", |bars| (ROWS - 720..ROWS).step_by(8).for_each(|row| flatten(bars, row))),
        ("thin_volume", |bars| bars.volume.iter_mut().for_each(|volume| *volume *= 0.1)),
        ("stablecoin_or_pegged", |bars| {
            for row in 0..ROWS {
                let calm = |price: f64| (price / 100.0).powf(0.001);
                bars.open[row] = calm(bars.open[row]);
                bars.high[row] = calm(bars.high[row]);
                bars.low[row] = calm(bars.low[row]);
                bars.close[row] = calm(bars.close[row]);
                bars.volume[row] *= 100.0;
            }
        }),
    ]
}

#[test]
fn each_gate_fires_on_its_own_defect_alone() {
    for (code, spoil) in defects() {
        let mut bars = clean();
        spoil(&mut bars);
        let verdict = verdict_of(&profiled(bars).1, Some(3.0));
        let forbids_training: &[&str] = if code == "stale" { &[] } else { &[code] };
        assert_eq!(codes(&verdict.train), forbids_training, "{code}: {:?}", verdict.train);
        assert!(codes(&verdict.trade).contains(&code), "{code}");
    }
}

#[test]
fn every_gate_with_a_check_has_a_defect_that_fires_it() {
    let elsewhere = ["wide_spread", "time_column_contradiction"];
    let covered: BTreeSet<&str> = defects().iter().map(|(code, _)| *code).chain(elsewhere).collect();
    let checked: BTreeSet<&str> =
        GATES.iter().filter(|gate| gate.check.is_some()).map(|gate| gate.code).collect();
    assert_eq!(covered, checked);
}

#[test]
fn gate_codes_are_unique_and_limits_are_fields() {
    let codes: BTreeSet<&str> = GATES.iter().map(|gate| gate.code).collect();
    assert_eq!(codes.len(), GATES.len());
    let fields = format!("{:?}", GateLimits::default());
    for gate in GATES {
        let limits = [gate.limit, gate.trade_limit].into_iter().flat_map(|text| text.split(", "));
        for limit in limits.filter(|limit| !limit.is_empty()) {
            assert!(fields.contains(&format!(" {limit}: ")), "{limit} of {}", gate.code);
        }
    }
}

#[test]
fn the_spread_gate_is_stricter_for_trading_and_refuses_nonsense() {
    let (_, profile) = profiled(clean());
    let check = |spread: f64, train: usize, trade: usize| {
        let verdict = verdict_of(&profile, Some(spread));
        assert_eq!((verdict.train.len(), verdict.trade.len()), (train, trade), "{spread}");
    };
    check(25.0, 0, 0);
    check(25.1, 0, 1);
    check(50.1, 1, 1);
    check(f64::NAN, 1, 1);
}

#[test]
fn a_coin_with_a_hundred_days_trains_in_shadow() {
    let mut bars = clean();
    drop_rows(&mut bars, 0..ROWS - 24 * 100);
    let verdict = verdict_of(&profiled(bars).1, None);
    assert!(verdict.may_train() && !verdict.may_trade());
    assert_eq!(codes(&verdict.trade), ["short_history"]);
}

#[test]
fn every_failing_gate_is_reported() {
    let mut bars = clean();
    drop_rows(&mut bars, 0..ROWS - 24 * 30);
    drop_rows(&mut bars, 100..140);
    bars.volume.iter_mut().for_each(|volume| *volume *= 0.1);
    let verdict = verdict_of(&profiled(bars).1, None);
    assert_eq!(codes(&verdict.train), ["short_history", "low_coverage", "missing_run", "thin_volume"]);
}

#[test]
fn a_cut_relisting_is_a_warning_and_the_rest_is_judged() {
    let mut bars = clean();
    scale(&mut bars, 2400..ROWS, 100.0);
    drop_rows(&mut bars, 2376..2400);
    let (series, profile) = profiled(bars);
    let (_, after) = cut_at_last_relisting(series, &profile);
    let verdict = verdict_of(&after, None);
    assert!(verdict.may_train(), "{:?}", verdict.train);
    assert_eq!(codes(&verdict.trade), ["short_history"]);
    assert_eq!(verdict.warnings[0].code, "history_cut");
}

#[test]
fn a_peg_is_known_by_name() {
    let check = |name: &str, pegged: bool| {
        let symbol: Symbol = name.parse().unwrap();
        let (_, profile) = align(&symbol, Timeframe::H1, clean(), None).unwrap();
        let verdict = verdict_of(&profile, None);
        assert_eq!(codes(&verdict.train).contains(&"stablecoin_or_pegged"), pegged, "{name}");
    };
    check("AEURUSDT", true);
    check("USDCUSDT.P", true);
    check("USTCUSDT", false);
    check("LUNAUSDT", false);
}

#[test]
fn a_second_time_column_warns_or_forbids() {
    let (_, mut profile) = profiled(clean());
    let note =
        Note { code: "time_column_contradiction", text: "ts is 1970".to_owned(), untrustworthy: false };
    profile.notes = vec![note.clone()];
    let verdict = verdict_of(&profile, None);
    assert!(verdict.may_train() && verdict.warnings[0].code == "time_column_contradiction");
    profile.notes = vec![Note { untrustworthy: true, ..note }];
    let verdict = verdict_of(&profile, None);
    assert_eq!(codes(&verdict.train), ["time_column_contradiction"]);
    assert!(verdict.warnings.is_empty());
}

#[test]
fn volume_in_another_quote_is_not_judged_as_dollars() {
    let mut bars = clean();
    bars.volume.iter_mut().for_each(|volume| *volume *= 0.001);
    let symbol: Symbol = "XRPETH".parse().unwrap();
    let (_, profile) = align(&symbol, Timeframe::H1, bars, None).unwrap();
    let verdict = verdict_of(&profile, None);
    assert!(verdict.may_train());
    assert_eq!(verdict.warnings[0].code, "volume_not_in_usd");
}

#[test]
fn a_reason_says_what_was_found_and_what_is_allowed() {
    let reason = SkipReason::MissingRun { hours: 437.0, hours_max: 24.0, start: UtcMs(START) };
    assert_eq!((reason.found(), reason.limit()), (Figure::Number(437.0), Figure::Number(24.0)));
    assert_eq!(
        reason.to_string(),
        "437 hours of bars are missing from 2025-01-01T00:00:00Z, at most 24 allowed"
    );
    let share = SkipReason::LowCoverage { share: 0.93751, share_min: 0.95 };
    assert_eq!(share.to_string(), "93.75 % of the expected bars are there, at least 95 % needed");
}
