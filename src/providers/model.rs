//! Whisper model files (ggml), judged before whisper.cpp sees them: it aborts the process on some broken ones and runs on half
//! of others.
//!
//! Two looks. [`check`] reads the first bytes: is it there, is it such a file, is it long enough; cheap, before listening begins.
//! [`verify`] reads all of it: a file that we know by its SHA-256, any other tensor by tensor to its exact end.

use crate::resilience::fault::{Cause, Fault};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// The model that set-up makes.
pub const DEFAULT_NAME: &str = "ggml-base-q8_0.bin";

/// Files we know: bytes, SHA-256, name.
const KNOWN: [(u64, &str, &str); 4] = [
    (81_768_585, "f85d8c7315199570e821dde83c26cbafb3c9d08664f0c774e1907cb5ef72b301", "Whisper base, q8_0"),
    (59_707_625, "610f94a192922b9d4bc00ffedd275c45e9687df5276712a119cda0c24a506c41", "Whisper base, q5_1"),
    (147_951_465, "8d78d460605106728323df7c1d103d5749e1d16c08e9f4fd2ed9bb4ebe84cc60", "Whisper base, f16"),
    (43_550_778, "96a9894d986400dfbaa6a7ea991bc68b91074cc080952a131efa786029d295a2", "Whisper tiny.en, q8_0"),
];

/// "ggml", as a little-endian number.
const MAGIC: u32 = 0x6767_6d6c;
/// Bytes of magic and the eleven numbers after it.
const HEADER_BYTES: usize = 48;

/// Where set-up puts the model: `$VOXLANE_MODELS`, else `voxlane` in the user's cache folder.
pub fn default_path() -> PathBuf {
    let given = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = || given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")));
    let folder = given("VOXLANE_MODELS").or_else(|| cache().map(|cache| cache.join("voxlane")));
    folder.unwrap_or_else(|| PathBuf::from(".")).join(DEFAULT_NAME)
}

/// The first look.
///
/// # Errors
/// `Refused`, with what is wrong and how to get a good file.
pub fn check(path: &Path) -> Result<(), Fault> {
    let mut file = File::open(path).map_err(|error| wrong(path, &unreadable(&error)))?;
    let length = file.metadata().map_err(|error| wrong(path, &error.to_string()))?.len();
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact(&mut bytes).map_err(|_| wrong(path, "it is too short to be a model"))?;
    let shape = Shape::parse(&bytes).map_err(|why| wrong(path, why))?;
    if length < shape.least_bytes() {
        return Err(wrong(path, &format!("it is cut off: {length} bytes, at least {} are due", shape.least_bytes())));
    }
    Ok(())
}

/// The second look; a second or so for a large file. Returns what the model is.
///
/// # Errors
/// As [`check`].
pub fn verify(path: &Path) -> Result<String, Fault> {
    check(path)?;
    let length = std::fs::metadata(path).map_err(|error| wrong(path, &error.to_string()))?.len();
    if let Some((_, sum, name)) = KNOWN.iter().find(|known| known.0 == length)
        && sha256(path).map_err(|error| wrong(path, &error.to_string()))? == *sum
    {
        return Ok((*name).to_owned());
    }
    let file = File::open(path).map_err(|error| wrong(path, &unreadable(&error)))?;
    walk(&mut Walk { source: BufReader::new(file), left: length }).map_err(|why| wrong(path, &why))?;
    Ok(path.file_name().map_or_else(|| "Whisper".to_owned(), |name| name.to_string_lossy().into_owned()))
}

fn wrong(path: &Path, what: &str) -> Fault {
    let cure = "./tools/run and ./tools/test get the standard one; or name a whisper.cpp model file in asr.model";
    Fault::new(Cause::Refused, format!("speech model {}: {what}; {cure}", path.display()))
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            len => hash.update(&buffer[..len]),
        }
    }
}

/// The numbers at the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    vocabulary: u64,
    audio_context: u64,
    audio_width: u64,
    audio_layers: u64,
    text_context: u64,
    text_width: u64,
    text_layers: u64,
    mels: u64,
    /// Bytes of 32 weights of a large matrix.
    block_bytes: u64,
}

