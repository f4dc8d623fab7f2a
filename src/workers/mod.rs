//! Threads that may wait.
