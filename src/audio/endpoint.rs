//! Where an utterance begins and ends, in audio time.
//!
//! ```text
//!              voice            voice for onset_ms           quiet
//!   Quiet ───────────> Maybe ────────────────────> Speech ─────────> Pause
//!     ^  <────quiet─────┘                             ^ <─voice, 32 ms─┘ │
//!     └──────────────────────── quiet for silence_ms ────────────────────┘  End, or FalseStart if too little was voice
//! ```
//!
//! A window is voice at `start_threshold` when we are waiting for it and at `stay_threshold` while it lasts: a score that
//! trembles about one number does not cut a word to pieces.

/// Thresholds and durations of endpointing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndpointRules {
    /// Consecutive voice before we believe it, ms.
    pub onset_ms: u32,
    /// Silence that ends an utterance, ms; never less than [`SILENCE_MS_MIN`].
    pub silence_ms: u32,
    /// Audio kept from before the onset, ms.
    pub preroll_ms: u32,
    /// Least voiced time of an utterance, ms.
    pub voiced_min_ms: u32,
    /// Longest utterance, ms; never less than [`LONGEST_MS_MIN`].
    pub longest_ms: u32,
    /// Voice probability that starts / that sustains speech.
    pub start_threshold: f32,
    /// See `start_threshold`.
    pub stay_threshold: f32,
}

impl Default for EndpointRules {
    fn default() -> EndpointRules {
        EndpointRules {
            onset_ms: 96,
            silence_ms: 500,
            preroll_ms: 400,
            voiced_min_ms: 150,
            longest_ms: 30_000,
            start_threshold: 0.5,
            stay_threshold: 0.35,
        }
    }
}

/// Least silence that may end an utterance: longer than a packet, so that one packet never holds two borders.
pub const SILENCE_MS_MIN: u32 = 150;
/// Least longest utterance, for the same reason.
pub const LONGEST_MS_MIN: u32 = 1_000;
/// Most audio that may be kept from before the onset.
pub const PREROLL_MS_MAX: u32 = 2_000;
/// Longest onset.
pub const ONSET_MS_MAX: u32 = 1_000;

impl EndpointRules {
    /// The rules with every number within its bounds; `longest_ms` no longer than [`crate::limits::UTTERANCE`].
    pub fn bounded(self) -> EndpointRules {
        let longest_max = crate::limits::UTTERANCE.as_millis() as u32;
        EndpointRules {
            onset_ms: self.onset_ms.min(ONSET_MS_MAX),
            silence_ms: self.silence_ms.max(SILENCE_MS_MIN),
            preroll_ms: self.preroll_ms.min(PREROLL_MS_MAX),
            longest_ms: self.longest_ms.clamp(LONGEST_MS_MIN, longest_max),
            stay_threshold: self.stay_threshold.min(self.start_threshold),
            ..self
        }
    }
}

/// What a window was the border of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Somebody speaks, since `onset_ms`.
    Onset,
    /// It was too short to be speech.
    FalseStart,
    /// Speech is over, since `silence_ms`.
    End,
}

/// Finds the borders of utterances in a row of windows.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    rules: EndpointRules,
    state: State,
    /// Voice of the utterance so far, samples.
    voiced: u32,
    /// Consecutive voice that is not believed yet, samples.
    run: u32,
    /// Silence since the last believed voice, samples.
    silence: u32,
    /// Whether the last window was voice.
    voice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    Maybe,
    Speech,
    Pause,
}

/// Voice that ends a pause: two windows, so that a single click does not prolong the wait.
const RESUME_MS: u32 = 32;

impl Endpoint {
    /// Waiting for speech.
    pub fn new(rules: EndpointRules) -> Endpoint {
        Endpoint { rules: rules.bounded(), state: State::Quiet, voiced: 0, run: 0, silence: 0, voice: false }
    }

    /// The rules in force.
    pub fn rules(&self) -> &EndpointRules {
        &self.rules
    }

