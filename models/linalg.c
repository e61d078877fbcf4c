/*
 * linalg.c - the one file that knows OpenBLAS and LAPACKE.
 *
 * The interfaces of LAPACK that allocate and look for NaN are kept out of what runs per voxel.
 */
#include "models/linalg.h"

#include <cblas.h>
#include <lapacke.h>
#include <pthread.h>
#include <string.h>

static void one_thread(void)
{
    openblas_set_num_threads(1);
}

void dmi_linalg_one_thread(void)
{
    /* Once: setting it while another thread computes is not safe in OpenBLAS. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, one_thread);
}

void dmi_matrix_times(size_t rows, size_t columns, const double *a, size_t stride, const double *x,
                      double *y)
{
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (blasint)rows, (blasint)columns, 1.0, a,
                (blasint)stride, x, 1, 0.0, y, 1);
}

void dmi_transpose_times(size_t rows, size_t columns, const double *a, const double *x, double *y)
{
    cblas_dgemv(CblasRowMajor, CblasTrans, (blasint)rows, (blasint)columns, 1.0, a,
                (blasint)columns, x, 1, 0.0, y, 1);
}

/* From here on matrices are handed over as LAPACK sees them, transposed, because it would otherwise
 * copy them: our lower triangle is its upper one. */

void dmi_add_gram(size_t n, size_t k, double alpha, const double *h, double beta, double *s)
{
    cblas_dsyrk(CblasColMajor, CblasUpper, CblasNoTrans, (blasint)n, (blasint)k, alpha, h,
                (blasint)n, beta, s, (blasint)n);
}

bool dmi_cholesky(size_t n, double *s)
{
    return LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)n, s, (lapack_int)n) == 0;
}

/* Two triangular solves and not potrs: that takes the way for many right-hand sides, and for one it
 * costs several times more. */
void dmi_cholesky_solve(size_t n, const double *factor, double *x)
{
    cblas_dtrsv(CblasColMajor, CblasUpper, CblasTrans, CblasNonUnit, (blasint)n, factor, (blasint)n,
                x, 1);
    cblas_dtrsv(CblasColMajor, CblasUpper, CblasNoTrans, CblasNonUnit, (blasint)n, factor,
                (blasint)n, x, 1);
}

bool dmi_least_squares(size_t rows, size_t columns, double *a, double *y, double cutoff, double *x)
{
    enum { MOST = 128 };
    double singular[MOST];
    lapack_int rank;
    if (rows == 0 || columns == 0 || (rows < columns ? rows : columns) > MOST)
        return false;
    if (LAPACKE_dgelsd(LAPACK_ROW_MAJOR, (lapack_int)rows, (lapack_int)columns, 1, a,
                       (lapack_int)columns, y, 1, singular, cutoff, &rank) != 0)
        return false;
    memcpy(x, y, columns * sizeof *x);
    return true;
}

bool dmi_eigenvalues3(const double tensor[6], double values[3])
{
    double a[9] = {tensor[0], tensor[1], tensor[3], tensor[1], tensor[2],
                   tensor[4], tensor[3], tensor[4], tensor[5]};
    return LAPACKE_dsyev(LAPACK_COL_MAJOR, 'N', 'U', 3, a, 3, values) == 0;
}
