/*
 * models.h - diffusion-MRI fits on arrays in memory, and the files around them.
 *
 * No runtime and no worker processes in here: a fit is settings -> create (all allocation) -> fit n
 * voxels -> destroy. Running it on many cores is the caller's business, for which is promised:
 *
 *  - A model is read-only once created and may be used by any number of threads at once, each with
 *    a workspace of its own. Nothing is allocated per voxel.
 *  - A voxel's result depends on that voxel alone, to the last bit: how voxels are cut into chunks,
 *    and which thread or process fits them, never shows. (On one kind of CPU: kernels are chosen by
 *    what it has - plain, AVX2 or AVX-512; the environment variable DM_ISA, one of plain, avx2 and
 *    avx512, lowers that - and they round differently, by some 1e-14 of a voxel's greatest
 *    coefficient.)
 *  - Creating a model or fitting a response sets OpenBLAS to one thread, for the whole process.
 *
 * All arithmetic is in double. Directions are unit vectors in the axes of the bvec file: no affine
 * is applied, nothing is flipped. b is in s/mm2, diffusivity in mm2/s. An array written "n x m" has
 * m numbers beside each other for each of n. Functions returning dm_status leave their outputs
 * alone when they fail, and dm_last_error() has the sentence. NULL is accepted by every destroy
 * function.
 *
 * Sections: 1 gradients, 2 spherical harmonics, 3 volumes and masks, 4 response, 5 CSD, 6 maps,
 * 7 free water, 8 phantom.
 */
#ifndef DM_MODELS_H
#define DM_MODELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dm/status.h>

/* x, y, z. */
typedef double dm_vector[3];

/* ---- 1. Gradients: how each volume was weighted ---------------------------------------------- */

/* A volume with b up to this, inclusive, is a "b0"; the others are "dwi". */
#define DM_B0_THRESHOLD 50.0

/* A vector counts as a direction when its length is within this of 1, inclusive. */
#define DM_UNIT_TOLERANCE 0.01

/*
 * The gradient table. Look, do not write. b of each volume is used as it is: shells are not
 * rounded, vectors are not renormalised.
 */
typedef struct dm_gradients {
    size_t n_volumes;
    double *b;    /* n_volumes; 0 where the vector is no direction */
    dm_vector *g; /* n_volumes; (0, 0, 0) where the vector is no direction */
    size_t n_dwi; /* how many volumes are dwi */
    size_t *dwi;  /* n_dwi volume indices, ascending */
} dm_gradients;

/*
 * A table from n b-values and n vectors, both copied. NaN in a vector counts as 0. A vector that is
 * no direction makes b and vector 0 if the volume is a b0, and is DM_ERR_INVALID naming the volume
 * if it is not. So is a b that is negative, NaN or infinite; and n = 0.
 * Yours: dm_gradients_destroy.
 */
DM_API dm_status dm_gradients_create(size_t n, const double *b, const dm_vector *vectors,
                                     dm_gradients **gradients) DM_NODISCARD;

/*
 * The same from FSL text files: b-values in any arrangement, vectors as 3 rows of n or n rows of 3
 * (3 of 3 is taken as rows x, y, z). DM_ERR_IO if a file cannot be read, DM_ERR_FORMAT if it is not
 * such a table or the two do not fit each other. Yours: dm_gradients_destroy.
 */
DM_API dm_status dm_gradients_read(const char *bval_path, const char *bvec_path,
                                   dm_gradients **gradients) DM_NODISCARD;

/*
 * The table of only some volumes, in the order given; an index may not be repeated.
 * Yours: dm_gradients_destroy.
 */
DM_API dm_status dm_gradients_select(const dm_gradients *gradients, size_t n, const size_t *volumes,
                                     dm_gradients **selected) DM_NODISCARD;

/*
 * The volumes of some shells, ascending: those whose b is within 50 s/mm2 or 5 % of one of n b-values,
 * whichever is more; 0 stands for the b0. `volumes` (n_volumes numbers) gets them and
 * `n_selected` how many there are, ready for dm_gradients_select. DM_ERR_INVALID, with what b-values
 * there are, if one of the shells has no volume.
 */
DM_API dm_status dm_gradients_shells(const dm_gradients *gradients, size_t n, const double *shells,
                                     size_t *volumes, size_t *n_selected) DM_NODISCARD;

DM_API void dm_gradients_destroy(dm_gradients *gradients);

