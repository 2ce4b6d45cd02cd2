//! Price impact, and order flow read from bars by bulk classification.

use super::super::microstructure::{Amihud, Imbalance, Kyle};
use super::{Family, FeatureDef, Operator, line, step};

/// ln of Amihud's illiquidity over `short` against `long` bars; 0 where either saw no move.
fn amihud(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut near, mut far) = (Amihud::new(short), Amihud::new(long));
    step(move |row| {
        let (near, far) = (near.push(row.impact, row.traded), far.push(row.impact, row.traded));
        if near > 0.0 && far > 0.0 { (near / far).ln() } else { 0.0 }
    })
}

fn kyle(n: usize) -> Box<dyn Operator> {
    let mut kyle = Kyle::new(n);
    step(move |row| kyle.standard(row.bulk * row.quote, row.ret))
}

/// (λ_short − λ_long)/(|λ_short| + |λ_long|).
fn kyle_change(short: usize, long: usize) -> Box<dyn Operator> {
    let (mut near, mut far) = (Kyle::new(short), Kyle::new(long));
    step(move |row| {
        let signed = row.bulk * row.quote;
        let (near, far) = (near.lambda(signed, row.ret), far.lambda(signed, row.ret));
        let size = near.abs() + far.abs();
        if size > 0.0 { (near - far) / size } else { 0.0 }
    })
}

fn vpin(n: usize) -> Box<dyn Operator> {
    let mut flow = Imbalance::new(n);
    step(move |row| flow.push(row.bulk * row.quote, row.quote).1)
}

fn imbalance(n: usize) -> Box<dyn Operator> {
    let mut flow = Imbalance::new(n);
    step(move |row| flow.push(row.bulk * row.quote, row.quote).0)
}

const fn here(
    name: &'static str,
    lookback: usize,
    unit: &'static str,
    doc: &'static str,
    source: &'static str,
    make: fn() -> Box<dyn Operator>,
) -> FeatureDef {
    line(Family::Liquidity, name, lookback, unit, doc, source, make)
}

const AMIHUD: &str = "ln of |return| per quote volume over the shorter span against the longer; 0 when silent";
const KYLE: &str = "slope of returns on bulk-signed volume in standard units; 0 when constant";
const VPIN: &str = "|bulk-signed volume| over volume, summed over the span; 0 without volume";
const NET: &str = "bulk-signed volume over volume, summed over the span; 0 without volume";
const A02: &str = "Amihud 2002";
const K85: &str = "Kyle 1985; Easley, Lopez de Prado & O'Hara 2012";
const ELO: &str = "Easley, Lopez de Prado & O'Hara 2012";

pub(super) const TABLE: &[FeatureDef] = &[
    here("amihud_4_72", 73, "log", AMIHUD, A02, || amihud(4, 72)),
    here("amihud_24_168", 169, "log", AMIHUD, A02, || amihud(24, 168)),
    here("amihud_72_720", 721, "log", AMIHUD, A02, || amihud(72, 720)),
    here("kyle_72", 73, "ratio", KYLE, K85, || kyle(72)).in_sigma(),
    here("kyle_336", 337, "ratio", KYLE, K85, || kyle(336)).in_sigma(),
    here("kyle_change_24_168", 169, "ratio", "difference of Kyle's lambda over 24 and 168 bars over their sum", K85, || {
        kyle_change(24, 168)
    })
    .in_sigma(),
    here("vpin_24", 25, "ratio", VPIN, ELO, || vpin(24)).in_sigma(),
    here("vpin_168", 169, "ratio", VPIN, ELO, || vpin(168)).in_sigma(),
    here("bulk_imbalance_4", 5, "ratio", NET, ELO, || imbalance(4)).in_sigma(),
    here("bulk_imbalance_24", 25, "ratio", NET, ELO, || imbalance(24)).in_sigma(),
    here("bulk_imbalance_168", 169, "ratio", NET, ELO, || imbalance(168)).in_sigma(),
];
