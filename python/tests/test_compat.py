"""The helpers that transformers 5 took away, against what they are to compute."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: these helpers prune torch's layers")

from bertology import compat  # noqa: E402


def test_indices_are_those_of_the_heads_that_stay() -> None:
    heads, index = compat.find_pruneable_heads_and_indices({1, 3}, 4, 2, set())
    assert heads == {1, 3} and index.tolist() == [0, 1, 4, 5]
    # Head 1 has gone before: of heads 0, 2, 3 that are there, 3 goes.
    heads, index = compat.find_pruneable_heads_and_indices([1, 3], 3, 2, {1})
    assert heads == {3} and index.tolist() == [0, 1, 2, 3] and index.dtype == torch.int64
    with pytest.raises(ValueError, match="no such heads"):
        compat.find_pruneable_heads_and_indices([7], 4, 2, set())


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_keep_rows_or_columns(bias: bool) -> None:
    layer = torch.nn.Linear(6, 4, bias=bias)
    index = torch.tensor([0, 2])
    x = torch.randn(3, 6)
    torch.testing.assert_close(compat.prune_linear_layer(layer, index)(x), layer(x)[:, index])
    smaller = compat.prune_linear_layer(layer, index, dim=1)
    zeroed = torch.zeros_like(x)
    zeroed[:, index] = x[:, index]
    torch.testing.assert_close(smaller(x[:, index]), layer(zeroed))


def test_head_masks_broadcast_over_attention() -> None:
    mask = torch.tensor([1.0, 0.0])
    wide = compat.get_head_mask(mask, 3)
    assert wide.shape == (3, 1, 2, 1, 1)
    probabilities = torch.ones(2, 2, 5, 5)
    assert (probabilities * wide[0])[:, 1].abs().sum() == 0
    assert compat.get_head_mask(None, 2) == [None, None]
    with pytest.raises(ValueError, match="shape"):
        compat.get_head_mask(torch.ones(2, 2), 3)
