//! B. Turn logic: who speaks when, and what ends what.
