//! The dirty series of the real data set, where it is at hand (`HURACAN_DATA`, or `../shared/data`
//! beside the workspace); elsewhere these tests say that they were skipped.

use std::path::PathBuf;

use huracan_core::words::UtcMs;

use super::*;

fn folder(name: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data =
        std::env::var_os("HURACAN_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    let found = Some(data.join(name)).filter(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: no real data at hand; set HURACAN_DATA to its folder");
    }
    found
}

fn checked(name: &str, until: &str) -> Option<Vec<CheckedSeries>> {
    let until: UtcMs = until.parse().unwrap();
    let checked = profile_folder(&folder(name)?, None, Some(until), 2).unwrap();
    if std::env::var_os("HURACAN_DATA_SHOW").is_some() {
        println!("{name}\n{}", table(&checked));
    }
    Some(checked)
}

/// Codes that forbid training, then those that forbid only trading, then warnings, of the one
/// series of that name and bar.
fn said(checked: &[CheckedSeries], symbol: &str, bar: &str) -> String {
    let of = |one: &&CheckedSeries| one.symbol == symbol && one.timeframe.as_deref().is_none_or(|b| b == bar);
    let one = checked.iter().find(of).unwrap_or_else(|| panic!("{symbol} {bar} is not in the check"));
    let codes = |gates: &[FailedGate]| gates.iter().map(|gate| gate.code).collect::<Vec<_>>().join(" ");
    let warnings: Vec<&str> = one.warnings.iter().map(|(code, _)| code.as_str()).collect();
    format!("{} | {} | {}", codes(&one.skip_reasons), codes(&one.trade_reasons), warnings.join(" "))
}

#[test]
fn dirty_spot_series_end_cut_gated_or_clean() {
    let Some(checked) = checked("dirty/binance_spot_1h_2021_2023", "2023-12-31") else { return };
    for (symbol, expected) in [
        ("LUNAUSDT", " |  | extreme_wicks history_cut"),
        ("SUNUSDT", " |  | history_cut"),
        ("QUICKUSDT", " |  | history_cut"),
        ("BNXUSDT", " |  | extreme_wicks history_cut"),
        ("VIDTUSDT", " |  | history_cut"),
        ("FTTUSDT", " | short_history | history_cut"),
        ("KEYUSDT", "missing_run |  | "),
        ("CVCUSDT", "low_coverage missing_run thin_volume |  | "),
        ("NPXSUSDT", "short_history | stale | "),
        ("NANOUSDT", " | stale | "),
        ("BTTUSDT", " | stale | "),
        ("ANCUSDT", " | stale | extreme_wicks"),
        ("TRIBEUSDT", "thin_volume | stale | "),
        ("NBTUSDT", "zero_volume flat_bars thin_volume | stale | extreme_wicks"),
        ("USTUSDT", "stablecoin_or_pegged | short_history stale | "),
        ("BUSDUSDT", "stablecoin_or_pegged | stale | "),
        ("USDCUSDT", "stablecoin_or_pegged |  | history_cut"),
        ("TUSDUSDT", "low_coverage missing_run stablecoin_or_pegged |  | extreme_wicks"),
        ("AEURUSDT", "short_history low_coverage missing_run stablecoin_or_pegged |  | extreme_wicks"),
        ("XNOUSDT", "thin_volume |  | "),
        ("USTCUSDT", " |  | "),
        ("LUNCUSDT", " |  | "),
        ("BTTCUSDT", " |  | "),
    ] {
        assert_eq!(said(&checked, symbol, "1h"), expected, "{symbol}");
    }
    assert_eq!(checked.len(), 23);
}

#[test]
fn dirty_raw_files_end_repaired_or_gated() {
    let Some(checked) = checked("dirty/raw", "2025-08-01") else { return };
    for (symbol, bar, expected) in [
        ("1000LUNCUSDT", "1d", " |  | duplicates_exact"),
        ("1INCHUSDT", "1d", " |  | duplicates_exact"),
        ("BTCUSDT", "1d", " |  | duplicates_exact"),
        ("BTCUSDT", "1h", "bad_prices short_history | stale | extreme_wicks"),
        ("ETHUSDT", "1h", "bad_prices short_history | stale | extreme_wicks"),
        ("LUNAUSDT", "1h", " | stale | extreme_wicks history_cut"),
        ("SUNUSDT", "1h", " | stale | history_cut"),
        ("NPXSUSDT", "1h", "short_history | stale | "),
        ("SOLUSDT", "1h", " | short_history | "),
        ("SOLUSDT", "1m", "short_history | stale | "),
        ("CVCUSDT", "1d", "low_coverage missing_run thin_volume |  | time_column_contradiction"),
        ("STRAXUSDT", "1d", " |  | history_cut time_column_contradiction"),
        ("XVGUSDT", "1d", " |  | time_column_contradiction"),
    ] {
        assert_eq!(said(&checked, symbol, bar), expected, "{symbol} {bar}");
    }
    assert_eq!(checked.len(), 13);
}

#[test]
fn two_sources_under_one_name_and_names_that_are_none_are_refused() {
    let Some(mixed) = checked("klines/mixed_venue_1m", "2025-08-01") else { return };
    assert!(said(&mixed, "SOLUSDT", "1m").starts_with("two_venues "));
    assert_eq!(said(&mixed, "BTCUSDT.P", "1m"), "short_history |  | ");
    let Some(checked) = checked("dirty/non_ascii_symbol", "2025-08-01") else { return };
    assert!(checked.iter().all(|one| one.skip_reasons[0].code == "invalid_symbol"));
}

#[test]
fn clean_perpetuals_are_never_cut_and_fail_only_for_age_or_peg() {
    let Some(checked) = checked("klines/binance_um/1h", "2025-08-01") else { return };
    assert_eq!(checked.len(), 400);
    for one in &checked {
        let known = ["short_history", "stablecoin_or_pegged"];
        assert!(one.skip_reasons.iter().all(|gate| known.contains(&gate.code)), "{one:?}");
        assert_eq!(one.warnings, [], "{}", one.symbol);
    }
    let trained = checked.iter().filter(|one| one.train_ok).count();
    assert_eq!(trained, 361);
}

#[test]
fn the_exchange_archive_is_read_as_it_stands() {
    let Some(checked) = checked("archive_recon", "2025-03-07") else { return };
    assert_eq!(said(&checked, "DOGEUSDT", "1h"), " | short_history | unsorted_rows");
    let unusable = checked.iter().filter(|one| one.figures.is_none());
    assert!(unusable.clone().all(|one| one.symbol.contains("aggTrades")) && unusable.count() == 3);
}
