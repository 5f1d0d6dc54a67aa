//! Results of the commands that study attention.

use serde_json::Value;

use super::{Grid, Named, document, results_of};

results_of! {
    PatternsResults: "patterns",
    SyntaxResults: "syntax",
    CorefResults: "coref",
    ProbeResults: "attention-probe"
}

document! {
    /// What was read of texts.
    struct TextCounts {
        /// Sequences that were studied.
        sequences: u64,
        /// Of them.
        tokens: u64,
        /// Texts that were cut.
        cut: u64,
        /// Cut off.
        tokens_cut: u64,
        /// Texts left out as too long.
        too_long: u64,
        /// Texts without a token.
        empty: u64,
        /// Texts left without a second one to be paired with.
        unpaired: u64,
        /// Texts whose loss has no target.
        nothing_to_predict: u64,
    }

    /// Of `bertology patterns`.
    struct PatternsResults {
        /// `paper` or `exact`.
        denominators: String,
        /// Whether a small number is added before the logarithm.
        entropy_smoothing: bool,
        /// Which tokens are of which class.
        classes: Value,
        /// What was read.
        counts: Option<TextCounts>,
        /// Of attention and entropy, by key.
        averages: Named<AveragePattern>,
        /// Entropy of a head that looks at all tokens alike, nats.
        uniform_entropy: Option<f64>,
        /// Of the loss with respect to attention, by class of token.
        gradients: Option<Named<GradientPatterns>>,
        /// From which on a head has a behaviour.
        thresholds: Value,
        /// Heads by behaviour.
        behaviours: Named<Vec<String>>,
    }

    /// An average over documents.
    struct AveragePattern {
        /// In the mean.
        documents: u64,
        /// Mean of every layer's heads.
        layers: Vec<Option<f64>>,
        /// Every head.
        heads: Grid,
    }

    /// Sizes of gradients with respect to attention to a class of tokens.
    struct GradientPatterns {
        /// Over pairs of a query and a key.
        mean: AveragePattern,
        /// Over queries, summed over keys.
        row_sum: AveragePattern,
        /// The same times attention, where it is asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        times_attention_mean: Option<AveragePattern>,
        /// The same times attention, where it is asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        times_attention_row_sum: Option<AveragePattern>,
    }

    /// How many of how many, with Wilson's interval.
    struct Score {
        /// Right ones.
        correct: u64,
        /// All.
        total: u64,
        /// Share; none of nothing.
        accuracy: Option<f64>,
        /// 95 %.
        interval: Option<(f64, f64)>,
    }

    /// Of `bertology syntax`.
    struct SyntaxResults {
        /// What was read.
        counts: Option<SyntaxCounts>,
        /// What was read of the treebank on which heads were chosen, if that is another.
        chosen_on_counts: Option<SyntaxCounts>,
        /// As given.
        options: Value,
        /// `words` or `text`.
        input: String,
        /// The commonest first.
        relations: Vec<RelationResult>,
    }

    /// What was read of a treebank.
    struct SyntaxCounts {
        /// All of them.
        sentences: u64,
        /// Sentences left out as too long.
        too_long: u64,
        /// Sentences without a token.
        empty: u64,
        /// Of the sentences studied.
        tokens: u64,
        /// Of the sentences studied.
        words: u64,
        /// Words without a token.
        without_tokens: u64,
        /// Tokens with characters of two words.
        straddling: u64,
        /// Words that share their tokens.
        shared: u64,
        /// Arcs within words that share tokens.
        internal: u64,
    }

    /// A relation and its best heads.
    struct RelationResult {
        /// Of the treebank.
        relation: String,
        /// Words of it.
        total: u64,
        /// In the better direction.
        best: RelationHead,
        /// In every direction.
        directions: Vec<RelationHead>,
        /// The best fixed guess.
        baseline: OffsetScore,
    }

    /// The best head of a relation in a direction.
    struct RelationHead {
        /// `dep->head` or `head<-dep`.
        direction: String,
        /// Such as `L3H5`.
        head: String,
        /// On the words scored.
        score: Score,
        /// Words whose partner the head can see.
        reachable: u64,
        /// Whether the head can see where the fixed guess points.
        baseline_in_reach: bool,
        /// On the words on which it was chosen.
        chosen_by: Score,
    }

    /// A fixed guess.
    struct OffsetScore {
        /// How far ahead the word stands.
        offset: i64,
        /// How often it is right.
        score: Score,
    }

    /// `relations.json`: what the axes of `syntax_heads.npy` are.
    struct SyntaxAxes {
        /// In order.
        axes: Vec<String>,
        /// Of the first axis.
        directions: Vec<String>,
        /// Such as `L3H5`.
        heads_present: Vec<String>,
        /// Words without attention to any other, by direction and head present.
        abstained: Vec<Vec<u64>>,
        /// Of the fixed guesses.
        offsets: Vec<i64>,
        /// Of the last axis.
        relations: Vec<RelationCounts>,
    }

    /// What is known of a relation without any head.
    struct RelationCounts {
        /// Its name.
        relation: String,
        /// Words of it.
        total: u64,
        /// Words whose partner can be seen, by direction.
        reachable: Vec<u64>,
        /// Words that each offset finds.
        baseline_correct: Vec<Option<u64>>,
    }

    /// Of `bertology coref`.
    struct CorefResults {
        /// What was read.
        counts: Option<CorefCounts>,
        /// How a word's attention is made of that of its tokens.
        row_mode: String,
        /// `words` or `text`.
        input: String,
        /// Of rules, by rule and category.
        baselines: Named<Named<Score>>,
        /// By set of candidates.
        best: Named<BestAntecedents>,
    }

    /// The best head of a set of candidates.
    struct BestAntecedents {
        /// Such as `L3H5`.
        head: String,
        /// By category.
        scores: Named<Score>,
    }

    /// What was read of documents with coreference.
    struct CorefCounts {
        /// All of them.
        documents: u64,
        /// Documents without a token.
        empty: u64,
        /// Documents left out because they have more tokens than may be; the first builds counted them as empty.
        #[serde(skip_serializing_if = "Option::is_none")]
        too_long: Option<u64>,
        /// Documents that were cut.
        cut: u64,
        /// Words beyond the cut.
        words_beyond: u64,
        /// Of the documents studied.
        words: u64,
        /// Of the documents studied.
        tokens: u64,
        /// Words without a token.
        without_tokens: u64,
        /// Tokens with characters of two words.
        straddling: u64,
        /// In the documents studied.
        mentions: u64,
        /// Mentions with the head word of a longer one.
        same_head: u64,
        /// Mentions beyond the cut.
        outside: u64,
        /// Mentions without an antecedent.
        first: u64,
    }

    /// Of `bertology attention-probe`.
    struct ProbeResults {
        /// Baselines, then probes.
        probes: Vec<ProbeScore>,
        /// Of the best fixed guess.
        best_offset: i64,
        /// Loss by epoch, of each probe.
        training: Value,
        /// Of the probe of attention, for words that are roots.
        root_weights: Value,
        /// What was read to train on.
        train: ProbeAccount,
        /// What was read to score on.
        dev: ProbeAccount,
        /// Where probes read vectors.
        words_without_vector: UnknownWords,
        /// Of word maps, if one was kept.
        cache: Option<CacheUse>,
    }

    /// A probe or a baseline.
    struct ProbeScore {
        /// Its name.
        probe: String,
        /// Numbers that are learnt.
        parameters: u64,
        /// On words that are not punctuation.
        without_punct: UasScore,
        /// On all words.
        all: UasScore,
    }

    /// Words whose head is found.
    struct UasScore {
        /// Right ones.
        correct: u64,
        /// All.
        total: u64,
        /// Unlabelled attachment score.
        uas: Option<f64>,
        /// 95 %.
        interval: Option<(f64, f64)>,
    }

    /// What was read of a treebank.
    struct ProbeAccount {
        /// Used.
        sentences: u64,
        /// Sentences of more tokens than the model may see.
        too_long: u64,
        /// Sentences that give no sequence for another reason.
        left_out: u64,
        /// Of the sentences used.
        words: u64,
        /// Words without a token.
        without_tokens: u64,
        /// Sentences with such a word.
        sentences_without_tokens: u64,
    }

    /// Words that no vector is known of.
    struct UnknownWords {
        /// Among those trained on.
        train: u64,
        /// Among those scored on.
        dev: u64,
    }

    /// Word maps that were kept while probes were trained.
    struct CacheUse {
        /// Whose maps are there.
        sentences: u64,
        /// On disk.
        bytes: u64,
        /// Whether they are there still.
        kept: bool,
    }
}
