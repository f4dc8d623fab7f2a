//! Chance that can be repeated: each request has dice of its own, from the seed, the stage and its number. So what one request
//! meets does not depend on how many others ran beside it.

use crate::profile::Stage;

/// The dice of one request. SplitMix64 (Steele, Lea, Flood 2014): any seed will do, even neighbouring ones.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Of the `number`th request at a stage.
    pub fn of(seed: u64, stage: Stage, number: u64) -> Dice {
        let mut dice = Dice(seed);
        dice.0 = dice.draw() ^ (stage as u64 + 1);
        dice.0 = dice.draw() ^ number;
        dice
    }

    /// 64 even bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from 0 to below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Normally distributed, mean 0, deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_has_the_same_dice_and_another_has_others() {
        let first = |seed, stage, number| Dice::of(seed, stage, number).draw();
        assert_eq!(first(1, Stage::Llm, 5), first(1, Stage::Llm, 5));
        let others = [first(2, Stage::Llm, 5), first(1, Stage::Tts, 5), first(1, Stage::Llm, 6)];
        assert!(others.iter().all(|&other| other != first(1, Stage::Llm, 5)));
    }

    #[test]
    fn dice_are_even_and_normal() {
        let mut dice = Dice::of(7, Stage::Asr, 0);
        let mean = (0..10_000).map(|_| dice.unit()).sum::<f64>() / 10_000.0;
        assert!((0.49..0.51).contains(&mean), "{mean}");
        let normals: Vec<f64> = (0..10_000).map(|_| dice.normal()).collect();
        let mean = normals.iter().sum::<f64>() / 10_000.0;
        let deviation = (normals.iter().map(|x| x * x).sum::<f64>() / 10_000.0).sqrt();
        assert!(mean.abs() < 0.04 && (0.97..1.03).contains(&deviation), "{mean} {deviation}");
        assert!((0..1_000).all(|_| dice.below(3) < 3));
    }
}
