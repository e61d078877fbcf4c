/*
 * csd.h - what a CSD model holds once it is set up, and what a thread needs to fit with it.
 *
 * Symbols as in Tournier et al. 2007: X maps coefficients to dwi signals, B to
 * densities in R constraint directions. Matrices are row-major. N dwi, n coefficients.
 */
#ifndef DM_MODELS_CSD_H
#define DM_MODELS_CSD_H

#include "dm/models.h"

struct dm_csd {
    dm_csd_settings settings;
    size_t n_volumes;
    size_t n_dwi;      /* N */
    size_t n;          /* coefficients */
    size_t n_low;      /* those of order 4 and below */
    double threshold;  /* a density below threshold * f[0] is constrained */
    size_t *dwi;       /* N volume indices */
    double *x;         /* N x n */
    double *p;         /* n x n, X^T X: the triangle of linalg.h */
    double *p_factor;  /* its Cholesky factor */
    double *b;         /* R x n, times lambda */
    double *memory;    /* of the four above */
    char warning[160]; /* "" if there is none */
};

/* The number of constraint directions, R. */
enum { DMI_CSD_DIRECTIONS = DM_HEMISPHERE_COUNT };

struct dm_csd_workspace {
    size_t n_dwi, n; /* of the model it is for */
    double *s;       /* N signals */
    double *z;       /* n, X^T s */
    double *f;       /* n, the coefficients */
    double *density; /* R */
    double *q;       /* n x n, P and the constrained rows */
    double *factor;  /* n x n */
    double *rows;    /* R x n, rows of B gathered */
    double *memory;  /* of all the above */
    unsigned char constrained[DMI_CSD_DIRECTIONS];
    unsigned char next[DMI_CSD_DIRECTIONS];
};

/* Numbers in units of a cache line: arrays begin at its bounds, so that OpenBLAS meets the same
 * alignment in every workspace. */
static inline size_t dmi_csd_padded(size_t n)
{
    return (n + 7) / 8 * 8;
}

#endif
