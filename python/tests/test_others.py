"""Tools that people use beside us take what we give: bertviz, Captum, scikit-learn, pandas, polars."""

from __future__ import annotations

import bertology
import numpy as np
import pytest
from bertology import embedded

TEXT = "The woman and the famous scientist faint."


@pytest.fixture(scope="module")
def out() -> bertology.Output:
    return embedded.model()([TEXT], output_attentions=True, output_hidden_states=True)


def test_bertviz_draws_attention(out: bertology.Output) -> None:
    pytest.importorskip("torch", reason="torch is not installed, which bertviz needs")
    bertviz = pytest.importorskip("bertviz", reason="bertviz is not installed")
    attentions, tokens = out.padded().attentions, out.tokens[0]
    for view in (bertviz.head_view, bertviz.model_view):
        page = view(attentions, tokens, html_action="return")
        assert "scientist" in page.data and len(page.data) > 10_000


def test_captum_draws_attention(out: bertology.Output) -> None:
    pytest.importorskip("torch", reason="torch is not installed, which captum needs")
    visualization = pytest.importorskip("captum.attr._utils.visualization", reason="captum is not installed")
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    attentions = out.padded().attentions
    of_cls = attentions[3][0, :, 0].mean(dim=0)
    record = visualization.VisualizationDataRecord(of_cls, 0.9, 1, 1, "good", float(of_cls.sum()), out.tokens[0], 0.0)
    assert "scientist" in visualization.visualize_text([record]).data
    heads_last = attentions[3][0].permute(1, 2, 0).numpy()
    figure, _ = visualization.visualize_image_attr(heads_last, sign="absolute_value", use_pyplot=False)
    assert figure.axes


def test_sklearn_learns_from_states() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    sentences = embedded.sentences()[:300]
    states = embedded.model()([text for text, _ in sentences], output_hidden_states=True)
    first = np.stack([of[-1][0] for of in states.hidden_states])
    labels = [label for _, label in sentences]
    probe = linear_model.LogisticRegression(max_iter=1000).fit(first[:200], labels[:200])
    # tiny-bert itself is right in 95 of 100.
    assert probe.score(first[200:], labels[200:]) > 0.85


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_hold_tables_and_are_data(library: str) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    sentences = embedded.sentences()[:40]
    frame = frames.DataFrame({"sentence": [text for text, _ in sentences], "label": [label for _, label in sentences]})
    model = embedded.model()
    of_frame = model.head_importance(frame, progress=False)
    of_list = model.head_importance(sentences, progress=False)
    np.testing.assert_array_equal(of_frame.scores, of_list.scores)
    predictions = of_frame.predictions
    table = predictions.to_pandas() if library == "pandas" else predictions.to_polars()
    assert len(table) == 40 and {"index", "label", "prediction", "loss"} <= set(table.columns)
