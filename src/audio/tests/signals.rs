//! Signals for the room's tests: always the same, from a formula, a seed or a recording.

/// Pseudo-random numbers from a seed: the linear congruential generator of Knuth's MMIX.
pub struct Lcg(u64);

impl Lcg {
    pub fn new(seed: u64) -> Lcg {
        Lcg(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.next() % bound
    }

    /// Between -1 and 1.
    pub fn unit(&mut self) -> f32 {
        self.next() as f32 / (1u32 << 30) as f32 - 1.0
    }
}

/// A sine; `level` is its peak as a part of full scale.
pub fn tone(rate: u32, hz: f32, level: f32, samples: usize) -> Vec<i16> {
    let step = 2.0 * std::f64::consts::PI * f64::from(hz) / f64::from(rate);
    (0..samples).map(|n| ((step * n as f64).sin() * f64::from(level) * 32_767.0) as i16).collect()
}

/// White noise, evenly distributed; its RMS is 0.577 of `level`.
pub fn white(seed: u64, level: f32, samples: usize) -> Vec<i16> {
    let mut lcg = Lcg::new(seed);
    (0..samples).map(|_| (lcg.unit() * level * 32_767.0) as i16).collect()
}

/// Pink noise (-3 dB per octave, by octave-spaced held values), peak about `level`.
pub fn pink(seed: u64, level: f32, samples: usize) -> Vec<i16> {
    let mut lcg = Lcg::new(seed);
    let mut rows = [0.0_f32; 12];
    (0..samples as u32)
        .map(|n| {
            let row = (n.trailing_zeros() as usize).min(rows.len() - 1);
            rows[row] = lcg.unit();
            let sum: f32 = rows.iter().sum::<f32>() + lcg.unit();
            (sum / 5.0 * level * 32_767.0).clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

/// Key clicks: every `every_ms` a burst of noise that dies within 8 ms, over a faint hiss. 16 kHz.
pub fn clicks(seed: u64, level: f32, every_ms: usize, samples: usize) -> Vec<i16> {
    let mut lcg = Lcg::new(seed);
    let every = every_ms * 16;
    (0..samples)
        .map(|n| {
            let since = (n % every) as f32;
            let burst = (-since / 32.0).exp() * level;
            ((lcg.unit() * burst + lcg.unit() * 0.000_5) * 32_767.0) as i16
        })
        .collect()
}

/// One of the recordings in `tests/data`, 16 kHz mono.
pub fn recording(name: &str) -> Vec<i16> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let data = bytes.windows(4).position(|w| w == b"data").expect("a WAV file") + 8;
    bytes[data..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// Mean square, full scale 1.
pub fn energy(pcm: &[i16]) -> f64 {
    pcm.iter().map(|s| (f64::from(*s) / 32_768.0).powi(2)).sum::<f64>() / pcm.len().max(1) as f64
}
