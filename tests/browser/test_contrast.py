"""Text on its ground has the contrast that WCAG AA asks for, in both themes; needs no browser."""

from __future__ import annotations

import math
import re

import pytest

from fixtures.page.recorded import STATIC

#: Colours of text, and the grounds that they are on.
TEXT = {
    "text": ("ground", "raised", "hover", "notice-ground", "good-ground", "bad-ground"),
    "quiet": ("ground", "raised", "hover"),
    "link": ("ground", "raised", "hover"),
    "bad-text": ("ground", "bad-ground"),
    "on-action": ("action", "action-hover"),
}
#: What is seen without being read: edges of fields, and where the focus is.
SEEN = ("strong-line", "focus")


def colours(theme: str) -> dict[str, float]:
    """Return the relative luminance of each colour of a theme."""
    css = (STATIC / "css" / "theme.css").read_text()
    light, dark = re.findall(r":root[^{]*\{([^}]*)\}", css)
    chosen = light if theme == "light" else dark
    found = re.findall(r"--([\w-]+): oklch\(([\d.]+) ([\d.]+) ([\d.]+)\)", chosen)
    return {name: luminance(float(lightness), float(c), float(h)) for name, lightness, c, h in found}


def luminance(lightness: float, chroma: float, hue: float) -> float:
    """Return the relative luminance of a colour in OKLCH, by way of linear sRGB."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    red, green, blue = (min(1.0, max(0.0, each)) for each in (red, green, blue))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str) -> None:
    known = colours(theme)
    assert contrast(luminance(1, 0, 0), luminance(0, 0, 0)) == pytest.approx(21, abs=0.01)
    pairs = {(text, ground): 4.5 for text, grounds in TEXT.items() for ground in grounds}
    pairs |= dict.fromkeys(((name, "ground") for name in SEEN), 3.0)
    low = {
        pair: round(contrast(*(known[name] for name in pair)), 2)
        for pair, least in pairs.items()
        if contrast(*(known[name] for name in pair)) < least
    }
    assert low == {}
