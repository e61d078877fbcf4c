#!/usr/bin/python3
"""make_fwdti_options.py - what DIPY's non-linear free-water fit gives with its options.

    make_fwdti_options.py SET [SLICES]

Writes fwdti_nls_cholesky.nii.gz, fwdti_nls_no_f_transform.nii.gz and
fwdti_nls_cholesky_no_f_transform.nii.gz into the folder SET beside this script: the 13 values of
fwdti_nls.nii.gz, 0 outside the mask and from slice SLICES on, NaN where DIPY ended with an exception.
Needs Debian 12's python3-dipy (1.6.0) and python3-nibabel; made with OpenBLAS on one thread.
"""
import gzip
import os
import sys
import warnings

import dipy
import nibabel
import numpy
from dipy.core.gradients import gradient_table
from dipy.reconst import fwdti

OPTIONS = {
    "cholesky": dict(cholesky=True, f_transform=True),
    "no_f_transform": dict(cholesky=False, f_transform=False),
    "cholesky_no_f_transform": dict(cholesky=True, f_transform=False),
}


def fit(design, signals, b0, options):
    """Voxel by voxel, because one exception would end the fit of an image."""
    try:
        return fwdti.nls_iter(design, signals, signals[b0].mean(), **options)
    except numpy.linalg.LinAlgError:
        return numpy.full(13, numpy.nan)


def write(values, like, path):
    image = nibabel.Nifti1Image(values, like.affine)
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(image.to_bytes())


def main():
    assert dipy.__version__ == "1.6.0", dipy.__version__
    warnings.simplefilter("ignore")
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), sys.argv[1])
    table = gradient_table(numpy.loadtxt(f"{folder}/dwi.bval"),
                           numpy.loadtxt(f"{folder}/dwi.bvec").T, b0_threshold=50, atol=1e-2)
    design = fwdti.design_matrix(table)
    dwi = nibabel.load(f"{folder}/dwi.nii.gz")
    data = dwi.get_fdata()
    mask = nibabel.load(f"{folder}/mask.nii.gz").get_fdata() > 0
    if len(sys.argv) > 2:
        mask[:, :, int(sys.argv[2]):] = False
    for name, options in OPTIONS.items():
        values = numpy.zeros(mask.shape + (13,))
        for voxel in zip(*numpy.nonzero(mask)):
            values[voxel] = fit(design, data[voxel], table.b0s_mask, options)
        write(values, dwi, f"{folder}/fwdti_nls_{name}.nii.gz")


main()
