"""Training: recipes, the chain and the loop. Started by ``napari-mrtrans-train``; never imports napari."""
