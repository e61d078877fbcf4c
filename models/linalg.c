/*
 * linalg.c - the one file that knows OpenBLAS and LAPACKE.
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
