/*
 * symmetric.h - small symmetric matrices, up to 8 x 8: factors, inverses, eigenvalues.
 *
 * In the caller's memory, without calls into LAPACK: at this size a call costs more than the work,
 * and these give the same bits on every processor of a kind. Matrices are row-major with `stride`
 * numbers from row to row; of those that are given only the lower triangle is read.
 */
#ifndef DM_MODELS_SYMMETRIC_H
#define DM_MODELS_SYMMETRIC_H

#include <stdbool.h>

enum { DMI_SYMMETRIC_MOST = 8 };

/* A = L D L^T: L below the diagonal, 1 on it; and 1 / D. */
typedef struct dmi_factor {
    int n;
    double l[DMI_SYMMETRIC_MOST][DMI_SYMMETRIC_MOST];
    double inverse_d[DMI_SYMMETRIC_MOST];
} dmi_factor;

/*
 * The factor of A + shift I. False if a pivot is not above `least` times its diagonal element: A is
 * not positive definite, or not so to that precision, or not finite.
 */
bool dmi_symmetric_factor(int n, int stride, const double *a, double shift, double least,
                          dmi_factor *factor);

/* x becomes the solution of A y = x. */
void dmi_factor_solve(const dmi_factor *factor, double *x);

/* x^T A^-1 x. */
double dmi_factor_inverse_form(const dmi_factor *factor, const double *x);

/*
 * Eigenvalues, descending, and eigenvectors, n x n, in columns of `vectors`. By Jacobi's rotations.
 * False if the numbers are not finite.
 */
bool dmi_symmetric_eigen(int n, int stride, const double *a, double *values, double *vectors);

/*
 * The pseudo-inverse: eigenvalues whose size is up to `cutoff` times the largest count as zero.
 * `inverse` has both triangles. False if the numbers are not finite.
 */
bool dmi_symmetric_pseudo_inverse(int n, int stride, const double *a, double cutoff,
                                  double *inverse);

#endif
