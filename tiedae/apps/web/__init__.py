"""A program for JavaScript: its C file as WebAssembly in an npm package, `package`, and a page around that, `page`."""
