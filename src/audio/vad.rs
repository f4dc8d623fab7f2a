//! Is it voice? A cheap gate, confirmed by a better judge.
//!
//! ```text
//!   samples -> windows of 16 ms -> energy over the room's floor? and webrtc says voice? -> gate open -> earshot's score
//!                                                                  (else the score is 0)
//! ```
//!
//! webrtc-vad costs 4 µs per 60 ms but takes key clicks and strong noise for speech; earshot costs 25 µs and does not
//! (the figures stand in the tests). The gate spares most of earshot's work in a quiet room; what it decides is only *whether to ask*. When it
//! opens, earshot hears the last windows first: it remembers, and a cold start would miss the first syllable. In the middle of
//! a voice its answer holds for some windows (`Trust`), which spares half of its work and moves no border.

use super::dsp;
use webrtc_vad::{SampleRate, VadMode};

/// Which detector decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// webrtc-vad with an energy floor as the gate, its positives confirmed by earshot.
    #[default]
    Auto,
    /// webrtc-vad alone.
    Webrtc,
    /// earshot alone.
    Earshot,
    /// A window is voice when its peak is at least 1/64 of full scale: for tests and simulation, no codec needed.
    Level,
}

/// Samples in a window: 16 ms at 16 kHz, what earshot takes.
pub const WINDOW: usize = 256;
/// Peak from which [`Engine::Level`] says voice: 1/64 of full scale.
pub const LEVEL_PEAK: u16 = 512;

/// The verdict on one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Probability of voice, 0 to 1.
    pub score: f32,
    /// The largest magnitude in it.
    pub peak: u16,
}

/// A detector of voice in a stream of 16 kHz mono samples. About 13 KiB with [`Engine::Auto`].
pub struct Vad {
    engine: Engine,
    webrtc: Option<Webrtc>,
    earshot: Option<Earshot>,
    floor: Floor,
    /// The window being filled.
    window: [i16; WINDOW],
    filled: usize,
    /// Recent windows that earshot has not heard, oldest first from `history_next`.
    history: Box<[[i16; WINDOW]; HISTORY]>,
    history_next: usize,
    history_len: usize,
    /// Windows for which the gate stays open.
    open_for: u32,
    trust: Trust,
}

/// Windows earshot hears before the one that opened the gate: 128 ms.
const HISTORY: usize = 8;
/// Windows for which the gate stays open after webrtc's last yes: 160 ms, a pause within a word.
const HOLD: u32 = 10;
/// Windows earshot hears after a stretch for which it was trusted: what its features look back on.
const LOOK_BACK: usize = 2;

impl Vad {
    /// A detector that has heard nothing.
    pub fn new(engine: Engine) -> Vad {
        let webrtc = matches!(engine, Engine::Auto | Engine::Webrtc).then(Webrtc::new);
        let earshot = matches!(engine, Engine::Auto | Engine::Earshot).then(Earshot::new);
        Vad {
            engine,
            webrtc,
            earshot,
            floor: Floor::default(),
            window: [0; WINDOW],
            filled: 0,
            history: Box::new([[0; WINDOW]; HISTORY]),
            history_next: 0,
            history_len: 0,
            open_for: 0,
            trust: Trust::default(),
        }
    }

    /// Which engine decides.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Another stream in another room.
    pub fn reset(&mut self) {
        if let Some(webrtc) = &mut self.webrtc {
            webrtc.reset();
        }
        self.floor = Floor::default();
        self.restart();
    }

    /// Another stretch of listening in the same room: what is known of its noise stays.
    pub fn restart(&mut self) {
        if let Some(earshot) = &mut self.earshot {
            earshot.reset();
        }
        self.filled = 0;
        self.history_len = 0;
        self.open_for = 0;
        self.trust = Trust::default();
    }

    /// Takes samples, any number, and tells of each window they complete.
    pub fn hear(&mut self, mut pcm: &[i16], mut on_window: impl FnMut(Window)) {
        while !pcm.is_empty() {
            let take = (WINDOW - self.filled).min(pcm.len());
            let (now, later) = pcm.split_at(take);
            self.window[self.filled..self.filled + take].copy_from_slice(now);
            self.filled += take;
            pcm = later;
            if let Some(webrtc) = &mut self.webrtc {
                webrtc.hear(now);
            }
            if self.filled == WINDOW {
                self.filled = 0;
                let peak = dsp::peak(&self.window);
                on_window(Window { score: self.judge(peak), peak });
            }
        }
    }

