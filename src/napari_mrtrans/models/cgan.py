"""cgan: conditional Wasserstein GAN with gradient penalty (paper, "Conditional generative adversarial network").

    L(d, g) = E d(x, y) - E d(x, g(x, z)),  z ~ N(0, I)                      (Eq. 2)
    min_g max_d  L - λ E ( || ∇_ŷ d(x, ŷ) || - 1 )²,  ŷ = ε y + (1 - ε) g    (Eq. 3)

The latent vector z reaches the U-Net through conditional instance normalisation, so samples differ everywhere, as
wholes. With ``latent_form: image`` z is an image of noise instead, which the U-Net is shown beside the source, averaged
over several widths (:func:`noise_at_widths`): so samples can differ in each sulcus by itself, and the group
normalisation stays, which knows how strong the channels are beside each other. The penalty is on the gradient with
respect to the image alone (``partial``: the paper, Gulrajani et al. 2017, arXiv 1704.00028; Adler & Öktem 2018) or to
the source as well (``full``: Ray et al. 2023). With a ``mean_network``, g draws residuals around its mean
(:mod:`.residual`); the critic sees whole images either way.

One target for each source teaches little about how much targets of one source differ, and samples tend to collapse.
With ``critic_samples`` of 2 (Adler & Öktem 2018, arXiv 1811.05910) the critic tells two samples from the target beside
a sample, so samples that are too alike give themselves away:

    L = E [ ½ d(x, y, g(x, z)) + ½ d(x, g(x, z), y) - d(x, g(x, z), g(x, z')) ]

A critic teaches slowly where the mean of the samples is and how far they spread. ``regularisation`` tells both
directly: g also minimises, per pixel in [-1, 1], either (``moments``; Bendel et al. 2023, arXiv 2210.13389)

    |y - (g + g')/2| - |g - g'| / √12

whose minimum over Gaussian samples has the mean and the standard deviation of a Gaussian target, or (``crps``; Gneiting
& Raftery 2007, Eq. 21; of two samples as Lang et al. 2024, arXiv 2412.15832)

    (|y - g| + |y - g'| - |g - g'|) / 2

which no other distribution than that of y minimises, Gaussian or not. With ``scales`` above 1 images averaged over
blocks of so many pixels are told the same, so that long waves of the samples spread as those of targets do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..networks.critic import Critic
from .base import VOCABULARY, Batch, Solve, integers, noise_like, to_signed, uniform
from .residual import Condition, ResidualModel

#: What can be told of the critic's size, and what it is otherwise.
_CRITIC = {"width": 32, "grid": 8, "unshuffle": 1}
#: The regularisation: which it is, and what sides of blocks it looks at.
_SCORE: dict[str, Any] = {"score": "moments", "scales": (1,)}
#: Standard deviations in pixels of the Gaussians over which an image of noise is averaged; the last leaves its mean.
WIDTHS = (0.0, 2.0, 5.0, 12.0, math.inf)


class CGAN(ResidualModel):
    """Generator g(x, z); its critic exists in training only.

    Args:
        network: The generator's U-Net options or the name of a preset.
        mean_network: U-Net options of a frozen Direct network; None (the paper) = generate the image itself.
        residual_std: Standard deviation of (y0 - μ(x)) in [-1, 1] units over training brains (residuals only).
        latent: Length of z, unless it is an image.
        latent_form: How z scales and shifts (see :class:`~napari_mrtrans.networks.blocks.ConditionalInstanceNorm`), or
            ``image``.
        critic_steps: Critic updates for each generator update.
        critic_samples: Images that the critic judges together: 1 (the paper), or 2 against collapse.
        regularisation: Weight of the mean over pixels of what is said above; 0 (the paper) = none. Needs two samples.
            The gradients of critic and regularisation are about as long at the root of the number of pixels.
        score: Which regularisation: ``moments`` or ``crps``.
        scales: Sides of the blocks of pixels whose averages ``crps`` compares; their scores are averaged.
        adversarial: Without a critic, the regularisation is all of the loss: a start for the adversarial training.
        penalty_weight: λ.
        penalty: ``partial`` or ``full``.
        conditional: Tell the networks the contrast pair.
        critic_width: Channels of the critic at full resolution.
        critic_grid: Side of the critic's last feature map; 1/16 of the training crop.
        critic_unshuffle: Side of the blocks of pixels that the critic takes as channels.
    """

    stream = 1

    def __init__(
        self,
        *,
        latent: int = 128,
        latent_form: Literal["elu", "affine", "image"] = "elu",
        critic_steps: int = 4,
        critic_samples: Literal[1, 2] = 1,
        regularisation: float = 0.0,
        adversarial: bool = True,
        penalty_weight: float = 10.0,
        penalty: Literal["partial", "full"] = "partial",
        **shared: Any,
    ) -> None:
        score, scales = (shared.pop(name, usual) for name, usual in _SCORE.items())
        critic = {name: shared.pop(f"critic_{name}", usual) for name, usual in _CRITIC.items()}
        fixed: dict[str, Any] = {"in_channels": 0, "out_channels": 1, "time": False}
        if latent < 1 and latent_form != "image":
            raise ValueError(f"latent: a vector of {latent} numbers tells nothing; 1 or more, or latent_form: image.")
        if latent_form == "image":
            latent, fixed["in_channels"] = 0, len(WIDTHS)
        else:
            fixed |= {"latent": latent, "latent_form": latent_form}
        super().__init__(spread=1.0, fixed=fixed, **shared)
        if regularisation and critic_samples == 1:
            raise ValueError("regularisation compares two samples: set critic_samples: 2.")
        if score not in ("moments", "crps"):
            raise ValueError(f"score: 'moments' or 'crps', not '{score}'.")
        if score == "crps" and not regularisation:
            raise ValueError("score: crps needs a weight; set regularisation.")
        if not isinstance(scales, Sequence) or not scales or not all(isinstance(s, int) and s > 0 for s in scales):
            raise ValueError(f"scales: a list of sides of blocks, in whole pixels from 1 on; got {scales}.")
        if score == "moments" and tuple(scales) != (1,):
            raise ValueError("scales: only score: crps compares averages of blocks.")
        if critic_steps < 1:
            raise ValueError("critic_steps: 1 or more.")
        if not (adversarial or regularisation):
            raise ValueError("adversarial: false leaves the regularisation alone: give it a weight.")
        self.adversarial = adversarial
        self.latent = latent
        self.smallest_crop = max(16, *scales)  # the critic pools to a sixteenth, and blocks have to fit
        if latent:  # instance normalisation needs two pixels of the smallest map
            self.smallest_crop = max(self.smallest_crop, 2 * super().multiple)
        self.critic_options = {**critic, "images": critic_samples}
        self.critic_steps = critic_steps
        self.critic_samples = critic_samples
        self.regularisation = regularisation
        self.score, self.scales = score, tuple(scales)
        self.penalty_weight = penalty_weight
        self.full = penalty == "full"

    @property
    def multiple(self) -> int:
        return math.lcm(super().multiple, int(self.critic_options["unshuffle"]))

    def generate(self, condition: Condition, z: Tensor) -> Tensor:
        """g(x, z) in [0, 1]: (batch, latent), or (batch, H, W) if z is an image, to (batch, 1, H, W)."""
        shown, latent = ([], z) if self.latent else ([noise_at_widths(z)], None)
        images = torch.cat([*shown, *condition.images], dim=1)
        out: Tensor = self.net(images, None, *condition.pair, context=condition.features, latent=latent)
        return self.decode(out.float(), condition)

    def sample(
        self, source: Tensor, source_contrast: Tensor, target_contrast: Tensor, noise: Tensor, solve: Solve,
        others: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        del solve
        return self._samples(self.condition(source, source_contrast, target_contrast, others), noise)

    def _samples(self, condition: Condition, z: Tensor) -> Tensor:
        """(batch, samples, latent) or (batch, samples, H, W) to (batch, samples, H, W)."""
        images = self.generate(condition.repeat(z.shape[1]), z.flatten(0, 1))
        return images.reshape(*z.shape[:2], *images.shape[-2:])

    def make_critic(self) -> Critic | None:
        contrasts = len(VOCABULARY) if self.conditional else 0
        return Critic(**self.critic_options, contrasts=contrasts) if self.adversarial else None

    def loss(self, batch: Batch, generator: torch.Generator, critic: nn.Module | None = None) -> Tensor:
        """What of L depends on g, and the regularisation."""
        x, fake = self._fake(batch, generator)
        loss = fake.new_zeros(())
        if self.regularisation:
            loss = self.regularisation * self._regulariser(to_signed(batch.target), fake)
        if critic is not None:
            loss = loss - critic(x, fake, *_pair(batch)).mean()
        if critic is not None and self.critic_samples > 1:
            loss = loss + critic(x, self._real(batch, fake, generator), *_pair(batch)).mean()
        return loss

    def _regulariser(self, target: Tensor, fake: Tensor) -> Tensor:
        if self.score == "moments":
            return two_sample_regulariser(target, fake)
        scores = [two_sample_crps(_blocks(target, side), _blocks(fake, side)) for side in self.scales]
        return torch.stack(scores).mean()

    def critic_loss(self, critic: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """-L + λ · penalty."""
        with torch.no_grad():
            x, fake = self._fake(batch, generator)
        real, pair = self._real(batch, fake, generator), _pair(batch)
        epsilon = uniform((len(real), 1, 1, 1), generator).to(real.device)
        mixed = epsilon * real + (1 - epsilon) * fake
        penalty = gradient_penalty(critic, x, mixed, pair, full=self.full)
        loss: Tensor = critic(x, fake, *pair).mean() - critic(x, real, *pair).mean() + self.penalty_weight * penalty
        return loss

    def _fake(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Source and ``critic_samples`` generated targets (channels) for each slice, in [-1, 1]."""
        condition, _ = self.conditioned(batch)
        shape = (self.latent,) if self.latent else batch.source.shape[-2:]
        z = noise_like(batch.source.new_empty(len(batch.source), self.critic_samples, *shape), generator)
        return condition.source[:, :1], to_signed(self._samples(condition, z))

    def _real(self, batch: Batch, fake: Tensor, generator: torch.Generator) -> Tensor:
        """What the critic is to tell from ``fake``: the target, in place of one of the samples (either, by chance)."""
        target = to_signed(batch.target)
        if self.critic_samples == 1:
            return target
        first = integers(2, len(target), generator).bool().to(target.device)[:, None, None, None]
        return torch.where(first, torch.cat([target, fake[:, 1:]], dim=1), torch.cat([fake[:, :1], target], dim=1))


