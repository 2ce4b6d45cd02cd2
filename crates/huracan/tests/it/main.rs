//! The binary and the house, seen from outside. One integration binary; a module a subject.

mod binary;
mod champions;
mod configuration;
mod export;
mod floors;
mod market;
mod observed;
mod project;
mod run;
mod shared;
mod store;
mod training;
