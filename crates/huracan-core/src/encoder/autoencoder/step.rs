//! One mini-batch forward and backward. A sample is a column throughout.

use super::super::dense::vectorised;
use super::activation::tanh;
use super::network::Network;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Buffers of one mini-batch, used again for every one; column-major, as wide as the batch.
pub(super) struct Batch {
    /// What the network is shown, p × b.
    pub(super) input: Vec<f32>,
    /// What it should answer, p × b.
    pub(super) target: Vec<f32>,
    hidden_in: Vec<f32>,
    codes: Vec<f32>,
    hidden_out: Vec<f32>,
    /// The answer; after the loss its gradient.
    output: Vec<f32>,
    hidden_gradient: Vec<f32>,
    codes_gradient: Vec<f32>,
    /// Loss summed over the batch, one a feature.
    loss: Vec<f32>,
}

impl Batch {
    /// Room for `size` samples.
    pub(super) fn new(network: &Network, size: usize) -> Batch {
        let room = |height: usize| vec![0.0; height * size];
        Batch {
            input: room(network.features()),
            target: room(network.features()),
            hidden_in: room(network.hidden()),
            codes: room(network.codes()),
            hidden_out: room(network.hidden()),
            output: room(network.features()),
            hidden_gradient: room(network.hidden()),
            codes_gradient: room(network.codes()),
            loss: vec![0.0; network.features()],
        }
    }

    /// Mean Huber loss a feature and sample of the first `b` samples. What it leaves in `output` is the
    /// loss's gradient, and in `output_bias` the sum of that over the batch.
    pub(super) fn loss(&mut self, network: &Network, b: usize, delta: f32, output_bias: &mut [f32]) -> f64 {
        let (p, h, k) = (network.features(), network.hidden(), network.codes());
        let [first, second, third, fourth] = &network.layers;
        let (input, target) = (&self.input[..p * b], &self.target[..p * b]);
        let (hidden_in, codes) = (&mut self.hidden_in[..h * b], &mut self.codes[..k * b]);
        let (hidden_out, output) = (&mut self.hidden_out[..h * b], &mut self.output[..p * b]);
        multiply(hidden_in, view(&first.weight, h, p), view(input, p, b));
        add_bias_and_bend(hidden_in, &first.bias);
        multiply(codes, view(&second.weight, k, h), view(hidden_in, h, b));
        add_bias(codes, &second.bias);
        multiply(hidden_out, view(&third.weight, h, k), view(codes, k, b));
        add_bias_and_bend(hidden_out, &third.bias);
        multiply(output, view(&fourth.weight, p, h), view(hidden_out, h, b));
        self.loss.fill(0.0);
        output_bias.fill(0.0);
        let share = 1.0 / (p * b) as f32;
        huber(output, target, &fourth.bias, delta, share, &mut self.loss, output_bias);
        self.loss.iter().map(|&l| f64::from(l)).sum::<f64>() / (p * b) as f64
    }

    /// As [`Batch::loss`], and its gradient.
    pub(super) fn gradient(&mut self, network: &Network, b: usize, delta: f32, into: &mut Network) -> f64 {
        let (p, h, k) = (network.features(), network.hidden(), network.codes());
        let [into_first, into_second, into_third, into_fourth] = &mut into.layers;
        let loss = self.loss(network, b, delta, &mut into_fourth.bias);
        let [_, second, third, fourth] = &network.layers;
        let (hidden_in, codes) = (&self.hidden_in[..h * b], &self.codes[..k * b]);
        let (hidden_out, output) = (&self.hidden_out[..h * b], view(&self.output[..p * b], p, b));
        let above = &mut self.hidden_gradient[..h * b];
        let codes_gradient = &mut self.codes_gradient[..k * b];

        multiply(&mut into_fourth.weight, output, view(hidden_out, h, b).transpose());
        multiply(above, view(&fourth.weight, p, h).transpose(), output);
        through_tanh(above, hidden_out, &mut into_third.bias);
        multiply(&mut into_third.weight, view(above, h, b), view(codes, k, b).transpose());
        multiply(codes_gradient, view(&third.weight, h, k).transpose(), view(above, h, b));
        sum_columns(codes_gradient, &mut into_second.bias);
        multiply(&mut into_second.weight, view(codes_gradient, k, b), view(hidden_in, h, b).transpose());
        multiply(above, view(&second.weight, k, h).transpose(), view(codes_gradient, k, b));
        through_tanh(above, hidden_in, &mut into_first.bias);
        let input = view(&self.input[..p * b], p, b);
        multiply(&mut into_first.weight, view(above, h, b), input.transpose());
        loss
    }
}

fn view(values: &[f32], rows: usize, columns: usize) -> MatRef<'_, f32> {
    MatRef::from_column_major_slice(values, rows, columns)
}

/// `out = a·b`.
fn multiply(out: &mut [f32], a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let out = MatMut::from_column_major_slice_mut(out, a.nrows(), b.ncols());
    matmul(out, Accum::Replace, a, b, 1.0, Par::Seq);
}

fn add_bias(values: &mut [f32], bias: &[f32]) {
    for column in values.chunks_exact_mut(bias.len()) {
        column.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
    }
}

/// `tanh(v + bias)`.
fn add_bias_and_bend(values: &mut [f32], bias: &[f32]) {
    vectorised(
        #[inline(always)]
        || {
            for column in values.chunks_exact_mut(bias.len()) {
                column.iter_mut().zip(bias).for_each(|(v, b)| *v = tanh(*v + b));
            }
        },
    );
}

