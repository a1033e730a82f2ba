"""The napari side: the dock, its worker, its layers. The only package that imports Qt or napari."""
