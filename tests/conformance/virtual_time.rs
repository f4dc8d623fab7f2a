//! Minutes in milliseconds: sessions and shards under a clock that is a number.
