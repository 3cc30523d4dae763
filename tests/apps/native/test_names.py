"""The names of a library, valid in C, Java and Swift, and its values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import pytest
from msgspec import structs

from tiedae.apps.native.android import android_module
from tiedae.apps.native.ios import swift_package
from tiedae.apps.native.model import NativeModel
from tiedae.base.errors import ExportError
from tiedae.compress.affine import Quantization

from ...export.c.models import CASES
from .libraries import made_of, native_of


@pytest.mark.parametrize(
    ("given", "package", "java", "module"),
    [
        ("ECG-5000", "tiedae.ecg_5000", "Ecg5000Model", "Ecg5000"),
        ("3d", "tiedae.m_3d", "M3dModel", "M3d"),
        ("int", "tiedae.m_int", "MIntModel", "MInt"),
        ("native", "tiedae.m_native", "MNativeModel", "MNative"),
        ("Object", "tiedae.object", "ObjectModel", "Object"),
        ("Swift", "tiedae.m_swift", "MSwiftModel", "MSwift"),
    ],
)
def test_a_name_is_one_in_every_language(given: str, package: str, java: str, module: str) -> None:
    made = dataclasses.replace(CASES[2], name=given).made()
    model = native_of(made)
    files, swift = android_module(model), swift_package(model)
    folder = f"src/main/java/{package.replace('.', '/')}"
    assert f"package {package};" in files[f"{folder}/{java}.java"].decode()
    assert f'"{package.replace(".", "/")}/{java}"' in files[f"src/main/cpp/{model.name}_jni.c"].decode()
    assert f"-keep class {package}.{java} " in files["consumer-rules.pro"].decode()
    assert f'namespace = "{package}"' in files["build.gradle.kts"].decode()
    assert f"import C{module}\n" in swift[f"Sources/{module}/{module}.swift"].decode()
    assert f"Sources/C{module}/include/{model.name}_app.h" in swift


@pytest.mark.parametrize("make", [android_module, swift_package])
@pytest.mark.parametrize(("bits", "top"), [(3, 7), (7, 127), (8, None)])
def test_codes_of_fewer_bits_have_a_largest_one(make: Callable[..., Mapping[str, bytes]], bits: int, top: int | None) -> None:
    model = native_of(made_of(CASES[2]))
    code = model.program.tensors["code"]
    fewer = dataclasses.replace(code, quantization=Quantization(1 / 8, 0, bits))
    program = dataclasses.replace(model.program, tensors={**model.program.tensors, "code": fewer})
    texts = "".join(data.decode() for data in make(dataclasses.replace(model, program=program)).values())
    stated = re.findall(r"bytes of 0 to (\d+)\.", texts), re.findall(r"got one above [^\d\n]*(\d+)", texts)
    assert stated == (([], []) if top is None else ([str(top)], [str(top)]))


@pytest.mark.parametrize("make", [android_module, swift_package])
def test_data_of_half_floats_are_refused(make: Callable[[NativeModel], object]) -> None:
    model = native_of(made_of(CASES[2]))
    half = dataclasses.replace(model, spec=structs.replace(model.spec, dtype="float16"))
    with pytest.raises(
        ExportError, match=r"^data: got float16, must be uint8, int16, uint16, float32, float64 in Java and Swift$"
    ):
        make(half)
