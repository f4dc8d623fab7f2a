//! The file that whisper.cpp loads.
//!
//! ```text
//! magic | 11 numbers | mels, bins, filters f32 | count, (length, bytes) per token | records to the end
//! record = axes, length of name, type, size per axis (innermost first) | name | values
//! ```
//! All numbers are u32, little-endian.

use crate::block::Form;
use crate::ct2::{Model, Tensor};
use crate::plan::{Entry, Shape, Store};
use crate::{Result, filters};
use std::io::Write;

const MAGIC: u32 = 0x6767_6d6c; // "ggml"

/// Writes the whole file.
pub fn write(model: &Model, tokens: &[Vec<u8>], form: Form, out: &mut impl Write) -> Result<()> {
    let shape = Shape::of(model)?;
    if tokens.len() > shape.vocabulary {
        return Err(format!("{} tokens for a vocabulary of {}", tokens.len(), shape.vocabulary));
    }
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|error| format!("cannot write: {error}"));
    write(&head(&shape, tokens, form)?)?;
    for entry in shape.plan() {
        write(&record(model, &entry, form).map_err(|reason| format!("{}: {reason}", entry.from))?)?;
    }
    Ok(())
}

/// All before the records.
fn head(shape: &Shape, tokens: &[Vec<u8>], form: Form) -> Result<Vec<u8>> {
    let Shape { vocabulary, audio, text, width, mels } = *shape;
    let mut out = MAGIC.to_le_bytes().to_vec();
    for number in [
        vocabulary,
        audio.context,
        width,
        audio.heads,
        audio.layers,
        text.context,
        width,
        text.heads,
        text.layers,
        mels,
        form.file_number() as usize,
        mels,
        filters::BINS,
    ] {
        put_number(number, &mut out)?;
    }
    out.extend(filters::rows(mels).iter().flat_map(|weight| weight.to_le_bytes()));
    put_number(tokens.len(), &mut out)?;
    for token in tokens {
        put_number(token.len(), &mut out)?;
        out.extend(token);
    }
    Ok(out)
}

fn record(model: &Model, entry: &Entry, form: Form) -> Result<Vec<u8>> {
    let mut tensor = part(model.tensor(&entry.from)?, entry.part)?;
    if entry.store == Store::Column {
        tensor.sizes.push(1);
    }
    let form = match entry.store {
        Store::Chosen => Some(form),
        Store::Half => Some(Form::F16),
        Store::Plain | Store::Column => None,
    };
    let row = tensor.sizes.last().copied().unwrap_or(1);
    if form.is_some_and(|form| !form.fits(row)) {
        return Err(format!("a row of {row} weights cannot be stored in blocks"));
    }
    let mut out = Vec::with_capacity(64 + 4 * tensor.values.len());
    put_number(tensor.sizes.len(), &mut out)?;
    put_number(entry.name.len(), &mut out)?;
    out.extend(form.map_or(0, Form::record_number).to_le_bytes());
    for &size in tensor.sizes.iter().rev() {
        put_number(size, &mut out)?;
    }
    out.extend(entry.name.as_bytes());
    match form {
        Some(form) => form.put(&tensor.values, &mut out),
        None => out.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes())),
    }
    Ok(out)
}

/// The rows of one part, of so many equal ones.
fn part(mut tensor: Tensor, (index, parts): (usize, usize)) -> Result<Tensor> {
    if parts == 1 {
        return Ok(tensor);
    }
    let rows = tensor.sizes.first().copied().unwrap_or(0);
    if rows == 0 || !rows.is_multiple_of(parts) {
        return Err(format!("{rows} rows cannot be taken apart into {parts}"));
    }
    tensor.sizes[0] = rows / parts;
    let len = tensor.values.len() / parts;
    tensor.values = tensor.values.drain(index * len..(index + 1) * len).collect();
    Ok(tensor)
}

fn put_number(number: usize, out: &mut Vec<u8>) -> Result<()> {
    // whisper.cpp reads them as i32.
    let number = i32::try_from(number).map_err(|_| format!("{number} does not fit the file's format"))?;
    out.extend(number.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn file(form: Form) -> Vec<u8> {
        let bytes = sample::model();
        let mut out = Vec::new();
        write(&Model::parse(&bytes).expect("sound"), &[b"a".to_vec(), Vec::new()], form, &mut out).expect("sound");
        out
    }

    fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
        std::array::from_fn(|i| u32::from_le_bytes(bytes[4 * i..4 * i + 4].try_into().expect("four")))
    }

    #[test]
    fn the_head_says_what_follows() {
        let file = file(Form::Q5_1);
        assert_eq!(numbers(&file), [MAGIC, 5, 10, 32, 4, 1, 6, 32, 4, 1, 80, 2_009, 80, 201]);
        let vocabulary = &file[4 * (14 + 80 * 201)..];
        assert_eq!(vocabulary[..13], [2, 0, 0, 0, 1, 0, 0, 0, b'a', 0, 0, 0, 0]);
        assert_eq!(numbers(&vocabulary[13..]), [2, 28, 0, 32, 6]); // the first record: two axes, 6 positions of 32
        assert_eq!(&vocabulary[33..61], b"decoder.positional_embedding");
    }

    #[test]
    fn records_follow_each_other_to_the_exact_end() {
        for form in [Form::F16, Form::Q8_0, Form::Q5_1] {
            let file = file(form);
            let mut at = 4 * (14 + 80 * 201) + 13;
            let mut seen = Vec::new();
            while at < file.len() {
                let [axes, name, kind] = numbers(&file[at..]);
                at += 12;
                let count: usize = (0..axes as usize).map(|i| numbers::<1>(&file[at + 4 * i..])[0] as usize).product();
                at += 4 * axes as usize;
                seen.push(String::from_utf8_lossy(&file[at..at + name as usize]).into_owned());
                at += name as usize
                    + count * [4, 2, 0, 0, 0, 0, 0, 24, 34][kind as usize]
                        / [1, 1, 1, 1, 1, 1, 1, 32, 32][kind as usize];
            }
            assert_eq!(at, file.len());
            let planned: Vec<_> = Shape::of(&Model::parse(&sample::model()).expect("sound")).expect("sound").plan();
            assert!(seen.iter().eq(planned.iter().map(|entry| &entry.name)));
        }
    }

    #[test]
    fn a_vocabulary_that_does_not_fit_is_refused() {
        let bytes = sample::model();
        let model = Model::parse(&bytes).expect("sound");
        let tokens = vec![b"a".to_vec(); 6];
        assert!(write(&model, &tokens, Form::F16, &mut Vec::new()).unwrap_err().contains("vocabulary of 5"));
    }

    #[test]
    fn parts_are_runs_of_rows() {
        let whole = Tensor { sizes: vec![4, 1], values: vec![1.0, 2.0, 3.0, 4.0] };
        assert_eq!(part(whole.clone(), (1, 2)), Ok(Tensor { sizes: vec![2, 1], values: vec![3.0, 4.0] }));
        assert!(part(whole, (0, 3)).is_err());
    }
}
