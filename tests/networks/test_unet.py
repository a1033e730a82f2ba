from __future__ import annotations

import pytest
import torch

from napari_mrtrans.networks.unet import UNet


def randomise(net: UNet) -> UNet:
    """Output branches start at zero; give them values so that everything reaches the output."""
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return net.eval()


def test_papers_setting_has_the_known_number_of_parameters() -> None:
    with torch.device("meta"):
        net = UNet(
            in_channels=2, out_channels=2, widths=(128, 128, 256, 384, 512), blocks=2, attention=(3,), unshuffle=1,
            groups=32, scale_shift=False, contrasts=0,
        )  # fmt: skip
    assert sum(p.numel() for p in net.parameters()) == 85_600_386


@pytest.mark.parametrize("unshuffle", [1, 2])
@pytest.mark.parametrize("size", [(32, 48), (64, 16)])
def test_output_has_the_size_of_the_input(unshuffle: int, size: tuple[int, int]) -> None:
    net = UNet(in_channels=2, widths=(8, 16, 16), groups=4, unshuffle=unshuffle, attention=(2,)).eval()
    assert net.multiple == 4 * unshuffle
    index = torch.zeros(3, dtype=torch.int64)
    assert net(torch.randn(3, 2, *size), torch.zeros(3), index, index + 1).shape == (3, 1, *size)


def test_network_is_told_noise_level_source_and_target() -> None:
    torch.manual_seed(0)
    net = randomise(UNet(in_channels=1, widths=(8, 16), groups=4))
    x, t, zero = torch.randn(1, 1, 16, 16), torch.zeros(1), torch.zeros(1, dtype=torch.int64)
    base = net(x, t, zero, zero + 1)
    for changed in (net(x, t + 1, zero, zero + 1), net(x, t, zero + 2, zero + 1), net(x, t, zero, zero + 3)):
        assert (changed - base).abs().max() > 1e-4


def test_one_pair_needs_no_embedding_and_direct_needs_no_time() -> None:
    net = UNet(in_channels=1, widths=(8, 16), groups=4, time=False, contrasts=0)
    assert net(torch.randn(2, 1, 16, 16)).shape == (2, 1, 16, 16)
    assert not [name for name, _ in net.named_parameters() if "project" in name or "source" in name]


def test_an_image_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    net = randomise(UNet(in_channels=1, widths=(8, 16), groups=4, time=False, contrasts=0))
    x = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[2:3], net(x[2:3]), atol=1e-5, rtol=1e-5)


def test_context_reaches_the_output() -> None:
    torch.manual_seed(0)
    net = randomise(UNet(in_channels=1, widths=(8, 16), groups=4, time=False, contrasts=0, context_channels=3))
    x, context = torch.randn(1, 1, 16, 16), torch.randn(1, 3, 8, 8)
    assert (net(x, context=context) - net(x, context=-context)).abs().max() > 1e-4


def test_curve_starts_at_nothing_and_sees_one_pixel_at_a_time() -> None:
    torch.manual_seed(0)
    net = UNet(in_channels=1, widths=(8, 16), groups=4, time=False, curve=4).eval()
    index = torch.zeros(1, dtype=torch.int64)
    x = torch.rand(1, 1, 16, 16)
    assert net.curve is not None
    embedding = net._embed(None, index, index + 1)
    assert not net.curve(x, embedding).any()
    torch.nn.init.normal_(net.curve.last.weight)
    out = net(x, None, index, index + 1)
    torch.testing.assert_close(out, net.curve(x, embedding))  # the zero-initialised head adds nothing yet
    changed = x.clone()
    changed[..., 3, 5] += 1
    differs = (net(changed, None, index, index + 1) - out).abs() > 1e-6
    assert differs.sum() == 1
    assert (net.curve(x, net._embed(None, index, index + 3)) - out).abs().max() > 1e-4


@pytest.mark.parametrize("unshuffle", [1, 2])
@pytest.mark.parametrize("context", [0, 3])
def test_what_stays_the_same_is_convolved_once(unshuffle: int, context: int) -> None:
    """One noisy channel, two that every sample and step share, and features: the stem's shares add up."""
    torch.manual_seed(0)
    net = randomise(UNet(in_channels=3, widths=(8, 16), groups=4, contrasts=0, context_channels=context,
                         unshuffle=unshuffle))  # fmt: skip
    image, time = torch.randn(2, 3, 16, 24), torch.randn(2)
    features = torch.randn(2, context, 16 // unshuffle, 24 // unshuffle) if context else None
    with torch.no_grad():
        whole = net(image, time, context=features)
        parts = net(image[:, :1], time, constant=net.stem_of(image[:, 1:], features))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)
