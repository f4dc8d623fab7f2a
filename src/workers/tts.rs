//! The worker of speech synthesis: one sentence of text in, its packets out.

use super::bench::Bench;
use super::voice::Voice;
use crate::job::{Job, Outcome, PacketBlock, Work};
use crate::lanes::Gone;
use crate::providers::{Flow, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use std::cell::{Cell, RefCell};

/// Says one sentence. Packets leave as soon as they are encoded; what left before a fault has left.
pub fn speak(
    synthesiser: &mut dyn Synthesiser,
    voice: &mut Voice,
    bench: &mut Bench,
    job: &Job,
) -> Result<Outcome, Fault> {
    let Work::Speak(what) = &job.work else {
        return Err(Fault::new(Cause::Internal, "a job of another stage"));
    };
    voice.begin(what.format)?;
    let call = bench.call(job, job.deadline);
    let (packets, gone, bench) = (Cell::new(0), Cell::new(None), RefCell::new(bench));
    let mut on_packet = |packet: &[u8]| {
        for block in PacketBlock::cut(what.sentence, packet) {
            if let Err(why) = bench.borrow_mut().piece_of_several(job, Outcome::Packet(block)) {
                gone.set(Some(why));
                return Flow::Stop;
            }
        }
        packets.set(packets.get() + 1);
        Flow::Continue
    };
    let (mut stopped, mut trouble) = (false, None);
    let spoken = synthesiser.speak(what, &call, &mut |sound| {
        let flow = voice.push(sound, &mut on_packet).unwrap_or_else(|fault| {
            trouble = Some(fault);
            Flow::Stop
        });
        // Until the next piece of sound comes, these are all.
        bench.borrow_mut().told(job);
        stopped |= flow == Flow::Stop;
        flow
    });
    if let Some(fault) = trouble {
        return Err(fault);
    }
    // A synthesiser that we stopped may call that a fault; it is none.
    if !stopped {
        spoken?;
    }
    if gone.get().is_none() && voice.has_sound() {
        voice.finish(&mut on_packet)?;
    }
    bench.borrow().made(voice.take_made());
    match gone.get() {
        Some(Gone::Cancelled) => Err(Fault::cancelled()),
        Some(Gone::Deadline) => Err(Fault::timeout("the device did not take the audio")),
        None if packets.get() == 0 && !what.text.trim().is_empty() => {
            Err(Fault::new(Cause::Malformed, "speech without sound"))
        }
        None => Ok(Outcome::SpeechEnd { sentence: what.sentence, packets: packets.get() }),
    }
}
