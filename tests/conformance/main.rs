//! The protocol's checklist, item by item: what a compatible server must do so that real devices work with it.
//!
//! Frames are those of the real devices (ESP32 firmware "FW", the desktop client "PX", the browser page "WEB", the MQTT gateway
//! "GW"), over real sockets. What takes minutes on a real clock runs in `virtual_time` instead.

#[path = "../support/mod.rs"]
mod support;

mod a_devices;
mod b_turns;
mod bad_input;
mod c_audio;
mod d_json;
mod f_connections;
mod virtual_time;
mod virtual_time_connections;
