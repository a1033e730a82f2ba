"""One line of an evaluation: all figures of one method's answer for one held-out subject.

Figures are in normalised units, data range 1. Unless their name says ``volume``, they are of the head of source and
target; ``volume`` adds the black background of the evaluated slices, as the paper's tables do, which flatters.
"""

from __future__ import annotations

from dataclasses import dataclass

#: How many samples are averaged to see what more of them bring.
COUNTS = (1, 2, 5, 10, 20)
#: Raise when a row gets new figures, or others: rows of earlier evaluations lack them.
FORMAT = 8


@dataclass(frozen=True)
class Row:
    """One method, pair and subject.

    ``psnr_p995`` is the PSNR with the target's 99.5th percentile (not 1) as its peak, so that it does not depend
    on the headroom of the normalisation. ``psnr_fitted`` is the PSNR after the best gain and offset for this subject;
    what it exceeds ``psnr`` by is the target scanner's overall contrast, which the source hardly tells.
    ``std_over_rmse`` is mean std / RMSE of the mean: below 1 also where every std is right, for a mean is less than a
    root mean square (0.86 where the std of voxels varies by a factor of 1.6). ``fine_detail`` is the power above a
    quarter of the sampling rate, in plane, of one sample (or of the only answer) over that of the target: 1 = as sharp.
    The edge of the head, which both have alike, is in it.

    ``mae`` is the mean absolute error, which is also the CRPS of the answer as a point forecast. ``rank_intensity`` and
    ``rank_gradient`` are rank correlations of |error| with plain maps that a spread has to beat: with the intensity (of
    the prediction or of the source, whichever is the closer relation, either sign) and with the in-plane gradient of
    the prediction (either sign).

    SCSSIM, its variant and LPIPS are of the volume only, LPIPS None without its weights. What needs samples is None for
    deterministic methods: ``coverage`` at :data:`napari_mrtrans.metrics.coverage.LEVELS` and its
    ``calibration_error`` (None of a single independent sample, which every model would hold), ``normal_share``, the
    fraction of voxels whose samples Shapiro and Wilk's test lets pass as normal (p > 0.05; None
    below 3 samples or where all are constant), and ``psnr_of_n`` and ``ssim_of_n`` of the mean of the first
    :data:`COUNTS` samples with their cumulants (paper, Eq. 17; mean over the head), ``kappa1_of_n`` to
    ``kappa4_of_n`` (of a single sample, None but for the first); ``rank_std``, the rank correlation of std and |error|,
    ``rank_calibrated``, that of the corrected standard deviation (None without a calibration), ``sparsification``
    (:func:`~napari_mrtrans.metrics.uncertainty.sparsification_error`), ``crps``, and ``band_ratios``
    (:func:`~napari_mrtrans.metrics.spectrum.band_ratios`, coarse to fine). All but the rank
    correlations and ``sparsification``, which are of the standard deviation of all samples, are of independent ones: of
    antithetic pairs one each.

    ``lesion_r`` is Pearson's r with the target inside the expert mask; ``lesion_sums`` is what it is made of
    (:mod:`.lesion_sums`), so that it can be pooled over people. ``two_sample`` is the AUC of :mod:`.two_sample`, None
    where it was not asked for. ``seconds_per_slice`` is the time from the scans, read already, to the whole answer,
    over its slices: reading the network, finding the head and judging the source are in it. ``lacks`` says what could
    not be measured, in lines, from the row on at which that turned out; ``machine``, what took the seconds.
    """

    method: str
    pair: str
    subject: str
    slices: int
    ssim: float
    ssim_volume: float
    psnr: float
    psnr_volume: float
    psnr_p995: float
    psnr_fitted: float
    bssim: float
    bssim_volume: float
    scssim: float
    scssim_difference: float
    lpips: float | None
    sample_psnr: float | None
    mean_std: float | None
    rmse: float
    mae: float
    std_over_rmse: float | None
    fine_detail: float
    seconds_per_slice: float | None
    coverage: list[float] | None = None
    calibration_error: float | None = None
    normal_share: float | None = None
    psnr_of_n: list[float] | None = None
    ssim_of_n: list[float] | None = None
    kappa1_of_n: list[float] | None = None
    kappa2_of_n: list[float | None] | None = None
    kappa3_of_n: list[float | None] | None = None
    kappa4_of_n: list[float | None] | None = None
    rank_intensity: float | None = None
    rank_gradient: float | None = None
    rank_std: float | None = None
    rank_calibrated: float | None = None
    sparsification: float | None = None
    crps: float | None = None
    band_ratios: list[float | None] | None = None
    lesion_r: float | None = None
    lesion_sums: list[float] | None = None
    two_sample: float | None = None
    lacks: list[str] | None = None
    machine: str = ""
