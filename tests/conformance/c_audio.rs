//! C. Audio input: what a device may send.