/* ---- 2. Spherical harmonics ------------------------------------------------------------------ */

/* A real, symmetric (even l) basis, orthonormal on the sphere. */
typedef enum dm_sh_basis {
    /* Descoteaux et al. 2007 in its older sign convention, DIPY's default: with P_l^m including the
     * Condon-Shortley factor and N_lm = sqrt((2l+1)/(4 pi) (l-|m|)!/(l+|m|)!),
     *   m = 0: N P_l^0(cos theta)
     *   m < 0: sqrt2 N P_l^|m|(cos theta) cos(|m| phi)
     *   m > 0: sqrt2 N P_l^m(cos theta) sin(m phi) */
    DM_SH_DESCOTEAUX07_LEGACY = 0,
    /* Tournier et al. 2007 as MRtrix3 has it since version 0.3.13 (DIPY's tournier07, not legacy):
     * the same functions with m and -m exchanged, cosines at m > 0 and sines at m < 0. MRtrix3
     * means coefficients in scanner axes: see dm_sh_change. */
    DM_SH_TOURNIER07 = 1
} dm_sh_basis;

enum { DM_SH_MAX_ORDER = 12 };

/* The number of functions up to lmax: (lmax+1)(lmax+2)/2. 0 if lmax is odd or not in 0..12. */
DM_API size_t dm_sh_count(int lmax);

/* Where function (l, m) stands: l = 0, 2, 4, ..., inside it m = -l..l. l even, |m| <= l. */
DM_API size_t dm_sh_index(int l, int m);

/*
 * The basis at n directions: `matrix` becomes n x dm_sh_count(lmax). Only the angles of a direction
 * matter, not its length. DM_ERR_INVALID for an order that dm_sh_count does not know, and for a
 * direction that is zero or not finite.
 */
DM_API dm_status dm_sh_matrix(dm_sh_basis basis, int lmax, size_t n, const dm_vector *directions,
                              double *matrix) DM_NODISCARD;

/*
 * The same density in another basis and other axes: `matrix` becomes n x n (n = dm_sh_count(lmax)),
 * and its product with coefficients in basis `from` is the coefficients in basis `to`; dm_odf
 * multiplies so. `rotation` takes a vector's old components to its new ones, by rows; NULL: the axes
 * stay. A reflection is one as well: densities are symmetric.
 * DM_ERR_INVALID: no such basis or order; not orthogonal (to 1e-4). Allocates.
 */
DM_API dm_status dm_sh_change(dm_sh_basis from, dm_sh_basis to, int lmax,
                              const double rotation[3][3], double *matrix) DM_NODISCARD;

/*
 * The 362 unit vectors of a symmetric sphere, and the 181 of its half (one of each antipodal pair,
 * z never negative). Mine, for ever. Origin: DIPY, its spheres "symmetric362" and its default small
 * sphere; BSD-3-Clause.
 */
enum { DM_SPHERE_COUNT = 362, DM_HEMISPHERE_COUNT = 181 };
DM_API const dm_vector *dm_sphere362(void);
DM_API const dm_vector *dm_hemisphere181(void);

/* ---- 3. Volumes and masks: NIfTI-1 files and what is in them --------------------------------- */

typedef enum dm_volume_type {
    DM_VOLUME_U8,
    DM_VOLUME_I8,
    DM_VOLUME_U16,
    DM_VOLUME_I16,
    DM_VOLUME_U32,
    DM_VOLUME_I32,
    DM_VOLUME_U64,
    DM_VOLUME_I64,
    DM_VOLUME_F32,
    DM_VOLUME_F64,
    DM_VOLUME_TYPE_COUNT
} dm_volume_type;

/* Where voxels lie in space: the fields of the NIfTI-1 header, carried from input to output as
 * found. */
typedef struct dm_grid {
    size_t shape[3];
    float pixdim[8]; /* qfac, dx, dy, dz, dt, ... */
    int xyzt_units;  /* NIfTI code */
    int qform_code;
    int sform_code;
    float quaternion[3]; /* b, c, d */
    float offset[3];
    float sform[3][4]; /* rows x, y, z */
} dm_grid;

/*
 * From the axes of FSL's bvec files to those of the scanner (the world of the header: x to the
 * right, y to the front, z up): the rotation that dm_sh_change wants to give MRtrix3 what it means.
 * FSL's vectors are along the voxel axes, with x reversed if the affine's determinant is positive.
 * The affine is the sform, without one the qform, without that the voxel sizes alone; of one that
 * shears, the nearest rotation. DM_ERR_INVALID if it is singular or not finite.
 */
