"""The two command lines, ``napari-mrtrans`` and ``napari-mrtrans-train``: options in, files and lines of text out."""
