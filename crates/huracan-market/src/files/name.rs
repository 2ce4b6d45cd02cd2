//! What a path says about the candles in it: symbol, market, bar.

use std::path::Path;

use huracan_core::words::{Market, Symbol, Timeframe};

/// What a path says; every part may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PathFacts {
    /// The symbol's text as a layout or a name gives it, unchecked.
    pub symbol: Option<String>,
    /// Spot or perpetual.
    pub market: Option<Market>,
    /// Bar length.
    pub timeframe: Option<Timeframe>,
    /// A bar that is written out, but not one we support (`1s`, `1w`).
    pub unsupported_bar: Option<String>,
    /// Contracts paid in the coin itself: their volume counts contracts.
    pub coin_margined: bool,
}

/// Reads a path below the scanned folder, given with the folder's own last names in front.
///
/// Known layouts first: the exchange archive's `…/spot/monthly/klines/BTCUSDT/1m/…zip` and our
/// store's `…/candles/spot/1h/BTCUSDT/2024-01.parquet`; then free names such as
/// `SOL-USDT_1h_20250514.parquet` or `BNB-USDT_USDT__2025.parquet`.
pub(super) fn facts(path: &Path) -> PathFacts {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let Some((file, folders)) = parts.split_last() else { return PathFacts::default() };
    let mut facts = PathFacts { market: folder_market(folders), ..PathFacts::default() };
    facts.coin_margined = folders.contains(&"cm");
    if let Some(at) = folders.iter().rposition(|part| *part == "klines").filter(|at| at + 2 < folders.len()) {
        facts.symbol = Some(folders[at + 1].to_owned());
        note_bar(&mut facts, folders[at + 2]);
        return facts;
    }
    if let [.., "candles", market, bar, symbol] = folders
        && let (Ok(market), Ok(bar)) = (market.parse(), bar.parse())
    {
        facts.market = Some(market);
        facts.timeframe = Some(bar);
        facts.symbol = Some((*symbol).to_owned());
        return facts;
    }
    let stem = stem(file);
    let tokens: Vec<&str> = stem.split(['-', '_', '.', ' ']).filter(|token| !token.is_empty()).collect();
    if let Some((symbol, next)) = symbol_in(&tokens) {
        if tokens.get(next) == Some(&"PERP") {
            facts.market = Some(Market::Perp);
            facts.coin_margined |= symbol.ends_with("USD");
        }
        facts.symbol = Some(symbol);
    }
    let bar = tokens.iter().find(|token| bar_like(token));
    let bar = bar.or_else(|| folders.last().filter(|folder| bar_like(folder)));
    if let Some(bar) = bar {
        note_bar(&mut facts, bar);
    }
    facts
}

/// The name without the extensions of candle files.
fn stem(file: &str) -> &str {
    let lower = file.to_ascii_lowercase();
    let known = [".csv.gz", ".parquet", ".csv", ".zip"];
    known
        .iter()
        .find(|known| lower.ends_with(**known))
        .map_or(file, |known| &file[..file.len() - known.len()])
}

/// Digits and one of `smhdwM`: `1h`, `15m`, `1s`.
fn bar_like(token: &str) -> bool {
    let unit = token.strip_suffix(['s', 'm', 'h', 'd', 'w', 'M', 'H', 'D']);
    unit.is_some_and(|count| {
        !count.is_empty() && count.len() <= 2 && count.bytes().all(|b| b.is_ascii_digit())
    })
}

fn note_bar(facts: &mut PathFacts, text: &str) {
    let folded = if text.ends_with('M') { text.to_owned() } else { text.to_ascii_lowercase() };
    match folded.parse() {
        Ok(bar) => facts.timeframe = Some(bar),
        Err(_) => facts.unsupported_bar = Some(text.to_owned()),
    }
}

/// The first symbol among the tokens, and the index of the token after it. `BTC`, `USDT`, `USDT`
/// is a perpetual settled in its quote.
fn symbol_in(tokens: &[&str]) -> Option<(String, usize)> {
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1).copied();
        if let Some(quote) = next.filter(|next| is_quote(next))
            && asset(token)
            && known_pair(token).is_none_or(|(_, own)| own != quote)
        {
            let settled = tokens.get(i + 2) == Some(&quote);
            let pair = format!("{token}/{quote}");
            return Some(if settled { (format!("{pair}:{quote}"), i + 3) } else { (pair, i + 2) });
        }
        if let Some((pair, quote)) = known_pair(token) {
            let settled = next == Some(quote);
            return Some(if settled { (format!("{pair}:{quote}"), i + 2) } else { (pair, i + 1) });
        }
    }
    None
}

