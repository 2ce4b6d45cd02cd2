//! Assets that follow another currency by construction. Their volatility alone does not always
//! give them away: a young euro coin moves 7 % a year, a broken dollar coin 400 % for a month.

use crate::words::Symbol;

/// Base assets pegged to a currency, in alphabetical order.
pub const PEGGED_ASSETS: [&str; 31] = [
    "AEUR", "AUD", "BFUSD", "BIDR", "BUSD", "DAI", "EUR", "EURI", "EURS", "FDUSD", "FRAX", "GBP", "GUSD",
    "IDRT", "LUSD", "PAX", "PYUSD", "RLUSD", "SUSD", "TRY", "TUSD", "USD1", "USDC", "USDD", "USDE", "USDP",
    "USDS", "USDT", "UST", "VAI", "XUSD",
];

/// Whether the symbol's base asset is a known peg.
pub(super) fn is_pegged(symbol: &Symbol) -> bool {
    PEGGED_ASSETS.contains(&symbol.underlying())
}
