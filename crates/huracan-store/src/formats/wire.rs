//! How the field's words look in JSON: symbols as the exchange writes them, times as RFC 3339 in UTC.

use std::fmt;
use std::ops::Deref;

use huracan_core::words::{Symbol, UtcMs};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment on the wire: `2025-07-01T00:00:00Z`, milliseconds where they are not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time(pub UtcMs);

impl From<UtcMs> for Time {
    fn from(at: UtcMs) -> Time {
        Time(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.to_string();
        if text.ends_with('Z') {
            serializer.serialize_str(&text)
        } else {
            Err(S::Error::custom(format!("{text} is outside the calendar")))
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.ends_with('Z') || !text.contains('T') {
            return Err(D::Error::custom(format!(
                "{text:?} is not a time in UTC, expected RFC 3339 ending in Z"
            )));
        }
        text.parse().map(Time).map_err(D::Error::custom)
    }
}

/// A symbol on the wire: `BTCUSDT`, `BTCUSDT.P`; the other accepted spellings fold to these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Coin(pub Symbol);

impl From<Symbol> for Coin {
    fn from(symbol: Symbol) -> Coin {
        Coin(symbol)
    }
}

impl From<&Symbol> for Coin {
    fn from(symbol: &Symbol) -> Coin {
        Coin(symbol.clone())
    }
}

impl Deref for Coin {
    type Target = Symbol;
    fn deref(&self) -> &Symbol {
        &self.0
    }
}

impl fmt::Display for Coin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Coin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Coin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Coin, D::Error> {
        String::deserialize(deserializer)?.parse().map(Coin).map_err(D::Error::custom)
    }
}

/// A figure that may be a number or a word, as gates find them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A number in the unit of the gate.
    Number(f64),
    /// A word, where a number says nothing.
    Text(String),
}

/// From `from` (inclusive) until `until` (exclusive).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Span {
    /// First moment inside.
    pub from: Time,
    /// First moment after.
    pub until: Time,
}

impl Span {
    /// Whether the ends are in order.
    ///
    /// # Errors
    /// Both ends, when they are not.
    pub fn check(&self, name: &str) -> super::check::Checked {
        super::check::that(self.from <= self.until, || {
            format!("{name} runs from {} until {}, expected the earlier first", self.from, self.until)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_or_refused() {
        let read = |text: &str| serde_json::from_str::<Time>(&format!("{text:?}")).map(|t| t.0.0).ok();
        assert_eq!(read("2025-01-01T00:00:00.250Z"), Some(1_735_689_600_250));
        assert_eq!(read("2025-01-01T00:00:00+02:00"), None);
        assert_eq!(read("2025-01-01"), None);
        assert_eq!(read("Z"), None);
        assert_eq!(read("TZ"), None);
        assert!(serde_json::to_string(&Time(UtcMs(i64::MAX))).is_err());
    }

    #[test]
    fn symbols_fold_and_hostile_ones_are_refused() {
        let read =
            |text: &str| serde_json::from_str::<Coin>(&format!("{text:?}")).map(|c| c.to_string()).ok();
        assert_eq!(read("BTC/USDT:USDT").as_deref(), Some("BTCUSDT.P"));
        assert_eq!(read("../../etc"), None);
    }
}
