//! Whisper's mel filters: overlapping triangles over the 201 bins of a 400-point transform of 16 kHz sound, each of the same
//! area. The model's file carries them and CTranslate2's does not, so they are computed as librosa does, from which Whisper
//! has them: in double precision, and rounded to single once before and once after the areas are made equal.

/// Bins of the transform, from 0 Hz to 8 kHz.
pub const BINS: usize = 201;

const BIN_HZ: f64 = 40.0;
const TOP_HZ: f64 = 8_000.0;

/// `mels` rows of [`BINS`] weights.
pub fn rows(mels: usize) -> Vec<f32> {
    let step = mel(TOP_HZ) / (mels + 1) as f64;
    let corner = |i: usize| hertz(i as f64 * step);
    let mut rows = Vec::with_capacity(mels * BINS);
    for row in 0..mels {
        let (left, top, right) = (corner(row), corner(row + 1), corner(row + 2));
        let scale = 2.0 / (right - left);
        rows.extend((0..BINS).map(|bin| {
            let hz = bin as f64 * BIN_HZ;
            let rising = (hz - left) / (top - left);
            let falling = (right - hz) / (right - top);
            let height = rising.min(falling).max(0.0) as f32;
            (f64::from(height) * scale) as f32
        }));
    }
    rows
}

// Slaney's scale: straight up to 1 kHz, 3 mels for 200 Hz; then 27 mels for each factor of 6.4.
const STRAIGHT_HZ: f64 = 1_000.0;
const HZ_PER_MEL: f64 = 200.0 / 3.0;
const STRAIGHT_MELS: f64 = STRAIGHT_HZ / HZ_PER_MEL;

fn mel(hz: f64) -> f64 {
    if hz < STRAIGHT_HZ { hz / HZ_PER_MEL } else { STRAIGHT_MELS + (hz / STRAIGHT_HZ).ln() / (6.4_f64.ln() / 27.0) }
}

fn hertz(mel: f64) -> f64 {
    if mel < STRAIGHT_MELS {
        mel * HZ_PER_MEL
    } else {
        STRAIGHT_HZ * (6.4_f64.ln() / 27.0 * (mel - STRAIGHT_MELS)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_and_its_inverse_agree() {
        for (hz, mels) in [(0.0, 0.0), (200.0, 3.0), (1_000.0, 15.0), (6_400.0, 42.0)] {
            assert!((mel(hz) - mels).abs() < 1e-9 && (hertz(mels) - hz).abs() < 1e-9, "{hz} Hz");
        }
    }

    #[test]
    fn each_triangle_rises_once_falls_once_and_has_the_area_of_the_others() {
        for mels in [80, 128] {
            let rows = rows(mels);
            assert_eq!(rows.len(), mels * BINS);
            for (i, row) in rows.chunks(BINS).enumerate() {
                assert!(row.iter().all(|w| *w >= 0.0));
                let changes = row.windows(2).filter(|w| (w[0] > 0.0) != (w[1] > 0.0)).count();
                assert!(changes <= 2, "row {i}");
                // Narrow triangles lie between bins, so the sum over bins says something only where they are wide.
                let area = row.iter().sum::<f32>() * BIN_HZ as f32;
                assert!(i < mels * 3 / 4 || (area - 1.0).abs() < 0.06, "row {i}: {area}");
            }
        }
    }
}
