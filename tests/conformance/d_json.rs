//! D. Robustness of messages: what is ignored, and what is understood all the same.