DM_API dm_status dm_grid_bvec_to_scanner(const dm_grid *grid, double rotation[3][3]) DM_NODISCARD;

/*
 * A 3-D or 4-D image in memory, in the type it has in its file. A value is slope * stored + inter.
 * A voxel is named by its index in file order: i + shape[0] * (j + shape[1] * k). Stored element
 * `voxel` of volume t is at t * n_voxels + voxel.
 */
typedef struct dm_volume {
    dm_grid grid;
    size_t n_voxels;
    size_t n_volumes; /* 1 for a 3-D file */
    dm_volume_type type;
    double slope; /* never 0 */
    double inter;
    void *data;
} dm_volume;

/*
 * Read a .nii or .nii.gz file of any integer or floating-point type of 8 to 64 bits, of either byte
 * order. The header's word is not trusted: no more memory is taken than twice what the file really
 * holds. DM_ERR_IO: missing, unreadable. DM_ERR_FORMAT: not NIfTI-1, cut off, damaged compression,
 * dimensions or type that cannot be. Prints nothing. Yours: dm_volume_destroy.
 */
DM_API dm_status dm_volume_read(const char *path, dm_volume **volume) DM_NODISCARD;

/*
 * The same for diffusion data: DM_ERR_FORMAT unless it is 4-D with one volume for each entry of
 * `gradients`. Yours: dm_volume_destroy.
 */
DM_API dm_status dm_dwi_read(const char *path, const dm_gradients *gradients,
                             dm_volume **dwi) DM_NODISCARD;

/* An image of zeros with slope 1 and inter 0. Yours: dm_volume_destroy. */
DM_API dm_status dm_volume_create(const dm_grid *grid, size_t n_volumes, dm_volume_type type,
                                  dm_volume **volume) DM_NODISCARD;

DM_API void dm_volume_destroy(dm_volume *volume);

/*
 * The values of n voxels, each with its n_volumes side by side: `values` becomes n x n_volumes.
 * Voxels must be below n_voxels. Any number of threads at once.
 */
DM_API void dm_volume_gather(const dm_volume *volume, size_t n, const size_t *voxels,
                             double *values);

/*
 * The reverse: `values`, n x n_volumes, become the values of these voxels. Integer types round to
 * nearest and clip to their range, NaN becomes 0. Slope and inter are not applied: for images made
 * by dm_volume_create. Different voxels may be written by different threads at once.
 */
DM_API void dm_volume_scatter(dm_volume *volume, size_t n, const size_t *voxels,
                              const double *values);

/*
 * Write as .nii or .nii.gz, by the end of `path`. The bytes go to a nameless file in the same
 * directory that gets its name when it is complete (where the file system has no nameless files, to
 * `path` with a suffix): whoever sees `path` sees all of it, and a failure leaves nothing. An
 * existing file is DM_ERR_IO unless `overwrite`. An image of one volume is written as 3-D.
 */
DM_API dm_status dm_volume_write(const dm_volume *volume, const char *path,
                                 bool overwrite) DM_NODISCARD;

/* The voxels that are to be fitted, ascending. Look, do not write. */
typedef struct dm_mask {
    size_t n;
    size_t *voxels; /* n indices, see dm_volume */
} dm_mask;

/*
 * Read a mask: voxels greater than 0. DM_ERR_FORMAT if its shape is not that of `like`, or if it
 * has more than one volume. A mask without voxels is one with n = 0. Yours: dm_mask_destroy.
 */
DM_API dm_status dm_mask_read(const char *path, const dm_volume *like, dm_mask **mask) DM_NODISCARD;

/* All voxels of an image. Yours: dm_mask_destroy. */
DM_API dm_status dm_mask_all(const dm_volume *like, dm_mask **mask) DM_NODISCARD;

DM_API void dm_mask_destroy(dm_mask *mask);

/* ---- 4. Response: the signal of one fibre ---------------------------------------------------- */

/*
 * One fibre's tensor and its signal at b = 0 (Tournier et al. 2004). A plain value. Whoever takes one refuses
 * eigenvalues that no tissue has in mm2/s: the largest must lie between 2e-5 and 0.1.
 */
