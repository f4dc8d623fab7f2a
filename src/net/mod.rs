//! Sockets of devices: listener, stream, the bounded send queue.
