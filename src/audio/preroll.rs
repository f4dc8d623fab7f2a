//! preroll
