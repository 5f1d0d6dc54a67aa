"""Arrays of an extraction, one text at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bertology import studies
from bertology.extraction import Extraction
from bertology.run import Document

TEXTS = ["The woman faints.", "The woman and the famous scientist faint.", "She sleeps."]


@pytest.fixture(scope="module", params=["safetensors", "npz"])
def found(request: pytest.FixtureRequest, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    folder = tmp_path_factory.mktemp("extract") / request.param
    options: dict[str, Any] = {"hidden_states": [0, 4], "attentions": "1", "shard_size": 2, "format": request.param}
    run = studies.extract(tiny, TEXTS, output=folder, progress=False, logits=True, **options)
    assert isinstance(run, Extraction)
    return run


def test_rows_are_those_of_the_texts(found: Extraction) -> None:
    assert len(found) == 3
    for row in range(3):
        tokens = found.tokens(row)
        assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]"
        states = found.hidden_states(row, 4)
        assert states.shape == (len(tokens), 128)
        attention = found.attentions(row, 1, 3)
        assert attention.shape == (len(tokens), len(tokens))
        assert np.allclose(attention.sum(axis=1), 1, atol=1e-5)
    assert found.arrays["logits"][2].shape == (2,)
    assert "3 sequences" in repr(found)


def test_values_lie_on_disk(found: Extraction) -> None:
    assert isinstance(found.hidden_states(0, 0), np.memmap)


def test_a_text_alone_has_the_values_that_it_has_among_others(found: Extraction, tiny: str) -> None:
    alone = studies.extract(tiny, TEXTS[2:], hidden_states=4, progress=False)
    # Products of another height are rounded in another order.
    assert np.allclose(alone.hidden_states(0, 4), found.hidden_states(2, 4), atol=1e-5)
    assert np.array_equal(found.arrays["hidden_states.4"][-1], found.hidden_states(2, 4))
    assert len(found.arrays["hidden_states.4"][1:]) == 2


def test_what_is_not_there_is_named(found: Extraction) -> None:
    with pytest.raises(KeyError, match=r"'hidden_states\.2' was not extracted; there are"):
        found.hidden_states(0, 2)
    with pytest.raises(IndexError, match="no sequence 3; there are 3"):
        found.hidden_states(3, 4)


def test_bits_of_bfloat16_become_numbers(tiny: str) -> None:
    whole = studies.extract(tiny, TEXTS[:1], hidden_states=4, progress=False)
    half = studies.extract(tiny, TEXTS[:1], hidden_states=4, dtype="bf16", progress=False)
    # 8 bits of precision.
    assert np.allclose(half.hidden_states(0, 4), whole.hidden_states(0, 4), rtol=2**-8, atol=1e-6)
    assert not np.array_equal(half.hidden_states(0, 4), whole.hidden_states(0, 4))


def test_tables_are_read_by_others(tiny: str) -> None:
    run = studies.extract(tiny, TEXTS[:1], hidden_states=4, format="parquet", progress=False)
    with pytest.raises(ValueError, match=r"pandas\.read_parquet"):
        run.hidden_states(0, 4)


def test_a_dry_run_writes_nothing(tiny: str) -> None:
    found = studies.extract(tiny, TEXTS, hidden_states=True, dry_run=True, progress=False)
    assert isinstance(found, Document) and "options" in found["identity"]
