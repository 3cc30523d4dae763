"""From a quantized model in Python to a bundle: the recipe that its stages amount to, then `assemble`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tiedae.base.errors import InputError
from tiedae.base.records import checked
from tiedae.bundle.bundle import Bundle
from tiedae.compress.lineage import STAGES
from tiedae.config.config import CodecConfig, ExportConfig, QuantizeConfig, Recipe, TrainConfig, VerifyConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Compression, Task
from tiedae.data.dataset import Dataset
from tiedae.data.normal import normal_of, normal_only, require_detectable
from tiedae.data.samples import Samples
from tiedae.export.targets import require_targets

from .recipe import slug
from .run_directory import new_folder, require_new
from .sources import provenance

if TYPE_CHECKING:
    from tiedae.bundle.results import Metrics
    from tiedae.codec.codec import Codec
    from tiedae.compress.autoencoder import TiedAutoencoder

Announce = Callable[[str], None]


def _ignore(_text: str) -> None:
    pass


@dataclass(frozen=True)
class ExportedBundle(Bundle):
    """A bundle, with its check and its codec."""

    def verify(self, data: Dataset | Samples | None = None, *, announce: Announce = _ignore) -> Metrics:
        """Check the bundle, on these samples (the test samples of a Dataset) or on its golden vectors alone.

        `raise_for_failures` of what it returns raises CheckError. Raises DataError where the samples are not the bundle's.
        """
        from tiedae.verify.collecting import MeasuredSamples
        from tiedae.verify.verify import verify_bundle

        test = data.test if isinstance(data, Dataset) else data
        return verify_bundle(self.path, None if test is None else MeasuredSamples.of(test), announce=announce)

    def derive(
        self,
        path: str | Path,
        data: Dataset,
        *,
        factor: float = 1.0,
        fidelity: float | None = None,
        classes: int | None = None,
        overwrite: bool = False,
        verbose: bool = True,
    ) -> ExportedBundle:
        """Write a bundle of the same model into the folder `path`, with tables fitted to these training samples.

        `factor`: on the scale of the codes, above 1 for fewer bits and more error. `fidelity`, in place of a factor: the
        coarsest one that keeps this PRDN in %, PSNR in dB or R² on each of four parts of the validation samples. `classes`:
        of the tables, by default as many as this bundle has. Needs no TensorFlow. This bundle stays.

        Raises InputError for a factor that the model does not allow, a fidelity that no factor keeps or a factor beside it,
        more classes than 256 or training samples, or a folder that exists, unless `overwrite`; DataError for samples of another
        shape or dtype. A check that fails is no error here.
        """
        from .derive import EarlierBundle
        from .factor_choice import choose_factor
        from .rescaling import derived

        announce = print if verbose else _ignore
        require_new(Path(path), replace=overwrite, option="overwrite=True", apart=self.path)
        if fidelity is not None and factor != 1:
            raise InputError(f"factor: got {factor:g} beside a fidelity, must be left out")
        origin = EarlierBundle.of(self, data, data.config.source, factor=factor, classes=classes)
        if fidelity is not None:
            origin = dataclasses.replace(origin, factor=choose_factor(origin, fidelity, announce).factor)
        derived(origin, Path(path), replace=overwrite, announce=announce)
        return ExportedBundle.open(path)

    def load(self, runtime: str = "auto") -> Codec:
        """The codec of this bundle, see `tiedae.load`."""
        from tiedae.codec.opening import open_bundle

        return open_bundle(self, runtime)


def export_bundle(
    model: TiedAutoencoder,
    path: str | Path,
    *,
    data: Dataset,
    name: str | None = None,
    targets: Sequence[str] | None = None,
    export: ExportConfig = ExportConfig(),
    codec: CodecConfig = CodecConfig(),
    verify: VerifyConfig = VerifyConfig(),
    task: Task = Compression(),
    overwrite: bool = False,
    verbose: bool = True,
) -> ExportedBundle:
    """Write the bundle of a quantized model into the folder `path`, which appears whole, and return it.

    `data`: what the model was trained on; golden vectors and the quality are those of its test samples. `name` of the files, by
    default that of the folder. `targets` replace those of `export`. `codec`: classes of the tables of codes. `task`: what is
    measured and reported beside the checks; an anomaly task's thresholds come from the validation samples, of its
    `normal` labels.

    Raises InputError for a float model, one from an archive, or a folder that exists, unless `overwrite`; ExportError where a
    target cannot express the model. A check that fails is no error here: `bundle.verify(data)` reports it.
    """
    from .assemble import assemble
    from .stages import rebuilt
    from .trained import Trained, TrainedModels

    path = Path(path)
    if targets is not None:
        export = replace(export, targets=tuple(targets))
    require_targets(export.targets)
    if not model.quantized:
        raise InputError("export_bundle: got a float model, must be quantized: ta.quantize(model, data)")
    require_new(path, replace=overwrite, option="overwrite=True")
    model.require_spec(data.spec)
    lineage = model.lineage
    if not lineage.earlier or lineage.calibration is None:
        raise InputError(
            "export_bundle: the model comes from an archive, which does not hold the float model it was quantized from; "
            "quantize the float model again"
        )
    data = normal_only(data, normal_of(task), data.config.source)
    require_detectable(data, task, data.config.source)
    recipe = _recipe(model, data, name or slug(path.resolve().name))
    recipe = replace(recipe, export=export, codec=codec, verify=verify, task=task)
    announce = print if verbose else _ignore
    with new_folder(path) as partial:
        stages = {stage: rebuilt(lineage.earlier[stage]) for stage in STAGES if stage in lineage.earlier}
        trained = TrainedModels({**stages, "quantize": model}, lineage.calibration, lineage.history)
        source = provenance(recipe.data.source)
        stock = partial.with_name("stock")
        origin = Trained(trained, data, recipe, stock, source, lineage.origin, lineage.untied)
        assemble(origin, partial, announce)
    return ExportedBundle.open(path)


def _recipe(model: TiedAutoencoder, data: Dataset, name: str) -> Recipe:
    """The recipe that the stages of a model amount to; `train.epochs` is 0 where a loop of Keras trained it."""
    configs = model.lineage.configs
    first = next(iter(model.lineage.earlier.values()))
    known: dict[str, Any] = {stage: configs[stage] for stage in ("prune", "cluster") if stage in configs}
    return Recipe(
        name=name,
        data=data.config,
        model=model.lineage.model or checked(ModelConfig, first.header["model"], "model"),
        train=configs.get("train", TrainConfig(epochs=0)),
        quantize=configs.get("quantize", QuantizeConfig()),
        **known,
    )
