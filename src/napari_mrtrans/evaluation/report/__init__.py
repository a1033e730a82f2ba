"""The results of :mod:`napari_mrtrans.evaluation.evaluate` as tables, figures and one page, after the paper's."""
