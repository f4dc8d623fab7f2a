//! CTranslate2's `model.bin`, read.
//!
//! ```text
//! version u32 = 6 | name of the kind | revision u32 | count u32 | arrays | count u32 | aliases
//! array = name | rank u8 | size u32 × rank | type u8 | bytes u32 | values        alias = name | name of an array
//! ```
//! A name is its length as u16, then that many bytes, the last of them zero. All numbers are little-endian.

use crate::Result;
use half::f16;
use std::collections::BTreeMap;

/// The arrays of a model, by name.
pub struct Model<'a> {
    arrays: BTreeMap<&'a str, Array<'a>>,
}

/// One array, its values as they lie in the file.
struct Array<'a> {
    sizes: Vec<usize>,
    kind: u8,
    bytes: &'a [u8],
}

/// Values of an array as numbers. `sizes` begins with the outermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// How many along each axis.
    pub sizes: Vec<usize>,
    /// The values, the innermost axis running fastest.
    pub values: Vec<f32>,
}

/// The version of the format that we read.
const VERSION: u32 = 6;

impl<'a> Model<'a> {
    /// Reads the whole file, to its exact end.
    pub fn parse(bytes: &'a [u8]) -> Result<Model<'a>> {
        let mut rest = Rest(bytes);
        let version = rest.u32()?;
        if version != VERSION {
            return Err(format!(
                "model.bin is of version {version}, not {VERSION}: no CTranslate2 model that we can read"
            ));
        }
        let kind = rest.name()?;
        if kind != "WhisperSpec" {
            return Err(format!("model.bin is a {kind}, not a WhisperSpec"));
        }
        let _revision = rest.u32()?;
        let mut arrays = BTreeMap::new();
        for _ in 0..rest.u32()? {
            let name = rest.name()?;
            if arrays.insert(name, rest.array()?).is_some() {
                return Err(format!("model.bin has {name} twice"));
            }
        }
        // Whisper's only alias is the output projection, which whisper.cpp takes from the embedding by itself.
        for _ in 0..rest.u32()? {
            rest.name()?;
            rest.name()?;
        }
        if !rest.0.is_empty() {
            return Err(format!("model.bin goes on for {} bytes after its end", rest.0.len()));
        }
        Ok(Model { arrays })
    }

    /// An array's sizes, if there are `N` of them.
    pub fn sizes<const N: usize>(&self, name: &str) -> Result<[usize; N]> {
        let sizes = &self.array(name)?.sizes;
        sizes.as_slice().try_into().map_err(|_| format!("{name} has sizes {sizes:?}; {N} are due"))
    }

    /// A single small number.
    pub fn number(&self, name: &str) -> Result<usize> {
        let array = self.array(name)?;
        let number = match (array.kind, array.bytes) {
            (1, &[a]) => i32::from(a as i8),
            (2, &[a, b]) => i32::from(i16::from_le_bytes([a, b])),
            (3, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]),
            _ => return Err(format!("{name} is not one whole number")),
        };
        usize::try_from(number).map_err(|_| format!("{name} is {number}"))
    }

    /// An array's values.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let array = self.array(name)?;
        let count = array.sizes.iter().try_fold(1, |count: usize, &size| count.checked_mul(size));
        let values: Vec<f32> = match array.kind {
            0 => array.bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            4 => array.bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            kind => return Err(format!("{name} is of type {kind}; only models in float16 or float32 are converted")),
        };
        if count != Some(values.len()) {
            return Err(format!("{name} has {} values for sizes {:?}", values.len(), array.sizes));
        }
        Ok(Tensor { sizes: array.sizes.clone(), values })
    }

    /// Whether there is such an array.
    pub fn has(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    fn array(&self, name: &str) -> Result<&Array<'a>> {
        self.arrays.get(name).ok_or_else(|| format!("model.bin has no {name}"))
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("model.bin ends early: a part is missing or cut")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "model.bin ends early".to_owned())
    }

    fn u8(&mut self) -> Result<u8> {
        self.number::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn name(&mut self) -> Result<&'a str> {
        let len = self.number().map(u16::from_le_bytes)?;
        let bytes = self.take(len.into())?;
        let text = bytes.strip_suffix(&[0]).and_then(|text| std::str::from_utf8(text).ok());
        text.ok_or_else(|| "model.bin has a name that is none".to_owned())
    }

    fn array(&mut self) -> Result<Array<'a>> {
        let rank = self.u8()?;
        let sizes = (0..rank).map(|_| self.u32().map(|size| size as usize)).collect::<Result<_>>()?;
        let kind = self.u8()?;
        let len = self.u32()?;
        Ok(Array { sizes, kind, bytes: self.take(len as usize)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Builder;

    #[test]
    fn values_and_numbers_come_back() {
        let bytes = Builder::new()
            .floats("single", &[2], &[1.5, -2.0])
            .halves("half", &[1, 2], &[0.5, 0.25])
            .number("heads", 8)
            .alias("other", "half")
            .bytes();
        let model = Model::parse(&bytes).expect("sound");
        assert_eq!(model.tensor("single"), Ok(Tensor { sizes: vec![2], values: vec![1.5, -2.0] }));
        assert_eq!(model.tensor("half"), Ok(Tensor { sizes: vec![1, 2], values: vec![0.5, 0.25] }));
        assert_eq!(model.number("heads"), Ok(8));
        assert_eq!(model.sizes("half"), Ok([1, 2]));
        assert!(model.sizes::<1>("half").is_err());
        assert!(model.tensor("heads").unwrap_err().contains("type 2"));
        assert!(model.number("half").is_err());
        assert!(model.tensor("none").unwrap_err().contains("none"));
    }

    #[test]
    fn a_file_cut_or_grown_anywhere_is_refused() {
        let mut bytes = Builder::new().floats("w", &[2], &[1.0, 2.0]).alias("v", "w").bytes();
        assert!(Model::parse(&bytes).is_ok());
        assert!((0..bytes.len()).all(|len| Model::parse(&bytes[..len]).is_err()));
        bytes.push(0);
        assert!(Model::parse(&bytes).is_err());
        assert!(Model::parse(b"PK\x03\x04 this is an archive").is_err());
    }

    #[test]
    fn sizes_that_do_not_fit_the_values_are_refused() {
        for sizes in [&[3][..], &[1], &[usize::pow(2, 32) - 1, usize::pow(2, 32) - 1, 4]] {
            let bytes = Builder::new().floats("w", sizes, &[1.0, 2.0]).bytes();
            assert!(Model::parse(&bytes).and_then(|model| model.tensor("w").map(|_| ())).is_err(), "{sizes:?}");
        }
    }
}
