//! Classical oscillators, brought to [−1, 1].

use super::super::indicators::{Aroon, Balance, Cci, Chaikin, Ema, MoneyFlow, Stochastic, Williams};
use super::{Family, FeatureDef, Operator, line, step};

/// 2·RSI/100 − 1, which is CMO/100.
fn rsi(n: usize) -> Box<dyn Operator> {
    let mut balance = Balance::new(n);
    step(move |row| balance.cmo(row.close))
}

/// Slow %K, 3 bars smoothed.
fn stochastic(n: usize) -> Box<dyn Operator> {
    let mut stochastic = Stochastic::new(n, 3, 1);
    step(move |row| 0.02 * stochastic.push(row.high, row.low, row.close).0 - 1.0)
}

fn stochastic_gap(n: usize) -> Box<dyn Operator> {
    let mut stochastic = Stochastic::new(n, 3, 3);
    step(move |row| {
        let (k, d) = stochastic.push(row.high, row.low, row.close);
        0.01 * (k - d)
    })
}

fn williams(n: usize) -> Box<dyn Operator> {
    let mut williams = Williams::new(n);
    step(move |row| 0.02 * williams.push(row.high, row.low, row.close) + 1.0)
}

/// CCI through x/(200 + |x|).
fn cci(n: usize) -> Box<dyn Operator> {
    let mut cci = Cci::new(n);
    step(move |row| {
        let x = cci.push((row.high + row.low + row.close) * (1.0 / 3.0));
        x / (200.0 + x.abs())
    })
}

fn aroon(n: usize) -> Box<dyn Operator> {
    let mut aroon = Aroon::new(n);
    step(move |row| 0.01 * aroon.push(row.high, row.low))
}

fn money_flow(n: usize) -> Box<dyn Operator> {
    let mut flow = MoneyFlow::new(n);
    step(move |row| flow.push(row.typical, row.volume))
}

/// Chaikin's oscillator over the average volume of its slow span; 0 without volume.
fn chaikin(fast: usize, slow: usize) -> Box<dyn Operator> {
    let (mut oscillator, mut volume) = (Chaikin::new(fast, slow), Ema::new(slow));
    step(move |row| {
        let (flow, usual) = (oscillator.push(row.location, row.volume), volume.push(row.volume));
        if usual == 0.0 { 0.0 } else { flow / (flow.abs() + usual) }
    })
}

const fn here(
    name: &'static str,
    lookback: usize,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Oscillator, name, lookback, "ratio", doc, source, make)
}

const RSI: &str = "relative strength of log close, 2*RSI/100 - 1; 0 when flat";
const WILDER: &str = "Wilder 1978, TA-Lib";
const STOCHASTIC: &str = "slow stochastic of log prices, 2*%K/100 - 1; -1 without range";
const WILLIAMS: &str = "Williams %R of log prices, 1 + %R/50; 1 without range";
const AROON: &str = "bars since the low minus bars since the high, over the span";
const MFI: &str = "money flow index, MFI/50 - 1; 0 without flow";

pub(super) const TABLE: &[FeatureDef] = &[
    here("rsi_6", 7, RSI, WILDER, || rsi(6)).decays(120),
    here("rsi_14", 15, RSI, WILDER, || rsi(14)).decays(300),
    here("rsi_48", 49, RSI, WILDER, || rsi(48)).decays(1_000),
    here("cmo_24", 25, "Chande's momentum oscillator of log close, CMO/100; 0 when flat", "Chande, TA-Lib", || {
        rsi(24)
    })
    .decays(500),
    here("stochastic_14", 16, STOCHASTIC, "Lane, TA-Lib", || stochastic(14)),
    here("stochastic_gap_14", 18, "slow %K minus %D, over 100", "Lane, TA-Lib", || stochastic_gap(14)),
    here("williams_14", 14, WILLIAMS, "Williams, TA-Lib", || williams(14)),
    here("williams_48", 48, WILLIAMS, "Williams, TA-Lib", || williams(48)),
    here("cci_20", 20, "commodity channel index of log prices, x/(200 + |x|); 0 when flat", "Lambert, TA-Lib", || {
        cci(20)
    }),
    here("aroon_25", 26, AROON, "Chande, TA-Lib", || aroon(25)),
    here("aroon_168", 169, AROON, "Chande, TA-Lib", || aroon(168)),
    here("mfi_14", 15, MFI, "Quong & Soudack, TA-Lib", || money_flow(14)),
    here("mfi_48", 49, MFI, "Quong & Soudack, TA-Lib", || money_flow(48)),
    here(
        "chaikin_3_10",
        10,
        "Chaikin oscillator x over average volume v, x/(|x| + v); 0 without volume",
        "Chaikin, TA-Lib",
        || chaikin(3, 10),
    )
    .decays(130),
];
