//! Which record of the file comes from which array of CTranslate2, in the order of OpenAI's own checkpoints.
//!
//! CTranslate2 lays the matrices of query, key and value one under the other; a record takes its third (or half) of the rows.
//! Whisper's keys have no bias: CTranslate2 fills its part of the bias with zeros, and no record takes it.

use crate::Result;
use crate::ct2::Model;

/// One record.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Its name for whisper.cpp.
    pub name: String,
    /// The array it comes from.
    pub from: String,
    /// Which part of the rows, of how many equal parts.
    pub part: (usize, usize),
    /// How it is stored.
    pub store: Store,
}

/// How a record is stored: whisper.cpp asks for exactly this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store {
    /// In the form chosen for large matrices.
    Chosen,
    /// Single floats: all that is small.
    Plain,
    /// Single floats with another axis of size 1, so that a bias spreads over time.
    Column,
    /// Half floats: the kernels of the convolutions.
    Half,
}

/// The numbers in the file's header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Tokens, control tokens included.
    pub vocabulary: usize,
    /// Positions and layers of the encoder, and its heads.
    pub audio: Side,
    /// The same of the decoder.
    pub text: Side,
    /// Width of both.
    pub width: usize,
    /// Mel filters.
    pub mels: usize,
}

/// Encoder or decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Side {
    /// Positions it can attend to.
    pub context: usize,
    /// Heads of its attention.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
}

impl Shape {
    /// Reads the shape off the arrays.
    pub fn of(model: &Model) -> Result<Shape> {
        let side = |name: &str| -> Result<(Side, usize)> {
            let [context, width] = model.sizes(&format!("{name}/position_encodings/encodings"))?;
            let layers = (0..).take_while(|i| model.has(&format!("{name}/layer_{i}/ffn/linear_0/weight"))).count();
            Ok((Side { context, heads: model.number(&format!("{name}/num_heads"))?, layers }, width))
        };
        let ((audio, width), (text, text_width)) = (side("encoder")?, side("decoder")?);
        let [vocabulary, embedding_width] = model.sizes("decoder/embeddings/weight")?;
        let [kernels, mels, _] = model.sizes("encoder/conv1/weight")?;
        if [text_width, embedding_width, kernels] != [width; 3] {
            return Err(format!(
                "encoder, decoder, embedding and convolution are {width}, {text_width}, {embedding_width}, {kernels} wide"
            ));
        }
        Ok(Shape { vocabulary, audio, text, width, mels })
    }

    /// All records.
    pub fn plan(&self) -> Vec<Entry> {
        let mut plan = Plan(Vec::new());
        plan.one("decoder.positional_embedding", "decoder/position_encodings/encodings", Store::Plain);
        plan.one("encoder.positional_embedding", "encoder/position_encodings/encodings", Store::Plain);
        plan.one("decoder.token_embedding.weight", "decoder/embeddings/weight", Store::Chosen);
        for i in 0..self.text.layers {
            let (to, from) = (format!("decoder.blocks.{i}"), format!("decoder/layer_{i}"));
            plan.feed_forward(&to, &from);
            plan.attention(&format!("{to}.attn"), &format!("{from}/self_attention"));
            plan.cross_attention(&format!("{to}.cross_attn"), &format!("{from}/attention"));
        }
        plan.norm("decoder.ln", "decoder/layer_norm");
        for conv in ["conv1", "conv2"] {
            plan.one(&format!("encoder.{conv}.weight"), &format!("encoder/{conv}/weight"), Store::Half);
            plan.one(&format!("encoder.{conv}.bias"), &format!("encoder/{conv}/bias"), Store::Column);
        }
        for i in 0..self.audio.layers {
            let (to, from) = (format!("encoder.blocks.{i}"), format!("encoder/layer_{i}"));
            plan.feed_forward(&to, &from);
            plan.attention(&format!("{to}.attn"), &format!("{from}/self_attention"));
        }
        plan.norm("encoder.ln_post", "encoder/layer_norm");
        plan.0
    }
}

