"""Libraries for phones around a model's C file: an Android module and a Swift package. docs/guides/apps.md describes them."""
