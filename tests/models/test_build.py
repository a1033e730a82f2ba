"""Options of a family: what it does not have is refused, even where its network would know the word."""

from __future__ import annotations

import pytest

from helpers import TINY
from napari_mrtrans.models import FAMILIES, build


@pytest.mark.parametrize("option", ["spred", "dropout", "spread", "fixed"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_an_unknown_option_is_refused(family: str, option: str) -> None:
    network = {} if family == "resvit" else TINY
    with pytest.raises(TypeError, match=option):
        build(family, {"network": network, option: 1})


@pytest.mark.parametrize("family", list(FAMILIES))
def test_an_unknown_option_of_the_network_is_refused(family: str) -> None:
    with pytest.raises(TypeError, match="depht"):
        build(family, {"network": {"depht": 1}})


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"resvit"}))
def test_a_network_must_be_given(family: str) -> None:
    with pytest.raises(TypeError, match="network"):
        build(family, {})


@pytest.mark.parametrize(
    ("family", "option", "value", "line"),
    [
        ("ddpm", "vlb_weight", "1e-3", r"vlb_weight '1e-3' is no float \(YAML takes 1e-3 for text: write 0.001\)"),
        ("resvit", "l1_weight", "1e2", "l1_weight '1e2' is no float"),
        ("flow", "residual_std", "0.1", "residual_std '0.1' is no float"),
        ("cgan", "critic_steps", 1.5, "critic_steps '1.5' is no int"),
        ("cgan", "critic_steps", 0, "critic_steps: 1 or more"),
        ("cgan", "adversarial", 1, "adversarial '1' is no bool"),
        ("ncsn", "sigma_min", 60.0, r"sigma_min \(60\) must be above 0 and below sigma_max \(50\)"),
        ("ncsn", "levels", 1, "levels: 2 or more"),
    ],
)
def test_a_value_of_another_kind_is_refused(family: str, option: str, value: object, line: str) -> None:
    network = {} if family == "resvit" else TINY
    with pytest.raises(ValueError, match=line):
        build(family, {"network": network, option: value})


def test_a_network_and_its_mean_s_feature_map_are_of_one_resolution() -> None:
    options = {"network": TINY | {"unshuffle": 1}, "mean_network": TINY | {"unshuffle": 2}}
    with pytest.raises(ValueError, match=r"network.unshuffle: 1, but the mean .* has 2; .* mean_features: false"):
        build("flow", options)
    build("flow", {**options, "mean_features": False})
    build("flow", {**options, "mean_network": TINY | {"unshuffle": 1}})


def test_a_critic_s_blocks_divide_the_crop() -> None:
    assert build("cgan", {"network": TINY}).multiple == 4
    assert build("cgan", {"network": TINY, "critic_unshuffle": 3}).multiple == 12