struct Plan(Vec<Entry>);

impl Plan {
    fn one(&mut self, name: &str, from: &str, store: Store) {
        self.push(name, from, (0, 1), store);
    }

    fn push(&mut self, name: &str, from: &str, part: (usize, usize), store: Store) {
        self.0.push(Entry { name: name.to_owned(), from: from.to_owned(), part, store });
    }

    fn norm(&mut self, to: &str, from: &str) {
        self.one(&format!("{to}.weight"), &format!("{from}/gamma"), Store::Plain);
        self.one(&format!("{to}.bias"), &format!("{from}/beta"), Store::Plain);
    }

    fn linear(&mut self, to: &str, from: &str, part: (usize, usize)) {
        self.push(&format!("{to}.weight"), &format!("{from}/weight"), part, Store::Chosen);
        self.push(&format!("{to}.bias"), &format!("{from}/bias"), part, Store::Plain);
    }

    fn key(&mut self, to: &str, from: &str, part: (usize, usize)) {
        self.push(&format!("{to}.key.weight"), &format!("{from}/weight"), part, Store::Chosen);
    }

    fn feed_forward(&mut self, to: &str, from: &str) {
        self.norm(&format!("{to}.mlp_ln"), &format!("{from}/ffn/layer_norm"));
        self.linear(&format!("{to}.mlp.0"), &format!("{from}/ffn/linear_0"), (0, 1));
        self.linear(&format!("{to}.mlp.2"), &format!("{from}/ffn/linear_1"), (0, 1));
    }

    fn attention(&mut self, to: &str, from: &str) {
        let fused = format!("{from}/linear_0");
        self.norm(&format!("{to}_ln"), &format!("{from}/layer_norm"));
        self.linear(&format!("{to}.query"), &fused, (0, 3));
        self.key(to, &fused, (1, 3));
        self.linear(&format!("{to}.value"), &fused, (2, 3));
        self.linear(&format!("{to}.out"), &format!("{from}/linear_1"), (0, 1));
    }

    fn cross_attention(&mut self, to: &str, from: &str) {
        let fused = format!("{from}/linear_1");
        self.norm(&format!("{to}_ln"), &format!("{from}/layer_norm"));
        self.linear(&format!("{to}.query"), &format!("{from}/linear_0"), (0, 1));
        self.key(to, &fused, (0, 2));
        self.linear(&format!("{to}.value"), &fused, (1, 2));
        self.linear(&format!("{to}.out"), &format!("{from}/linear_2"), (0, 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_plan_has_every_tensor_of_whisper_once() {
        let side = |context, layers| Side { context, heads: 8, layers };
        let base = Shape { vocabulary: 51_865, audio: side(1_500, 6), text: side(448, 6), width: 512, mels: 80 };
        let plan = base.plan();
        // whisper.cpp: 5 loose tensors of the encoder and 2 of its norm, 2 and 2 of the decoder, 15 and 24 a layer.
        assert_eq!(plan.len(), 5 + 2 + 2 + 2 + 6 * 15 + 6 * 24);
        assert_eq!(plan.iter().map(|entry| &entry.name).collect::<HashSet<_>>().len(), plan.len());
    }

    #[test]
    fn a_fused_matrix_is_taken_apart() {
        let mut plan = Plan(Vec::new());
        plan.attention("a", "f");
        let thirds: Vec<_> =
            plan.0.iter().filter(|e| e.part.1 == 3).map(|e| (e.name.as_str(), e.from.as_str(), e.part.0)).collect();
        assert_eq!(
            thirds,
            [
                ("a.query.weight", "f/linear_0/weight", 0),
                ("a.query.bias", "f/linear_0/bias", 0),
                ("a.key.weight", "f/linear_0/weight", 1),
                ("a.value.weight", "f/linear_0/weight", 2),
                ("a.value.bias", "f/linear_0/bias", 2),
            ]
        );
    }
}