typedef struct dm_response {
    double evals[3]; /* along the fibre, then across, mm2/s */
    double s0;       /* in the unit of the data */
} dm_response;

typedef struct dm_response_settings {
    int roi_radius;      /* voxels each way from the centre, 0 or more; 10 */
    double fa_threshold; /* strictly above this counts as one fibre, 0 to 1; 0.7 */
} dm_response_settings;

DM_API dm_response_settings dm_response_defaults(void);

/*
 * The response of the voxels of high anisotropy in a box at the centre of the image: weighted
 * tensor fit, then the means over voxels with FA above the threshold. Where the box does not fit on
 * an axis it becomes as large as it can. `n_used` (may be NULL) gets their number. `settings` may
 * be NULL. There is no mask: if background lies in the box, noise is chosen; use
 * dm_response_from_mask. `gradients` has an entry for each volume of `dwi`.
 * DM_ERR_NUMERIC: no voxel was anisotropic enough. DM_ERR_INVALID: no b0, too few volumes for a
 * tensor. Allocates; any number of threads at once.
 */
DM_API dm_status dm_response_auto_ssst(const dm_volume *dwi, const dm_gradients *gradients,
                                       const dm_response_settings *settings, dm_response *response,
                                       size_t *n_used) DM_NODISCARD;

/* The same over the voxels of a mask, without the test for FA. */
DM_API dm_status dm_response_from_mask(const dm_volume *dwi, const dm_gradients *gradients,
                                       const dm_mask *mask, dm_response *response) DM_NODISCARD;

/*
 * A text file with three eigenvalues (mm2/s) and S0 on one line; lines that begin with # are
 * comments. Written with 17 digits, so that reading gives the same bits back, and appearing whole
 * like a file of dm_volume_write. Read refuses values that are not positive and finite
 * (DM_ERR_FORMAT).
 */
DM_API dm_status dm_response_read(const char *path, dm_response *response) DM_NODISCARD;
DM_API dm_status dm_response_write(const dm_response *response, const char *path,
                                   bool overwrite) DM_NODISCARD;

/* ---- 5. CSD: constrained spherical deconvolution --------------------------------------------- */

/*
 * Tournier et al. 2007: the fibre orientation density whose convolution with the response gives the
 * signal, by repeated least squares in which directions where it is below a threshold are pulled
 * to zero. Values agree with DIPY's ConstrainedSphericalDeconvModel.
 */
typedef struct dm_csd_settings {
    int lmax;           /* highest order, even, 2 to 12; 8 */
    double lambda;      /* weight of the constraint, 0 or more; 1 */
    double tau;         /* threshold as a fraction of the mean density, 0 or more; 0.1 */
    int max_iterations; /* 1 or more; 50 */
    dm_sh_basis basis;  /* of the coefficients, in the vectors' axes; DM_SH_DESCOTEAUX07_LEGACY */
} dm_csd_settings;

DM_API dm_csd_settings dm_csd_defaults(void);

/* A model: settings, gradients and response, and everything that can be computed from them. */
typedef struct dm_csd dm_csd;

/* What one thread needs beside the model. */
typedef struct dm_csd_workspace dm_csd_workspace;

/*
 * Set a model up; nothing given is kept. `settings` may be NULL. All dwi of the table are used
 * together, whatever their b. Takes about 1 ms at lmax 8.
 * DM_ERR_INVALID for settings out of range, those of NLS with WLS, a table without dwi, a response that is not positive
 * and finite; DM_ERR_NUMERIC where even a touch of regularisation does not make the dwi determine
 * the coefficients; DM_ERR_NOMEM. Yours: dm_csd_destroy.
 */
DM_API dm_status dm_csd_create(const dm_csd_settings *settings, const dm_gradients *gradients,
                               const dm_response *response, dm_csd **model) DM_NODISCARD;

DM_API void dm_csd_destroy(dm_csd *model);

/* Coefficients per voxel, 45 at lmax 8; and volumes per voxel, those of the gradient table. */
DM_API size_t dm_csd_n_coefficients(const dm_csd *model);
DM_API size_t dm_csd_n_volumes(const dm_csd *model);

/*
 * Something a user should be told about the model (fewer dwi than coefficients), or NULL. Mine,
 * while the model lives.
 */
DM_API const char *dm_csd_warning(const dm_csd *model);

