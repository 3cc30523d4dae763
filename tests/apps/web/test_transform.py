"""A TransformStream of samples to a .tae file, and one of time steps to codes, in Chromium."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tiedae.codec.header import FileKind

from ..stream_expected import MODELS, encoder_of, record_of
from .browser import browser
from .node import write_package

pytestmark = pytest.mark.ci

RUN = """(async () => {
  const { load } = await import('/model/index.mjs');
  const model = await load();
  const bytes = async (readable) => {
    const parts = [];
    for (let r = readable.getReader(), next; !(next = await r.read()).done;) parts.push(...new Uint8Array(next.value.buffer));
    return parts;
  };
  const steps = Int16Array.from(STEPS);
  const source = () => new Blob([steps]).stream().pipeThrough(new TransformStream({
    transform(chunk, to) {
      for (let at = 0; at < chunk.length; at += 34) to.enqueue(new Int16Array(chunk.slice(at, at + 34).buffer));
    },
  }));
  const file = await bytes(source().pipeThrough(model.encoder({ samplesPerFrame: 3 }).transform()));
  const codes = await bytes(source().pipeThrough(model.stream({ hop: 5 }).transform()));
  const reader = await model.reader(new Blob([new Uint8Array(file)]));
  return { file, codes, samples: reader.samples, whole: reader.isWhole, part: [...await reader.read(1, 3)] };
})()"""


def test_streams_of_a_browser_pipe_through(tmp_path: Path) -> None:
    made = MODELS["record"].made()
    write_package(made, tmp_path / "model")
    (tmp_path / "model" / "index.html").write_text(
        "<!doctype html><html data-ready><link rel=icon href='data:,'><title>m</title>"
    )
    spec, backend = made.model.spec, made.model.program
    steps = record_of(made, 7 * spec.window)
    with browser(tmp_path) as page:
        page.open("model", 800)
        found = page.look(RUN.replace("STEPS", json.dumps(steps.tolist())))
        assert page.troubles() == []
    windows = steps.reshape(-1, spec.inputs)
    assert bytes(found["file"]) == encoder_of(made, FileKind.LOSSY, 0, 3).whole(windows)
    hops = np.stack([steps[at : at + spec.window] for at in range(0, len(steps) - spec.window + 1, 5)])
    assert bytes(found["codes"]) == backend.encode(hops).tobytes()
    assert (found["samples"], found["whole"]) == (7, True)
    assert found["part"] == backend.samples(backend.reconstruct(windows[1:3])[1]).ravel().tolist()
