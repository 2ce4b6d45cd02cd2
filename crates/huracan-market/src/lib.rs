//! market

pub mod binance;
