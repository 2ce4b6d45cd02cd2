//! The price grid, found from the prices themselves where the venue's filters are not at hand.

/// Prices looked at; more would not change the answer.
const PRICES_MAX: usize = 2000;
/// Distinct prices needed before a grid coarser than a power of ten is believed.
const DISTINCT_MIN: usize = 20;
/// Share of prices that may lie off the grid (a venue's odd print, a tick change).
const OFF_GRID_MAX: f64 = 0.01;
/// Finest grid tried: 10⁻¹².
const DECIMALS_MAX: i32 = 12;
/// Multiples of a power of ten that venues use as ticks, largest first.
const MULTIPLES: [u64; 12] = [1000, 500, 250, 200, 100, 50, 25, 20, 10, 5, 2, 1];

/// The tick size: the coarsest decimal grid (times 1, 2, 5, 10, 20, 25, …) that carries 99 % of the
/// finite positive `prices`, within the noise of binary floats.
///
/// `None` when there is no price, or when the prices lie on no grid down to 10⁻¹² (generated or
/// adjusted prices). With fewer than 20 distinct prices only powers of ten are answered, because
/// a few prices are multiples of almost anything.
pub fn infer_tick_size(prices: &[f64]) -> Option<f64> {
    let usable: Vec<f64> =
        prices.iter().rev().copied().filter(|p| p.is_finite() && *p > 0.0).take(PRICES_MAX).collect();
    if usable.is_empty() {
        return None;
    }
    let off_max = (usable.len() as f64 * OFF_GRID_MAX) as usize;
    let decimals = (0..=DECIMALS_MAX).find(|&d| {
        let factor = 10_f64.powi(d);
        let off = usable.iter().filter(|p| on_grid(**p, factor).is_none());
        off.take(off_max + 1).count() <= off_max
    })?;
    let factor = 10_f64.powi(decimals);
    let mut steps: Vec<u64> = usable.iter().filter_map(|p| on_grid(*p, factor)).collect();
    steps.sort_unstable();
    steps.dedup();
    if steps.len() < DISTINCT_MIN {
        return Some(1.0 / factor);
    }
    let common = steps.iter().copied().fold(0, greatest_common_divisor);
    let multiple = MULTIPLES.into_iter().find(|m| common.is_multiple_of(*m)).unwrap_or(1);
    Some(multiple as f64 / factor)
}

/// How many steps of 1/`factor` the price is, if it is a whole number of them up to float noise.
fn on_grid(price: f64, factor: f64) -> Option<u64> {
    let steps = price * factor;
    // Rounding by truncation: `f64::round` is a library call without SSE 4.1.
    let whole = (steps + 0.5) as u64 as f64;
    // Noise grows with the number of steps: 1e-11 of it covers a few roundings. A price whose
    // noise would reach a tenth of a step says nothing about the step.
    let noise = (1e-11 * steps).max(1e-6);
    (whole >= 1.0 && noise < 0.1 && (steps - whole).abs() <= noise).then_some(whole as u64)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(tick: f64, base: u64) -> Vec<f64> {
        (0..300_u64).map(|i| (base + i * i * 7 % 97) as f64 * tick).collect()
    }

    #[test]
    fn the_grid_is_found_through_float_noise() {
        let check = |tick: f64, base: u64| {
            let found = infer_tick_size(&walk(tick, base)).unwrap();
            assert!((found / tick - 1.0).abs() < 1e-9, "{tick}: {found}");
        };
        check(0.1, 600_000);
        check(0.01, 12_345);
        check(1e-8, 1_234);
        check(0.0005, 777);
        check(0.25, 333);
        check(5.0, 12_001);
        check(100.0, 601);
    }

    #[test]
    fn a_stray_print_does_not_refine_the_grid() {
        let mut prices = walk(0.01, 5_000);
        prices[7] = 51.234567;
        assert_eq!(infer_tick_size(&prices), Some(0.01));
    }

    #[test]
    fn few_prices_only_tell_a_power_of_ten_and_none_tell_nothing() {
        assert_eq!(infer_tick_size(&[10.5, 10.5, 11.0]), Some(0.1));
        assert_eq!(infer_tick_size(&[f64::NAN, -1.0]), None);
        let smooth: Vec<f64> = (1..300).map(|i| f64::from(i).sqrt() * std::f64::consts::PI).collect();
        assert_eq!(infer_tick_size(&smooth), None);
    }
}