    /// Whether it is sure enough of a voice to be asked about a part of it only.
    pub fn is_sure(&self) -> bool {
        self.trust.sure >= Trust::SURE
    }

    /// What comes next does not follow what came last.
    pub fn skip(&mut self) {
        self.filled = 0;
        self.history_len = 0;
        if let Some(webrtc) = &mut self.webrtc {
            webrtc.filled = 0;
        }
    }

    /// Asks the better judge soon, whatever it said before: it is trusted for as long as it looks back.
    pub fn doubt(&mut self) {
        self.trust.spared = self.trust.spared.max(Trust::SPARED - LOOK_BACK as u32);
    }

    /// Samples heard since the last complete window.
    pub fn pending(&self) -> usize {
        self.filled
    }

    fn judge(&mut self, peak: u16) -> f32 {
        let webrtc = self.webrtc.as_ref().is_some_and(|w| w.voice);
        match self.engine {
            Engine::Level => f32::from(u8::from(peak >= LEVEL_PEAK)),
            Engine::Webrtc => f32::from(u8::from(webrtc)),
            Engine::Earshot => self.earshot.as_mut().map_or(0.0, |e| e.judge(&self.window)),
            Engine::Auto => self.judge_gated(webrtc),
        }
    }

    fn judge_gated(&mut self, webrtc: bool) -> f32 {
        let energy = dsp::bright_energy(&self.window);
        let loud = self.floor.hear(energy);
        let was_open = self.open_for > 0;
        self.open_for = if webrtc && loud { HOLD } else { self.open_for.saturating_sub(1) };
        if self.open_for == 0 {
            self.remember();
            return 0.0;
        }
        if webrtc
            && loud
            && let Some(score) = self.trust.spare(energy)
        {
            self.remember();
            return score;
        }
        let Some(earshot) = &mut self.earshot else { return 0.0 };
        let missed = if was_open { self.history_len.min(LOOK_BACK) } else { self.history_len };
        let oldest = self.history_next + HISTORY - missed;
        for n in oldest..oldest + missed {
            earshot.judge(&self.history[n % HISTORY]);
        }
        self.history_len = 0;
        let score = earshot.judge(&self.window);
        self.trust.hear(score, energy);
        score
    }

    fn remember(&mut self) {
        self.history[self.history_next] = self.window;
        self.history_next = (self.history_next + 1) % HISTORY;
        self.history_len = (self.history_len + 1).min(HISTORY);
    }
}

/// Whether earshot needs to be asked in the middle of a voice: after some clear answers in a row its last one holds for a
/// while, as long as webrtc agrees and the sound is about as loud as the voice was. Whatever fades is asked about, so that the
/// end of speech is found as early as ever.
#[derive(Clone, Copy, Debug, Default)]
struct Trust {
    /// Clear answers in a row.
    sure: u32,
    /// Windows since the last answer.
    spared: u32,
    /// The last answer.
    score: f32,
    /// Energy of the voice, smoothed over about 16 windows.
    energy: f32,
}

impl Trust {
    /// What is clear.
    const CLEAR: f32 = 0.6;
    /// Clear answers before one is trusted.
    const SURE: u32 = 2;
    /// Windows for which one holds: 256 ms.
    const SPARED: u32 = 16;
    /// Least energy for it, as a part of the voice's: -10 dB.
    const LEAST: f32 = 0.1;

    /// The score to go by without asking, if one may.
    fn spare(&mut self, energy: f32) -> Option<f32> {
        if self.sure < Trust::SURE || self.spared >= Trust::SPARED || energy < self.energy * Trust::LEAST {
            return None;
        }
        self.spared += 1;
        self.follow(energy);
        Some(self.score)
    }

    /// earshot has answered.
    fn hear(&mut self, score: f32, energy: f32) {
        self.spared = 0;
        self.score = score;
        if score < Trust::CLEAR {
            self.sure = 0;
            return;
        }
        self.energy = if self.energy == 0.0 { energy } else { self.energy };
        self.follow(energy);
        self.sure += 1;
    }

