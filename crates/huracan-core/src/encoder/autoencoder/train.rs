//! Training: shuffled mini-batches with masked inputs, AdamW, and the weights of the epoch that was best
//! on a later block of time.

use super::super::Eigenbasis;
use super::super::dense::vectorised;
use super::adam::Adam;
use super::network::Network;
use super::step::Batch;
use super::{Trained, TrainingEpoch};
use crate::words::Seed;
use faer::{Mat, MatRef};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// How an autoencoder is built and trained.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoencoderSpec {
    /// Width of both hidden layers.
    pub hidden: usize,
    /// Codes asked for; never more than the rank of the features.
    pub codes: usize,
    /// Samples a step.
    pub batch: usize,
    /// Most epochs.
    pub epochs_max: usize,
    /// Epochs without a better holdout loss after which training stops.
    pub patience: usize,
    /// Share of the inputs set to 0, the features' median, in training; in steps of 1/65536.
    pub mask_share: f64,
    /// AdamW's rate; halved after an epoch without a better holdout loss.
    pub learning_rate: f64,
    /// AdamW's decay of the weights.
    pub weight_decay: f64,
    /// Where the loss turns from square to absolute, in standard deviations.
    pub huber_delta: f64,
}

impl Default for AutoencoderSpec {
    fn default() -> AutoencoderSpec {
        AutoencoderSpec {
            hidden: 128,
            codes: 20,
            batch: 512,
            epochs_max: 30,
            patience: 4,
            mask_share: 0.1,
            learning_rate: 5e-3,
            weight_decay: 1e-4,
            huber_delta: 1.0,
        }
    }
}

impl AutoencoderSpec {
    fn sound(&self) -> bool {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        self.hidden > 0
            && self.codes > 0
            && self.batch > 0
            && self.epochs_max > 0
            && (0.0..1.0).contains(&self.mask_share)
            && positive(self.learning_rate)
            && self.weight_decay >= 0.0
            && self.weight_decay.is_finite()
            && positive(self.huber_delta)
    }
}

/// Rows of which the rank of the features is taken; longer spans are read at an even stride.
const RANK_ROWS: usize = 4096;

/// Trains on standardised `rows` (p × n, one column a row of data), keeping the weights of the epoch
/// that was best on `holdout` (p × m, later in time), from `warm`'s weights where given.
///
/// Rows are read where they lie; what is copied is a mini-batch. Equal inputs and seeds give equal bits.
/// `None` when a side is empty, a value is not finite, nothing varies, the spec makes no sense, `warm`
/// has another shape, or the loss never is finite.
pub fn train(
    spec: &AutoencoderSpec,
    rows: MatRef<'_, f32>,
    holdout: MatRef<'_, f32>,
    seed: Seed,
    warm: Option<&Network>,
) -> Option<Trained> {
    train_watched(spec, rows, holdout, seed, warm, &|| {})
}

/// As [`train`]; `each_batch` is called before every mini-batch and may unwind.
///
/// `None` as there.
pub fn train_watched(
    spec: &AutoencoderSpec,
    rows: MatRef<'_, f32>,
    holdout: MatRef<'_, f32>,
    seed: Seed,
    warm: Option<&Network>,
    each_batch: &dyn Fn(),
) -> Option<Trained> {
    let (p, n, m) = (rows.nrows(), rows.ncols(), holdout.ncols());
    if !spec.sound() || n == 0 || m == 0 || holdout.nrows() != p || !finite(rows) || !finite(holdout) {
        return None;
    }
    let codes = spec.codes.min(rank(rows)?);
    if codes == 0 {
        return None;
    }
    let mut network = match warm {
        Some(warm) => warm.clone(),
        None => initial(p, spec.hidden, codes, seed.child("autoencoder weights", 0)),
    };
    if (network.features(), network.hidden(), network.codes()) != (p, spec.hidden, codes) {
        return None;
    }
    let size = spec.batch.min(n.max(m));
    let mut run = Run {
        batch: Batch::new(&network, size),
        gradient: Network::zeros(p, spec.hidden, codes),
        adam: Adam::new(&network),
        noise: vec![0; p * size],
        order: (0..n).collect(),
        size,
        delta: spec.huber_delta as f32,
        decay: spec.weight_decay as f32,
        masked_below: (spec.mask_share * 65_536.0).round() as u16,
    };
    let mut rate = spec.learning_rate as f32;
    let mut best = warm.map(|_| (run.holdout_loss(&network, holdout), 0, network.clone()));
    let mut loss = Vec::new();
    for epoch in 1..=spec.epochs_max {
        let seed = seed.child("autoencoder epoch", epoch as u64);
        let train = run.epoch(&mut network, rows, rate, seed, each_batch);
        let holdout = run.holdout_loss(&network, holdout);
        loss.push(TrainingEpoch { train, holdout });
        let better = holdout.is_finite() && best.as_ref().is_none_or(|(least, _, _)| holdout < *least);
        if better {
            best = Some((holdout, epoch, network.clone()));
            continue;
        }
        rate *= 0.5;
        let since = best.as_ref().map_or(0, |(_, at, _)| *at);
        if !holdout.is_finite() || epoch - since >= spec.patience {
            break;
        }
    }
    let (_, epochs, mut network) = best?;
    normalise_codes(&mut network, rows);
    Some(Trained { network, loss, epochs })
}

/// What is kept between steps.
struct Run {
    batch: Batch,
    gradient: Network,
    adam: Adam,
    noise: Vec<u16>,
    order: Vec<usize>,
    size: usize,
    delta: f32,
    decay: f32,
    masked_below: u16,
}

