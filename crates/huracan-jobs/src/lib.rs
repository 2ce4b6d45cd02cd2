//! Who does what, how often it was tried, and what came of it: on one machine or many.
//!
//! A job is one piece of work named by (run, stage, symbol). What it computes is not known here:
//! callers hand in names and take out claims, and results are content-addressed elsewhere.
