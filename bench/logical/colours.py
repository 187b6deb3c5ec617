"""Colours as people tell them apart: CIELAB of sRGB, and the CIEDE2000 difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _TO_XYZ.sum(axis=1)  # D65
_CUT = 6 / 29
_FAR = 25.0**7


def lab(rgb: NDArray[Any]) -> Values:
    """CIELAB (…, 3) under D65 of sRGB (…, 3) in [0, 1]."""
    coded = np.asarray(rgb, dtype=np.float64)
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    relative = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(relative > _CUT**3, np.cbrt(relative), relative / (3 * _CUT**2) + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(one: NDArray[Any], other: NDArray[Any]) -> Values:
    """ΔE00 (…) between colours in CIELAB (…, 3), with k_L = k_C = k_H = 1.

    After Sharma, Wu and Dalal, The CIEDE2000 color-difference formula, 2005; names as there.
    """
    L1, a1, b1 = np.moveaxis(np.asarray(one, dtype=np.float64), -1, 0)
    L2, a2, b2 = np.moveaxis(np.asarray(other, dtype=np.float64), -1, 0)
    C7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    G = 0.5 * (1 - np.sqrt(C7 / (C7 + _FAR)))
    C1, h1 = _polar((1 + G) * a1, b1)
    C2, h2 = _polar((1 + G) * a2, b2)

    dL, dC = L2 - L1, C2 - C1
    grey = C1 * C2 == 0
    turn = h2 - h1
    dh = np.where(grey, 0.0, turn - 360 * (turn > 180) + 360 * (turn < -180))
    dH = 2 * np.sqrt(C1 * C2) * np.sin(np.radians(dh) / 2)

    L, C = (L1 + L2) / 2, (C1 + C2) / 2
    total = h1 + h2
    apart = np.abs(turn) > 180
    h = np.where(grey, total, np.where(apart, total + np.where(total < 360, 360, -360), total) / 2)
    T = (
        1
        - 0.17 * _cos(h - 30)
        + 0.24 * _cos(2 * h)
        + 0.32 * _cos(3 * h + 6)
        - 0.20 * _cos(4 * h - 63)
    )  # fmt: skip
    S_L = 1 + 0.015 * (L - 50) ** 2 / np.sqrt(20 + (L - 50) ** 2)
    S_C = 1 + 0.045 * C
    S_H = 1 + 0.015 * C * T
    R_C = 2 * np.sqrt(C**7 / (C**7 + _FAR))
    R_T = -np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2)))) * R_C
    light, chroma, hue = dL / S_L, dC / S_C, dH / S_H
    return np.asarray(np.sqrt(np.maximum(light**2 + chroma**2 + hue**2 + R_T * chroma * hue, 0)), dtype=np.float64)


def colour_difference(one: NDArray[Any], other: NDArray[Any]) -> Values:
    """ΔE00 (…) between sRGB colours (…, 3) in [0, 1]."""
    return ciede2000(lab(one), lab(other))


def _polar(a: Values, b: Values) -> tuple[Values, Values]:
    """Chroma, and hue in degrees in [0, 360)."""
    return np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


def _cos(degrees: Values) -> Values:
    return np.asarray(np.cos(np.radians(degrees)), dtype=np.float64)
