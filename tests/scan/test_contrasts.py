from __future__ import annotations

import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast, Pair, guess_contrast, names_anything, names_mask

NAMES: dict[Contrast | None, list[str]] = {
    Contrast.T1: [
        "sub-01_T1w.nii.gz",
        "sub-01_ses-2_acq-mprage_run-02_T1w.nii",
        "sub-OAS30001_ses-d0129_run-01_T1w.nii.gz",
        "OAS1_0001_MR1_mpr-1_anon.hdr",
        "OAS1_0001_MR1_mpr_n4_anon_sbj_111.img",
        "IXI002-Guys-0828-T1.nii.gz",
        "Brats18_2013_10_1_t1.nii.gz",
        "BraTS20_Training_001_t1.nii",
        "BraTS2021_00000_t1.nii.gz",
        "BraTS-GLI-00000-000-t1n.nii.gz",
        "UCSF-PDGM-0004_T1.nii.gz",
        "UPENN-GBM-00001_11_T1.nii.gz",
        "T1_preprocessed.nii.gz",
        "3DT1.nii.gz",
        "training01_01_mprage_pp.nii",
        "t1_mprage_sag_p2_iso",
        "sT1W_3D_TFE",
        "3D T1 TFE sag",
        "Ax FSPGR BRAVO",
        "MP-RAGE",
        "ADNI_002_S_0295_MR_MPR__GradWarp__B1_Correction",
        "sub-01_inv-1_MP2RAGE",
        "mni_icbm152_t1_tal_nlin_asym_09a",
        "T1-weighted",
        "t1",
        # the fluid nulled in a T1-weighted image: GE's T1 FLAIR, Siemens' t1_tirm
        "T1_FLAIR",
        "Ax T1 FLAIR",
        "Sag_T1_FLAIR.nii.gz",
        "5_Ax_T1FLAIR_PROPELLER",
        "3D T1W FLAIR",
        "T1-weighted FLAIR",
        "12345_T1_FLAIR.nii.gz",
        "t1_tirm_tra_dark-fluid",
        "sub-01_acq-T1FLAIR_T1w",
        "sub-01_T1w [1]",
        # neither subject nor visit nor folder is the contrast
        "sub-PD01_T1w",
        "sub-PD_T1w.nii",
        "sub-DP_ses-T2_T1w",
        "sub-T2005_T1w",
        "sub-T2_T1w",
        "sub-FLAIR_T1w",
        "sub-01_ses-T2_T1w",
        "DP_T1.nii",
        "P1_T2_T1.nii.gz",
        "/data/PD/T2/sub-01_T1w.nii.gz",
        "C:\\T2\\IXI002-Guys-0828-T1.nii.gz",
        # nor is what it was registered to, nor what happened to the patient
        "sub-01_space-T2_T1w",
        "T1_to_T2.nii.gz",
        "T1_postop.nii.gz",
        # gradient echoes and words of processing
        "T1W_FFE",
        "t1_gre",
        "T1w_acpc_dc_restore",
        "sub-DTI_T1w",
        "sub-01_acq-stir_T1w",
        # nor is a study, called before a suffix of BIDS
        "FLAIR_called_T1w.nii.gz",
        "flair-study_001_T1w.nii.gz",
        "MS_FLAIR_001_T1w",
        "sub-01_FLAIR_T1w",
        "3DFLAIR_T1w.nii",
        "FLAIR_01_T1w [1]",
        "DTI_01_T1w [2]",
    ],
    Contrast.T2: [
        "sub-01_T2w.nii.gz",
        "IXI012-HH-1211-T2.nii.gz",
        "Brats18_CBICA_AAB_1_t2.nii.gz",
        "BraTS-GLI-00000-000-t2w.nii.gz",
        "T2_preprocessed.nii.gz",
        "training01_01_t2_pp.nii",
        "t2_tse_tra_320",
        "t2_spc_sag_p2_iso",
        "T2W_TSE",
        "AX_T2_FSE",
        "Ax T2 PROPELLER",
        "sub-T1001_T2w",
        "sub-T1_T2w",
        "sub-01_ses-PD_T2w",
        "P1_T1_T2.nii.gz",
        "T2_in_FLAIR.nii.gz",
    ],
    Contrast.PD: [
        "sub-01_PDw.nii.gz",
        "sub-T1_PDw",
        "IXI002-Guys-0828-PD.nii.gz",
        "DP.nii.gz",
        "DP_preprocessed.nii.gz",
        "training01_01_pd_pp.nii",
        "AX PD",
        "pd_tse_tra",
        "proton-density",
        "FLAIR_01_PDw.nii.gz",
        "T1_FLAIR_01_PDw",
    ],
    Contrast.FLAIR: [
        "sub-01_FLAIR.nii.gz",
        "sub-T1w_FLAIR",
        "FLAIR_to_T1w.nii.gz",
        "Brats18_2013_10_1_flair.nii.gz",
        "BraTS-GLI-00000-000-t2f.nii.gz",
        "3DFLAIR.nii.gz",
        "P1_T1_FLAIR.nii.gz",
        "patient012_T1_FLAIR.nii.gz",
        "sub-01_acq-T1FLAIR_FLAIR",
        "FLAIR_to_T1.nii.gz",
        "T2-FLAIR",
        "T2_FLAIR",
        "sub-CE_ses-post_FLAIR",
        "T2FLAIR.nii.gz",
        "T2w FLAIR",
        "Sag CUBE T2 FLAIR",
        "3D_Brain_VIEW_FLAIR",
        "t2_tirm_tra_dark-fluid",
        "t2_spc_da-fl_irprep_sag_p2_iso",
    ],
    None: [
        "t1ce",
        "Brats18_2013_10_1_t1ce.nii.gz",
        "BraTS-GLI-00000-000-t1c.nii.gz",
        "sub-01_ce-GADOLINIUM_T1w",
        "sub-01_ce-gd_T1w",
        "sub-01_acq-t1ce_T1w",
        "sub-01_acq-mprageGd_T1w",
        "sub-01_acq-mpragepostC_T1w",
        "T1_Gd.nii.gz",
        "TCGA-02-0006_1996.08.23_t1Gd.nii.gz",
        "UPENN-GBM-00001_11_T1GD.nii.gz",
        "3DT1GADO.nii.gz",
        "GADO_preprocessed.nii.gz",
        "T1+C",
        "T1_post",
        "T1 post-contrast",
        "Ax T1 FLAIR +C",
        "T1_FLAIR_post",
        "t1_se_tra_km",
        "IXI012-HH-1211-MRA.nii.gz",
        "sub-01_bold",
        "sub-T1_bold",
        "sub-01_label-T1_dseg",
        "sub-01_T2starw",
        "T2*",
        "t2_fl2d_tra_hemo",
        "sub-01_T1map",
        "T2_map",
        "PD01",
        "T2005",
        "Ax BRAVO+C",
        "FSPGR+C",
        "MPRAGE+C",
        "AX_T1_SE+C",
        "t1_mprage_ce",
        "MPRAGE_C+",
        "T1_C+",
        "POSTGAD_T1",
        "T1_GdDTPA",
        "T1_Gd-DTPA",
        "T1_dotarem",
        "T1_injecte",
        "PD_T2_TSE_e1",
        "PD+T2_TSE_tra_e1",
        "PD-T2_e1",
        "T2_PD_e2",
        "pdw_t2w_e2",
        "T2W_FFE",
        "T2_FFE",
        "T2_GRE",
        "gre_t2",
        "t2_medic",
        "sub-01_inv-2_MP2RAGE",
        "sub-01_part-phase_MP2RAGE",
        "sub-01_part-imag_T2w",
        "T2_ADC",
        "ep2d_t2",
        "T2_STIR",
        "T1_TOF",
        "5_dti_T2",
        "FLAIR_cohort_sub01_T2w.nii.gz",
        "sub-01_T1_FLAIR_T2w",
        "FLAIR_post_T1w",
        "updated",
        "best2",
        "volume",
        "",
    ],
}


