//! Hamilton's ground: which coins may be traded now.
//!
//! Pure decisions over what the store says; nothing here reads a clock, a file or a socket, and
//! nothing here places an order.

pub mod select;