    fn follow(&mut self, energy: f32) {
        self.energy += (energy - self.energy) / 16.0;
    }
}

/// earshot, given what is loud at a lower level. It finds speech down to -50 dB of full scale, but takes steady noise above
/// -20 dB for speech, measured: 99 % of the windows of pink noise at -15 dB, 0.6 % of the same at -25 dB.
struct Earshot {
    detector: Box<earshot::Detector>,
    /// Recent loudness: mean square, falling 8 dB per second.
    loudness: f32,
    /// It has heard nothing yet.
    cold: bool,
    /// Windows it has heard, of quiet rooms too.
    heard: u32,
}

impl Earshot {
    /// What is louder is brought down to this: -30 dB of full scale, as a mean square.
    const LOUDNESS_MAX: f32 = 1_036.0 * 1_036.0;
    const LOUDNESS_KEEPS: f32 = 0.97;
    /// 0.4 s; costs 0.16 ms, at most when the gate opens after a pause.
    const WARM_UP_WINDOWS: usize = 24;

    fn new() -> Earshot {
        Earshot { detector: earshot::Detector::default_boxed(), loudness: 0.0, cold: true, heard: 0 }
    }

    fn reset(&mut self) {
        self.detector.reset();
        self.loudness = 0.0;
        self.cold = true;
    }

    /// A detector that has heard nothing takes the first third of a second of any noise for speech (scores of 0.5 to 0.7, then
    /// falling). So it first hears a quiet room, always the same.
    fn warm_up(&mut self) {
        self.cold = false;
        self.heard = self.heard.wrapping_add(Earshot::WARM_UP_WINDOWS as u32);
        let mut seed = 1_u32;
        for _ in 0..Earshot::WARM_UP_WINDOWS {
            let window: [i16; WINDOW] = std::array::from_fn(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 24) as i16 - 128
            });
            self.detector.predict_i16(&window);
        }
    }

    fn judge(&mut self, window: &[i16; WINDOW]) -> f32 {
        if self.cold {
            self.warm_up();
        }
        self.heard = self.heard.wrapping_add(1);
        self.loudness = (self.loudness * Earshot::LOUDNESS_KEEPS).max(dsp::mean_square(window));
        if self.loudness <= Earshot::LOUDNESS_MAX {
            return self.detector.predict_i16(window);
        }
        let factor = (Earshot::LOUDNESS_MAX / self.loudness).sqrt();
        self.detector.predict_i16(&window.map(|s| (f32::from(s) * factor) as i16))
    }
}

/// The energy of the room when nobody speaks, as the least of the last 1.5 s: speech has pauses shorter than that.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    /// Minima of finished stretches, oldest overwritten; in use: `stretches`.
    minima: [f32; Floor::STRETCHES],
    stretches: usize,
    next: usize,
    /// Minimum of the stretch being heard, and how many windows it has.
    minimum: f32,
    windows: u32,
    /// Energy, smoothed over about 3 windows.
    smooth: f32,
}

impl Floor {
    const STRETCHES: usize = 8;
    const STRETCH_WINDOWS: u32 = 12;
    /// Nothing below this is a voice: the hiss of a good microphone (a vowel at -66 dB of full scale, pre-emphasised).
    const LEAST: f32 = 12.0;
    /// A voice has at least this times the floor's energy: 3 dB. Pre-emphasised noise varies by half a dB.
    const MARGIN: f32 = 2.0;

    /// Takes a window's energy; says whether it stands out of the room. While the room is unknown (its first 200 ms) everything
    /// that could be a voice does, so that a quick "yes" is not taken for the room.
    fn hear(&mut self, energy: f32) -> bool {
        self.smooth = if self.windows == 0 && self.stretches == 0 { energy } else { (self.smooth + energy) / 2.0 };
        let loud = energy >= Floor::LEAST && energy >= self.level() * Floor::MARGIN;
        self.minimum = if self.windows == 0 { self.smooth } else { self.minimum.min(self.smooth) };
        self.windows += 1;
        if self.windows == Floor::STRETCH_WINDOWS {
            self.minima[self.next] = self.minimum;
            self.next = (self.next + 1) % Floor::STRETCHES;
            self.stretches = (self.stretches + 1).min(Floor::STRETCHES);
            self.windows = 0;
        }
        loud
    }

