//! Gradients against differences, training that repeats to the bit, and what it must beat.

use super::*;
use crate::encoder::{Eigenbasis, Encoder};
use crate::words::{Seed, UtcMs};
use faer::{Mat, Scale};
use rand::RngExt;

const P: usize = 12;

/// Points of a curved surface in twelve dimensions, one a column, each feature of about unit variance.
fn surface(count: usize, seed: u64) -> Mat<f32> {
    let mut rng = Seed(seed).rng();
    let mut out = Mat::zeros(P, count);
    for i in 0..count {
        let (u, v) = (2.0 * rng.random::<f32>() - 1.0, 2.0 * rng.random::<f32>() - 1.0);
        for j in 0..P {
            let (a, b) = ((j as f32).sin() * 3.0, (j as f32 * 1.7).cos() * 3.0);
            out[(j, i)] = 1.4 * (a * u + b * v + 0.4 * j as f32).sin();
        }
    }
    out
}

fn spec() -> AutoencoderSpec {
    AutoencoderSpec {
        hidden: 24,
        codes: 2,
        batch: 64,
        epochs_max: 3,
        patience: 3,
        learning_rate: 5e-3,
        ..AutoencoderSpec::default()
    }
}

fn trained(spec: &AutoencoderSpec, rows: usize) -> Trained {
    train(spec, surface(rows, 1).as_ref(), surface(300, 2).as_ref(), Seed(3), None).unwrap()
}

fn bits(network: &Network) -> Vec<u64> {
    network.to_arrays().into_iter().flat_map(|(_, _, data)| data).map(f64::to_bits).collect()
}

/// Mean squared error a feature of rows it has not seen.
fn error(encoder: &Encoder) -> f64 {
    let unseen = surface(500, 4);
    let rows = Mat::from_fn(500, P, |i, j| f64::from(unseen[(j, i)]));
    encoder.reconstruction_error(rows.as_ref()).iter().sum::<f64>() / 500.0
}

#[test]
fn a_curved_surface_is_told_better_than_by_principal_components() {
    let rows = surface(3000, 1);
    let wide = Mat::from_fn(P, 3000, |j, i| f64::from(rows[(j, i)]));
    let basis = Eigenbasis::new(&(Scale(1.0 / 3000.0) * (&wide * wide.transpose()))).unwrap();
    let flat = error(&Encoder::pca(&basis, &[1.0; P], 2, UtcMs(0)));
    let spec = AutoencoderSpec { hidden: 48, epochs_max: 40, mask_share: 0.02, ..spec() };
    let curved = error(&Encoder::autoencoder(trained(&spec, 3000), &[1.0; P], UtcMs(0)));
    assert!(curved < 0.2 * flat, "{curved} against {flat}");
}

#[test]
fn equal_inputs_give_equal_bits_and_the_seed_matters() {
    let first = trained(&spec(), 500);
    assert_eq!(first, trained(&spec(), 500));
    let other = train(&spec(), surface(500, 1).as_ref(), surface(300, 2).as_ref(), Seed(4), None).unwrap();
    assert_ne!(first.network, other.network);
    // Nor does it matter how the rows lie in memory.
    let by_row = surface(500, 1).transpose().to_owned();
    let lying = train(&spec(), by_row.as_ref().transpose(), surface(300, 2).as_ref(), Seed(3), None).unwrap();
    assert_eq!(first, lying);
}

#[test]
fn rows_after_the_training_span_only_choose_the_epoch() {
    let spec = AutoencoderSpec { epochs_max: 1, ..spec() };
    let network = |holdout: Mat<f32>| {
        train(&spec, surface(400, 1).as_ref(), holdout.as_ref(), Seed(3), None).unwrap().network
    };
    assert_eq!(network(surface(300, 2)), network(Scale(-2.0) * surface(77, 9)));
}

#[test]
fn patience_ends_training_and_the_weights_kept_are_those_of_the_best_epoch() {
    // A rate far too large, so that the loss soon stops falling.
    let spec = AutoencoderSpec { learning_rate: 0.5, epochs_max: 60, patience: 2, ..spec() };
    let trained = trained(&spec, 300);
    assert_eq!(trained.loss.len(), trained.epochs + 2);
    let losses: Vec<f64> = trained.loss.iter().map(|epoch| epoch.holdout).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[trained.epochs - 1], least);
    assert!(losses[losses.len() - 1] > least);
    let holdout = surface(300, 2);
    let mut scratch = trained.network.scratch();
    let mut sum = 0.0;
    for i in 0..300 {
        let row: Vec<f32> = holdout.col(i).iter().copied().collect();
        trained.network.encode(&row, &mut scratch);
        trained.network.decode(&mut scratch);
        for (back, v) in scratch.reconstruction.iter().zip(&row) {
            let e = f64::from((back - v).abs());
            sum += if e <= 1.0 { 0.5 * e * e } else { e - 0.5 };
        }
    }
    assert!((sum / (300 * P) as f64 - least).abs() < 1e-5);
}

#[test]
fn codes_have_mean_0_and_deviation_1_over_the_training_rows() {
    let rows = surface(600, 1);
    let network = trained(&spec(), 600).network;
    let mut scratch = network.scratch();
    let mut codes = Vec::new();
    for i in 0..600 {
        network.encode(&rows.col(i).iter().copied().collect::<Vec<f32>>(), &mut scratch);
        codes.push(scratch.codes.clone());
    }
    for k in 0..2 {
        let mean = codes.iter().map(|c| f64::from(c[k])).sum::<f64>() / 600.0;
        let square = codes.iter().map(|c| f64::from(c[k]).powi(2)).sum::<f64>() / 600.0;
        assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
    }
}

