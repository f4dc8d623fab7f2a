//! Control-plane HTTP.
