"""The program: operations over tensors, their interpreters, and lowering; numpy alone, no file format."""
