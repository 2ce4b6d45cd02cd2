//! Candle files of any layout: find them (`scan`), read them (`read`), keep them (`import`), check
//! them (`profile_folder`).
//!
//! `scan` is cheap: it lists a folder and looks at footers and first lines only. `read` reads one
//! series completely. A file that cannot be used never stops the others.

mod archive;
mod candles;
mod check;
mod name;
mod rows;
mod scan;
mod store;
mod table_file;
mod text_file;
mod times;

pub use candles::{Candles, InputFile, read};
pub use check::{CheckedSeries, FailedGate, Figures, profile_folder, table};
pub use scan::{Scan, ScanOptions, SeriesFiles, Unusable, scan};
pub use store::{ImportFailure, ImportReport, Imported, import, month_path};

#[cfg(test)]
mod real_data;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
