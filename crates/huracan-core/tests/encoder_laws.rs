//! What every kind of encoder must keep, whichever it is.

use faer::{Mat, MatRef, Scale};
use huracan_core::encoder::autoencoder::{AutoencoderSpec, Network, train};
use huracan_core::encoder::{CodeMap, Eigenbasis, Encoder, EncoderKind, reduced_rank};
use huracan_core::words::{Seed, UtcMs};
use rand::RngExt;

const P: usize = 9;
/// Of nine features one never varies and one is another's double.
const SILENT: usize = 4;
const RANK: usize = P - 2;
const FITTED_UNTIL: UtcMs = UtcMs(5_000);

/// Scaled rows, n × p; the silent feature is constant while an encoder is fitted.
fn rows(n: usize, seed: u64) -> Mat<f64> {
    let mut rng = Seed(seed).rng();
    let mut out = Mat::from_fn(n, P, |_, j| (1.0 + j as f64) * (2.0 * rng.random::<f64>() - 1.0));
    for i in 0..n {
        out[(i, SILENT)] = 0.0;
        out[(i, 6)] += out[(i, 0)] * out[(i, 1)];
        out[(i, 8)] = 2.0 * out[(i, 2)];
    }
    out
}

fn deviations(rows: &Mat<f64>) -> Vec<f64> {
    rows.col_iter().map(|c| (c.squared_norm_l2() / c.nrows() as f64).sqrt()).collect()
}

fn fit(kind: EncoderKind, codes: usize) -> Encoder {
    let z = rows(800, 1);
    let scale = deviations(&z);
    let unit = |z: &Mat<f64>| {
        Mat::from_fn(z.nrows(), P, |i, j| if scale[j] > 0.0 { z[(i, j)] / scale[j] } else { 0.0 })
    };
    let standardised = unit(&z);
    let n = Scale(1.0 / 800.0);
    let cov = n * (standardised.transpose() * &standardised);
    match kind {
        EncoderKind::Pca => Encoder::pca(&Eigenbasis::new(&cov).unwrap(), &scale, codes, FITTED_UNTIL),
        EncoderKind::Rrr => {
            let mut rng = Seed(7).rng();
            let labels = &standardised * Mat::from_fn(P, 20, |_, _| rng.random::<f64>() - 0.5);
            let cross = n * (standardised.transpose() * &labels);
            let loadings = reduced_rank(&cov, &(&cross * cross.transpose()), 0.1, codes).unwrap();
            Encoder::rrr(loadings, &scale, FITTED_UNTIL)
        }
        EncoderKind::Autoencoder => {
            let narrow = |z: &Mat<f64>| Mat::from_fn(P, z.nrows(), |j, i| z[(i, j)] as f32);
            let spec = AutoencoderSpec { hidden: 16, codes, batch: 50, epochs_max: 3, ..Default::default() };
            let later = unit(&rows(100, 2));
            let trained =
                train(&spec, narrow(&standardised).as_ref(), narrow(&later).as_ref(), Seed(3), None);
            Encoder::autoencoder(trained.unwrap(), &scale, FITTED_UNTIL)
        }
    }
}

fn for_every_kind(law: impl Fn(&Encoder)) {
    for kind in EncoderKind::ALL {
        let encoder = fit(kind, 3);
        assert_eq!((encoder.kind, encoder.components(), encoder.scale.len()), (kind, 3, P));
        law(&encoder);
    }
}

fn bits(m: MatRef<'_, f64>) -> Vec<u64> {
    m.row_iter().flat_map(|row| row.iter().map(|v| v.to_bits())).collect()
}

fn row_of(z: &Mat<f64>, i: usize) -> Vec<f64> {
    z.row(i).iter().copied().collect()
}

fn code(encoder: &Encoder, row: &[f64]) -> Vec<u64> {
    let mut out = vec![f64::NAN; encoder.components()];
    encoder.encode(row, &mut out);
    out.into_iter().map(f64::to_bits).collect()
}

#[test]
fn none_is_tested_on_what_it_has_seen() {
    for_every_kind(|encoder| {
        assert!(encoder.for_test_from(FITTED_UNTIL).is_ok());
        let error = encoder.for_test_from(UtcMs(FITTED_UNTIL.0 - 1)).unwrap_err();
        assert_eq!(error.fitted_until, FITTED_UNTIL);
    });
}

#[test]
fn fitting_twice_gives_equal_bits() {
    for_every_kind(|encoder| {
        let z = rows(70, 5);
        let again = fit(encoder.kind, 3);
        assert_eq!(
            bits(encoder.encode_rows(z.as_ref()).as_ref()),
            bits(again.encode_rows(z.as_ref()).as_ref())
        );
        assert_eq!(encoder.training_loss, again.training_loss);
    });
}

#[test]
fn a_rows_code_is_its_own_in_every_batch() {
    for_every_kind(|encoder| {
        let z = rows(131, 5);
        let codes = encoder.encode_rows(z.as_ref());
        assert_eq!((codes.nrows(), codes.ncols()), (131, 3));
        for i in 0..131 {
            assert_eq!(bits(codes.as_ref().subrows(i, 1)), code(encoder, &row_of(&z, i)), "row {i}");
        }
        for (from, count) in [(0, 1), (0, 31), (5, 33), (40, 64), (130, 1), (7, 0)] {
            let part = encoder.encode_rows(z.as_ref().subrows(from, count));
            assert_eq!(bits(part.as_ref()), bits(codes.as_ref().subrows(from, count)));
        }
        // Rows that lie by row instead of by column.
        let by_row = z.transpose().to_owned();
        assert_eq!(bits(encoder.encode_rows(by_row.as_ref().transpose()).as_ref()), bits(codes.as_ref()));
    });
}

