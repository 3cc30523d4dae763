"""Whether the figures that a bundle states of itself in metrics.json are those that are measured now."""

from __future__ import annotations

from collections.abc import Iterator

from tiedae.bundle.results import FILE, Check, Metrics, Stage
from tiedae.export.kinds import Kind

from .figures import PARITY, Figure, figures_of

MOST = 0.01
"""What a stated figure may differ by from the measured one, as a fraction: other processors round floats otherwise."""


def stated_figures(now: Metrics, stated: Metrics) -> tuple[Check, ...]:
    """A check of all figures that both have, on the same samples; none where they have none in common.

    How a runtime rounds depends on the processor, so that parity is not compared.
    """
    pairs = list(_pairs(now, stated))
    if not pairs:
        return ()
    wrong = [f"{label}: states {old.text}, measured {new.text}" for label, old, new in pairs if _differ(old, new)]
    more = f"; and {len(wrong) - 1} more" * (len(wrong) > 1)
    text = f"{FILE}: {wrong[0]}{more}" if wrong else f"{FILE}: {len(pairs):,} figures are those measured"
    return (Check(Kind.MANIFEST, not wrong, len(wrong), "== 0", text, file=FILE, detail="figures"),)


def _differ(old: Figure, new: Figure) -> bool:
    if old.value is None or new.value is None:
        return old.value is not new.value
    return not (new.loss <= old.bound(MOST) and old.loss <= new.bound(MOST))


def _pairs(now: Metrics, stated: Metrics) -> Iterator[tuple[str, Figure, Figure]]:
    same = now.samples is not None and stated.samples is not None and now.samples.sha256 == stated.samples.sha256
    current = figures_of(now)
    for group, figures in figures_of(stated).items():
        if group.of_rounding or group.kind == PARITY or (group.needs_samples and not same):
            continue
        for key, old in figures.items():
            new = current.get(group, {}).get(key)
            if new is not None and new.over == old.over:
                yield " ".join((group.name, *key)), old, new
    if same:
        old, new = (next((row.error for row in each.quality if row.stage is Stage.TRAIN), None) for each in (stated, now))
        if old is not None and new is not None:
            yield "Keras float", Figure("error", old), Figure("error", new)
