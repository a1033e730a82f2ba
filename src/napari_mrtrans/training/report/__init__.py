"""The results of :mod:`napari_mrtrans.training.evaluate` as tables, figures and one page, after the paper's."""
