//! ota