@pytest.mark.parametrize(("name", "expected"), [(name, c) for c, names in NAMES.items() for name in names])
def test_guess(name: str, expected: Contrast | None) -> None:
    assert guess_contrast(name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T1", Contrast.T1),
        (" t1w ", Contrast.T1),
        ("T2-weighted", Contrast.T2),
        ("t2 weighted image", None),
        ("pd", Contrast.PD),
        ("PDw", Contrast.PD),
        ("Flair", Contrast.FLAIR),
        (Contrast.T2, Contrast.T2),
        ("T2-FLAIR", None),
        ("T1ce", None),
        ("T", None),
        ("w", None),
        ("", None),
    ],
)
def test_parse(text: str, expected: Contrast | None) -> None:
    if expected is None:
        with pytest.raises(MrtransError, match=r"Unknown contrast .* T1, T2, PD, FLAIR\.$"):
            Contrast.parse(text)
    else:
        assert Contrast.parse(text) is expected


@pytest.mark.parametrize("text", ["T1->T2", "T1→T2", " t1w ->  T2-weighted "])
def test_pair_as_people_write_it(text: str) -> None:
    pair = Pair.parse(text)
    assert pair == (Contrast.T1, Contrast.T2)
    assert str(pair) == "T1→T2"
    assert Pair.parse(str(pair)) == pair


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("T1", "write it as T1->T2"),
        ("", "write it as T1->T2"),
        ("T1-T2", "write it as T1->T2"),
        ("T1->T2->PD", "write it as T1->T2"),
        ("T1->T9", "Unknown contrast 'T9'"),
        ("T1->", "Unknown contrast ''"),
        ("t2w→T2", "same contrast"),
    ],
)
def test_bad_pair(text: str, problem: str) -> None:
    with pytest.raises(MrtransError, match=problem):
        Pair.parse(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("T2_reg_T1", Contrast.T2),
        ("sub01_FLAIR_registered_to_T1w.nii.gz", Contrast.FLAIR),
        ("T1_coreg_T2.nii", Contrast.T1),
        ("P1_reg_T1.nii", Contrast.T1),
        ("reg_T2.nii.gz", Contrast.T2),
        ("sub-01_UNIT1.nii.gz", Contrast.T1),
        ("sub-01_T2w.nii.bz2", Contrast.T2),
    ],
)
def test_what_an_image_was_registered_to_is_not_what_it_shows(name: str, expected: Contrast) -> None:
    assert guess_contrast(name) is expected


