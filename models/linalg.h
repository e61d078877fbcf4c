/*
 * linalg.h - the linear algebra the fits need, over OpenBLAS and LAPACK.
 *
 * Matrices are row-major, "rows x columns". Nothing here allocates, except least squares. What CSD
 * does per voxel is not here: csd_kernel.h.
 */
#ifndef DM_MODELS_LINALG_H
#define DM_MODELS_LINALG_H

#include <stdbool.h>
#include <stddef.h>

/* OpenBLAS on one thread from now on, in the whole process. Any thread, any number of times. */
void dmi_linalg_one_thread(void);

/* y = A x, where A has `stride` numbers from one row to the next. */
void dmi_matrix_times(size_t rows, size_t columns, const double *a, size_t stride, const double *x,
                      double *y);

/*
 * x = the minimum-norm least squares of A x = y by SVD, singular values up to `cutoff` times the
 * largest counting as zero (below 0: machine precision). A and y are spoilt; y has max(rows,
 * columns) numbers. False if there is no answer: not finite, or out of memory.
 */
bool dmi_least_squares(size_t rows, size_t columns, double *a, double *y, double cutoff, double *x);

/* The eigenvalues, ascending, of the symmetric (xx, xy, yy, xz, yz, zz). False if not finite. */
bool dmi_eigenvalues3(const double tensor[6], double values[3]);

#endif
