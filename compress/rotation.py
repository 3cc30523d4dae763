"""Balancing the code: a rotation that leaves the function as it is and lets 8 bits go further.

A code tensor has one scale, so its loudest unit decides how coarse all are. Where the code is linear, its kernel W and bias b
may be rotated, W → WR, b → bR: the code becomes zR, and the decoder, tied to the same WR, computes zR·(WR)ᵀ = zWᵀ. Distances
between codes stay too. R is chosen so that all units have the same mean square (it exists by the Schur–Horn theorem; found by
plane rotations, Bendel & Mickey 1978).
"""

from __future__ import annotations

import numpy as np

from .autoencoder import TiedAutoencoder

TOLERANCE = 1e-3


def equalizing_rotation(moments: np.ndarray) -> np.ndarray:
    """The rotation R, float64 [n, n], for which RᵀMR has a constant diagonal; M = `moments`, symmetric [n, n]."""
    moments = moments.astype(np.float64).copy()
    n = len(moments)
    rotation, target = np.eye(n), np.trace(moments) / n
    for _ in range(n):
        diagonal = np.diag(moments)
        low, high = int(np.argmin(diagonal)), int(np.argmax(diagonal))
        if diagonal[high] - diagonal[low] <= TOLERANCE * target:
            break
        a, b, c = diagonal[low] - target, moments[low, high], diagonal[high] - target
        t = (-b + np.sqrt(b * b - a * c)) / c
        cosine = 1 / np.sqrt(1 + t * t)
        plane = np.eye(n)
        plane[low, low] = plane[high, high] = cosine
        plane[high, low], plane[low, high] = cosine * t, -cosine * t
        moments = plane.T @ moments @ plane
        rotation = rotation @ plane
    return rotation


def balance_code(model: TiedAutoencoder, x: np.ndarray) -> bool:
    """Rotate the code of a float model in place so that its units have the same mean square over `x` [n, inputs].

    Returns False, and changes nothing, where the last layer ties the code to its axes, by an activation other than linear,
    `l1` on its kernel, `activity_l1` or `dropout`, or has a single unit. `l2` and `activity_l2` do not change under a
    rotation and do not block it.
    """
    layer = model.config.layers[-1]
    if layer.activation != "linear" or layer.l1 or layer.activity_l1 or layer.dropout or layer.units == 1:
        return False
    codes = model.encoder(x).numpy().astype(np.float64)
    rotation = equalizing_rotation(codes.T @ codes / len(codes))
    encode = model.encoder.stack[-1]
    encode.kernel.variable.assign(encode.kernel.variable.numpy() @ rotation)
    if encode.bias is not None:
        encode.bias.assign(encode.bias.numpy() @ rotation)
    return True
