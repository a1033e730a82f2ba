"""Training: recipes, data, the loop, and evaluation. Started by ``napari-mrtrans-train``; never imports napari."""
