//! The traded pair. A perpetual and a spot pair never share a name.

use std::fmt;
use std::str::FromStr;

/// What kind of instrument a symbol names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Market {
    /// Owned coins: long or flat, never short.
    Spot,
    /// A perpetual future: long, short or flat; pays funding.
    Perp,
}

impl Market {
    /// `spot` or `perp`, as written in files and paths.
    pub fn code(self) -> &'static str {
        match self {
            Market::Spot => "spot",
            Market::Perp => "perp",
        }
    }
}

impl fmt::Display for Market {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Market {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "spot" => Ok(Market::Spot),
            "perp" | "um" | "um_perp" | "futures" => Ok(Market::Perp),
            other => Err(format!("{other:?} is not a market; expected spot or perp")),
        }
    }
}

/// A traded pair as the exchange writes it, upper-case ASCII: `BTCUSDT` (spot), `BTCUSDT.P`
/// (perpetual).
///
/// Invariant: the pair is 5 to 30 ASCII upper-case letters and digits, so a symbol is always safe
/// in a file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Symbol {
    pair: String,
    market: Market,
}

/// A text that names no symbol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a symbol; expected 5 to 30 upper-case ASCII letters and digits such as BTCUSDT, \
     BTCUSDT.P, BTC/USDT or BTC/USDT:USDT"
)]
pub struct InvalidSymbol(pub String);

/// Quote assets, longest first so that `FDUSD` wins over `USD`.
const QUOTES: [&str; 12] =
    ["FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USD", "BTC", "ETH", "BNB", "EUR", "TRY"];

/// Contract multipliers that exchanges put in front of cheap coins.
const MULTIPLIERS: [&str; 4] = ["1000000", "10000", "1000", "1M"];

impl Symbol {
    /// Reads a symbol; where the text does not say which market it is of, `market` decides.
    ///
    /// # Errors
    /// When the text is not one of the accepted spellings.
    pub fn parse(text: &str, market: Market) -> Result<Symbol, InvalidSymbol> {
        let invalid = || InvalidSymbol(text.to_owned());
        let (body, market) = match text.strip_suffix(".P") {
            Some(body) => (body, Market::Perp),
            None => (text, market),
        };
        let (body, market) = match body.split_once(':') {
            Some((pair, settle)) if !settle.is_empty() && settle.bytes().all(plain) => {
                if !pair.ends_with(settle) {
                    return Err(invalid());
                }
                (pair, Market::Perp)
            }
            Some(_) => return Err(invalid()),
            None => (body, market),
        };
        let separators = body.bytes().filter(|b| matches!(b, b'/' | b'-')).count();
        if separators > 1 || body.starts_with(['/', '-']) || body.ends_with(['/', '-']) {
            return Err(invalid());
        }
        let pair: String = body.chars().filter(|c| !matches!(c, '/' | '-')).collect();
        let fits = (5..=30).contains(&pair.len()) && pair.bytes().all(plain);
        if fits { Ok(Symbol { pair, market }) } else { Err(invalid()) }
    }

    /// The pair without the market: `BTCUSDT`.
    pub fn pair(&self) -> &str {
        &self.pair
    }

    /// Spot or perpetual.
    pub fn market(&self) -> Market {
        self.market
    }

    /// The quote asset, where it is a known one.
    pub fn quote(&self) -> Option<&'static str> {
        let fits = |q: &&&str| self.pair.len() > q.len() && self.pair.ends_with(**q);
        QUOTES.iter().find(fits).copied()
    }

    /// The base asset with any contract multiplier: `1000BONK` of `1000BONKUSDT`.
    pub fn base(&self) -> &str {
        &self.pair[..self.pair.len() - self.quote().map_or(0, str::len)]
    }

    /// The asset itself, without multiplier and quote: spot, perpetual and USDC twins of one coin
    /// share it.
    pub fn underlying(&self) -> &str {
        let base = self.base();
        let stripped = MULTIPLIERS.iter().find_map(|m| {
            base.strip_prefix(m).filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        });
        stripped.filter(|rest| rest.len() >= 2).unwrap_or(base)
    }
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pair)?;
        if self.market == Market::Perp { f.write_str(".P") } else { Ok(()) }
    }
}

/// Reads a symbol; a name without a market mark is spot.
impl FromStr for Symbol {
    type Err = InvalidSymbol;
    fn from_str(text: &str) -> Result<Self, InvalidSymbol> {
        Symbol::parse(text, Market::Spot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_fold_to_one_name() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Symbol>().unwrap().to_string(), expected, "{text}");
        };
        check("BTCUSDT", "BTCUSDT");
        check("BTC/USDT", "BTCUSDT");
        check("BTC-USDT", "BTCUSDT");
        check("BTC/USDT:USDT", "BTCUSDT.P");
        check("BTC-USDT:USDT", "BTCUSDT.P");
        check("BTCUSDT.P", "BTCUSDT.P");
    }

    #[test]
    fn hostile_spellings_are_refused() {
        for text in [
            "",
            "../../etc",
            "btcusdt",
            "BTC",
            "币安人生USDT",
            "BTC//USDT",
            "BTC/USDT:",
            "BTC/USDT:BTC",
            "A/B/CUSDT",
            "BTCUSDT\0",
            "-BTCUSDT",
            "BTC USDT",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAUSDT",
        ] {
            assert!(text.parse::<Symbol>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn twins_share_their_underlying() {
        let check = |text: &str, underlying: &str| {
            assert_eq!(text.parse::<Symbol>().unwrap().underlying(), underlying, "{text}");
        };
        check("BTCUSDT", "BTC");
        check("BTCUSDC.P", "BTC");
        check("1000BONKUSDT.P", "BONK");
        check("1MBABYDOGEUSDT", "BABYDOGE");
        check("1INCHUSDT", "1INCH");
        check("1000SATSUSDT", "SATS");
        check("ETHBTC", "ETH");
    }
}
