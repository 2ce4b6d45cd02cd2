//! `exchangeInfo`: the steps in which the exchange takes prices and sizes, the smallest order, and
//! whether a symbol trades.
//!
//! The figures here feed cost estimates, so they are floats; an order's own numbers are decimals
//! and made elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use huracan_core::words::{Market, Symbol, UtcMs};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use super::error::FetchError;
use super::http::{self, Host, Tally};
use super::limits::{Time, WallTime};
use super::weight_per_minute;

/// Whether a symbol can be traded now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// `TRADING`; also meant when an excerpt leaves the status out.
    Trading,
    /// Anything else, as the exchange wrote it: `BREAK`, `SETTLING`, `PENDING_TRADING`.
    NotTrading(String),
}

/// What the exchange demands of orders in one symbol.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// Smallest price step in the quote currency (`PRICE_FILTER.tickSize`); `None` when switched off.
    pub tick_size: Option<f64>,
    /// Smallest size step in the base asset (`LOT_SIZE.stepSize`); `None` when switched off.
    pub step_size: Option<f64>,
    /// Smallest order value in the quote currency (`NOTIONAL` or `MIN_NOTIONAL`); `None` when there is none.
    pub min_notional: Option<f64>,
    /// Whether it trades.
    pub status: Status,
    /// When it was listed; only perpetuals say.
    pub onboard: Option<UtcMs>,
}

/// One market's `exchangeInfo`, as far as it can be used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterTable {
    /// Every usable symbol.
    pub filters: BTreeMap<Symbol, Filters>,
    /// The others in the order found: the name as written, and why it is left out.
    pub skipped: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct ExchangeInfo {
    symbols: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    symbol: String,
    status: Option<String>,
    contract_type: Option<String>,
    onboard_date: Option<i64>,
    filters: Vec<Filter>,
}

/// Every filter there is, read for the few keys we want.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    filter_type: String,
    tick_size: Option<String>,
    step_size: Option<String>,
    min_notional: Option<String>,
    notional: Option<String>,
}

/// Reads the JSON of `/api/v3/exchangeInfo` or `/fapi/v1/exchangeInfo`, from 2021's form to today's.
///
/// Dated futures, names that are no [`Symbol`] and listings that do not read are skipped with a
/// reason; one of them never costs the others.
///
/// # Errors
/// When the bytes are not JSON with a `symbols` array.
pub fn read_filters(market: Market, json: &[u8]) -> Result<FilterTable, serde_json::Error> {
    let info: ExchangeInfo = serde_json::from_slice(json)?;
    let mut table = FilterTable::default();
    for listing in info.symbols {
        let name = listing["symbol"].as_str().unwrap_or("?").to_owned();
        match read_listing(market, listing) {
            Ok((symbol, filters)) => {
                table.filters.insert(symbol, filters);
            }
            Err(why) => table.skipped.push((name, why)),
        }
    }
    Ok(table)
}

fn read_listing(market: Market, listing: Value) -> Result<(Symbol, Filters), String> {
    let listing: Listing = serde_json::from_value(listing).map_err(|e| e.to_string())?;
    // Pending perpetuals have an empty contract type.
    let contract = listing.contract_type.as_deref().unwrap_or("");
    if !contract.is_empty() && !contract.ends_with("PERPETUAL") {
        return Err(format!("its contract is {contract}, expected a perpetual"));
    }
    let symbol = Symbol::parse(&listing.symbol, market).map_err(|e| e.to_string())?;
    let named = |kind: &str| listing.filters.iter().find(|f| f.filter_type == kind);
    let notional = named("NOTIONAL").or_else(|| named("MIN_NOTIONAL"));
    let filters = Filters {
        tick_size: positive(named("PRICE_FILTER").and_then(|f| f.tick_size.as_deref()))?,
        step_size: positive(named("LOT_SIZE").and_then(|f| f.step_size.as_deref()))?,
        min_notional: positive(notional.and_then(|f| f.min_notional.as_deref().or(f.notional.as_deref())))?,
        status: match listing.status.as_deref() {
            None | Some("TRADING") => Status::Trading,
            Some(other) => Status::NotTrading(other.to_owned()),
        },
        onboard: listing.onboard_date.map(UtcMs),
    };
    Ok((symbol, filters))
}

/// A filter's figure; the exchange switches a filter off by writing 0.
fn positive(text: Option<&str>) -> Result<Option<f64>, String> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok((number > 0.0).then_some(number)),
        _ => Err(format!("a filter says {text:?}, expected a number of 0 or more")),
    }
}

/// Asks the exchange for one market's filters, at `base_url` (see [`super::REST_SPOT_URL`],
/// [`super::REST_PERP_URL`]). Transient failures are retried.
///
/// # Errors
/// When no answer can be had, or it is not `exchangeInfo`.
pub async fn fetch_filters(market: Market, base_url: &str) -> Result<FilterTable, FetchError> {
    fetch_filters_with(market, base_url, http::client()?, WallTime::start()).await
}

