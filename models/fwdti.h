/*
 * fwdti.h - what a free-water model holds once it is set up, what a thread needs to fit with it, and
 * the sweeps over the volumes of a voxel, of which there is one set for each kind of processor.
 *
 * Symbols as in Neto Henriques et al. 2017. Of N volumes, i is one; s_i its signal; f the fraction
 * of free water; W the design, N x 7, with
 *
 *     W_i = -(b gx^2, 2 b gx gy, b gy^2, 2 b gx gz, 2 b gy gz, b gz^2, 1)
 *     p = (Dxx, Dxy, Dyy, Dxz, Dyz, Dzz, -ln S0), so that W_i . p = ln of the tissue's signal.
 *
 * Arrays over volumes are padded to a multiple of DMI_FWDTI_PADDING with volumes that weigh nothing.
 */
#ifndef DM_MODELS_FWDTI_H
#define DM_MODELS_FWDTI_H

#include "dm/models.h"

#include <stdalign.h>

enum {
    DMI_FWDTI_TENSOR = 6,   /* unknowns of the tensor */
    DMI_FWDTI_LINEAR = 7,   /* and of p, with -ln S0 */
    DMI_FWDTI_UNKNOWNS = 8, /* and of the non-linear fit, with f in disguise */
    DMI_FWDTI_PADDING = 8
};

typedef struct dmi_fwdti_sweeps dmi_fwdti_sweeps;

struct dm_fwdti {
    dm_fwdti_settings settings;
    const dmi_fwdti_sweeps *sweeps; /* of the processor it was made on */
    size_t n;                       /* volumes, N */
    size_t padded;                  /* with the padding */
    size_t n_b0;
    size_t *b0;                  /* n_b0 volume indices */
    double *w[DMI_FWDTI_TENSOR]; /* columns of W; the seventh is -1 throughout */
    double *water;               /* exp(-b g^T g Diso), 0 in the padding */
    double *present;             /* 1, 0 in the padding */
    double *memory;              /* of all these columns */
};

/* A voxel on its way: columns as long as the model's, and what was found out about it. */
struct dm_fwdti_workspace {
    size_t n;     /* volumes of the model it is for */
    double *s;    /* signals, 0 in the padding */
    double *q;    /* s^2, the weights of the linear fit */
    double *t[2]; /* tissue's signal with f = 0, where the non-linear fit is and where it tries */
    double *r[2]; /* residuals there */
    double *memory;
    double s0;   /* mean of the b0 */
    double mean; /* of all volumes */
    /* (W^T q W)^-1, symmetric, its rows padded and aligned; and W^T q 1. */
    alignas(64) double inverse[DMI_FWDTI_LINEAR][DMI_FWDTI_UNKNOWNS];
    double ones[DMI_FWDTI_UNKNOWNS];
};

/* Where the non-linear fit stands. */
typedef struct dmi_fwdti_point {
    double u[DMI_FWDTI_UNKNOWNS]; /* what is looked for: the tensor or its factors, -ln S0, x7 */
    double x[DMI_FWDTI_LINEAR];   /* p */
    double f, slope;              /* f = (1 - cos x7) / 2, or x7; and df/dx7 */
    double squares;               /* sum of the squares of the residuals */
    double *t, *r;                /* columns of the workspace */
} dmi_fwdti_point;

/* J^T J, lower triangle, and J^T r of the residuals' derivatives by p and x7. */
typedef struct dmi_fwdti_normal {
    double h[DMI_FWDTI_UNKNOWNS][DMI_FWDTI_UNKNOWNS];
    double g[DMI_FWDTI_UNKNOWNS];
} dmi_fwdti_normal;

/* Sums over volumes. None allocates; what they read is the model's and the workspace's columns. */
struct dmi_fwdti_sweeps {
    /* From s: q; W^T q W, lower triangle, into `gram`; W^T q 1 into w->ones; W^T q ln(max(s, least))
     * into z (7 and a pad). */
    void (*weigh)(const dm_fwdti *model, dm_fwdti_workspace *w,
                  double gram[DMI_FWDTI_LINEAR][DMI_FWDTI_LINEAR], double *z);
    /* The linear fit of the tissue with this f, into p (7 and a pad, aligned to 64
     * bytes); gives its sum of squares. */
    double (*try_f)(const dm_fwdti *model, const dm_fwdti_workspace *w, double f, double *p);
    /* Whether a volume's signal is above that of the water at f = low and not at f = high. */
    bool (*runs_dry)(const dm_fwdti *model, const dm_fwdti_workspace *w, double low, double high);
    /* t, r and the sum of squares of a point from its p and f. */
    void (*residuals)(const dm_fwdti *model, const dm_fwdti_workspace *w, dmi_fwdti_point *point);
    /* The normal equations at a point whose residuals are there. */
    void (*derivatives)(const dm_fwdti *model, const dmi_fwdti_point *point,
                        dmi_fwdti_normal *normal);
    /* e^x and ln x of 8 numbers, as the others compute them: for the tests. */
    void (*functions)(const double *x, double *exponentials, double *logarithms);
};

/* NULL where this build has none for the processor's kind. */
extern const dmi_fwdti_sweeps dmi_fwdti_sweeps_plain;
extern const dmi_fwdti_sweeps *const dmi_fwdti_sweeps_avx2, *const dmi_fwdti_sweeps_avx512;

/*
 * The grid search over f (fwdti_wls.c): 13 parameters from the signals in w->s, w->s0 and w->mean.
 * False if there is no answer, because numbers overflowed.
 */
bool dmi_fwdti_wls(const dm_fwdti *model, dm_fwdti_workspace *w, double *parameters) DM_NODISCARD;

/*
 * The grid search alone (fwdti_grid.c): f, and p (7 and a pad, aligned to 64 bytes) of the tissue with it.
 */
double dmi_fwdti_search(const dm_fwdti *model, const dm_fwdti_workspace *w, double *p);

/*
 * The non-linear fit from there (fwdti_nls.c); parameters become better ones. Gives the number of
 * times the model was evaluated, in MINPACK's way of counting. False, as above.
 */
bool dmi_fwdti_nls(const dm_fwdti *model, dm_fwdti_workspace *w, double *parameters,
                   int32_t *evaluations) DM_NODISCARD;

/*
 * A tensor by its six Cholesky factors R (fwdti_cholesky.c; Koay et al. 2006): the tensor of factors,
 * the factors of a tensor whose eigenvalues are not below 0, and normal equations by the tensor
 * turned into those by the factors.
 */
void dmi_fwdti_from_cholesky(const double r[DMI_FWDTI_TENSOR], double tensor[DMI_FWDTI_TENSOR]);
void dmi_fwdti_to_cholesky(const double tensor[DMI_FWDTI_TENSOR], double r[DMI_FWDTI_TENSOR]);
void dmi_fwdti_by_cholesky(const double r[DMI_FWDTI_TENSOR], dmi_fwdti_normal *normal);

/* Eigenvalues, not below 0, and eigenvectors of a tensor into the first 12 parameters; and back. */
bool dmi_fwdti_decompose(const double tensor[DMI_FWDTI_TENSOR], double *parameters) DM_NODISCARD;
void dmi_fwdti_compose(const double *parameters, double tensor[DMI_FWDTI_TENSOR]);

#endif
