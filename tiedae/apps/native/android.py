"""An Android library module around a model's C file: `android_module`."""

from __future__ import annotations

from .model import HERE, NativeModel, c_files, rendered, stream_files

BUILD = ("build.gradle.kts", "consumer-rules.pro", "README.md")
"""Templates of the module's root."""


def android_module(model: NativeModel) -> dict[str, bytes]:
    """The files by path: a class in Java 8 with JNI, what Gradle and CMake build them by, and golden samples that it checks."""
    folder, values = HERE / "android", model.values
    java = f"src/main/java/{values['package'].replace('.', '/')}/{values['type']}"
    texts = {f"src/main/cpp/{name}": text for name, text in c_files(model).items()}
    texts |= {
        f"src/main/cpp/{model.name}_jni.c": rendered(folder / "jni.c.j2", model),
        "src/main/cpp/CMakeLists.txt": rendered(folder / "CMakeLists.txt.j2", model),
        "src/main/AndroidManifest.xml": rendered(folder / "AndroidManifest.xml.j2", model),
        f"{java}.java": rendered(folder / "Model.java.j2", model),
        f"{java}Exception.java": rendered(folder / "ModelException.java.j2", model),
    }
    texts |= stream_files(model, folder, java.removesuffix("Model"), ".java")
    texts |= {name: rendered(folder / f"{name}.j2", model) for name in BUILD}
    return {path: text.encode() for path, text in texts.items()}