    fn level(&self) -> f32 {
        // Until several stretches are known, one that was all speech could pass for the room.
        if self.stretches < Floor::STRETCHES / 2 {
            return 0.0;
        }
        self.minima[..self.stretches].iter().copied().fold(f32::INFINITY, f32::min)
    }
}

/// webrtc-vad fed with any number of samples. It judges frames of 20 ms and refuses all other lengths but 10 and 30.
struct Webrtc {
    vad: webrtc_vad::Vad,
    frame: [i16; Webrtc::FRAME],
    filled: usize,
    /// The verdict on the last whole frame.
    voice: bool,
}

// SAFETY: `webrtc_vad::Vad` is a pointer to one heap object of libfvad that nobody else has; the library keeps no mutable
// statics and nothing bound to a thread, so the object may move to another thread (it is never shared: all methods that touch
// it take `&mut self`).
unsafe impl Send for Webrtc {}

impl Webrtc {
    const FRAME: usize = 320;

    fn new() -> Webrtc {
        let vad = webrtc_vad::Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, VadMode::Aggressive);
        Webrtc { vad, frame: [0; Webrtc::FRAME], filled: 0, voice: false }
    }

    fn reset(&mut self) {
        self.vad.reset();
        // Its reset forgets these two as well.
        self.vad.set_sample_rate(SampleRate::Rate16kHz);
        self.vad.set_mode(VadMode::Aggressive);
        self.filled = 0;
        self.voice = false;
    }

    fn hear(&mut self, mut pcm: &[i16]) {
        while !pcm.is_empty() {
            let take = (Webrtc::FRAME - self.filled).min(pcm.len());
            let (now, later) = pcm.split_at(take);
            self.frame[self.filled..self.filled + take].copy_from_slice(now);
            self.filled += take;
            pcm = later;
            if self.filled == Webrtc::FRAME {
                self.filled = 0;
                self.voice = self.vad.is_voice_segment(&self.frame).unwrap_or(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::endpoint::{Border, Endpoint, EndpointRules};
    use crate::audio::tests::signals::{clicks, pink, recording, tone, white};

    /// Share of windows that are voice, %.
    fn voiced(engine: Engine, pcm: &[i16]) -> f32 {
        let mut vad = Vad::new(engine);
        let (mut voiced, mut windows) = (0, 0);
        for packet in pcm.chunks(960) {
            vad.hear(packet, |w| {
                voiced += u32::from(w.score >= 0.5);
                windows += 1;
            });
        }
        voiced as f32 * 100.0 / windows as f32
    }

    const TEN_SECONDS: usize = 160_000;

    #[test]
    fn speech_is_voice_for_every_engine() {
        for name in ["en-librispeech-1995-1837-0001.wav", "zh-aishell-BAC009S0724W0121.wav"] {
            for (engine, least) in
                [(Engine::Auto, 50.0), (Engine::Webrtc, 50.0), (Engine::Earshot, 50.0), (Engine::Level, 40.0)]
            {
                let share = voiced(engine, &recording(name));
                println!("{name} {engine:?}: {share:.1} %");
                assert!(share > least, "{name} {engine:?}: {share:.1} %");
            }
        }
    }

    #[test]
    fn what_is_no_speech_is_no_voice() {
        for (name, pcm) in [
            ("silence", vec![0; TEN_SECONDS]),
            ("white noise, -30 dB", white(1, 0.055, TEN_SECONDS)),
            ("white noise, -14 dB", white(2, 0.35, TEN_SECONDS)),
            ("pink noise, loud", pink(3, 0.4, TEN_SECONDS)),
            ("pink noise, soft", pink(4, 0.03, TEN_SECONDS)),
            ("key clicks", clicks(5, 0.5, 180, TEN_SECONDS)),
            ("sharp key clicks", clicks(6, 0.9, 90, TEN_SECONDS)),
            ("a hum of 50 Hz", tone(16_000, 50.0, 0.2, TEN_SECONDS)),
        ] {
            let share = voiced(Engine::Auto, &pcm);
            println!("{name}: {share:.2} %");
            assert!(share < 0.5, "{name}: {share:.2} % voice");
        }
    }

    /// Borders with their time in ms, and how many windows earshot heard; `trusted`: whether its last answer may hold.
    fn borders(pcm: &[i16], trusted: bool) -> (Vec<(usize, Border)>, u32) {
        let (mut vad, mut endpoint) = (Vad::new(Engine::Auto), Endpoint::new(EndpointRules::default()));
        let mut borders = Vec::new();
        for (n, window) in pcm.chunks_exact(WINDOW).enumerate() {
            if !trusted {
                vad.trust = Trust::default();
            }
            let mut score = 0.0;
            vad.hear(window, |window| score = window.score);
            borders.extend(endpoint.window(score, WINDOW as u32).map(|border| (16 * n, border)));
        }
        (borders, vad.earshot.map_or(0, |earshot| earshot.heard))
    }

    #[test]
    fn trust_spares_much_work_and_moves_no_border() {
        for name in ["en-librispeech-1995-1837-0001.wav", "zh-aishell-BAC009S0724W0121.wav"] {
            let mut speech = recording(name);
            speech.extend(vec![0; 16_000]);
            for level in [0.0, 0.01, 0.05] {
                let noise = pink(9, level, speech.len());
                let pcm: Vec<i16> = speech.iter().zip(noise).map(|(a, b)| a.saturating_add(b)).collect();
                let ((asked, all), (trusted, spared)) = (borders(&pcm, false), borders(&pcm, true));
                println!("{name} {level}: {all} windows heard, {spared} with trust");
                assert_eq!(trusted, asked, "{name} {level}");
                assert!(asked.len() >= 2 && spared < all, "{name} {level}");
            }
        }
    }

    #[test]
    fn how_the_stream_is_cut_changes_nothing() {
        let pcm = recording("zh-aishell-BAC009S0724W0121.wav");
        let scores = |piece: usize| {
            let (mut vad, mut scores) = (Vad::new(Engine::Auto), Vec::new());
            pcm.chunks(piece).for_each(|p| vad.hear(p, |w| scores.push(w.score)));
            scores
        };
        assert_eq!(scores(960), scores(pcm.len()));
        assert_eq!(scores(960), scores(333));
    }

    #[test]
    fn a_reset_detector_is_as_good_as_new() {
        let pcm = recording("zh-aishell-BAC009S0724W0121.wav");
        let mut vad = Vad::new(Engine::Auto);
        let scores = |vad: &mut Vad| {
            let mut scores = Vec::new();
            vad.hear(&pcm, |w| scores.push(w.score));
            scores
        };
        let first = scores(&mut vad);
        vad.reset();
        assert_eq!(scores(&mut vad), first);
    }

    #[test]
    fn the_floor_follows_the_room_and_a_voice_stands_out() {
        let mut floor = Floor::default();
        let feed = |floor: &mut Floor, energy: f32, windows: usize| (0..windows).filter(|_| floor.hear(energy)).count();
        assert_eq!(feed(&mut floor, 10_000.0, 48), 48, "an unknown room hides nothing");
        assert_eq!(feed(&mut floor, 10_000.0, 200), 0);
        assert_eq!(feed(&mut floor, 40_000.0, 12), 12, "6 dB more stands out");
        assert_eq!(feed(&mut floor, 10_000.0, 24), 0);
        assert_eq!(feed(&mut floor, 11.0, 100), 0, "hiss never does");
        assert!(feed(&mut floor, 10_000.0, 60) >= 60, "the room became quiet: the same noise stands out now");
    }

    #[test]
    fn level_counts_peaks() {
        let mut vad = Vad::new(Engine::Level);
        let mut scores = Vec::new();
        let mut pcm = vec![0; WINDOW * 3];
        pcm[WINDOW + 10] = 511;
        pcm[2 * WINDOW + 10] = -512;
        vad.hear(&pcm, |w| scores.push(w.score));
        assert_eq!(scores, [0.0, 0.0, 1.0]);
    }
}
