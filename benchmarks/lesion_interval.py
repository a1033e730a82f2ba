"""How often the 95 % interval of a lesion's correlation holds the true one, in simulated smooth images.

    python benchmarks/lesion_interval.py [--draws 200] [--seed 0]

Two images of Gaussian noise, smoothed to a given full width at half maximum and correlated by a given coefficient, are
looked at inside balls. Beside it stands Fisher's interval of all voxels, as if they were independent.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_mrtrans.lesion.interval import correlation_interval

SIZE = 40
#: Radii in voxels.
LESIONS = {"1 of 3": [3], "1 of 6": [6], "1 of 9": [9], "4 of 3": [3] * 4, "20 of 2": [2] * 20}
WIDTHS = (2, 4, 6)
TRUE = (0.0, 0.6)


def balls(radii: list[int], rng: np.random.Generator) -> NDArray[np.intp]:
    """0 outside, 1, 2, … in balls at random places."""
    found = np.zeros((SIZE,) * 3, np.intp)
    for number, radius in enumerate(radii, 1):
        centre = rng.uniform(radius + 1, SIZE - radius - 1, 3)
        squared = sum((axis - middle) ** 2 for axis, middle in zip(np.ogrid[(slice(SIZE),) * 3], centre, strict=True))
        found[(squared <= radius**2) & (found == 0)] = number
    return found


def smooth(width: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of variance 1."""
    image: NDArray[np.float64] = gaussian_filter(rng.normal(size=(SIZE,) * 3), width / 2.355, mode="wrap")
    return image / image.std()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print("| balls, radius in voxels | texture, voxels | true r | held | width | none told | as if independent |")
    print("|---|---|---|---|---|---|---|")
    for name, radii in LESIONS.items():
        for width in WIDTHS:
            for true in TRUE:
                told, plain = [], []
                for _ in range(options.draws):
                    where = balls(radii, rng)
                    inside = where > 0
                    one, other = smooth(width, rng)[inside], smooth(width, rng)[inside]
                    values = np.stack([one, true * one + np.sqrt(1 - true**2) * other], axis=1)
                    told.append(correlation_interval(values, np.argwhere(inside), where[inside]))
                    z, half = np.arctanh(np.corrcoef(*values.T)[0, 1]), 1.96 / np.sqrt(len(values) - 3)
                    plain.append(abs(z - np.arctanh(true)) <= half)
                known = [interval for interval in told if interval is not None]
                held = np.mean([low <= true <= high for low, high in known])
                wide = np.mean([high - low for low, high in known])
                lacking = len(told) - len(known)
                print(
                    f"| {name} | {width} | {true} | {held:.2f} | {wide:.2f} | {lacking} | {np.mean(plain):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