def noise_at_widths(z: Tensor) -> Tensor:
    """White noise (batch, H, W) averaged over each of :data:`WIDTHS`: (batch, len(WIDTHS), H, W), all of variance 1.

    A network makes long waves of white noise only by averaging over much of it, and little is left of an average.
    """
    rows, columns = z.shape[-2:]
    squares = torch.fft.fftfreq(rows, device=z.device)[:, None] ** 2 + torch.fft.rfftfreq(columns, device=z.device) ** 2
    widths = torch.tensor(WIDTHS, device=z.device)[:, None, None]
    passed = torch.where(squares == 0, 1.0, torch.exp(-2 * (math.pi * widths) ** 2 * squares))
    kernels = torch.fft.irfft2(passed, s=(rows, columns))
    passed = passed / kernels.square().sum(dim=(-2, -1), keepdim=True).sqrt()
    return torch.fft.irfft2(torch.fft.rfft2(z.float())[:, None] * passed, s=(rows, columns))


def _pair(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.source_contrast, batch.target_contrast


def two_sample_regulariser(target: Tensor, fake: Tensor) -> Tensor:
    """|y - mean| - |g - g'| / √12, mean over pixels; target (batch, 1, H, W) and fake (batch, 2, H, W) in [-1, 1]."""
    error = (target - fake.mean(dim=1, keepdim=True)).abs().mean()
    return error - (fake[:, 0] - fake[:, 1]).abs().mean() / math.sqrt(12)


def two_sample_crps(target: Tensor, fake: Tensor) -> Tensor:
    """(|y - g| + |y - g'| - |g - g'|) / 2, mean over pixels; target (batch, 1, H, W) and fake (batch, 2, H, W)."""
    error = (target - fake).abs().mean()
    return error - (fake[:, 0] - fake[:, 1]).abs().mean() / 2


def _blocks(images: Tensor, side: int) -> Tensor:
    """Averages of blocks of ``side`` x ``side`` pixels; what is left at the end of a row or column isn't looked at."""
    return images if side == 1 else F.avg_pool2d(images, side)


def gradient_penalty(
    critic: nn.Module, source: Tensor, image: Tensor, pair: tuple[Tensor, Tensor], *, full: bool = False
) -> Tensor:
    """E (|| ∇ d || - 1)², the gradient with respect to ``image``, or jointly to ``source`` too."""
    inputs = [image.detach().requires_grad_(True)]
    x = source.detach().requires_grad_(full)
    inputs += [x] if full else []
    scores = critic(x, inputs[0], *pair)
    gradients = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)
    return ((squares + 1e-8).sqrt() - 1).square().mean()
