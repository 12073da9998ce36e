//! Whole-system stories.

mod conformance;
mod traefik;