pub(super) async fn fetch_filters_with(
    market: Market,
    base_url: &str,
    client: reqwest::Client,
    time: Arc<dyn Time>,
) -> Result<FilterTable, FetchError> {
    // Nobody can cancel this one request.
    let (_, cancel) = watch::channel(false);
    let host = Host::new(base_url, client, time, Some(weight_per_minute(market)), cancel);
    let (path, weight) = match market {
        Market::Spot => ("api/v3/exchangeInfo", 20),
        Market::Perp => ("fapi/v1/exchangeInfo", 1),
    };
    let tally = Tally::default();
    let attempt = || async {
        let bad = |why: String| FetchError::BadAnswer { url: host.url(path), why };
        let body = host.get(path, weight, &tally).await?.ok_or_else(|| bad("404".to_owned()))?;
        read_filters(market, &body).map_err(|e| bad(format!("expected exchangeInfo: {e}")))
    };
    host.retrying(&tally, attempt).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::tests::{read_gz, real_data};

    fn symbol(text: &str) -> Symbol {
        text.parse().unwrap()
    }

    const MODERN_SPOT: &str = r#"{"timezone": "UTC", "symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "stepSize": "0.00001000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.00000000"},
        {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": true}]}]}"#;

    #[test]
    fn the_modern_spot_form_is_read() {
        let table = read_filters(Market::Spot, MODERN_SPOT.as_bytes()).unwrap();
        let expected = Filters {
            tick_size: Some(0.01),
            step_size: Some(0.00001),
            min_notional: Some(5.0),
            status: Status::Trading,
            onboard: None,
        };
        assert_eq!(table.filters, BTreeMap::from([(symbol("BTCUSDT"), expected)]));
        assert!(table.skipped.is_empty());
    }

    #[test]
    fn perpetuals_are_read_and_what_cannot_be_used_is_named() {
        let json = r#"{"symbols": [
            {"symbol": "BTCUSDT", "contractType": "PERPETUAL", "onboardDate": 1569398400000, "status": "SETTLING",
             "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.10"}, {"filterType": "LOT_SIZE", "stepSize": "0.001"},
                         {"filterType": "MIN_NOTIONAL", "notional": "100"}]},
            {"symbol": "ETHUSDT", "contractType": "", "status": "PENDING_TRADING", "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.00"}]},
            {"symbol": "BTCUSDT_250627", "contractType": "CURRENT_QUARTER", "status": "TRADING", "filters": []},
            {"symbol": "币安人生USDT", "contractType": "PERPETUAL", "status": "TRADING", "filters": []},
            {"symbol": "SOLUSDT", "contractType": "PERPETUAL", "filters": [{"filterType": "LOT_SIZE", "stepSize": "-1"}]},
            {"status": "TRADING"}]}"#;
        let table = read_filters(Market::Perp, json.as_bytes()).unwrap();
        let btc = &table.filters[&symbol("BTCUSDT.P")];
        assert_eq!((btc.tick_size, btc.step_size, btc.min_notional), (Some(0.1), Some(0.001), Some(100.0)));
        assert_eq!(btc.onboard, Some(UtcMs(1_569_398_400_000)));
        assert_eq!(btc.status, Status::NotTrading("SETTLING".to_owned()));
        assert_eq!(table.filters[&symbol("ETHUSDT.P")].tick_size, None);
        let skipped: Vec<&str> = table.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(skipped, ["BTCUSDT_250627", "币安人生USDT", "SOLUSDT", "?"]);
        assert!(read_filters(Market::Perp, b"<html>").is_err());
    }

    #[test]
    fn real_snapshots_from_2021_to_today_are_read() {
        let Some(folder) = real_data("exchange_info") else { return };
        let check = |file: &str, market: Market, usable: usize, skipped: usize| {
            let table = read_filters(market, &read_gz(&folder.join(file))).unwrap();
            let partial =
                table.filters.values().filter(|f| f.tick_size.is_none() || f.min_notional.is_none());
            assert_eq!(
                (table.filters.len(), table.skipped.len(), partial.count()),
                (usable, skipped, 0),
                "{file}"
            );
            table
        };
        check("binance_spot_modern_filters_excerpt_2026-09-29.json", Market::Spot, 1, 0);
        let spot = check("binance_spot_exchangeInfo_2021-10-12.json.gz", Market::Spot, 1695, 0);
        assert_eq!(spot.filters[&symbol("ETHBTC")].tick_size, Some(1e-6));
        let perp = check("binance_um_exchangeInfo_2021-07-22.json.gz", Market::Perp, 120, 2);
        assert_eq!(perp.filters[&symbol("BTCUSDT.P")].min_notional, Some(5.0));
        check("binance_um_TESTNET_exchangeInfo_2025-03-06.json.gz", Market::Perp, 434, 4);
    }
}