/* A workspace for this model. One thread at a time uses it. Yours: dm_csd_workspace_destroy. */
DM_API dm_status dm_csd_workspace_create(const dm_csd *model,
                                         dm_csd_workspace **workspace) DM_NODISCARD;
DM_API void dm_csd_workspace_destroy(dm_csd_workspace *workspace);

/*
 * Fit n voxels. `signals` is n x n_volumes, as measured: not divided by S0, not clipped; b0 volumes
 * are skipped. `coefficients` becomes n x n_coefficients, in the order of dm_sh_index and on the
 * scale of the signal. `iterations` (n, may be NULL) becomes the number of constrained solves: 0 if
 * no direction had to be constrained, max_iterations if the set of constrained directions was still
 * changing (or came to rest in the very last one).
 * A voxel of zeros gives zeros. NaN or infinity in a dwi gives NaN in all coefficients and a count
 * of 0; a solve that fails numerically gives NaN and -1. Neither stops the others.
 * DM_ERR_INVALID: NULL, or a workspace of another shape of model.
 * Threads: any number at once on one model, each with its own workspace.
 */
DM_API dm_status dm_csd_fit(const dm_csd *model, dm_csd_workspace *workspace, size_t n,
                            const double *signals, double *coefficients,
                            int32_t *iterations) DM_NODISCARD;

/*
 * A CSD setup as flat bytes, for a process that builds the model for itself: settings, gradients
 * and response, a few kB, in this machine's byte order. dm_csd_packed_bytes tells the size;
 * dm_csd_pack writes exactly that many.
 */
DM_API size_t dm_csd_packed_bytes(const dm_gradients *gradients);
DM_API dm_status dm_csd_pack(const dm_csd_settings *settings, const dm_gradients *gradients,
                             const dm_response *response, void *bytes, size_t n_bytes) DM_NODISCARD;

/*
 * The model of packed bytes; they need no alignment and are not kept. It gives the same bits as the
 * one from the original parts. DM_ERR_FORMAT if they are not what dm_csd_pack of this version
 * wrote. Yours: dm_csd_destroy.
 */
DM_API dm_status dm_csd_unpack(const void *bytes, size_t n_bytes, dm_csd **model) DM_NODISCARD;

/* ---- 6. Maps from coefficients --------------------------------------------------------------- */

/*
 * The density of n voxels at n_directions: `odf` becomes n x n_directions. `sh_matrix` is
 * n_directions x n_coefficients, from dm_sh_matrix in the basis of the fit. Overlap is not allowed.
 */
DM_API void dm_odf(size_t n, size_t n_coefficients, const double *coefficients, size_t n_directions,
                   const double *sh_matrix, double *odf);

/*
 * Generalised fractional anisotropy of n voxels from coefficients (n x n_coefficients):
 * sqrt(1 - c_0^2 / sum c_j^2), Cohen-Adad et al. 2011. 0 for all zeros, NaN where one is NaN.
 */
DM_API void dm_gfa_from_coefficients(size_t n, size_t n_coefficients, const double *coefficients,
                                     double *gfa);

/*
 * The same from samples (n x n_samples) on evenly spread directions:
 * sqrt(N sum (x - mean)^2 / ((N - 1) sum x^2)). NaN for all zeros. Differs from the above by about
 * 1e-3, since no set of directions is quite even. n_samples must be 2 or more.
 */
DM_API void dm_gfa_from_samples(size_t n, size_t n_samples, const double *samples, double *gfa);

/* The most peaks of a voxel. */
enum { DM_PEAKS = 5 };

typedef struct dm_peak_settings {
    double relative_threshold; /* of the greatest, above the least; 0 to 1; 0.5 */
    double min_separation;     /* degrees between peaks, 0 to 90; 25 */
} dm_peak_settings;

DM_API dm_peak_settings dm_peak_defaults(void);

/*
 * The peaks of n densities sampled at the 362 directions of dm_sphere362 (n x 362), by the rule of
 * DIPY's peak_directions: directions that are no less than any neighbour on the sphere and more than
 * one of them; of these, those with v - m >= relative_threshold (greatest - m), where m is the least
 * density or 0; of these, from the greatest down, each that is at least min_separation from those
 * taken already (opposite directions are the same one). `directions` becomes n x DM_PEAKS x 3,
 * `values` (may be NULL) n x DM_PEAKS; where there are fewer peaks, zeros. NaN has none.
 * `settings` may be NULL. Any number of threads at once.
 */
