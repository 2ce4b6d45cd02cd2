//! The binary and the house, seen from outside. One integration binary; a module a subject.

mod binary;
mod champions;
mod configuration;
mod contents;
mod export;
mod faults;
mod floors;
mod kill_loop;
mod market;
mod observed;
mod project;
mod run;
mod shared;
mod small_market;
mod store;
mod training;
