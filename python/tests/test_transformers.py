"""Parity with a model of transformers in the same process: five families, every hidden state and attention map."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: there is nothing to compare with")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: nothing to compare with")

import bertology  # noqa: E402
from conftest import ASSETS  # noqa: E402

SMALL = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
FAMILIES = {
    "bert": lambda: transformers.BertForSequenceClassification(
        transformers.BertConfig(vocab_size=97, max_position_embeddings=64, num_labels=3, **SMALL)
    ),
    "roberta": lambda: transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(vocab_size=97, max_position_embeddings=64, **SMALL)
    ),
    "distilbert": lambda: transformers.DistilBertForSequenceClassification(
        transformers.DistilBertConfig(
            vocab_size=97, max_position_embeddings=64, dim=48, n_layers=3, n_heads=4, hidden_dim=96, num_labels=3
        )
    ),
    "electra": lambda: transformers.ElectraForSequenceClassification(
        transformers.ElectraConfig(vocab_size=97, max_position_embeddings=64, embedding_size=32, num_labels=3, **SMALL)
    ),
    "gpt2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=97, n_positions=64, n_embd=48, n_layer=3, n_head=4)
    ),
}
INPUTS = [[5, 17, 40, 41, 42, 6], [5, 90, 8, 6], [5, *list(range(10, 40)), 6]]


def live(family: str):
    torch.manual_seed(7)
    model = FAMILIES[family]().eval()
    with torch.no_grad():  # larger weights than the first ones, so that attention differs from uniform
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_maps_are_those_of_transformers(family: str) -> None:
    model = live(family)
    ours = bertology.Model.from_torch(model)
    out = ours(INPUTS, output_hidden_states=True, output_attentions=True, output_logits=True)
    for at, ids in enumerate(INPUTS):
        with torch.no_grad():
            theirs = model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
        scale = max(float(state.abs().max()) for state in theirs.hidden_states)
        for mine, state in zip(out.hidden_states[at], theirs.hidden_states, strict=True):
            # f32 rounding of three layers, by the scale of the largest value.
            np.testing.assert_allclose(mine, state[0].numpy(), atol=1e-5 * scale)
        for mine, map_ in zip(out.attentions[at], theirs.attentions, strict=True):
            np.testing.assert_allclose(mine, map_[0].numpy(), atol=1e-5)
        logits = theirs.logits[0].numpy()
        np.testing.assert_allclose(out.logits[at], logits, atol=1e-5 * max(1.0, np.abs(logits).max()))


def test_torch_takes_arrays_without_a_copy() -> None:
    ours = bertology.Model.from_torch(live("bert"))
    state = ours(INPUTS, output_hidden_states=True).hidden_states[2][1]
    tensor = torch.from_numpy(state)
    assert tensor.data_ptr() == state.ctypes.data
    tensor[0, 0] = 12.0
    assert state[0, 0] == 12.0


def test_gradients_of_states_are_autograds() -> None:
    model = live("bert")
    ours = bertology.Model.from_torch(model)
    found = ours([INPUTS[2]], labels=[1], gradients=["hidden_state"])[0]
    theirs = model(torch.tensor([INPUTS[2]]), labels=torch.tensor([1]), output_hidden_states=True)
    for state in theirs.hidden_states:
        state.retain_grad()
    theirs.loss.backward()
    assert found.loss == pytest.approx(float(theirs.loss.detach()), rel=1e-5)
    for mine, state in zip(found.gradients["hidden_state"], theirs.hidden_states[1:], strict=True):
        scale = float(state.grad.abs().max())
        np.testing.assert_allclose(mine, state.grad[0].numpy(), atol=1e-4 * scale)


def test_wrapped_models_are_taken_out_and_others_refused() -> None:
    model = live("gpt2")
    wrapped = torch.nn.DataParallel(model)
    ids = [INPUTS[1]]
    plain = bertology.Model.from_torch(model)(ids, output_hidden_states=True)
    same = bertology.Model.from_torch(wrapped)(ids, output_hidden_states=True)
    np.testing.assert_array_equal(plain.hidden_states[0][3], same.hidden_states[0][3])
    with pytest.raises(bertology.InputError, match="no model of transformers"):
        bertology.Model.from_torch(torch.nn.Linear(2, 2))
    with pytest.raises(bertology.Error, match="tokenizer"):
        bertology.Model.from_torch(model)("a text")


def test_a_model_in_memory_is_pruned_and_written(tmp_path) -> None:
    model = live("bert")
    ours = bertology.Model.from_torch(model).prune_heads({0: [1, 2]})
    ours.save_pretrained(tmp_path / "full", keep_shape=True)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "full").eval()
    with torch.no_grad():
        theirs = again(torch.tensor([INPUTS[0]])).logits[0].numpy()
    np.testing.assert_allclose(ours([INPUTS[0]]).logits[0], theirs, atol=1e-5)
    with pytest.raises(TypeError, match="save_pretrained"):
        import pickle

        pickle.dumps(ours)


@pytest.mark.parametrize("name", ["tiny-bert", "tiny-gpt2"])
def test_a_folder_of_fewer_tokens_is_read_with_its_tokenizer(name: str, tmp_path) -> None:
    whole = ASSETS / name
    corpus = (ASSETS / "grammar" / "dev.txt").read_text(encoding="utf-8").splitlines()[:30]
    (tmp_path / "texts.txt").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    found = bertology.studies.compress(str(whole), trim_vocabulary=[tmp_path / "texts.txt"], output=tmp_path / "out")
    small = found.path / "model"
    old, new = (np.asarray(found.vocabulary[column]) for column in ("old_id", "id"))
    assert (np.diff(old) > 0).all() and new.tolist() == list(range(len(old)))
    tokenizers = [transformers.AutoTokenizer.from_pretrained(folder) for folder in (whole, small)]
    causal = name == "tiny-gpt2"
    task = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForSequenceClassification
    models = [task.from_pretrained(folder).eval() for folder in (whole, small)]
    assert models[1].config.vocab_size == len(tokenizers[1]) == len(old)
    for token in ("pad", "mask", "unk", "eos", "sep"):
        ids = [getattr(tokenizer, f"{token}_token_id") for tokenizer in tokenizers]
        assert ids[0] == (None if ids[1] is None else old[ids[1]])
    ours = bertology.Model.from_pretrained(small)
    for text in corpus:
        before, after = (tokenizer(text)["input_ids"] for tokenizer in tokenizers)
        assert old[after].tolist() == before
        assert ours.tokenize(text) == tokenizers[1].convert_ids_to_tokens(after)
        with torch.no_grad():
            logits = [model(torch.tensor([ids])).logits[0] for model, ids in zip(models, (before, after), strict=True)]
        kept = logits[0][..., torch.from_numpy(old)] if causal else logits[0]
        torch.testing.assert_close(logits[1], kept, atol=1e-5, rtol=0)