    /// Waits for speech again.
    pub fn restart(&mut self) {
        *self = Endpoint::new(self.rules);
    }

    /// Takes a window's score and length (samples at 16 kHz).
    pub fn window(&mut self, score: f32, samples: u32) -> Option<Border> {
        self.voice = score >= self.threshold();
        match self.state {
            State::Quiet | State::Maybe if self.voice => self.on_first_voice(samples),
            State::Quiet | State::Maybe => {
                self.restart();
                None
            }
            State::Speech if self.voice => {
                self.voiced += samples;
                None
            }
            State::Speech => {
                self.state = State::Pause;
                self.run = 0;
                self.silence = samples;
                None
            }
            State::Pause => self.on_pause(samples),
        }
    }

    /// Whether an utterance is open: after [`Border::Onset`] and before its end.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Speech | State::Pause)
    }

    /// Whether an utterance is open and its last window was voice.
    pub fn is_speaking(&self) -> bool {
        self.state == State::Speech && self.voice
    }

    /// Whether the last window was voice.
    pub fn is_voice(&self) -> bool {
        self.voice
    }

    /// Voice of the utterance so far, samples.
    pub fn voiced(&self) -> u32 {
        self.voiced
    }

    /// Silence since its last voice, samples.
    pub fn silence(&self) -> u32 {
        self.silence
    }

    /// Whether so much voice is speech.
    pub fn is_speech(&self, voiced: u32) -> bool {
        voiced >= samples(self.rules.voiced_min_ms)
    }

    fn threshold(&self) -> f32 {
        match self.state {
            State::Quiet | State::Pause => self.rules.start_threshold,
            State::Maybe | State::Speech => self.rules.stay_threshold,
        }
    }

    fn on_first_voice(&mut self, len: u32) -> Option<Border> {
        if self.state == State::Quiet {
            self.voiced = 0;
        }
        self.state = State::Maybe;
        self.voiced += len;
        if self.voiced < samples(self.rules.onset_ms) {
            return None;
        }
        self.state = State::Speech;
        self.silence = 0;
        Some(Border::Onset)
    }

    fn on_pause(&mut self, len: u32) -> Option<Border> {
        self.silence += len;
        self.run = if self.voice { self.run + len } else { 0 };
        if self.run >= samples(RESUME_MS) {
            self.state = State::Speech;
            self.voiced += self.run;
            self.silence = 0;
            return None;
        }
        // A voice that has just begun gets the chance to be believed.
        if self.voice || self.silence < samples(self.rules.silence_ms) {
            return None;
        }
        self.state = State::Quiet;
        Some(if self.is_speech(self.voiced) { Border::End } else { Border::FalseStart })
    }
}

/// Voiced time of a stretch without borders (manual mode): runs of voice of at least three windows, so that stray windows of a
/// noisy room never add up to a word.
#[derive(Clone, Copy, Debug, Default)]
pub struct VoicedMeter {
    voiced: u32,
    run: u32,
    since: u32,
}

impl VoicedMeter {
    const RUN_MS: u32 = 48;

    /// Takes a window's score and length, samples; says whether it was voice.
    pub fn window(&mut self, rules: &EndpointRules, score: f32, len: u32) -> bool {
        let threshold = if self.run > 0 { rules.stay_threshold } else { rules.start_threshold };
        if score < threshold {
            self.run = 0;
            self.since = self.since.saturating_add(len);
            return false;
        }
        let run = self.run.saturating_add(len);
        let believed = samples(VoicedMeter::RUN_MS);
        if run >= believed {
            self.voiced = self.voiced.saturating_add(if self.run >= believed { len } else { run });
            self.since = 0;
        }
        self.run = run;
        true
    }

    /// Voice so far, samples.
    pub fn voiced(&self) -> u32 {
        self.voiced
    }

    /// Samples since the last voice.
    pub fn silence(&self) -> u32 {
        self.since
    }
}

