//! Families that are not computed, and what in them is not.

/// What a family of transformers has that no description here can say; `None` for a name that nobody knows.
pub(super) fn lacking(model_type: &str) -> Option<&'static str> {
    Some(match model_type {
        "t5" | "mt5" | "umt5" | "longt5" | "switch_transformers" => "attention to a second text",
        "bart" | "mbart" | "pegasus" | "marian" | "fsmt" | "m2m_100" | "blenderbot" => {
            "attention to a second text"
        }
        "llama" | "mistral" | "mixtral" | "qwen2" | "qwen3" | "gemma" | "gemma2" | "gemma3"
        | "gemma3_text" | "phi3" | "olmo2" | "smollm3" => {
            "causal attention with key and value heads that several query heads share"
        }
        "falcon" => "key and value heads that several query heads share",
        // Their blocks are EuroBERT's; what their files call the tensors, and in which order queries, keys and values lie in
        // one of them, is code of their own.
        "neobert" | "ultrabert" => "the layout of its weights",
        "deberta" => "one map that gives queries, keys and values of each head by turns",
        "bloom" | "mpt" => "causal attention with a slope of scores by distance (ALiBi)",
        "gpt_neox" | "gptj" | "phi" => {
            "rotation of a part of each head, and attention beside the feed-forward block"
        }
        "gpt_neo" => "causal attention within windows",
        "xlnet" => "attention in two streams",
        "longformer" | "big_bird" | "reformer" | "led" => "sparse attention",
        "funnel" => "layers of fewer positions",
        "esm3" => "tracks of structure and function beside the sequence",
        _ => return None,
    })
}

/// Whether a checkpoint that calls itself BERT has the feed-forward block of JinaBERT.
pub(super) fn is_jina(names: &[&str]) -> bool {
    names.iter().any(|name| name.contains(".mlp.gated_layers."))
}

/// What a checkpoint that calls itself BERT has in the place of BERT's tensors, as told by one of its names; `None` for BERT.
pub(super) fn disguised(names: &[&str]) -> Option<&'static str> {
    let any = |part: &str| names.iter().any(|name| name.contains(part));
    any(".attention.self.Wqkv.").then_some(
        "is \"bert\", but the tensors (`attention.self.Wqkv`, `mlp.gated_layers`) are those of a model with code of its own, as \
         DNABERT-2 and MosaicBERT: of those with slopes of scores by distance (ALiBi) JinaBERT's layout alone is read; take a \
         checkpoint with BERT's own layers, as that of DNABERT 1",
    )
}
