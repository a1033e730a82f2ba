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