/// Samples at 16 kHz in so many milliseconds.
pub const fn samples(ms: u32) -> u32 {
    ms.saturating_mul(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u32 = 256;

    /// Runs a script of windows of 16 ms and gives the borders with the window they fell in. `20s` is twenty windows of
    /// silence, `v` voice, `m` a score between both thresholds.
    fn borders(rules: EndpointRules, script: &str) -> String {
        let mut endpoint = Endpoint::new(rules);
        let (mut n, mut found) = (0, Vec::new());
        for word in script.split_whitespace() {
            let (count, kind) = word.split_at(word.len() - 1);
            let score = match kind {
                "v" => 0.9,
                "m" => 0.4,
                _ => 0.0,
            };
            for _ in 0..count.parse().unwrap_or(1) {
                n += 1;
                if let Some(border) = endpoint.window(score, WINDOW) {
                    found.push(format!("{border:?}@{n}"));
                }
            }
        }
        found.join(" ")
    }

    #[test]
    fn a_script_of_windows_gives_its_borders() {
        for (script, expected) in [
            // 96 ms are 6 windows, 500 ms 32, 150 ms 10.
            ("100s", ""),
            ("5v 100s", ""),
            ("6v", "Onset@6"),
            ("20s 6v 31s", "Onset@26"),
            ("6v 32s", "Onset@6 FalseStart@38"),
            ("9v 32s", "Onset@6 FalseStart@41"),
            ("10v 32s", "Onset@6 End@42"),
            ("3v 1s 5v 1s 5v 100s", ""),
            // The start needs the high threshold, what follows the low one.
            ("50m", ""),
            ("1v 5m", "Onset@6"),
            ("6v 50m 32s", "Onset@6 End@88"),
            // A pause shorter than the silence is part of the utterance, one voiced window does not end a pause, two do.
            ("10v 31s 2v 32s", "Onset@6 End@75"),
            ("10v 20s 1v 11s", "Onset@6 End@42"),
            ("10v 20s 1v 1s 1v 9s", "Onset@6 End@42"),
            ("10v 20m 32s", "Onset@6 End@62"),
            ("10v 1s 31m", "Onset@6 End@42"),
            // After an end or a false start it waits again.
            ("10v 32s 10v 32s", "Onset@6 End@42 Onset@48 End@84"),
            ("6v 32s 5v 5s 12v 32s", "Onset@6 FalseStart@38 Onset@54 End@92"),
            // Voice adds up over pauses: two half words are a word.
            ("6v 10s 4v 32s", "Onset@6 End@52"),
        ] {
            assert_eq!(borders(EndpointRules::default(), script), expected, "{script}");
        }
    }

    #[test]
    fn rules_are_kept_within_their_bounds() {
        let odd = EndpointRules {
            onset_ms: u32::MAX,
            silence_ms: 0,
            preroll_ms: u32::MAX,
            voiced_min_ms: 0,
            longest_ms: u32::MAX,
            start_threshold: 0.5,
            stay_threshold: 0.9,
        };
        let rules = *Endpoint::new(odd).rules();
        assert_eq!((rules.onset_ms, rules.silence_ms, rules.preroll_ms, rules.longest_ms), (1_000, 150, 2_000, 30_000));
        assert_eq!(rules.stay_threshold, 0.5);
        assert_eq!(borders(EndpointRules { silence_ms: 200, ..Default::default() }, "10v 13s"), "Onset@6 End@23");
    }

    #[test]
    fn the_meter_counts_runs_and_no_stray_windows() {
        let rules = EndpointRules::default();
        let mut meter = VoicedMeter::default();
        for n in 0..1_000 {
            meter.window(&rules, if n % 3 == 0 { 0.0 } else { 0.9 }, WINDOW);
        }
        assert_eq!(meter.voiced(), 0);
        for score in [0.9, 0.4, 0.4, 0.4, 0.1] {
            meter.window(&rules, score, WINDOW);
        }
        assert_eq!((meter.voiced(), meter.silence()), (4 * WINDOW, WINDOW));
    }
}
