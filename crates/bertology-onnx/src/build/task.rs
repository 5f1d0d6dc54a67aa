//! Above the blocks: poolers, classifiers, language models, and the outputs that they give.

use bertology_checkpoint::{Affine, Family, Parameter, Pooling, TaskHead};

use super::{Builder, Map, ROWS, Weight};
use crate::graph::{Attr, Element, Name, Size};

/// `[batch, length]` and more.
fn rows(width: usize) -> Vec<Size> {
    let mut shape = ROWS.to_vec();
    shape.push(Size::Fixed(width));
    shape
}

/// `[batch, width]`.
fn row(width: usize) -> Vec<Size> {
    vec![Size::Batch, Size::Fixed(width)]
}

impl Builder<'_> {
    /// Everything that the checkpoint has above its last hidden state `[batch, length, hidden]`, as outputs.
    pub(super) fn task(&mut self, hidden: &str) {
        let arch = self.arch;
        let width = arch.hidden_size;
        self.graph.scope = "head".into();
        match arch.head {
            TaskHead::None => {
                self.graph
                    .output("last_hidden_state".into(), hidden, rows(width));
                if arch.pooler {
                    let pooled = self.pooled(hidden);
                    self.graph
                        .output("pooler_output".into(), &pooled, row(width));
                }
            }
            TaskHead::SequenceClassification { num_labels, .. } => {
                let biased = arch.classifier_bias;
                let map = Map::whole(Parameter::Classifier, num_labels, width, biased);
                self.classified(hidden, &map, num_labels, "logits");
            }
            TaskHead::NextSentence => {
                let map = Map::whole(Parameter::NextSentence, 2, width, true);
                self.classified(hidden, &map, 2, "logits");
            }
            TaskHead::MaskedLm | TaskHead::CausalLm => self.words(hidden, "logits"),
            TaskHead::PreTraining => {
                self.words(hidden, "prediction_logits");
                let map = Map::whole(Parameter::NextSentence, 2, width, true);
                // As the classes of transformers call them.
                let name = match arch.family {
                    Family::Albert => "sop_logits",
                    _ => "seq_relationship_logits",
                };
                self.classified(hidden, &map, 2, name);
            }
            TaskHead::TokenClassification { num_labels } => {
                let scores = self.token_scores(hidden, num_labels);
                self.graph
                    .output("logits".into(), &scores, rows(num_labels));
            }
            TaskHead::QuestionAnswering => {
                let scores = self.token_scores(hidden, 2);
                let along = [("axis", Attr::Int(2))];
                let parts = self.graph.several("Split", &[&scores], &along, 2);
                for (name, part) in ["start_logits", "end_logits"].iter().zip(parts) {
                    self.column(&part, name);
                }
            }
            TaskHead::ReplacedTokens => {
                let scores = self.token_scores(hidden, 1);
                self.column(&scores, "logits");
            }
        }
    }

    /// `[batch, length, 1]` as an output `[batch, length]`.
    fn column(&mut self, scores: &str, name: &str) {
        let axis = self.graph.ints(&[2]);
        let column = self.graph.op("Squeeze", &[scores, &axis]);
        self.graph.output(name.into(), &column, ROWS.to_vec());
    }

    fn classified(&mut self, hidden: &str, map: &Map, outputs: usize, name: &str) {
        let pooled = self.pooled(hidden);
        let logits = self.linear(&pooled, map);
        self.graph.output(name.into(), &logits, row(outputs));
    }

    /// What a classifier reads, `[batch, hidden]`.
    fn pooled(&mut self, hidden: &str) -> Name {
        let arch = self.arch;
        let mut read = match arch.pooling {
            Pooling::First | Pooling::Last => self.one_row(hidden),
            Pooling::Mean => self.mean(hidden),
            Pooling::MeanOfPooled => hidden.to_owned(),
        };
        if arch.pooler {
            let width = arch.hidden_size;
            let map = Map::whole(Parameter::Pooler, width, width, arch.head_bias);
            let dense = self.linear(&read, &map);
            read = self.activation(arch.pooler_activation, &dense);
            if arch.pooler_norm {
                read = self.norm(&read, Parameter::PoolerNorm, width, arch.norm_bias);
            }
        }
        match arch.pooling {
            Pooling::MeanOfPooled => self.mean(&read),
            _ => read,
        }
    }

    /// The row of the token that is read, `[batch, hidden]`.
    fn one_row(&mut self, hidden: &str) -> Name {
        let along = [("axis", Attr::Int(1)), ("keepdims", Attr::Int(1))];
        let place = match (self.arch.pooling, self.arch.pad_id) {
            (Pooling::Last, pad) => {
                let real = self.real();
                let graph = &mut self.graph;
                let counts = match pad {
                    None => real,
                    Some(pad) => {
                        let pad = graph.int(pad.into());
                        let is_pad = graph.op("Equal", &[&self.ids, &pad]);
                        let word = graph.op("Not", &[&is_pad]);
                        graph.op("And", &[&real, &word])
                    }
                };
                let ones = graph.cast(&counts, Element::Int.code());
                let shape = graph.op("Shape", &[&self.ids]);
                let (zero, one) = (graph.int(0), graph.int(1));
                let length = graph.gather(&shape, &one, 0);
                let places = graph.op("Range", &[&zero, &length, &one]);
                let places = graph.mul(&ones, &places);
                let along = [("axes", Attr::Ints(&[1])), ("keepdims", Attr::Int(1))];
                graph.with("ReduceMax", &[&places], &along)
            }
            // The first that is no padding.
            _ => {
                let real = self.graph.cast(&self.mask, Element::Float.code());
                self.graph.with("ArgMax", &[&real], &along)
            }
        };
        let by_text = [("batch_dims", Attr::Int(1))];
        self.graph.with("GatherND", &[hidden, &place], &by_text)
    }

    /// The mean of the rows of tokens that are no padding, `[batch, hidden]`.
    fn mean(&mut self, hidden: &str) -> Name {
        let graph = &mut self.graph;
        let real = graph.cast(&self.mask, Element::Float.code());
        let (axis, drop) = (graph.ints(&[1]), [("keepdims", Attr::Int(0))]);
        let keep = [("keepdims", Attr::Int(1))];
        let tokens = graph.with("ReduceSum", &[&real, &axis], &keep);
        let weights = graph.unsqueeze(&real, &[2]);
        let rows = graph.mul(hidden, &weights);
        let sum = graph.with("ReduceSum", &[&rows, &axis], &drop);
        graph.op("Div", &[&sum, &tokens])
    }

    /// Logits over the vocabulary at every position.
    fn words(&mut self, hidden: &str, name: &str) {
        let arch = self.arch;
        let (width, vocab) = (arch.embedding_size, arch.vocab_size);
        let masked = arch.head != TaskHead::CausalLm;
        let mut read = hidden.to_owned();
        if masked && arch.lm_transform {
            let biased = arch.lm_transform_bias;
            let map = Map::whole(Parameter::LmTransform, width, arch.hidden_size, biased);
            let dense = self.linear(&read, &map);
            read = self.activation(arch.lm_activation, &dense);
            read = self.norm(&read, Parameter::LmNorm, width, arch.norm_bias);
        }
        // The table of words lies in the file once: a product that turns it leaves it as it is there.
        let decoder = Parameter::LmDecoder(Affine::Weight);
        let decoder = match self.checkpoint.parameter(decoder) {
            Some(_) => decoder,
            None => Parameter::WordEmbeddings,
        };
        let decoder = self.weight(&Weight::whole(decoder, vocab, width));
        let flat = self.graph.reshape(&read, &[-1, width as i64]);
        let mut inputs = vec![flat, decoder];
        if masked && arch.lm_bias {
            inputs.push(self.vector(Parameter::LmDecoder(Affine::Bias), vocab));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let turned = [("transB", Attr::Int(1))];
        let logits = self.graph.with("Gemm", &inputs, &turned);
        let shape = self.graph.op("Shape", &[&self.ids]);
        let size = self.graph.ints(&[vocab as i64]);
        let shape = self.graph.concat(&[&shape, &size], 0);
        let logits = self.graph.op("Reshape", &[&logits, &shape]);
        self.graph.output(name.into(), &logits, rows(vocab));
    }

    /// The scores of every token by itself, `[batch, length, outputs]`.
    fn token_scores(&mut self, hidden: &str, outputs: usize) -> Name {
        let arch = self.arch;
        let width = arch.hidden_size;
        let mut read = hidden.to_owned();
        if let Some(transform) = arch.token_transform {
            let map = Map::whole(Parameter::TokenTransform, width, width, transform.bias);
            let dense = self.linear(&read, &map);
            read = self.activation(transform.activation, &dense);
            if transform.norm {
                read = self.norm(&read, Parameter::TokenNorm, width, arch.norm_bias);
            }
        }
        self.linear(
            &read,
            &Map::whole(Parameter::TokenScores, outputs, width, true),
        )
    }
}
