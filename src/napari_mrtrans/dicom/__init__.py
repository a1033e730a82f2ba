"""A folder of DICOM slices as one volume, read by SimpleITK; here it is only decided which files belong together."""
