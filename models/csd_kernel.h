/*
 * csd_kernel.h - the five computations that CSD spends its time in, once for each instruction set.
 *
 * They know vectors and matrices, not voxels: what is computed from what is csd_fit.c's. Nothing here
 * allocates or fails other than by a pivot that is not positive. Everything is computed in an order
 * that the shape of the model alone decides, so a voxel's result depends on nothing but the voxel.
 *
 * Matrices are in columns of `stride` numbers, of which the first n count: a vector register then
 * holds rows of one column. Symmetric ones are held at and below the diagonal; above it stand
 * numbers that mean nothing. stride > n is a multiple of DMI_CSD_WIDEST, so row n is free, and
 * carries the right-hand side of an equation. All arrays begin at multiples of 64 bytes.
 */
#ifndef DM_MODELS_CSD_KERNEL_H
#define DM_MODELS_CSD_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/isa.h"

enum {
    DMI_CSD_WIDEST = 8, /* doubles in the widest register there is */
    DMI_CSD_SPHERE_PAD =
        192, /* constraint directions, made up to whole registers and whole words */
    DMI_CSD_SET_WORDS = DMI_CSD_SPHERE_PAD / 64,
};

/* A set of constraint directions, a bit for each. */
typedef struct dmi_csd_set {
    uint64_t words[DMI_CSD_SET_WORDS];
} dmi_csd_set;

/* The unit triangular L of P = L D L^T, in both orders, and 1/D: a factor that many voxels share. */
typedef struct dmi_csd_factor {
    const double *columns; /* n x stride, L[i][j] at j * stride + i */
    const double *rows;    /* n x stride, L[i][j] at i * stride + j */
    const double *inverse; /* stride, 1 / D */
} dmi_csd_factor;

typedef struct dmi_csd_kernel {
    size_t lanes; /* doubles in a register, at most DMI_CSD_WIDEST */

    /* For `lanes` voxels beside each other: z = X^T s, and f = P^-1 z. s is n_dwi x lanes, X is
     * n_dwi x stride, z and f become stride x lanes; f from n on is left alone. */
    void (*start)(size_t n_dwi, size_t n, size_t stride, const double *x,
                  const dmi_csd_factor *factor, const double *s, double *z, double *f);

    /* Q = `from` (may be Q) + the sum of h h^T over rows `plus` - that over rows `minus`. Row n of
     * Q is that of `from` if the rows have zeros from n on, as they should. */
    void (*add_rows)(size_t n, size_t stride, size_t n_plus, const double *const *plus,
                     size_t n_minus, const double *const *minus, const double *from, double *q);

    /* Q = L D L^T: u = L D in columns, inverse = 1 / D, and in row n of u what the forward
     * substitution makes of row n of Q. `scratch` is n x DMI_CSD_WIDEST. False if a pivot is not
     * positive. */
    bool (*factor)(size_t n, size_t stride, const double *q, double *u, double *inverse,
                   double *scratch);

    /* f = Q^-1 z from such a factor. f has `stride` numbers, zeros from n on. */
    void (*solve)(size_t n, size_t stride, const double *u, const double *inverse, double *f);

    /* The directions where B f < threshold, of the first n_columns of B; columns of
     * DMI_CSD_SPHERE_PAD. Bits past the last direction are whatever comes of zeros in B. */
    void (*below)(size_t n_columns, const double *b, const double *f, double threshold,
                  dmi_csd_set *set);
} dmi_csd_kernel;

/* The kernel for this instruction set, or the best that this build has below it. */
const dmi_csd_kernel *dmi_csd_kernel_for(dmi_isa isa);

/* The kernels themselves; only plain is in every build. */
extern const dmi_csd_kernel dmi_csd_kernel_plain;
extern const dmi_csd_kernel dmi_csd_kernel_avx2;
extern const dmi_csd_kernel dmi_csd_kernel_avx512;

#endif
