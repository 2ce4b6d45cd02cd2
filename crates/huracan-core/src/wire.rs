//! Matrices as serde sees them: rows, columns, and the values column by column. For structs that
//! travel between processes; files of the store have formats of their own.

use faer::Mat;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// The shape and the values of one matrix.
#[derive(serde::Serialize, serde::Deserialize)]
struct Columns<T> {
    rows: usize,
    columns: usize,
    values: Vec<T>,
}

impl<T: Copy> Columns<T> {
    fn of(matrix: &Mat<T>) -> Columns<T> {
        let (rows, columns) = (matrix.nrows(), matrix.ncols());
        let values = (0..columns).flat_map(|j| (0..rows).map(move |i| matrix[(i, j)])).collect();
        Columns { rows, columns, values }
    }

    fn matrix<E: Error>(self) -> Result<Mat<T>, E> {
        if self.rows.checked_mul(self.columns) != Some(self.values.len()) {
            let Columns { rows, columns, values } = &self;
            return Err(E::custom(format!("{} values for a matrix of {rows} × {columns}", values.len())));
        }
        Ok(Mat::from_fn(self.rows, self.columns, |i, j| self.values[j * self.rows + i]))
    }
}

/// `#[serde(with = "huracan_core::wire::mat")]` for a matrix.
pub mod mat {
    use super::*;

    /// Writes the matrix.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: Copy + Serialize, S: Serializer>(matrix: &Mat<T>, to: S) -> Result<S::Ok, S::Error> {
        Columns::of(matrix).serialize(to)
    }

    /// Reads it back, the same bits.
    ///
    /// # Errors
    /// The deserializer's, or when shape and number of values do not agree.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Mat<T>, D::Error>
    where
        T: Copy + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Columns::<T>::deserialize(from)?.matrix()
    }
}

/// `#[serde(with = "huracan_core::wire::mats")]` for a list of matrices.
pub mod mats {
    use super::*;

    /// Writes the matrices.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<T: Copy + Serialize, S: Serializer>(
        matrices: &[Mat<T>],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(matrices.iter().map(Columns::of))
    }

    /// Reads them back, the same bits.
    ///
    /// # Errors
    /// The deserializer's, or when a shape and its number of values do not agree.
    pub fn deserialize<'de, T, D>(from: D) -> Result<Vec<Mat<T>>, D::Error>
    where
        T: Copy + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Vec::<Columns<T>>::deserialize(from)?.into_iter().map(Columns::matrix).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_does_not_fit_its_values_is_refused() {
        let wrong = Columns { rows: 2, columns: 3, values: vec![1.0; 5] };
        let error = wrong.matrix::<serde::de::value::Error>().unwrap_err();
        assert_eq!(error.to_string(), "5 values for a matrix of 2 × 3");
        let right = Columns { rows: 2, columns: 3, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        let matrix = right.matrix::<serde::de::value::Error>().unwrap();
        assert_eq!((matrix[(1, 0)], matrix[(0, 2)]), (2.0, 5.0));
        assert_eq!(Columns::of(&matrix).values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
}
