//! The pinned loop.
