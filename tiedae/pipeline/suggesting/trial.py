"""Whether a hidden layer helps: a short training of the net that a recipe would have, beside PCA.

The net begins at PCA (`compress/pca_start.py`) and is trained once, at the middle of the learning rates that `float_training`
would try. The linear net of the same code is not trained: PCA is its optimum (Baldi & Hornik 1989). Both see the same training
samples, and are measured on others that are held out of them. A sigmoid output may lose what a hidden layer gains, so that a
net that gains nothing with it is tried with a linear output too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from tiedae.compress.held_out import ENOUGH, clusters_of, with_held_out
from tiedae.compress.start_or_end import Change
from tiedae.config.config import TrainConfig
from tiedae.config.layer_kinds import Activation, LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.data.dataset import Dataset, choose, split
from tiedae.data.samples import Samples
from tiedae.data.splitting import LEAST_GROUPS
from tiedae.tasks.compression import no_pca
from tiedae.tasks.neighbourhoods import Pca

from .plan import TRIAL_RATE, HiddenTrial, RecipePlan

if TYPE_CHECKING:
    from tiedae.report.console import Progress

TASKS = ("compression", "reduction")
"""Kinds of task that a linear net is a candidate for: of a detector and a denoiser it changes what they find."""
STEPS, FEW_STEPS = 300, 1_000
"""Steps of a trial; the second where samples are fewer than `ENOUGH`: a net of few samples overfits only after a while."""
FITTED, HELD = 6_000, 2_000
"""Training samples that a trial trains on, and others that it is measured on, at most."""
LEAST, OF_FEW, LEAST_HELD = 80, 1 / 5, 16
"""Where training samples are fewer than `ENOUGH`: their least number, the fraction that is held out, and its least number."""
OF_GROUPS = 1 / 3
"""Fraction of the training samples that are held out, where they are of groups."""
PACKAGES = ("tensorflow", "tf_keras")


def untried(plan: RecipePlan, splits: Dataset, stated: Mapping[str, Any]) -> str:
    """Why a hidden layer is taken without a trial; empty where one has to show its gain.

    `stated`: keys of the recipe, such as `model.layers`.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    fixed = [key for key in ("model.layers", "train.noise") if key in stated]
    if plan.task not in TASKS:
        return f"a task of {plan.task} has none"
    if fixed:
        return f"{fixed[0]} is stated"
    if stated.get("model.output_activation", "linear") != "linear":
        return f"model.output_activation {stated['model.output_activation']} is stated, and a linear net needs a linear one"
    if splits.train.clean is not None:
        return "the samples have clean ones"
    if problem := no_pca(splits.inputs, len(splits.train)):
        return problem
    return f"{missing[0]} is not installed" if missing and not unjudged(splits) else ""


def unjudged(splits: Dataset) -> str:
    """Why no samples can be held out to judge a hidden layer; empty where they can."""
    if _judged(splits).validation is not None:
        return ""
    groups = f" of {LEAST_GROUPS} groups" if splits.train.groups is not None else ""
    return f"{splits.train.independent:,} training samples, {LEAST:,}{groups} would be enough to hold some out"


def trials_of(plan: RecipePlan, splits: Dataset, progress: Progress | None = None) -> tuple[HiddenTrial, ...]:
    """Trials up to the first in which the hidden layer gains, one for each output activation that the recipe could have.

    Raises DivergedError where no learning rate trains the net, and the errors of `train_float`.
    """
    outputs: tuple[Activation, ...] = ("linear",) if plan.facts.output == "linear" else ("sigmoid", "linear")
    judged, trials = _judged(splits), []
    for output in outputs:
        trials.append(_trial(plan, judged, output, FEW_STEPS if splits.train.independent < ENOUGH else STEPS, progress))
        if trials[-1].gains:
            break
    return tuple(trials)


def _judged(splits: Dataset) -> Dataset:
    """Training samples of a trial, with held-out ones of them as validation samples, where there are enough.

    Of few samples a fifth. Of groups a third: a twentieth may be one picture, which says nothing of others.
    """
    alone, groups = with_held_out(replace(splits, validation=None)), splits.train.groups
    if alone.validation is None:
        alone = with_held_out(alone, enough=LEAST, fraction=OF_FEW, fewest=LEAST_HELD)
    if groups is None or alone.validation is None:
        return alone
    rest, judges = split(splits.train, (OF_GROUPS,), splits.config.source, seed=splits.config.seed)
    assert rest is not None
    return replace(splits, train=rest, validation=judges)


def _some(samples: Samples, most: int, seed: int) -> Samples:
    return samples if len(samples) <= most else samples.select(choose(samples, most, seed))


def _trial(plan: RecipePlan, splits: Dataset, output: Activation, steps: int, progress: Progress | None) -> HiddenTrial:
    from tiedae.compress.float_training import train_float
    from tiedae.compress.network import TiedNetwork
    from tiedae.compress.train import Training

    facts, seed, batch = plan.facts, splits.config.seed, plan.batch
    assert splits.validation is not None
    chosen = replace(splits, train=_some(splits.train, FITTED, seed), validation=_some(splits.validation, HELD, seed))
    chosen = chosen.with_scaling(chosen.fitted(facts.scaling, facts.per_feature, output))
    judges = chosen.validation
    assert judges is not None
    x = chosen.scaling.apply(judges.take(slice(None)))
    pca = Pca.fit(chosen.scaling.apply(chosen.train.take(slice(None))), plan.units)
    layers = LayerConfig(plan.hidden, "relu"), LayerConfig(plan.units)
    network = TiedNetwork(ModelConfig(layers, output).of_samples(splits.train.shape), seed=seed)
    epoch_steps = -(-len(chosen.train) // batch)
    epochs = max(1, round(steps / epoch_steps))
    config = TrainConfig(epochs=epochs, batch_size=batch, learning_rate=TRIAL_RATE, weight_decay=0.0, start="pca", seed=seed)
    train_float(network, replace(chosen, validation=None), Training(config, progress=progress, label="hidden layer"))
    y = network(x).numpy().reshape(x.shape)
    before, after = (np.square(x - each, dtype=np.float64).sum(axis=1) for each in (pca.decode(pca.encode(x)), y))
    error = Change.of(before, after, clusters_of(judges, windows=chosen.windows))
    return HiddenTrial((plan.hidden, plan.units), output, epochs * epoch_steps, len(judges), error)
