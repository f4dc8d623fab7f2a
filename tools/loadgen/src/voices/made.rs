//! Where speech comes from: espeak-ng as a process of its own (it is GPL, and stays outside), or the recordings of the tests.

use super::recipe::{RECIPES, Recipe};
use super::{RATE, Speech, cut};
use std::io::Write;
use std::process::{Command, Stdio};
use voxlane::audio::resample::Resampler;

/// How many speeches [`recorded`] gives.
pub const RECORDED_VARIANTS: usize = 6;

/// Two people. Sources and licences stand in `tests/data/README.md`.
const ENGLISH: &[u8] = include_bytes!("../../../../tests/data/en-librispeech-1995-1837-0001.wav");
const CHINESE: &[u8] = include_bytes!("../../../../tests/data/zh-aishell-BAC009S0724W0121.wav");

/// Every recipe by espeak-ng; with the reason when that did not work. Voices that this espeak-ng lacks are left out.
pub fn synthesised() -> (Vec<Speech>, Option<String>) {
    let mut speeches = Vec::new();
    for recipe in RECIPES {
        match speak(recipe) {
            Ok(speech) => speeches.extend(speech),
            Err(problem) => return (Vec::new(), Some(problem)),
        }
    }
    match speeches.len() {
        0 | 1 => (Vec::new(), Some("espeak-ng has none of the voices".to_owned())),
        _ => (speeches, None),
    }
}

fn speak(recipe: &Recipe) -> Result<Option<Speech>, String> {
    let (speed, pitch) = (recipe.speed.to_string(), recipe.pitch.to_string());
    let mut child = Command::new("espeak-ng")
        .args(["-v", recipe.voice, "-s", &speed, "-p", &pitch, "--stdin", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("espeak-ng does not start ({e}); apt-get install espeak-ng"))?;
    let mut stdin = child.stdin.take().ok_or("espeak-ng takes no text")?;
    // A voice that is missing ends it before it has read: that is seen in the status below.
    let _ = stdin.write_all(recipe.text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| format!("espeak-ng: {e}"))?;
    if !output.status.success() {
        return Ok(None);
    }
    // The sizes in its header lie: 44 bytes, then 16-bit mono to the end.
    let Some(sound) = output.stdout.get(44..).filter(|s| !s.is_empty()) else { return Ok(None) };
    let rate = u32::from_le_bytes([output.stdout[24], output.stdout[25], output.stdout[26], output.stdout[27]]);
    let pcm = cut::levelled(&resampled(&samples(sound), rate)?, cut::QUIET);
    let name = format!("{}/{}/{}", recipe.voice, recipe.speed, recipe.pitch);
    Ok((!pcm.is_empty()).then(|| Speech { name, text: recipe.text.to_owned(), pcm }))
}

/// The recordings at three speeds each: voices change with the speed, as on a turntable.
pub fn recorded() -> Vec<Speech> {
    let english = samples(&ENGLISH[44..]);
    let chinese = samples(&CHINESE[44..]);
    let sources = [
        ("en-recording", "it was the first great sorrow of his life", cut::until_pause(&english, 2.8, 4.0)),
        ("zh-recording", "广州市房地产中介", cut::until_pause(&chinese, 2.4, 3.4)),
    ];
    let mut speeches = Vec::new();
    for (name, text, pcm) in sources {
        // Rates the resampler knows, read as if they were 16 kHz: 0, 10 and 20 % slower or faster.
        for (label, stretched) in [("100", pcm.to_vec()), ("110", stretch(pcm, 10, 11)), ("90", stretch(pcm, 10, 9))] {
            speeches.push(Speech {
                name: format!("{name}/{label}"),
                text: text.to_owned(),
                pcm: cut::levelled(&stretched, cut::QUIET_ROOM),
            });
        }
    }
    debug_assert_eq!(speeches.len(), RECORDED_VARIANTS);
    speeches
}

/// `pcm` at `to`/`from` of its length, by linear interpolation: it need only sound like somebody else.
fn stretch(pcm: &[i16], from: usize, to: usize) -> Vec<i16> {
    let len = (pcm.len() * from / to).saturating_sub(1);
    (0..len)
        .map(|i| {
            let (at, part) = (i * to / from, (i * to % from) as i32);
            let (a, b) = (i32::from(pcm[at]), i32::from(pcm[(at + 1).min(pcm.len() - 1)]));
            (a + (b - a) * part / from as i32) as i16
        })
        .collect()
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

fn resampled(pcm: &[i16], from: u32) -> Result<Vec<i16>, String> {
    let mut resampler = Resampler::new(from, RATE).map_err(|e| format!("espeak-ng speaks at {} Hz", e.0))?;
    let mut out = Vec::new();
    resampler.process(pcm, &mut out);
    resampler.flush(&mut out);
    Ok(out)
}
