//! The short load run that every change must pass: a hundred devices for twenty seconds against the real server and the
//! stand-ins, in this process. It gates on errors, cross-talk and order, never on time.

#[allow(dead_code)]
mod stage;

use stage::{Stage, kept};
use voxlane_load::find::settings::Tts;

#[test]
fn a_hundred_devices_are_answered_in_their_own_words_and_sounds() {
    let stage = Stage::set(Tts::Pcm, "R2");
    let outcome =
        stage.run(&[("devices", "100"), ("ramp", "6"), ("duration", "20"), ("talk", "9"), ("reconnect", "1")]);
    stage.end();
    kept(&outcome, "errors=0,crosstalk=0,doubled_stop=0,missing_stop=0,wrong_order=0,turns>=100,tones>=3,devices>=90");
}