impl Shape {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Shape, &'static str> {
        let number =
            |i: usize| u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]);
        if number(0) != MAGIC {
            return Err("it is no ggml file of whisper.cpp");
        }
        let [vocabulary, audio_context, audio_width, audio_heads, audio_layers] = [1, 2, 3, 4, 5].map(number);
        let [text_context, text_width, text_heads, text_layers, mels] = [6, 7, 8, 9, 10].map(number);
        let widths = [(audio_width, audio_heads), (text_width, text_heads)];
        let is_sane = (51_864..=51_866).contains(&vocabulary)
            && audio_context == 1_500
            && text_context == 448
            && widths
                .iter()
                .all(|&(width, heads)| (384..=1_280).contains(&width) && width % 64 == 0 && width / 64 == heads)
            && [audio_layers, text_layers].iter().all(|layers| (2..=32).contains(layers))
            && [80, 128].contains(&mels);
        if !is_sane {
            return Err("its dimensions are those of no Whisper model");
        }
        // Thousands count the version of the quantisation.
        let block_bytes = match number(11) % 1_000 {
            1 => 64,
            2 => 18,
            3 => 20,
            7 => 34,
            8 => 22,
            9 => 24,
            _ => return Err("its weights are in a form that is not used for speech (f16, q4, q5, q8 are)"),
        };
        let [vocabulary, audio_context, audio_width, audio_layers] =
            [vocabulary, audio_context, audio_width, audio_layers].map(u64::from);
        let [text_context, text_width, text_layers, mels] =
            [text_context, text_width, text_layers, mels].map(u64::from);
        Ok(Shape {
            vocabulary,
            audio_context,
            audio_width,
            audio_layers,
            text_context,
            text_width,
            text_layers,
            mels,
            block_bytes,
        })
    }

    /// What the large matrices alone need.
    fn least_bytes(&self) -> u64 {
        let (audio, text) = (self.audio_width, self.text_width);
        let weights =
            self.vocabulary * text + self.audio_layers * 12 * audio * audio + self.text_layers * 16 * text * text;
        weights / 32 * self.block_bytes
    }

    /// Tensors of a complete file: 15 a layer (and 9 for the attention across), the rest around them.
    fn tensors(&self) -> u64 {
        7 + 15 * self.audio_layers + 4 + 24 * self.text_layers
    }
}

/// A file being read from front to back, with what is left of it.
struct Walk<R> {
    source: R,
    left: u64,
}

impl<R: Read> Walk<R> {
    fn number(&mut self) -> Result<u32, String> {
        let mut bytes = [0; 4];
        self.take(4)?;
        self.source.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        self.take(bytes)?;
        let copied = io::copy(&mut (&mut self.source).take(bytes), &mut io::sink()).map_err(|e| e.to_string())?;
        if copied == bytes { Ok(()) } else { Err("it is cut off".to_owned()) }
    }

    fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or("it is cut off")?;
        Ok(())
    }
}

/// Every part in turn, to the exact end.
fn walk(file: &mut Walk<impl Read>) -> Result<(), String> {
    let mut header = [0; HEADER_BYTES];
    file.take(HEADER_BYTES as u64)?;
    file.source.read_exact(&mut header).map_err(|e| e.to_string())?;
    let shape = Shape::parse(&header)?;
    let (mels, bins) = (u64::from(file.number()?), u64::from(file.number()?));
    if mels != shape.mels || bins != 201 {
        return Err("its mel filters have another size".to_owned());
    }
    file.skip(4 * mels * bins)?;
    let words = u64::from(file.number()?);
    if words > shape.vocabulary || words < 50_000 {
        return Err("its vocabulary has another size".to_owned());
    }
    for _ in 0..words {
        let bytes = u64::from(file.number()?);
        if bytes > 1_024 {
            return Err("its vocabulary is damaged".to_owned());
        }
        file.skip(bytes)?;
    }
    let mut tensors = 0;
    while file.left > 0 {
        tensor(file)?;
        tensors += 1;
        if tensors > shape.tensors() {
            return Err("it has more tensors than the model".to_owned());
        }
    }
    match tensors == shape.tensors() {
        true => Ok(()),
        false => Err(format!("it is cut off: {tensors} of {} tensors", shape.tensors())),
    }
}

fn tensor(file: &mut Walk<impl Read>) -> Result<(), String> {
    let (dimensions, name, kind) = (file.number()?, file.number()?, file.number()?);
    if !(1..=4).contains(&dimensions) || name == 0 || name > 128 {
        return Err("a tensor is damaged".to_owned());
    }
    let mut elements = 1u64;
    let mut row = 0;
    for i in 0..dimensions {
        let size = u64::from(file.number()?);
        if i == 0 {
            row = size;
        }
        elements = elements.checked_mul(size).filter(|n| (1..=1 << 32).contains(n)).ok_or("a tensor is damaged")?;
    }
    file.skip(u64::from(name))?;
    // Elements and bytes of a block of each ggml type.
    let (block, bytes) = match kind {
        0 => (1, 4),
        1 => (1, 2),
        2 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        _ => return Err(format!("a tensor has the unknown type {kind}")),
    };
    if row % block != 0 {
        return Err("a tensor does not fill its blocks".to_owned());
    }
    file.skip(elements / block * bytes)
}

#[cfg(test)]
mod tests;
