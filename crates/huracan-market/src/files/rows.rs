//! Rows of one file on their way to `Bars`: known columns under their one name, whatever the
//! source called them.

use std::path::Path;

use huracan_core::series::{Bars, Note};
use huracan_core::words::UtcMs;

use super::times;
use crate::error::Error;

/// Time columns in order of trust.
pub(super) const TIME_NAMES: [&str; 9] = [
    "open_time",
    "timestamp",
    "time",
    "datetime",
    "date",
    "open_time_ms",
    "start_time",
    "ts",
    "__index_level_0__",
];

/// The columns of candles besides the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Open,
    High,
    Low,
    Close,
    Volume,
    QuoteVolume,
    Trades,
    TakerBase,
    TakerQuote,
}

impl Column {
    pub const ALL: [Column; 9] = [
        Column::Open,
        Column::High,
        Column::Low,
        Column::Close,
        Column::Volume,
        Column::QuoteVolume,
        Column::Trades,
        Column::TakerBase,
        Column::TakerQuote,
    ];

    /// Spellings in the wild, our own first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Column::Open => &["open", "open_price", "o"],
            Column::High => &["high", "high_price", "h"],
            Column::Low => &["low", "low_price", "l"],
            Column::Close => &["close", "close_price", "c"],
            Column::Volume => &["volume", "base_volume", "vol", "v"],
            Column::QuoteVolume => {
                &["quote_volume", "quote_asset_volume", "turnover", "volume_quote", "amount"]
            }
            Column::Trades => &["trades", "count", "number_of_trades", "num_trades", "trade_count"],
            Column::TakerBase => &[
                "taker_buy_base",
                "taker_buy_volume",
                "taker_buy_base_volume",
                "taker_buy_base_asset_volume",
            ],
            Column::TakerQuote => {
                &["taker_buy_quote", "taker_buy_quote_volume", "taker_buy_quote_asset_volume"]
            }
        }
    }

    /// Whether candles are none without it.
    pub fn required(self) -> bool {
        matches!(self, Column::Open | Column::High | Column::Low | Column::Close | Column::Volume)
    }
}

/// A header as written, folded for comparison: `Number of Trades` is `number_of_trades`.
pub(super) fn fold(header: &str) -> String {
    header.trim().trim_start_matches('\u{feff}').to_ascii_lowercase().replace([' ', '-'], "_")
}

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub bars: Bars,
    /// Further time columns, in milliseconds; `i64::MIN` where undefined.
    pub second_times: Vec<(String, Vec<i64>)>,
    /// The symbol column's text, where there is one.
    pub symbol: Option<String>,
}

impl Rows {
    /// Where a column's values go; optional columns start to exist when asked for.
    pub fn column(&mut self, column: Column) -> &mut Vec<f64> {
        let bars = &mut self.bars;
        match column {
            Column::Open => &mut bars.open,
            Column::High => &mut bars.high,
            Column::Low => &mut bars.low,
            Column::Close => &mut bars.close,
            Column::Volume => &mut bars.volume,
            Column::QuoteVolume => bars.quote_volume.get_or_insert_default(),
            Column::Trades => bars.trades.get_or_insert_default(),
            Column::TakerBase => bars.taker_buy_base.get_or_insert_default(),
            Column::TakerQuote => bars.taker_buy_quote.get_or_insert_default(),
        }
    }

    /// Drops single rows with a time no candle can have, and says so; refuses the file when they
    /// are more than one in a hundred, because then the column is wrong, not the row.
    pub fn drop_implausible_times(&mut self, path: &Path) -> Result<Option<Note>, Error> {
        let times = &self.bars.open_time;
        let keep: Vec<bool> = times.iter().map(|&time| times::plausible(time)).collect();
        let count = keep.iter().filter(|keep| !**keep).count();
        let Some(first) = keep.iter().position(|keep| !keep) else { return Ok(None) };
        let first = UtcMs(times[first]).to_string();
        if count * 100 > keep.len() {
            return Err(Error::ImplausibleTimes { path: path.to_owned(), count, rows: keep.len(), first });
        }
        retain(&mut self.bars.open_time, &keep);
        for column in Column::ALL.into_iter().filter(|&column| self.has(column)).collect::<Vec<_>>() {
            retain(self.column(column), &keep);
        }
        self.second_times.iter_mut().for_each(|(_, times)| retain(times, &keep));
        let text = format!("{count} rows have a time outside 2009 to 2100 (the first is {first}); dropped");
        Ok(Some(Note { code: "implausible_times", text, untrustworthy: false }))
    }

    fn has(&self, column: Column) -> bool {
        match column {
            Column::QuoteVolume => self.bars.quote_volume.is_some(),
            Column::Trades => self.bars.trades.is_some(),
            Column::TakerBase => self.bars.taker_buy_base.is_some(),
            Column::TakerQuote => self.bars.taker_buy_quote.is_some(),
            _ => true,
        }
    }
}

fn retain<T: Copy>(column: &mut Vec<T>, keep: &[bool]) {
    let mut row = 0;
    column.retain(|_| {
        row += 1;
        keep[row - 1]
    });
}

/// Appends `more` to `bars`; a column only one of them has is NaN for the other.
pub(super) fn append(bars: &mut Bars, more: Bars) {
    let (before, after) = (bars.open_time.len(), more.open_time.len());
    let optional = |target: &mut Option<Vec<f64>>, source: Option<Vec<f64>>| {
        if target.is_none() && source.is_none() {
            return;
        }
        let target = target.get_or_insert_with(|| vec![f64::NAN; before]);
        match source {
            Some(values) => target.extend(values),
            None => target.extend(std::iter::repeat_n(f64::NAN, after)),
        }
    };
    optional(&mut bars.quote_volume, more.quote_volume);
    optional(&mut bars.trades, more.trades);
    optional(&mut bars.taker_buy_base, more.taker_buy_base);
    optional(&mut bars.taker_buy_quote, more.taker_buy_quote);
    bars.open_time.extend(more.open_time);
    bars.open.extend(more.open);
    bars.high.extend(more.high);
    bars.low.extend(more.low);
    bars.close.extend(more.close);
    bars.volume.extend(more.volume);
}