#[test]
fn later_rows_change_no_code_no_reconstruction_and_no_error() {
    for_every_kind(|encoder| {
        let z = rows(90, 5);
        let mut bent = z.clone();
        bent.as_mut().subrows_mut(50, 40).fill(f64::NAN);
        let past = |m: Mat<f64>| bits(m.as_ref().subrows(0, 50));
        assert_eq!(past(encoder.encode_rows(z.as_ref())), past(encoder.encode_rows(bent.as_ref())));
        assert_eq!(past(encoder.reconstruct_rows(z.as_ref())), past(encoder.reconstruct_rows(bent.as_ref())));
        let error = |m: &Mat<f64>| encoder.reconstruction_error(m.as_ref())[..50].to_vec();
        assert_eq!(error(&z), error(&bent));
    });
}

#[test]
fn a_feature_that_never_varied_is_ignored() {
    for_every_kind(|encoder| {
        let z = rows(40, 5);
        let mut loud = z.clone();
        loud.as_mut().col_mut(SILENT).fill(6.0);
        assert_eq!(encoder.scale[SILENT], 0.0);
        assert_eq!(
            bits(encoder.encode_rows(z.as_ref()).as_ref()),
            bits(encoder.encode_rows(loud.as_ref()).as_ref())
        );
        assert_eq!(encoder.reconstruction_error(z.as_ref()), encoder.reconstruction_error(loud.as_ref()));
        assert!(encoder.reconstruct_rows(loud.as_ref()).col(SILENT).iter().all(|&v| v == 0.0));
    });
}

#[test]
fn codes_are_finite_of_a_plain_size_and_differ() {
    for_every_kind(|encoder| {
        let codes = encoder.encode_rows(rows(800, 1).as_ref());
        for code in codes.col_iter() {
            let deviation = (code.squared_norm_l2() / 800.0).sqrt();
            assert!((0.05..20.0).contains(&deviation), "{} {deviation}", encoder.kind);
        }
        // The winsor bounds are as far as a row can go.
        let extreme = Mat::from_fn(2, P, |i, _| if i == 0 { 6.0 } else { -6.0 });
        assert!(encoder.encode_rows(extreme.as_ref()).col_iter().all(|c| c.iter().all(|v| v.is_finite())));
        assert!(encoder.reconstruction_error(extreme.as_ref()).iter().all(|e| e.is_finite()));
    });
}

#[test]
fn the_error_is_that_of_the_reconstruction() {
    for_every_kind(|encoder| {
        let z = rows(60, 5);
        let back = encoder.reconstruct_rows(z.as_ref());
        let errors = encoder.reconstruction_error(z.as_ref());
        for i in 0..60 {
            let square = |j: usize| (z[(i, j)] / encoder.scale[j] - back[(i, j)]).powi(2);
            let expected = (0..P).filter(|&j| j != SILENT).map(square).sum::<f64>() / (P - 1) as f64;
            assert!((errors[i] - expected).abs() < 1e-12);
        }
        // More codes than the features have dimensions tell a linear encoder everything.
        if encoder.loadings().is_some() {
            let whole = fit(encoder.kind, P).reconstruction_error(z.as_ref());
            assert!(whole.iter().all(|e| e.abs() < 1e-12) && errors.iter().sum::<f64>() > 1.0);
        }
    });
}

#[test]
fn codes_are_no_more_than_the_rank() {
    for kind in EncoderKind::ALL {
        assert_eq!(fit(kind, 50).components(), RANK, "{kind}");
    }
}

#[test]
fn what_each_kind_has_to_say_of_its_fit() {
    for_every_kind(|encoder| {
        let told = (encoder.explained_variance_ratio.len(), encoder.training_loss.len());
        let expected = match encoder.kind {
            EncoderKind::Pca => (3, 0),
            EncoderKind::Rrr => (0, 0),
            EncoderKind::Autoencoder => (0, 3),
        };
        assert_eq!(
            (told, encoder.loadings().is_some()),
            (expected, encoder.kind != EncoderKind::Autoencoder)
        );
    });
}

#[test]
fn arrays_give_the_same_codes_back() {
    for_every_kind(|encoder| {
        let map = match &encoder.map {
            CodeMap::Linear(loadings) => {
                let stored: Vec<f64> = loadings.col_iter().flat_map(|c| c.iter().copied()).collect();
                CodeMap::Linear(Mat::from_fn(P, 3, |i, k| stored[k * P + i]))
            }
            CodeMap::Network(network) => {
                CodeMap::Network(Network::from_arrays(&network.to_arrays()).unwrap())
            }
        };
        let back = Encoder { map, ..encoder.clone() };
        let z = rows(40, 5);
        assert_eq!(
            bits(back.encode_rows(z.as_ref()).as_ref()),
            bits(encoder.encode_rows(z.as_ref()).as_ref())
        );
        assert_eq!(back.reconstruction_error(z.as_ref()), encoder.reconstruction_error(z.as_ref()));
    });
}
