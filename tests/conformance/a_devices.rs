//! A. What breaks real devices when it is missing.