/// Huber loss of `output + bias − target`, added up a feature; its gradient times `share` replaces
/// `output` and is added up a feature as well.
fn huber(
    output: &mut [f32],
    target: &[f32],
    bias: &[f32],
    delta: f32,
    share: f32,
    loss: &mut [f32],
    bias_gradient: &mut [f32],
) {
    let p = bias.len();
    vectorised(
        #[inline(always)]
        || {
            for (output, target) in output.chunks_exact_mut(p).zip(target.chunks_exact(p)) {
                let (target, loss, bias_gradient) = (&target[..p], &mut loss[..p], &mut bias_gradient[..p]);
                for j in 0..p {
                    let error = output[j] + bias[j] - target[j];
                    let bounded = error.clamp(-delta, delta);
                    // ½e² inside, δ(|e| − ½δ) outside: both are b·(e − ½b) for the bounded error b.
                    loss[j] += bounded * (error - 0.5 * bounded);
                    output[j] = bounded * share;
                    bias_gradient[j] += bounded * share;
                }
            }
        },
    );
}

/// Takes a gradient back through tanh, whose `values` are known, and adds it up over the batch.
fn through_tanh(gradient: &mut [f32], values: &[f32], bias_gradient: &mut [f32]) {
    let m = bias_gradient.len();
    bias_gradient.fill(0.0);
    vectorised(
        #[inline(always)]
        || {
            for (gradient, values) in gradient.chunks_exact_mut(m).zip(values.chunks_exact(m)) {
                let bias_gradient = &mut bias_gradient[..m];
                for j in 0..m {
                    gradient[j] *= 1.0 - values[j] * values[j];
                    bias_gradient[j] += gradient[j];
                }
            }
        },
    );
}

fn sum_columns(values: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for column in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(column).for_each(|(sum, v)| *sum += v);
    }
}

#[cfg(test)]
mod tests {
    use super::super::train::initial;
    use super::*;
    use crate::words::Seed;
    use rand::RngExt;

    const DELTA: f64 = 0.7;

    /// The loss by its definition, in f64.
    fn plain_loss(network: &Network, batch: &Batch, b: usize) -> f64 {
        let p = network.features();
        let layer = |l: usize, x: &[f64]| -> Vec<f64> {
            let (weight, bias) = (&network.layers[l].weight, &network.layers[l].bias);
            let at = |o: usize, i: usize| f64::from(weight[i * bias.len() + o]);
            let one = |o: usize| f64::from(bias[o]) + (0..x.len()).map(|i| at(o, i) * x[i]).sum::<f64>();
            (0..bias.len()).map(one).collect()
        };
        let bend = |x: Vec<f64>| -> Vec<f64> { x.into_iter().map(f64::tanh).collect() };
        let mut sum = 0.0;
        for s in 0..b {
            let input: Vec<f64> = batch.input[s * p..][..p].iter().map(|&v| f64::from(v)).collect();
            let output = layer(3, &bend(layer(2, &layer(1, &bend(layer(0, &input))))));
            for j in 0..p {
                let e = (output[j] - f64::from(batch.target[s * p + j])).abs();
                sum += if e <= DELTA { 0.5 * e * e } else { DELTA * (e - 0.5 * DELTA) };
            }
        }
        sum / (p * b) as f64
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences_of_the_plain_loss() {
        let (p, h, k, b) = (5, 4, 2, 7);
        let mut network = initial(p, h, k, Seed(1));
        let mut rng = Seed(2).rng();
        let mut draw = || rng.random::<f32>() * 4.0 - 2.0;
        network.layers.iter_mut().for_each(|l| l.bias.iter_mut().for_each(|v| *v = 0.2 * draw()));
        let mut batch = Batch::new(&network, 10);
        batch.input.iter_mut().for_each(|v| *v = draw());
        batch.target.iter_mut().for_each(|v| *v = draw());
        let mut gradient = Network::zeros(p, h, k);
        let loss = batch.gradient(&network, b, DELTA as f32, &mut gradient);
        assert!((loss - plain_loss(&network, &batch, b)).abs() < 1e-6);

        let step = 1.0 / 1024.0;
        let mut compared = 0;
        for l in 0..4 {
            for bias in [false, true] {
                let count = if bias { network.layers[l].bias.len() } else { network.layers[l].weight.len() };
                for i in 0..count {
                    let mut at = |move_by: f32| {
                        let layer = &mut network.layers[l];
                        let value = if bias { &mut layer.bias[i] } else { &mut layer.weight[i] };
                        let before = *value;
                        *value += move_by;
                        let moved = f64::from(*value) - f64::from(before);
                        let loss = plain_loss(&network, &batch, b);
                        let layer = &mut network.layers[l];
                        *(if bias { &mut layer.bias[i] } else { &mut layer.weight[i] }) = before;
                        (moved, loss)
                    };
                    let ((up, above), (down, below)) = (at(step), at(-step));
                    let expected = (above - below) / (up - down);
                    let layer = &gradient.layers[l];
                    let found = f64::from(if bias { layer.bias[i] } else { layer.weight[i] });
                    assert!(
                        (found - expected).abs() < 2e-6 + 1e-4 * expected.abs(),
                        "{l} {bias} {i}: {found} {expected}"
                    );
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, (5 * 4 + 4) + (4 * 2 + 2) + (2 * 4 + 4) + (4 * 5 + 5));
    }
}
