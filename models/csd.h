/*
 * csd.h - what a CSD model holds once it is set up, and what a thread needs to fit with it.
 *
 * Symbols as in Tournier et al. 2007: X maps coefficients to dwi signals, B to
 * densities in R constraint directions. Matrices are row-major. N dwi, n coefficients.
 */
#ifndef DM_MODELS_CSD_H
#define DM_MODELS_CSD_H

#include "dm/models.h"
#include "models/csd_kernel.h"

/* The number of constraint directions, R. */
enum { DMI_CSD_DIRECTIONS = DM_HEMISPHERE_COUNT };

/* Arrays are laid out for csd_kernel.h: n numbers of `stride`, zeros from n on. */
struct dm_csd {
    dm_csd_settings settings;
    const dmi_csd_kernel *kernel;
    size_t n_volumes;
    size_t n_dwi; /* N */
    size_t n;     /* coefficients */
    size_t stride;
    size_t n_low;          /* coefficients of order 4 and below */
    double threshold;      /* a density below threshold * f[0] is constrained */
    size_t *dwi;           /* N volume indices */
    double *x;             /* N x stride */
    double *b;             /* R x stride, times lambda: rows that Q is made of */
    double *b_columns;     /* n x DMI_CSD_SPHERE_PAD, the same in columns: for densities */
    double *p;             /* stride x stride, X^T X in columns */
    double *p_all;         /* the same + B^T B: Q if all directions were constrained */
    double *l_columns;     /* stride x stride, P = L D L^T, see dmi_csd_factor */
    double *l_rows;        /* stride x stride */
    double *inverse;       /* stride */
    dmi_csd_factor factor; /* the three above */
    double *memory;        /* of all these arrays */
    char warning[160];     /* "" if there is none */
};

struct dm_csd_workspace {
    size_t n_dwi, n; /* of the model it is for */
    double *signals; /* N x lanes */
    double *z;       /* stride x lanes, X^T s */
    double *f_first; /* stride x lanes, P^-1 z */
    double *f;       /* stride, the coefficients of one voxel */
    double *q;       /* stride x stride, P and the constrained rows; z in row n */
    double *u;       /* stride x stride, its factor */
    double *inverse; /* stride */
    double *scratch; /* stride x DMI_CSD_WIDEST */
    double *memory;  /* of all the above */
    const double *plus[DMI_CSD_DIRECTIONS];  /* rows of B that come into Q */
    const double *minus[DMI_CSD_DIRECTIONS]; /* and that go */
};

/* Where arrays lie in one piece of memory. */
typedef struct dmi_csd_array {
    double **array;
    size_t n;
} dmi_csd_array;

/* One zeroed piece of memory for these arrays, each at a multiple of 64 bytes; NULL: no memory. */
double *dmi_csd_allocate(size_t n_arrays, const dmi_csd_array *arrays);

#endif