#[test]
fn a_warm_start_begins_where_the_last_one_ended() {
    let cold = trained(&AutoencoderSpec { epochs_max: 10, patience: 10, ..spec() }, 1000);
    let least = cold.loss.iter().map(|epoch| epoch.holdout).fold(f64::INFINITY, f64::min);
    let careful = AutoencoderSpec { learning_rate: 1e-6, epochs_max: 1, ..spec() };
    let (rows, holdout) = (surface(1000, 1), surface(300, 2));
    let warm = |network| train(&careful, rows.as_ref(), holdout.as_ref(), Seed(5), Some(network));
    let again = warm(&cold.network).unwrap();
    assert!((again.loss[0].holdout - least).abs() < 1e-3 * least);
    // A start that no epoch betters is what is kept.
    let reckless = AutoencoderSpec { learning_rate: 5.0, epochs_max: 2, ..spec() };
    let kept = train(&reckless, rows.as_ref(), holdout.as_ref(), Seed(5), Some(&cold.network)).unwrap();
    assert_eq!(kept.epochs, 0);
    assert!(warm(&Network::zeros(P, 24, 3)).is_none());
}

#[test]
fn codes_are_no_more_than_the_features_rank() {
    let mut rows = surface(200, 1);
    for i in 0..200 {
        (3..P).for_each(|j| rows[(j, i)] = [1.0, 0.0, rows[(0, i)], -2.0 * rows[(1, i)]][j % 4]);
    }
    let spec = AutoencoderSpec { codes: 9, ..spec() };
    let network = train(&spec, rows.as_ref(), rows.as_ref(), Seed(1), None).unwrap().network;
    assert_eq!(network.codes(), 3);
}

#[test]
fn nonsense_is_refused() {
    let good = surface(50, 1);
    let refused = |spec: &AutoencoderSpec, rows: &Mat<f32>, holdout: &Mat<f32>| {
        train(spec, rows.as_ref(), holdout.as_ref(), Seed(1), None).is_none()
    };
    assert!(!refused(&spec(), &good, &good));
    let mut broken = good.clone();
    broken[(3, 7)] = f32::NAN;
    assert!(refused(&spec(), &broken, &good) && refused(&spec(), &good, &broken));
    broken[(3, 7)] = f32::INFINITY;
    assert!(refused(&spec(), &broken, &good));
    let none = Mat::<f32>::zeros(P, 0);
    assert!(refused(&spec(), &none, &good) && refused(&spec(), &good, &none));
    assert!(refused(&spec(), &good, &Mat::<f32>::zeros(P - 1, 5)));
    assert!(refused(&spec(), &Mat::<f32>::zeros(P, 9), &good));
    assert!(refused(&spec(), &Mat::<f32>::zeros(0, 9), &Mat::<f32>::zeros(0, 9)));
    for broken in [
        AutoencoderSpec { hidden: 0, ..spec() },
        AutoencoderSpec { codes: 0, ..spec() },
        AutoencoderSpec { batch: 0, ..spec() },
        AutoencoderSpec { epochs_max: 0, ..spec() },
        AutoencoderSpec { mask_share: 1.0, ..spec() },
        AutoencoderSpec { mask_share: f64::NAN, ..spec() },
        AutoencoderSpec { learning_rate: -1.0, ..spec() },
        AutoencoderSpec { weight_decay: f64::INFINITY, ..spec() },
        AutoencoderSpec { huber_delta: 0.0, ..spec() },
    ] {
        assert!(refused(&broken, &good, &good), "{broken:?}");
    }
}

#[test]
fn arrays_give_back_the_network_bit_for_bit_and_strangers_are_checked() {
    let network = trained(&spec(), 100).network;
    let arrays = network.to_arrays();
    let names: Vec<&str> = arrays.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["encoder_0_weight", "encoder_0_bias", "encoder_1_weight"]);
    assert_eq!(arrays[0].1, [24, P]);
    let back = Network::from_arrays(&arrays).unwrap();
    assert_eq!(bits(&back), bits(&network));

    let refused = |change: &dyn Fn(&mut Vec<NamedArray>)| {
        let mut changed = arrays.clone();
        change(&mut changed);
        Network::from_arrays(&changed).unwrap_err()
    };
    assert!(refused(&|a| drop(a.remove(3))).contains("missing"));
    assert!(refused(&|a| a[0].2[5] = f64::NAN).contains("finite"));
    assert!(refused(&|a| a[0].2[5] = 1e300).contains("finite"));
    assert!(refused(&|a| a[0].1 = vec![24, P + 1]).contains("values"));
    assert!(refused(&|a| a[0].1 = vec![P, 24]).contains("rows"));
    assert!(refused(&|a| a[1].1 = vec![24, 1]).contains("axes"));
    assert!(refused(&|a| a[6].1 = vec![usize::MAX, 2]).contains("values"));
    assert!(!refused(&|a| (a[6].1, a[6].2) = (vec![P, 0], Vec::new())).is_empty());
    assert!(!refused(&|a| a.iter_mut().for_each(|a| a.2.clear())).is_empty());
}

#[test]
fn whoever_watches_the_training_hears_of_every_batch_and_changes_nothing() {
    let (rows, holdout) = (surface(500, 1), surface(300, 2));
    let heard = std::cell::Cell::new(0);
    let hear = || heard.set(heard.get() + 1);
    let watched = train_watched(&spec(), rows.as_ref(), holdout.as_ref(), Seed(3), None, &hear).unwrap();
    assert_eq!(watched, trained(&spec(), 500));
    assert_eq!(heard.get(), watched.loss.len() * 500_usize.div_ceil(spec().batch));
}
