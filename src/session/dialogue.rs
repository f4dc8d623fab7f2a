//! The remembered turns.
