//! File and environment to one checked `Config`.
