//! F. Connections: who may in, who must go, and how it is said.
