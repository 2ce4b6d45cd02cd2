//! Which coins: `all`, `top:150`, `BTCUSDT,ETHUSDT.P`, or `@coins.txt`.

use crate::failure::{Exit, Failure};
use huracan_core::words::{Market, Symbol};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A choice of coins as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every coin there is.
    All,
    /// The most liquid ones, by median daily quote volume.
    Top(usize),
    /// These, as written; a name without a market mark belongs to the configured market.
    Named(Vec<String>),
    /// Those a file names: separated by white space or commas, `#` starts a comment.
    File(PathBuf),
}

/// A choice of coins, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Universe {
    /// The configuration's staged universe: `start_with_symbols` first, growing to the target.
    Staged,
    /// Every coin there is.
    All,
    /// The most liquid ones.
    Top(usize),
    /// Exactly these, sorted, none twice.
    Named(Vec<Symbol>),
}

/// A text that chooses no coins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} chooses no coins; expected all, top:N, a list such as BTCUSDT,ETHUSDT, or @FILE")]
pub struct InvalidSelector(pub String);

impl FromStr for Selector {
    type Err = InvalidSelector;
    fn from_str(text: &str) -> Result<Selector, InvalidSelector> {
        let invalid = || InvalidSelector(text.to_owned());
        if text == "all" {
            return Ok(Selector::All);
        }
        if let Some(n) = text.strip_prefix("top:") {
            return n.parse().ok().filter(|&n| n > 0).map(Selector::Top).ok_or_else(invalid);
        }
        if let Some(file) = text.strip_prefix('@') {
            return if file.is_empty() { Err(invalid()) } else { Ok(Selector::File(PathBuf::from(file))) };
        }
        let names = names(text);
        let readable = |name: &String| Symbol::parse(name, Market::Spot).is_ok();
        if names.is_empty() || !names.iter().all(readable) {
            Err(invalid())
        } else {
            Ok(Selector::Named(names))
        }
    }
}

impl Selector {
    /// Reads the choice; a name without a market mark belongs to `market`.
    ///
    /// # Errors
    /// [`Exit::Usage`] when a file cannot be read, names nothing, or names what is no symbol.
    pub fn resolve(&self, market: Market) -> Result<Universe, Failure> {
        match self {
            Selector::All => Ok(Universe::All),
            Selector::Top(n) => Ok(Universe::Top(*n)),
            Selector::Named(names) => parse_all(names, market, "--symbols"),
            Selector::File(path) => from_file(path, market),
        }
    }
}

fn from_file(path: &Path, market: Market) -> Result<Universe, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Usage, "symbols_file", format!("{shown} cannot be read: {error}"))
            .help("--symbols @FILE wants a text file that names symbols")
    })?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let names: Vec<String> = lines.flat_map(names).collect();
    if names.is_empty() {
        return Err(Failure::new(Exit::Usage, "symbols_file", format!("{shown} names no symbol")));
    }
    parse_all(&names, market, &shown.to_string())
}

fn parse_all(names: &[String], market: Market, origin: &str) -> Result<Universe, Failure> {
    let mut symbols = BTreeSet::new();
    for name in names {
        let symbol = Symbol::parse(name, market)
            .map_err(|error| Failure::new(Exit::Usage, "invalid_symbol", format!("{origin}: {error}")))?;
        symbols.insert(symbol);
    }
    Ok(Universe::Named(symbols.into_iter().collect()))
}

fn names(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace());
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The symbols one name may mean: itself where it says its market, else the perpetual and the spot
/// pair, the one of `market` first.
///
/// # Errors
/// [`Exit::Usage`] when it is no symbol.
pub fn candidates(text: &str, market: Market) -> Result<Vec<Symbol>, Failure> {
    let other = if market == Market::Spot { Market::Perp } else { Market::Spot };
    let mut found = Vec::new();
    for market in [market, other] {
        let symbol = Symbol::parse(text, market).map_err(|error| {
            let upper = text.to_ascii_uppercase();
            let failure = Failure::new(Exit::Usage, "invalid_symbol", error.to_string());
            match Symbol::parse(&upper, market) {
                Ok(_) if upper != text => failure.help(format!("did you mean {upper}?")),
                _ => failure,
            }
        })?;
        if !found.contains(&symbol) {
            found.push(symbol);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str], market: Market) -> Universe {
        Universe::Named(names.iter().map(|name| Symbol::parse(name, market).unwrap()).collect())
    }

    #[test]
    fn every_form_of_the_selector_is_read() {
        let check = |text: &str, expected: Universe| {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.resolve(Market::Perp).unwrap(), expected, "{text}");
        };
        check("all", Universe::All);
        check("top:150", Universe::Top(150));
        check("ETHUSDT,BTCUSDT, BTCUSDT", named(&["BTCUSDT.P", "ETHUSDT.P"], Market::Perp));
        check("BTC/USDT:USDT", named(&["BTCUSDT.P"], Market::Perp));
    }

    #[test]
    fn what_chooses_nothing_is_refused() {
        for text in
            ["", ",", "top:", "top:0", "top:-3", "top:many", "@", "btcusdt", "BTCUSDT,../../etc", "ALL"]
        {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_may_hold_lists_and_comments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coins.txt");
        std::fs::write(&path, "# majors\nBTCUSDT, ETHUSDT # two\n\nSOLUSDT.P\n").unwrap();
        let selector: Selector = format!("@{}", path.display()).parse().unwrap();
        let expected = named(&["BTCUSDT", "ETHUSDT", "SOLUSDT.P"], Market::Spot);
        assert_eq!(selector.resolve(Market::Spot).unwrap(), expected);
        std::fs::write(&path, "# none\n").unwrap();
        assert_eq!(selector.resolve(Market::Spot).unwrap_err().code, "symbols_file");
        std::fs::write(&path, "btc\n").unwrap();
        assert_eq!(selector.resolve(Market::Spot).unwrap_err().code, "invalid_symbol");
    }

    #[test]
    fn a_bare_name_may_mean_both_markets_and_a_marked_one_only_its_own() {
        let texts = |text: &str| {
            let found = candidates(text, Market::Perp).unwrap();
            found.iter().map(Symbol::to_string).collect::<Vec<_>>()
        };
        assert_eq!(texts("BTCUSDT"), ["BTCUSDT.P", "BTCUSDT"]);
        assert_eq!(texts("BTCUSDT.P"), ["BTCUSDT.P"]);
        let error = candidates("btcusdt", Market::Perp).unwrap_err();
        assert_eq!(error.help.as_deref(), Some("did you mean BTCUSDT?"));
    }
}