impl Run {
    /// One pass over the rows in a new order; mean loss of the rows as they were shown.
    fn epoch(
        &mut self,
        network: &mut Network,
        rows: MatRef<'_, f32>,
        rate: f32,
        seed: Seed,
        each_batch: &dyn Fn(),
    ) -> f64 {
        let p = rows.nrows();
        let mut rng = seed.rng();
        self.order.shuffle(&mut rng);
        let mut sum = 0.0;
        for from in (0..rows.ncols()).step_by(self.size) {
            each_batch();
            let b = self.size.min(rows.ncols() - from);
            for (s, &i) in self.order[from..from + b].iter().enumerate() {
                copy_column(rows, i, &mut self.batch.target[s * p..][..p]);
            }
            self.mask(p * b, &mut rng);
            sum += b as f64 * self.batch.gradient(network, b, self.delta, &mut self.gradient);
            self.adam.step(network, &self.gradient, rate, self.decay);
        }
        sum / rows.ncols() as f64
    }

    /// The first `values` targets as inputs, some of them 0.
    fn mask(&mut self, values: usize, rng: &mut StdRng) {
        let (noise, below) = (&mut self.noise[..values], self.masked_below);
        let (target, input) = (&self.batch.target[..values], &mut self.batch.input[..values]);
        rng.fill(noise);
        let noise = &*noise;
        vectorised(
            #[inline(always)]
            || {
                for ((to, &from), &u) in input.iter_mut().zip(target).zip(noise) {
                    *to = if u < below { 0.0 } else { from };
                }
            },
        );
    }

    /// Mean loss of unmasked rows.
    fn holdout_loss(&mut self, network: &Network, rows: MatRef<'_, f32>) -> f64 {
        let p = rows.nrows();
        let mut sum = 0.0;
        for from in (0..rows.ncols()).step_by(self.size) {
            let b = self.size.min(rows.ncols() - from);
            for s in 0..b {
                copy_column(rows, from + s, &mut self.batch.target[s * p..][..p]);
            }
            self.batch.input[..p * b].copy_from_slice(&self.batch.target[..p * b]);
            sum += b as f64 * self.batch.loss(network, b, self.delta, &mut self.gradient.layers[3].bias);
        }
        sum / rows.ncols() as f64
    }
}

/// Weights drawn evenly within ±√(6 / (inputs + outputs)) (Glorot & Bengio 2010), biases 0.
pub(super) fn initial(features: usize, hidden: usize, codes: usize, seed: Seed) -> Network {
    let mut network = Network::zeros(features, hidden, codes);
    let mut rng = seed.rng();
    for layer in &mut network.layers {
        let (outputs, inputs) = (layer.bias.len(), layer.weight.len() / layer.bias.len().max(1));
        let bound = (6.0 / (inputs + outputs) as f32).sqrt();
        layer.weight.iter_mut().for_each(|w| *w = bound * (2.0 * rng.random::<f32>() - 1.0));
    }
    network
}

/// Turns codes to mean 0 and standard deviation 1 over `rows` without changing any reconstruction: the
/// layer before them takes the turn, the one after takes it back. A code that never varies is only moved.
fn normalise_codes(network: &mut Network, rows: MatRef<'_, f32>) {
    let (k, h, n) = (network.codes(), network.hidden(), rows.ncols() as f64);
    let (mut sum, mut square) = (vec![0.0; k], vec![0.0; k]);
    let mut scratch = network.scratch();
    let mut row = vec![0.0; rows.nrows()];
    for i in 0..rows.ncols() {
        copy_column(rows, i, &mut row);
        network.encode(&row, &mut scratch);
        for (c, &code) in scratch.codes.iter().enumerate() {
            sum[c] += f64::from(code);
            square[c] += f64::from(code) * f64::from(code);
        }
    }
    for c in 0..k {
        let mean = sum[c] / n;
        let variance = square[c] / n - mean * mean;
        let deviation = if variance > 1e-12 * square[c] / n { variance.sqrt() } else { 1.0 };
        let narrow = |v: f64| v as f32;
        let [_, before, after, _] = &mut network.layers;
        for i in 0..h {
            let w = &mut before.weight[i * k + c];
            *w = narrow(f64::from(*w) / deviation);
        }
        before.bias[c] = narrow((f64::from(before.bias[c]) - mean) / deviation);
        for o in 0..h {
            let w = &mut after.weight[c * h + o];
            after.bias[o] = narrow(f64::from(after.bias[o]) + f64::from(*w) * mean);
            *w = narrow(f64::from(*w) * deviation);
        }
    }
}

fn finite(rows: MatRef<'_, f32>) -> bool {
    rows.col_iter().all(|column| column.iter().all(|v| v.is_finite()))
}

/// Rank of the features' covariance over an even sample of the rows.
fn rank(rows: MatRef<'_, f32>) -> Option<usize> {
    let (p, stride) = (rows.nrows(), rows.ncols().div_ceil(RANK_ROWS).max(1));
    let count = rows.ncols().div_ceil(stride);
    let mut sample = Mat::from_fn(count, p, |i, j| f64::from(rows[(j, i * stride)]));
    for j in 0..p {
        let mean = sample.col(j).iter().sum::<f64>() / count as f64;
        sample.col_mut(j).iter_mut().for_each(|v| *v -= mean);
    }
    Some(Eigenbasis::new(&(sample.transpose() * &sample))?.rank)
}

fn copy_column(rows: MatRef<'_, f32>, i: usize, to: &mut [f32]) {
    let column = rows.col(i);
    match column.try_as_col_major() {
        Some(column) => to.copy_from_slice(column.as_slice()),
        None => to.iter_mut().zip(column.iter()).for_each(|(to, &v)| *to = v),
    }
}
