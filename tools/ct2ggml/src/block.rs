//! The forms in which a large matrix is stored. In the two small ones 32 weights share a scale, as ggml defines them and with
//! its rounding:
//!
//! ```text
//! q8_0, 34 bytes:  scale f16 | 32 × i8                                                    weight = scale × q
//! q5_1, 24 bytes:  scale f16 | least f16 | 32 × fifth bit | 16 × two lower halves         weight = scale × q + least
//! ```
//! The lower half-byte of pair `i` belongs to weight `i`, the upper one to weight `i + 16`.

use crate::Result;
use half::f16;

/// Weights that share a scale.
pub const LEN: usize = 32;

/// How the large matrices are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Half floats.
    F16,
    /// One byte a weight.
    Q8_0,
    /// Five bits a weight.
    Q5_1,
}

impl Form {
    /// The form of that name.
    pub fn parse(name: &str) -> Result<Form> {
        match name {
            "f16" => Ok(Form::F16),
            "q8_0" => Ok(Form::Q8_0),
            "q5_1" => Ok(Form::Q5_1),
            _ => Err(format!("{name:?} is none of the forms q8_0, q5_1, f16")),
        }
    }

    /// The number in the file's header: ggml's number of the form, and 1,000 times the version of its blocks, which is 2.
    pub const fn file_number(self) -> u32 {
        match self {
            Form::F16 => 1,
            Form::Q8_0 => 2_007,
            Form::Q5_1 => 2_009,
        }
    }

    /// The number in the record of a tensor.
    pub const fn record_number(self) -> u32 {
        match self {
            Form::F16 => 1,
            Form::Q8_0 => 8,
            Form::Q5_1 => 7,
        }
    }

    /// Whether a row of that many weights can be stored.
    pub const fn fits(self, row: usize) -> bool {
        matches!(self, Form::F16) || row.is_multiple_of(LEN)
    }

    /// Appends weights, whole rows that [`Form::fits`].
    pub fn put(self, weights: &[f32], out: &mut Vec<u8>) {
        match self {
            Form::F16 => out.extend(weights.iter().flat_map(|&w| f16::from_f32(w).to_le_bytes())),
            Form::Q8_0 => weights.as_chunks().0.iter().for_each(|block| put_q8_0(block, out)),
            Form::Q5_1 => weights.as_chunks().0.iter().for_each(|block| put_q5_1(block, out)),
        }
    }
}

fn put_q8_0(block: &[f32; LEN], out: &mut Vec<u8>) {
    let largest = block.iter().map(|w| w.abs()).fold(0.0, f32::max);
    let scale = largest / 127.0;
    let steps = steps_per_unit(scale);
    out.extend(f16::from_f32(scale).to_le_bytes());
    out.extend(block.map(|w| (w * steps).round() as i8 as u8));
}

fn put_q5_1(block: &[f32; LEN], out: &mut Vec<u8>) {
    let least = block.iter().copied().fold(f32::INFINITY, f32::min);
    let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = (most - least) / 31.0;
    let steps = steps_per_unit(scale);
    let level = block.map(|w| ((w - least) * steps + 0.5) as u8);
    let fifth = (0..LEN).fold(0_u32, |bits, i| bits | u32::from(level[i] >> 4 & 1) << i);
    out.extend(f16::from_f32(scale).to_le_bytes());
    out.extend(f16::from_f32(least).to_le_bytes());
    out.extend(fifth.to_le_bytes());
    out.extend((0..LEN / 2).map(|i| level[i] & 15 | (level[i + LEN / 2] & 15) << 4));
}

/// A block of equal weights has no scale; all its steps are 0.
fn steps_per_unit(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(form: Form, weights: &[f32]) -> Vec<u8> {
        let mut out = Vec::new();
        form.put(weights, &mut out);
        out
    }

    /// The weights that whisper.cpp computes from a block.
    fn read(form: Form, bytes: &[u8]) -> Vec<f32> {
        let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32();
        match form {
            Form::F16 => (0..bytes.len()).step_by(2).map(half).collect(),
            Form::Q8_0 => bytes[2..].iter().map(|&q| half(0) * f32::from(q as i8)).collect(),
            Form::Q5_1 => {
                let fifth = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
                let level = |i: usize| {
                    let pair = bytes[8 + i % 16];
                    u32::from(if i < 16 { pair & 15 } else { pair >> 4 }) | (fifth >> i & 1) << 4
                };
                (0..LEN).map(|i| half(0) * level(i) as f32 + half(2)).collect()
            }
        }
    }

    #[test]
    fn a_block_laid_out_by_hand() {
        let mut weights = [0.0; LEN];
        (weights[0], weights[1], weights[31]) = (127.0, -1.4, 63.5);
        let q8 = put(Form::Q8_0, &weights);
        assert_eq!((q8.len(), &q8[..4], q8[33]), (34, &[0x00, 0x3c, 127, 0xff][..], 64)); // half 1.0; 63.5 away from zero

        let mut weights = [0.0; LEN];
        (weights[0], weights[1], weights[17]) = (31.0, 16.0, 7.0);
        let q5 = put(Form::Q5_1, &weights);
        assert_eq!(q5[..8], [0x00, 0x3c, 0, 0, 0b11, 0, 0, 0]); // scale 1.0, least 0.0, fifth bits of 31 and 16
        assert_eq!((q5.len(), q5[8], q5[9], q5[10]), (24, 0x0f, 0x70, 0));
    }

    #[test]
    fn what_is_read_back_is_within_half_a_step() {
        for seed in 0..200_u32 {
            let weights: [f32; LEN] = std::array::from_fn(|i| {
                let hash = (seed * 32 + i as u32).wrapping_mul(2_654_435_761) >> 8;
                hash as f32 / (1 << 24) as f32 - 0.3
            });
            for (form, bytes, error) in [(Form::F16, 64, 0.0003), (Form::Q8_0, 34, 0.0032), (Form::Q5_1, 24, 0.0168)] {
                let block = put(form, &weights);
                assert_eq!(block.len(), bytes);
                for (was, is) in weights.iter().zip(read(form, &block)) {
                    assert!((was - is).abs() <= error, "{form:?}, seed {seed}: {was} became {is}");
                }
            }
        }
    }

    #[test]
    fn equal_weights_stay_equal() {
        for value in [0.0, 0.25, -3.0] {
            for form in [Form::F16, Form::Q8_0, Form::Q5_1] {
                let back = read(form, &put(form, &[value; LEN]));
                assert!(back.iter().all(|w| (w - value).abs() < 0.002), "{form:?} {value}: {back:?}");
            }
        }
    }

    #[test]
    fn rows_must_be_whole_blocks() {
        assert!(Form::F16.fits(3) && Form::Q8_0.fits(512) && !Form::Q8_0.fits(33) && !Form::Q5_1.fits(3));
    }
}
