"""What a calibration is told of: more samples that harm, dead units, clipping; and the page that draws it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.calibration import Calibration, Representative, calibrate, representative
from tiedae.calibration.diagnosis import (
    CalibrationFinding,
    Diagnosis,
    DiagnosisLimits,
    Halves,
    diagnose,
    reconstruction_error,
    simulated_error,
)
from tiedae.compress import LayerConfig, ModelConfig, QuantizationSpec, RecipeError, Samples, Scaling, TiedAutoencoder
from tiedae.report.calibration_page import render_page

SPEC = QuantizationSpec(byte_data=False)


def tiny(output: str = "linear") -> TiedAutoencoder:
    model = TiedAutoencoder(ModelConfig((LayerConfig(8, "relu"), LayerConfig(3)), output, 6), seed=2)
    model.quantize_kernels("tensor")
    return model


def drawn(values: np.ndarray) -> Representative:
    return Representative(np.arange(len(values)), values.astype(np.float32), 0, Scaling(), len(values))


def looked_into(model: TiedAutoencoder, data: Representative, observer: str = "minmax", **limits) -> Diagnosis:
    return diagnose(model, data, calibrate(model, data, observer), SPEC, DiagnosisLimits(**limits))


@pytest.fixture(scope="module")
def normal() -> Representative:
    return drawn(np.random.default_rng(0).normal(0, 1, (128, 6)))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ((2.5, 2.0), "More samples were better: an error of 2 with ranges of 96 samples, 2.5 with those of 48, −20.00 % ("),
        ((2.0, 2.5), "More samples were worse: an error of 2.5 with ranges of 96 samples, 2 with those of 48, +25.00 % ("),
        ((2.0, 2.0), "More samples were no better and no worse: an error of 2 with"),
        ((0.0, 1.0), "More samples were worse: an error of 1 with ranges of 96 samples, 0 with those of 48 ("),
    ],
)
def test_more_samples_are_better_or_worse_in_words(error: tuple[float, float], text: str) -> None:
    halves = Halves(32, 48, 96, error, {}, {})
    assert halves.text.startswith(text) and halves.text.endswith("simulated on 32 held-out samples)")


def test_well_spread_data_have_nothing_to_tell(normal: Representative) -> None:
    diagnosis = looked_into(tiny(), normal, worse=0.2)
    assert diagnosis.findings == () and diagnosis.skipped == ""
    assert (diagnosis.halves.held_out, diagnosis.halves.half, diagnosis.halves.whole) == (32, 48, 96)


def test_an_outlier_that_only_the_second_half_has_makes_more_samples_worse(normal: Representative) -> None:
    values = normal.inputs.copy()
    late = np.random.default_rng(0).permutation(128)[32 + 48 :]
    values[late[:2]] *= 40
    diagnosis = looked_into(tiny(), drawn(values))
    worse = {finding.tensor for finding in diagnosis.findings if finding.kind == "more samples"}
    assert {"", "x", "encoder_0", "code"} <= worse
    assert diagnosis.halves.error[1] > 1.05 * diagnosis.halves.error[0]
    (text,) = (f.text for f in diagnosis.findings if f.tensor == "x" and f.kind == "more samples")
    grid = r"x: worse, its quantization error is \d+\.\d % higher with all 96 samples than with half of them, on 32 held-out"
    assert re.search(grid, text)
    (whole,) = (f.text for f in diagnosis.findings if not f.tensor)
    assert whole.startswith("worse: the error is ")
    assert diagnosis.halves.text.startswith("More samples were worse: an error of ")


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_unit_that_never_changes_is_dead(normal: Representative, value: float) -> None:
    model = tiny()
    kernel = model.kernels[0].variable.numpy()
    kernel[:, 5] = 0
    model.kernels[0].variable.assign(kernel)
    model.encoder.stack[0].bias.assign(np.eye(8)[5] * (value or -1))
    calibration = calibrate(model, normal)
    assert calibration.tensors["encoder_0"].dead == (5,)
    found = [f for f in diagnose(model, normal, calibration, SPEC).findings if f.kind == "dead units"]
    assert found[0].tensor == "encoder_0"
    assert found[0].text.startswith("encoder_0: 1 of 8 units have one value for all 128 samples (5)")


def test_a_constant_value_of_the_data_is_no_dead_unit(normal: Representative) -> None:
    values = normal.inputs.copy()
    values[:, 0] = 1
    diagnosis = looked_into(tiny(), drawn(values))
    assert not [f for f in diagnosis.findings if f.tensor == "x" and f.kind == "dead units"]


def test_clipping_beyond_the_stated_share_is_told(normal: Representative) -> None:
    def clipped(limit: float) -> set[str]:
        return {
            f.tensor for f in looked_into(tiny(), normal, "moving-average", clipping=limit).findings if f.kind == "clipping"
        }

    assert clipped(0.0) and clipped(0.2) == set() and clipped(0.001) <= clipped(0.0)
    calibration = calibrate(tiny(), normal, "moving-average")
    assert clipped(0.0) == {name for name, tensor in calibration.tensors.items() if tensor.clipped > 0}


def test_ranges_that_the_model_fixes_are_not_judged() -> None:
    samples = Samples(np.random.default_rng(0).integers(0, 256, (60, 6)).astype(np.uint8), scaling=Scaling("byte", 0.0, 255.0))
    data, model = representative(samples, 60), tiny("sigmoid")
    diagnosis = diagnose(model, data, calibrate(model, data, "moving-average"), QuantizationSpec(), DiagnosisLimits(0.0, 0.0))
    assert set(diagnosis.fixed) == {"x", "y"}
    assert not {"x", "y"} & {finding.tensor for finding in diagnosis.findings}


@pytest.mark.parametrize(("count", "compared"), [(8, False), (20, False), (21, True), (22, True)])
def test_too_few_samples_to_halve_are_told(normal: Representative, count: int, compared: bool) -> None:
    diagnosis = looked_into(tiny(), normal.take(slice(count)))
    assert (diagnosis.halves is not None) == compared
    assert diagnosis.skipped == ("" if compared else f"{count} samples are too few to compare halves, must be 21 or more")


def test_simulation_leaves_the_model_as_it_was(normal: Representative) -> None:
    model = tiny()
    before, plain = model.encoder.tap, reconstruction_error(model, normal.inputs)
    simulated = simulated_error(model, normal.inputs, calibrate(model, normal).ranges, SPEC)
    assert model.encoder.tap is before and model.quantizers is None
    assert reconstruction_error(model, normal.inputs) == plain
    assert simulated == pytest.approx(plain, rel=0.05) and simulated != plain
    assert plain == pytest.approx(np.square(model(normal.inputs).numpy() - normal.inputs).sum(axis=1).mean(), rel=1e-5)
    wanted = np.ones_like(normal.inputs)
    against = np.square(model(normal.inputs).numpy() - wanted).sum(axis=1).mean()
    assert reconstruction_error(model, normal.inputs, wanted) == pytest.approx(against, rel=1e-5)


def test_a_calibration_of_another_model_is_not_looked_into(normal: Representative) -> None:
    other = TiedAutoencoder(ModelConfig((LayerConfig(8, "relu"), LayerConfig(3)), "linear", 6), seed=3)
    with pytest.raises(InputError, match="calibration: of kernels quantized per tensor, must be per None"):
        diagnose(other, normal, calibrate(tiny(), normal), SPEC)


@pytest.mark.parametrize(("limits", "text"), [({"clipping": 1.0}, "clipping: got 1.0"), ({"worse": -1.0}, "worse: got -1.0")])
def test_wrong_limits_are_told(limits: dict[str, float], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        DiagnosisLimits(**limits)


def test_findings_of_a_kind_are_one_line_with_a_count() -> None:
    findings = [CalibrationFinding("more samples", "", "worse")]
    findings += [CalibrationFinding(kind, name, f"{name}: {kind}") for kind in ("dead units", "clipping") for name in "abc"]
    found = Diagnosis((*findings[:-2], CalibrationFinding("more samples", "z", "z: worse")), (), None)
    assert found.lines == [
        ("more samples", "worse"),
        ("dead units", "3 tensors, the first a: dead units; the others: b, c"),
        ("clipping", "a: clipping"),
        ("more samples", "z: worse"),
    ]


class _Balanced(HTMLParser):
    """Every tag that is opened is closed, in order."""

    void = frozenset({"meta", "rect", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in self.void or self.open.pop() == tag


def test_the_page_draws_every_tensor_and_loads_nothing(normal: Representative) -> None:
    model = tiny()
    calibration = calibrate(model, normal, "moving-average")
    diagnosis = diagnose(model, normal, calibration, SPEC, DiagnosisLimits(clipping=0.0))
    page = render_page("<odd> & name", calibration, diagnosis)
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "<odd>" not in page and "&lt;odd&gt; &amp; name" in page
    assert not re.search(r"https?:|<script|<img|url\(", page)
    drawn_tensors = re.findall(r"<figure><h3>(.*?)</h3>", page)
    assert drawn_tensors == [name for name in calibration.tensors if not name.endswith(".bias")]
    assert diagnosis.lines and all(f"<li><b>{kind}</b> {text}</li>" in page for kind, text in diagnosis.lines)
    assert page == render_page("<odd> & name", Calibration.from_json(calibration.to_json()), diagnosis)
    bars = re.findall(r'<rect class="(in|out)"', page)
    assert bars.count("out") >= sum(tensor.clipped > 0 for tensor in calibration.tensors.values()) > 0


def test_the_page_has_one_bar_where_a_tensor_is_one_value(normal: Representative) -> None:
    model = tiny()
    model.decoder.stack[0].bias.assign(np.full(8, -50.0))
    calibration = calibrate(model, normal)
    page = render_page("dead", calibration, diagnose(model, normal, calibration, SPEC))
    figure = page[page.index("<h3>decoder_1</h3>") :].split("</figure>")[0]
    assert "<rect" not in figure and "100 % exactly 0" in figure


def test_the_page_says_whether_more_samples_were_better(normal: Representative) -> None:
    model = tiny()
    calibration = calibrate(model, normal)
    diagnosis = diagnose(model, normal, calibration, SPEC)
    assert diagnosis.halves is not None
    page = render_page("name", calibration, diagnosis)
    assert diagnosis.halves.text in page and re.search("More samples were (better|worse)", page)