/// A base asset on its own: upper-case letters and digits with at least one letter.
fn asset(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && token.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_quote(token: &str) -> bool {
    Symbol::parse(&format!("XXXXX{token}"), Market::Spot).is_ok_and(|symbol| symbol.quote() == Some(token))
}

/// A token that is a whole pair: upper-case with a known quote, or lower-case in dollars.
fn known_pair(token: &str) -> Option<(String, &'static str)> {
    let quoted = |text: &str| {
        let symbol = Symbol::parse(text, Market::Spot).ok()?;
        symbol.quote().map(|quote| (symbol.pair().to_owned(), quote))
    };
    quoted(token).or_else(|| {
        let lower = token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let dollars = ["usdt", "usdc", "busd", "fdusd"].iter().any(|quote| token.ends_with(quote));
        (lower && dollars).then(|| quoted(&token.to_ascii_uppercase())).flatten()
    })
}

/// The market the innermost telling folder names.
fn folder_market(folders: &[&str]) -> Option<Market> {
    folders.iter().rev().find_map(|folder| market_words(folder))
}

/// `spot`, `um`, `perp` … as a word of a folder's or a venue's name.
pub(super) fn market_words(text: &str) -> Option<Market> {
    text.to_ascii_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| match word {
        "spot" => Some(Market::Spot),
        "um" | "perp" | "perps" | "perpetual" | "swap" | "linear" | "futures" => Some(Market::Perp),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_symbol_market_and_bar() {
        let check = |path: &str, symbol: &str, market: Option<Market>, bar: &str| {
            let facts = facts(Path::new(path));
            assert_eq!(facts.symbol.as_deref().unwrap_or(""), symbol, "{path}");
            assert_eq!(facts.market, market, "{path}");
            assert_eq!(facts.timeframe.map_or(String::new(), |bar| bar.to_string()), bar, "{path}");
        };
        let (spot, perp) = (Some(Market::Spot), Some(Market::Perp));
        check("data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip", "BTCUSDT", spot, "1m");
        check("data/futures/um/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01-01.zip", "BTCUSDT", perp, "1h");
        check("candles/perp/15m/BTCUSDT.P/2024-01.parquet", "BTCUSDT.P", perp, "15m");
        check("SOL-USDT_1h_20250514_20250801.parquet", "SOL/USDT", None, "1h");
        check("BNB-USDT_USDT__20250611.parquet", "BNB/USDT:USDT", None, "");
        check("BTCUSDT.parquet", "BTCUSDT", None, "");
        check("binance_um/1h/1000BONKUSDT.parquet", "1000BONKUSDT", perp, "1h");
        check("bybit_dup_1000LUNCUSDT_1d.csv.gz", "1000LUNCUSDT", None, "1d");
        check("spot_BTCUSDT-1h-2023-10-27.first3.csv", "BTCUSDT", None, "1h");
        check("btcusdt_1h.csv", "BTCUSDT", None, "1h");
        check("BTC_USDT_USDT-5m-futures.csv", "BTC/USDT:USDT", None, "5m");
        check("FDUSD-USDT.csv", "FDUSD/USDT", None, "");
        check("prices.csv", "", None, "");
        check("XRPETH-aggTrades-2019-10-11.zip", "XRPETH", None, "");
    }

    #[test]
    fn unsupported_bars_and_coin_margined_contracts_are_told() {
        let seconds = facts(Path::new("spot/DOGEUSDT-1s-2025-01-01.csv"));
        assert_eq!(seconds.unsupported_bar.as_deref(), Some("1s"));
        assert!(facts(Path::new("cm_BTCUSD_PERP-1h-2023-10-27.csv")).coin_margined);
        assert!(facts(Path::new("futures/cm/daily/klines/BTCUSD_PERP/1h/x.zip")).coin_margined);
    }
}
