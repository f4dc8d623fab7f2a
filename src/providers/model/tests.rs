use super::*;

/// A whole file in miniature: real structure, the smallest dimensions that are accepted, weights of zero.
fn file() -> Vec<u8> {
    file_with(8)
}

fn file_with(rows: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |numbers: &[u32]| out.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    put(&[MAGIC, 51_865, 1_500, 384, 6, 2, 448, 384, 6, 2, 80, 7]);
    put(&[80, 201]);
    out.resize(out.len() + 4 * 80 * 201, 0);
    out.extend(50_257u32.to_le_bytes());
    for _ in 0..50_257 {
        out.extend([1, 0, 0, 0, b'a']);
    }
    for i in 0..(7 + 15 * 2 + 4 + 24 * 2) {
        let big = i == 0;
        let (rows, kind) = if big { (rows, 8u32) } else { (1, 0) };
        for number in [2, 4, kind, 384, rows] {
            out.extend(number.to_le_bytes());
        }
        out.extend(b"name");
        let bytes = if big { 384 / 32 * 34 * rows as usize } else { 384 * 4 };
        out.resize(out.len() + bytes, 0);
    }
    out
}

fn judged(bytes: &[u8]) -> Result<(), String> {
    walk(&mut Walk { source: bytes, left: bytes.len() as u64 })
}

fn on_disk(name: &str, bytes: &[u8]) -> (Result<(), Fault>, Result<String, Fault>) {
    let path = std::env::temp_dir().join(format!("voxlane-model-{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let judged = (check(&path), verify(&path));
    std::fs::remove_file(&path).unwrap();
    judged
}

#[test]
fn a_whole_file_is_accepted() {
    let (first, second) = on_disk("whole", &file_with(75_000));
    assert_eq!(first, Ok(()));
    assert!(second.is_ok(), "{second:?}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = file();
    let ends = (0..whole.len()).step_by(whole.len() / 200).chain(whole.len() - 50..whole.len()).chain(0..60);
    for end in ends {
        assert!(judged(&whole[..end]).is_err(), "cut at {end} of {}", whole.len());
    }
    let tail = [&whole[..], &[0; 8]].concat();
    assert!(judged(&tail).is_err(), "with something behind it");
}

/// Cut so that every part that is there is whole: whisper.cpp loads these and answers nothing for ever.
#[test]
fn a_file_that_ends_at_a_border_is_refused_too() {
    let whole = file();
    let vocabulary_ends = HEADER_BYTES + 8 + 4 * 80 * 201 + 4 + 5 * 50_257;
    assert_eq!(judged(&whole[..vocabulary_ends]).unwrap_err(), "it is cut off: 0 of 89 tensors");
    let last = 5 * 4 + 4 + 4 * 384;
    assert_eq!(judged(&whole[..whole.len() - last]).unwrap_err(), "it is cut off: 88 of 89 tensors");
}

#[test]
fn damage_in_every_number_of_the_structure_is_refused() {
    let whole = file();
    let vocabulary = HEADER_BYTES + 8 + 4 * 80 * 201;
    let tensor = vocabulary + 4 + 5 * 50_257;
    for at in (0..44).step_by(4).chain([44, HEADER_BYTES, HEADER_BYTES + 4, vocabulary, vocabulary + 4]) {
        let mut damaged = whole.clone();
        damaged[at..at + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        assert!(judged(&damaged).is_err(), "number at {at}");
    }
    for at in (tensor..tensor + 20).step_by(4) {
        let mut damaged = whole.clone();
        damaged[at..at + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        assert!(judged(&damaged).is_err(), "number at {at}");
    }
    let mut float = whole;
    float[44..48].copy_from_slice(&0u32.to_le_bytes());
    assert!(judged(&float).unwrap_err().contains("form"), "ftype 0");
}

#[test]
fn foreign_files_are_named_as_such_with_a_cure() {
    let said = |name: &str, bytes: &[u8]| on_disk(name, bytes).0.unwrap_err().detail.into_string();
    for (name, bytes, what) in [
        ("empty", &b""[..], "too short"),
        ("text", &[b'x'; 100][..], "no ggml file"),
        ("short", &file()[..5_000], "it is cut off: 5000 bytes"),
    ] {
        let text = said(name, bytes);
        assert!(text.contains(what) && text.contains("./tools/run") && text.contains("asr.model"), "{text}");
    }
    assert!(check(Path::new("/nonexistent/model")).unwrap_err().detail.contains("there is no such file"));
}