DM_API void dm_peaks(size_t n, const double *odf, const dm_peak_settings *settings,
                     dm_vector *directions, double *values);

/* ---- 7. Free water: a tensor beside water that diffuses freely ------------------------------- */

/*
 * The tensor of the tissue and the fraction of free water in a voxel (Pasternak et al. 2009), from
 * two shells or more (Hoy et al. 2014), fitted as by Neto Henriques et al. 2017:
 *
 *     S_i = S0 [(1 - f) exp(-b_i g_i^T D g_i) + f exp(-b_i DM_FREE_WATER_DIFFUSIVITY)]
 *
 * DM_FWDTI_WLS searches f on a grid and fits the tensor for each f by linear least squares, weighted
 * by the squared signals; S0 of the water is the mean of the b0. f comes in steps of 10^-piterations.
 * DM_FWDTI_NLS goes on from there by non-linear least squares over S0, D and f (Levenberg and
 * Marquardt; More 1978). Values agree with DIPY's FreeWaterTensorModel.
 *
 * Two settings change what NLS looks for, as DIPY's options `cholesky` and `f_transform` do:
 *
 *  - `cholesky`: the six Cholesky factors of D (Koay et al. 2006) instead of its elements, so that D
 *    has no negative eigenvalue at any step; without it only the result's are set to 0. They begin
 *    at the grid's tensor. Where that is not positive definite, because eigenvalues had to be set
 *    to 0, pivots below 1e-5 mm2/s begin at that, and the fit goes on from there. DIPY has no rule:
 *    its factors become NaN and its fit ends with an exception, or not, as the last bit of a 0
 *    falls.
 *  - `f_untransformed`: f itself instead of arcsin(2 f - 1) + pi/2. It may come out below 0 or
 *    above 1, which says that the model does not describe the voxel.
 */
typedef enum dm_fwdti_method { DM_FWDTI_NLS = 0, DM_FWDTI_WLS } dm_fwdti_method;

/* Of water at body temperature, mm2/s. */
#define DM_FREE_WATER_DIFFUSIVITY 3e-3

typedef struct dm_fwdti_settings {
    dm_fwdti_method method; /* DM_FWDTI_NLS */
    double mdreg;           /* mm2/s: a mean diffusivity from here on is all water, f = 1; 2.7e-3 */
    double min_signal;      /* logarithms are taken of no less, and fainter voxels not fitted; 1e-6 */
    int piterations;        /* grids, each ten times finer than the one before, 1 to 8; 3 */
    bool cholesky;          /* NLS: D by its Cholesky factors; false */
    bool f_untransformed;   /* NLS: f is not kept in 0..1; false */
} dm_fwdti_settings;

enum { DM_FWDTI_MOST_PITERATIONS = 8, DM_FWDTI_MAX_EVALUATIONS = 1800 };

DM_API dm_fwdti_settings dm_fwdti_defaults(void);

/*
 * What is found in a voxel: three eigenvalues, descending, in mm2/s, none below 0; the 3 x 3 matrix
 * of eigenvectors by rows, whose column k belongs to eigenvalue k and has an arbitrary sign; f.
 */
enum { DM_FWDTI_F = 12, DM_FWDTI_PARAMETERS = 13 };

/* A model: settings and gradients, and all that can be computed from them. */
typedef struct dm_fwdti dm_fwdti;

/* What one thread needs beside the model. */
typedef struct dm_fwdti_workspace dm_fwdti_workspace;

/*
 * Set a model up; nothing given is kept. `settings` may be NULL. Every volume is used with its own
 * b, b0 volumes, too. Takes microseconds.
 * DM_ERR_INVALID for settings out of range, a table without b0, or one with fewer than three
 * distinct b-values (rounded to two digits of the greatest, 0 counted); DM_ERR_NOMEM.
 * Yours: dm_fwdti_destroy.
 */
DM_API dm_status dm_fwdti_create(const dm_fwdti_settings *settings, const dm_gradients *gradients,
                                 dm_fwdti **model) DM_NODISCARD;

DM_API void dm_fwdti_destroy(dm_fwdti *model);

/* Volumes per voxel, those of the gradient table. */
DM_API size_t dm_fwdti_n_volumes(const dm_fwdti *model);

/* A workspace for this model. One thread at a time uses it. Yours: dm_fwdti_workspace_destroy. */
DM_API dm_status dm_fwdti_workspace_create(const dm_fwdti *model,
                                           dm_fwdti_workspace **workspace) DM_NODISCARD;
