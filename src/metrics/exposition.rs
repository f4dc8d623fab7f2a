//! Merged panels as Prometheus text and as JSON.
