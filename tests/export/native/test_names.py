"""The names of a library: valid ones, in C, Java and Swift."""

from __future__ import annotations

import dataclasses

import pytest
from tiedae.export.native.android import android_module
from tiedae.export.native.ios import swift_package

from ..c.models import CASES
from .libraries import native_of


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
