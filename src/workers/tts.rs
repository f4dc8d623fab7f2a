//! The worker of speech synthesis: one sentence of text in, its packets out.

use super::bench::Bench;
use super::voice::Voice;
use crate::audio::phrase::{EncodedSpeech, SpeechBuilder};
use crate::format::Codec;
use crate::job::{Job, Outcome, PacketBlock, Speak, Work};
use crate::lanes::Gone;
use crate::limits;
use crate::providers::{Call, Flow, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use std::cell::{Cell, RefCell};

/// Says one sentence: as it was said before, if it was, else by the synthesiser. Packets leave as soon as they are encoded; what
/// left before a fault has left.
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
    let keeping = synthesiser.keeping();
    let keeps = keeping.is_some();
    if let Some(speech) = keeping.and_then(|keeping| keeping.kept(what, &call, voice.is_light())) {
        return say_again(&speech, what, bench, job);
    }
    let line =
        Line { job, sentence: what.sentence, bench: RefCell::new(bench), packets: Cell::new(0), gone: Cell::new(None) };
    let mut said = keeps.then(|| SpeechBuilder::new(what.format));
    let spoken = synthesise(synthesiser, voice, &call, what, &line, said.as_mut());
    let Line { bench, packets, gone, .. } = line;
    let (bench, packets) = (bench.into_inner(), packets.get());
    let (passed, encoded) = voice.take_made();
    bench.made((passed, encoded));
    match (spoken, gone.get()) {
        (_, Some(gone)) => Err(fault_of(gone)),
        (Err(fault), _) => {
            let instead = synthesiser.keeping().filter(|_| packets == 0).and_then(|keeping| keeping.instead());
            instead.map_or(Err(fault), |speech| say_again(&speech, what, bench, job))
        }
        (Ok(_), None) if packets == 0 && !what.text.trim().is_empty() => {
            Err(Fault::new(Cause::Malformed, "speech without sound"))
        }
        (Ok(flow), None) => {
            if let (Some(said), Some(keeping)) = (said, synthesiser.keeping())
                && flow == Flow::Continue
                && packets > 0
            {
                keeping.keep(what, said.build(), voice.is_light() && encoded > 0);
            }
            Ok(Outcome::SpeechEnd { sentence: what.sentence, packets })
        }
    }
}

/// The sentence's packets on their way to the shard.
struct Line<'a> {
    job: &'a Job,
    sentence: u16,
    bench: RefCell<&'a mut Bench>,
    packets: Cell<u32>,
    /// Why nobody takes them any more.
    gone: Cell<Option<Gone>>,
}

impl Line<'_> {
    fn send(&self, packet: &[u8]) -> Flow {
        for block in PacketBlock::cut(self.sentence, packet) {
            if let Err(why) = self.bench.borrow_mut().piece_of_several(self.job, Outcome::Packet(block)) {
                self.gone.set(Some(why));
                return Flow::Stop;
            }
        }
        self.packets.set(self.packets.get() + 1);
        Flow::Continue
    }
}

/// Has the sentence spoken and encoded. [`Flow::Stop`]: not to its end, since nobody wants more or it is too long. What is said
/// is written down in `said` as far as it may be kept.
fn synthesise(
    synthesiser: &mut dyn Synthesiser,
    voice: &mut Voice,
    call: &Call,
    what: &Speak,
    line: &Line<'_>,
    mut said: Option<&mut SpeechBuilder>,
) -> Result<Flow, Fault> {
    let mut bytes = 0;
    let mut on_packet = |packet: &[u8]| {
        // One packet more than may be kept tells that it is too long.
        if let Some(said) = said.as_mut().filter(|_| bytes <= limits::SPEECH_KEPT_BYTES) {
            bytes += packet.len();
            said.push(packet);
        }
        line.send(packet)
    };
    let (mut stopped, mut trouble) = (false, None);
    let spoken = synthesiser.speak(what, call, &mut |sound| {
        let flow = voice.push(sound, &mut on_packet).unwrap_or_else(|fault| {
            trouble = Some(fault);
            Flow::Stop
        });
        // Until the next piece of sound comes, these are all.
        line.bench.borrow_mut().told(line.job);
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
    if line.gone.get().is_none() && voice.has_sound() {
        voice.finish(&mut on_packet)?;
    }
    Ok(if stopped { Flow::Stop } else { Flow::Continue })
}

/// Sends a sentence that was encoded before.
fn say_again(speech: &EncodedSpeech, what: &Speak, bench: &mut Bench, job: &Job) -> Result<Outcome, Fault> {
    let packets = speech.len();
    let line =
        Line { job, sentence: what.sentence, bench: RefCell::new(bench), packets: Cell::new(0), gone: Cell::new(None) };
    let _ = (0..packets).filter_map(|i| speech.packet(i)).all(|packet| line.send(packet) == Flow::Continue);
    let (sent, gone) = (line.packets.get(), line.gone.get());
    if what.format.codec == Codec::Opus {
        bench.said_again(u64::from(sent));
    }
    match gone {
        Some(gone) => Err(fault_of(gone)),
        None => Ok(Outcome::SpeechEnd { sentence: what.sentence, packets: sent }),
    }
}

fn fault_of(gone: Gone) -> Fault {
    match gone {
        Gone::Cancelled => Fault::cancelled(),
        Gone::Deadline => Fault::timeout("the device did not take the audio"),
    }
}
