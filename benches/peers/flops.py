"""FLOPs of the matrix products that a pass cannot do without, on true tokens, from the sizes alone.

A product [m, k] x [k, n] counts 2mkn. H is the hidden size, I the inner size, n the tokens of a sequence;
per layer: queries, keys and values 6H² a token, output projection 2H², feed-forward 4HI, scores 2n²H and
context 2n²H a sequence (causal models: full squares, as they are computed). Norms, activations, softmax,
entropy, pooler and classifier are not counted: they are what keeps a program from its peak.
"""


def _sizes(config):
    hidden = config.get("hidden_size") or config["n_embd"]
    inner = config.get("intermediate_size") or config.get("n_inner") or 4 * hidden
    return hidden, inner, config.get("num_hidden_layers") or config["n_layer"]


def block(config):
    """(hidden, inner), as the peak program takes them."""
    return _sizes(config)[:2]


def forward_whole(config, lengths):
    """Every layer at every token: what a pass needs of which all hidden states are read."""
    hidden, inner, layers = _sizes(config)
    tokens, squares = sum(lengths), sum(n * n for n in lengths)
    return layers * (tokens * (8 * hidden**2 + 4 * hidden * inner) + 4 * squares * hidden)


def forward_classifier(config, lengths):
    """Of the last layer only what its first position needs: keys and values of all tokens, the rest once."""
    hidden, inner, layers = _sizes(config)
    tokens, texts = sum(lengths), len(lengths)
    below = forward_whole(config, lengths) * (layers - 1) / layers
    once = 4 * hidden**2 + 4 * hidden * inner
    return below + tokens * 4 * hidden**2 + texts * once + 4 * tokens * hidden


def forward_language_model(config, lengths):
    """With the logits of every token."""
    hidden = _sizes(config)[0]
    return forward_whole(config, lengths) + 2 * sum(lengths) * hidden * config["vocab_size"]


def importance(config, lengths):
    """A classifier's forward pass, entropy of every head, and the gradient of every head's mask factor.

    The last layer's maps are needed for the entropy, the rest of it at one position; the gradient ends
    at the head outputs of the first layer. Recomputing probabilities in the backward pass is not counted.
    """
    hidden, inner, layers = _sizes(config)
    tokens, texts = sum(lengths), len(lengths)
    squares = sum(n * n for n in lengths)
    qkv, rest = 6 * hidden**2, 2 * hidden**2 + 4 * hidden * inner
    whole = tokens * (qkv + rest)
    forward = (layers - 1) * (whole + 4 * squares * hidden)
    forward += tokens * qkv + 2 * squares * hidden + texts * rest + 2 * tokens * hidden
    if layers == 1:
        return forward + texts * rest
    # Top: one position through the feed-forward block, the output projection and the queries; keys
    # and values of all tokens.
    backward = texts * (rest + 2 * hidden**2) + tokens * 4 * hidden**2 + 8 * tokens * hidden
    # Between: all of it; four products in attention.
    backward += (layers - 2) * (whole + 8 * squares * hidden)
    # Bottom: down to the head outputs.
    backward += tokens * rest
    return forward + backward