DM_API void dm_fwdti_workspace_destroy(dm_fwdti_workspace *workspace);

/*
 * Fit n voxels. `signals` is n x n_volumes, as measured. `parameters` becomes n x
 * DM_FWDTI_PARAMETERS. `evaluations` (n, may be NULL) becomes the number of times the non-linear fit
 * evaluated its model, a Jacobian counting as 8: 0 if it was not called for, and from
 * DM_FWDTI_MAX_EVALUATIONS on it was ended and what it had is the result.
 * A voxel whose mean diffusivity without water is mdreg or more, or whose mean signal or mean b0 is
 * not above min_signal, is not fitted: all zeros but f, which is 1 if the diffusivity is above
 * mdreg. f from 0.99 on in the grid is not refined. NaN or infinity in any volume, or signals whose
 * squares are infinite, give NaN throughout. Neither stops the others.
 * DM_ERR_INVALID: NULL, or a workspace for another number of volumes.
 * Threads: any number at once on one model, each with its own workspace.
 */
DM_API dm_status dm_fwdti_fit(const dm_fwdti *model, dm_fwdti_workspace *workspace, size_t n,
                              const double *signals, double *parameters,
                              int32_t *evaluations) DM_NODISCARD;

/*
 * A free-water setup as flat bytes, like dm_csd_packed_bytes, dm_csd_pack and dm_csd_unpack: a
 * header with the settings, then the gradients.
 */
DM_API size_t dm_fwdti_packed_bytes(const dm_gradients *gradients);
DM_API dm_status dm_fwdti_pack(const dm_fwdti_settings *settings, const dm_gradients *gradients,
                               void *bytes, size_t n_bytes) DM_NODISCARD;
DM_API dm_status dm_fwdti_unpack(const void *bytes, size_t n_bytes, dm_fwdti **model) DM_NODISCARD;

/* What is read off the parameters of n voxels; each an array of n numbers, or NULL. */
typedef struct dm_fwdti_measures {
    double *f;  /* fraction of free water */
    double *fa; /* fractional anisotropy of the tissue; 0 where it has no tensor */
    double *md; /* its mean, axial and radial diffusivity, mm2/s */
    double *ad;
    double *rd;
} dm_fwdti_measures;

DM_API void dm_fwdti_measure(size_t n, const double *parameters, const dm_fwdti_measures *into);

/* ---- 8. Phantom: an image of any size whose tissues are known -------------------------------- */

/*
 * Voxels of five kinds in random places, whose iteration counts in the fits are those of real data:
 * 12 % fluid, 36 % grey matter, 28 % one fibre, 19 % two fibres that cross at 45 to 90 degrees, 5 %
 * three; each with some free water. The signal of a voxel is
 *   S0 ((1 - f) sum_k w_k exp(-b g^T D_k g) + f exp(-b 0.003 mm2/s))
 * with Rician noise. A voxel depends on the seed, its index and the gradients alone.
 */
typedef struct dm_phantom_settings {
    size_t shape[3];     /* voxels, of 1.25 mm */
    uint64_t seed;       /* 0 */
    double snr;          /* S0 of white matter over the noise's sigma, above 0; 25 */
    dm_volume_type type; /* DM_VOLUME_I16 or DM_VOLUME_F32; I16 */
} dm_phantom_settings;

DM_API dm_phantom_settings dm_phantom_defaults(void);

/* The signals of n voxels: `signals` becomes n x n_volumes. Any number of threads at once. */
DM_API void dm_phantom_signals(const dm_phantom_settings *settings, const dm_gradients *gradients,
                               size_t n, const size_t *voxels, double *signals);

/*
 * All of it as a .nii or .nii.gz file, that appears like those of dm_volume_write. In memory are
 * some 16 MiB, however large it is; a .nii.gz needs room for the .nii beside it while it is made.
 * `progress` (may be NULL) is told now and then how many voxels are done. DM_ERR_INVALID for a
 * shape, SNR or type that cannot be; DM_ERR_IO, DM_ERR_NOMEM.
 */
DM_API dm_status dm_phantom_write(const dm_phantom_settings *settings,
                                  const dm_gradients *gradients, const char *path, bool overwrite,
                                  void (*progress)(void *context, size_t n_done, size_t n_voxels),
                                  void *context) DM_NODISCARD;

#endif
