//! AdamW (Loshchilov & Hutter 2019): Adam with the weights' decay apart from the gradient. Biases do not
//! decay.

use super::super::dense::vectorised;
use super::network::Network;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Running moments of a network's gradient.
pub(super) struct Adam {
    mean: Network,
    square: Network,
    steps: i32,
}

impl Adam {
    pub(super) fn new(network: &Network) -> Adam {
        let zeros = || Network::zeros(network.features(), network.hidden(), network.codes());
        Adam { mean: zeros(), square: zeros(), steps: 0 }
    }

    /// Moves `network` one step against `gradient`.
    pub(super) fn step(&mut self, network: &mut Network, gradient: &Network, rate: f32, decay: f32) {
        self.steps = self.steps.saturating_add(1);
        let rates = |decay| Rates {
            rate: rate / (1.0 - BETA_1.powi(self.steps)),
            square: 1.0 / (1.0 - BETA_2.powi(self.steps)),
            keep: 1.0 - rate * decay,
        };
        let (decaying, plain) = (rates(decay), rates(0.0));
        let moments = self.mean.layers.iter_mut().zip(&mut self.square.layers);
        for ((w, g), (m, v)) in network.layers.iter_mut().zip(&gradient.layers).zip(moments) {
            update(&mut w.weight, &g.weight, &mut m.weight, &mut v.weight, decaying);
            update(&mut w.bias, &g.bias, &mut m.bias, &mut v.bias, plain);
        }
    }
}

/// A step's factors, bias corrections included.
#[derive(Clone, Copy)]
struct Rates {
    rate: f32,
    square: f32,
    keep: f32,
}

fn update(weights: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], by: Rates) {
    vectorised(
        #[inline(always)]
        || {
            let moments = mean.iter_mut().zip(square);
            for ((w, &g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
                *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                *w = by.keep * *w - by.rate * *m / ((by.square * *v).sqrt() + EPSILON);
            }
        },
    );
}
