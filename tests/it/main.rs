//! Whole-system stories.

mod conformance;
