//! Bad input: what garbage, floods and silence get.