@pytest.mark.parametrize(
    "name",
    ["T1_to_dwi", "t1_to_DTI", "T1_in_dwi_space", "T1_coreg_bold", "T1_in_ASL", "T1_reg_adc", "NIMH_DTI_001_T1w.nii.gz",
     "HCP_fMRI_T1w"],
)  # fmt: skip
def test_what_it_was_brought_onto_and_the_name_of_a_study_are_not_what_it_shows(name: str) -> None:
    assert guess_contrast(name) is Contrast.T1


def test_a_name_may_tell_what_an_image_shows_without_being_one_of_the_four() -> None:
    assert all(map(names_anything, ("case_T2_STIR", "a_PD_T2", "T2W_FFE", "b_TOF_T1", "BRAVO+C", "sub_dwi", "x_FLAIR")))
    assert not any(map(names_anything, ("scan", "patient-12", "sub-01_acq-high")))


@pytest.mark.parametrize(
    "name",
    ["sub-07_T2w_lesions.nii.gz", "sub-07_T2w_brainmask", "sub-07_T2w_seg", "sub-01_space-T2w_label-lesion_mask.nii",
     "sub-01_T2w_dseg", "sub-01_label-GM_probseg.nii.gz", "T1_brain_pve_0", "T2_ROI copy", "T1_brain_mask [1]",
     "1-LesionSeg-Flair.nii", "training01_01_mask1.nii", "ManualSegmentation_1", "a/T1/T2_label.nii", "sub01_T1mask",
     "T2Mask", "lesion_roi"],
)  # fmt: skip
def test_masks_are_known_by_their_names(name: str) -> None:
    assert names_mask(name)


@pytest.mark.parametrize(
    "name",
    ["sub-01_T1w.nii.gz", "sub-mask_acq-roi_T1w", "sub-01_desc-brainmasked_T2w", "T1_masked", "MSSEG_01_T1",
     "T2_label/T1", "Lesion_001_T1.nii", "roi study mprage", "T1_roi.nii.gz", "T1_roi_crop", "T1_lesion_filled",
     "T1_labels_removed", "T1_no_mask"],
)  # fmt: skip
def test_what_masks_and_lesions_gave_a_study_or_a_person_is_no_mask(name: str) -> None:
    assert not names_mask(name)
