//! What devices do beside talking in turn, over loopback against the real server: they interrupt by voice and by button, cut the
//! line in the middle of a reply, and speak every mode, framing and codec there is. Gates on counts, errors and order, never on
//! time.

#[allow(dead_code)]
mod stage;

use stage::{Stage, kept};
use voxlane_load::find::settings::Tts;

/// Nothing but the voice of the device tells the server, which must stop, say so once, and answer what was said instead.
#[test]
fn a_reply_gives_way_to_a_voice_and_the_voice_is_answered() {
    let stage = Stage::set(Tts::Opus, "R1");
    let outcome =
        stage.run(&[("devices", "2"), ("ramp", "0.5"), ("duration", "200"), ("turns", "2"), ("barge-in", "1")]);
    let noticed = stage.metric("voxlane_barge_ins_total");
    stage.end();
    // Each of the two turns of each device was begun by a voice, the second over a reply; each reply was interrupted.
    kept(&outcome, "errors=0,crosstalk=0,doubled_stop=0,wrong_order=0,turns=4,interrupted=4");
    // On a slow machine one may have ended by itself before the voice was heard.
    assert!(noticed >= 2.0, "{noticed} of 4 replies gave way; the others merely ended");
}

#[test]
fn a_reply_gives_way_to_a_button() {
    let stage = Stage::set(Tts::Opus, "R1");
    let outcome = stage.run(&[("devices", "4"), ("ramp", "0.5"), ("duration", "200"), ("turns", "1"), ("abort", "1")]);
    stage.end();
    kept(&outcome, "errors=0,crosstalk=0,doubled_stop=0,wrong_order=0,turns=4,interrupted=4");
}

#[test]
fn lines_cut_in_the_middle_of_a_reply_leave_nothing_behind() {
    let stage = Stage::set(Tts::Opus, "R1");
    let outcome = stage.run(&[("devices", "10"), ("ramp", "0.5"), ("duration", "10"), ("vanish", "1"), ("talk", "1")]);
    // Those who vanished came back and were answered again; those who stayed were not disturbed.
    kept(&outcome, "errors=0,crosstalk=0,vanished>=3,turns>=1,refused=0");
    stage.until("voxlane_sessions", |sessions| sessions == 0.0);
    stage.end();
}

#[test]
fn every_mode_framing_and_codec_holds_a_conversation() {
    let stage = Stage::set(Tts::Pcm, "R1");
    let kinds = [
        ("auto", "2", "opus"),
        ("auto", "1", "pcm"),
        ("manual", "1", "opus"),
        ("manual", "2", "pcm"),
        ("realtime", "1", "opus"),
        ("realtime", "3", "opus"),
        ("realtime", "2", "pcm"),
    ];
    std::thread::scope(|scope| {
        let stage = &stage;
        let runs: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(i, kind)| {
                let run = move || {
                    let (mode, framing, codec) = *kind;
                    // A seed of its own: other devices than those of the others.
                    let seed = (i + 1).to_string();
                    let flags = [("devices", "1"), ("ramp", "0"), ("duration", "200"), ("turns", "1"), ("seed", &seed)];
                    stage.run(&[&flags[..], &[("mode", mode), ("framing", framing), ("codec", codec)]].concat())
                };
                (kind, scope.spawn(run))
            })
            .collect();
        for (kind, run) in runs {
            let outcome = run.join().expect("a run");
            println!("{kind:?}");
            kept(&outcome, "errors=0,crosstalk=0,turns=1,doubled_stop=0,missing_stop=0,wrong_order=0");
        }
    });
    stage.end();
}
