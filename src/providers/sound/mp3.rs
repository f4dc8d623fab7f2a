//! MP3, by symphonia.

use super::{Out, malformed, source_fault};
use crate::providers::Flow;
use crate::resilience::fault::{Cause, Fault};
use std::io::{self, Read, Seek, SeekFrom};
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::default::codecs::MpaDecoder;
use symphonia::default::formats::MpaReader;

/// A reader that cannot seek, for symphonia.
struct Stream<R>(R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R> Seek for Stream<R> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<R: Read + Send + Sync> MediaSource for Stream<R> {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// Decodes MP3 with or without tags in front.
pub fn decode(source: impl Read + Send + Sync, out: &mut Out<'_>) -> Result<(), Fault> {
    let stream = MediaSourceStream::new(Box::new(Stream(source)), Default::default());
    let mut reader = MpaReader::try_new(stream, FormatOptions::default()).map_err(mp3_fault)?;
    let Some(CodecParameters::Audio(codec)) = reader.tracks().first().and_then(|track| track.codec_params.clone())
    else {
        return Err(malformed("MP3 without a track"));
    };
    let mut decoder = MpaDecoder::try_new(&codec, &AudioDecoderOptions::default()).map_err(mp3_fault)?;
    let mut interleaved: Vec<i16> = Vec::new();
    let mut pcm = Vec::new();
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            Err(error) => {
                // A last packet that was cut is an end like any other, once there was sound.
                let fault = mp3_fault(error);
                return if fault.cause == Cause::Malformed && out.samples > 0 { Ok(()) } else { Err(fault) };
            }
        };
        let decoded = match decoder.decode(&packet) {
            Ok(decoded) => decoded,
            // One bad frame is heard as a gap, if at all.
            Err(Error::DecodeError(_)) => continue,
            Err(error) => return Err(mp3_fault(error)),
        };
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count().max(1));
        decoded.copy_to_vec_interleaved(&mut interleaved);
        pcm.clear();
        let mean = |frame: &[i16]| (frame.iter().map(|&s| i32::from(s)).sum::<i32>() / channels as i32) as i16;
        pcm.extend(interleaved.chunks_exact(channels).map(mean));
        if out.give(rate, &pcm)? == Flow::Stop {
            return Ok(());
        }
    }
}

fn mp3_fault(error: Error) -> Fault {
    match error {
        Error::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => malformed("MP3 cut off"),
        Error::IoError(error) => source_fault(error),
        _ => malformed("no MP3"),
    }
}
