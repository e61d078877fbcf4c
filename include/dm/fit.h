/*
 * fit.h - a fit of a whole image on all cores: the voxels of a mask are cut into chunks, each chunk
 * is a task, and the results are gathered in order into maps.
 *
 *     dm_init(NULL);
 *     dm_volume_read("dwi.nii.gz", &dwi);
 *     ...                                           // gradients, mask, response: models.h
 *     dm_volume_create(&dwi->grid, 45, DM_VOLUME_F32, &sh);
 *     dm_fit_csd(&(dm_csd_fit_input){dwi, gradients, mask, response}, NULL,
 *                &(dm_csd_maps){.coefficients = sh}, NULL);
 *
 * docs/examples/fit_csd.c has all of it. The maps are the same to the last bit whatever the engine,
 * the number of workers and the chunks (on one kind of CPU, see models.h).
 *
 * Memory: beside input and maps only what is under way at one time: two chunks for each worker, or
 * more of them up to 256 MiB and a quarter of the store.
 */
#ifndef DM_FIT_H
#define DM_FIT_H

#include <stddef.h>

#include <dm/models.h>

/* What is fitted, only read; `gradients` has an entry for each volume of `dwi`. */
typedef struct dm_csd_fit_input {
    const dm_volume *dwi;
    const dm_gradients *gradients;
    const dm_mask *mask;
    dm_response response;
    const dm_csd_settings *settings; /* NULL: dm_csd_defaults() */
} dm_csd_fit_input;

/* How it is cut. All 0, or NULL for the whole, is fine. */
typedef struct dm_fit_options {
    size_t chunks;           /* so many tasks, but not more than voxels; as even as can be */
    size_t voxels_per_chunk; /* or tasks of so many voxels; both 0: see dm_fit_default_chunk */
    /* Told after each chunk, in the calling thread, how many voxels are done. */
    void (*progress)(void *context, size_t n_done, size_t n_voxels);
    void *context;
} dm_fit_options;

/*
 * Images that are filled where the mask is and left alone elsewhere; each may be NULL. Their type
 * is yours to choose (dm_volume_create), their grid that of `dwi`. A voxel that has no answer (NaN
 * in its signals) gets NaN in coefficients and gfa, and stops nothing.
 */
typedef struct dm_csd_maps {
    dm_volume *coefficients; /* as many volumes as coefficients: 45 at lmax 8 */
    dm_volume *gfa;          /* one volume: dm_gfa_from_coefficients */
    dm_volume *iterations;   /* one volume: see dm_csd_fit */
} dm_csd_maps;

/* What was done. */
typedef struct dm_fit_report {
    size_t n_voxels;
    size_t n_chunks;
    size_t n_nan;         /* voxels without an answer */
    size_t n_unconverged; /* voxels that used all iterations, or evaluations */
    double seconds;       /* wall time of the call */
} dm_fit_report;

/*
 * Fit by CSD with the tasks of the running session. `options` and `report` may be NULL. The first
 * chunk that fails ends it, maps partly filled, with that chunk's status.
 * Returns DM_ERR_NOT_RUNNING or DM_ERR_SHUT_DOWN without a session; DM_ERR_INVALID for shapes that
 * do not fit each other, a mask without voxels, both ways of cutting at once; what dm_get returns.
 * Blocks.
 */
DM_API dm_status dm_fit_csd(const dm_csd_fit_input *input, const dm_fit_options *options,
                            const dm_csd_maps *maps, dm_fit_report *report) DM_NODISCARD;

/*
 * The same in the calling thread alone, with no session and no tasks: what a fit costs by itself,
 * and the bits to compare with. n_chunks is 0.
 */
DM_API dm_status dm_fit_csd_alone(const dm_csd_fit_input *input, const dm_csd_maps *maps,
                                  dm_fit_report *report) DM_NODISCARD;

/* ---- free water ---- */

/* What is fitted, only read; `gradients` has an entry for each volume of `dwi`. */
typedef struct dm_fwdti_fit_input {
    const dm_volume *dwi;
    const dm_gradients *gradients;
    const dm_mask *mask;
    const dm_fwdti_settings *settings; /* NULL: dm_fwdti_defaults() */
} dm_fwdti_fit_input;

/*
 * Images that are filled where the mask is and left alone elsewhere; each may be NULL. Their type
 * is yours to choose, their grid that of `dwi`. A voxel that has no answer (NaN in its signals) gets
 * NaN in all but evaluations, and stops nothing.
 */
typedef struct dm_fwdti_maps {
    dm_volume *parameters; /* DM_FWDTI_PARAMETERS volumes: see dm_fwdti_fit */
    dm_volume *f;          /* one volume each: see dm_fwdti_measures */
    dm_volume *fa;
    dm_volume *md;
    dm_volume *ad;
    dm_volume *rd;
    dm_volume *evaluations; /* one volume: see dm_fwdti_fit */
} dm_fwdti_maps;

/* The free-water fit with the tasks of the running session, like dm_fit_csd; and DM_ERR_INVALID for
 * what dm_fwdti_create refuses. Blocks. */
DM_API dm_status dm_fit_fwdti(const dm_fwdti_fit_input *input, const dm_fit_options *options,
                              const dm_fwdti_maps *maps, dm_fit_report *report) DM_NODISCARD;

/* The same in the calling thread alone, like dm_fit_csd_alone. */
DM_API dm_status dm_fit_fwdti_alone(const dm_fwdti_fit_input *input, const dm_fwdti_maps *maps,
                                    dm_fit_report *report) DM_NODISCARD;

/* ---- both ---- */

/*
 * The voxels per chunk when none are asked for: eight chunks for each worker, so that the last ones
 * to finish leave little idle, but at least 16 voxels, so that a task is worth sending, and at most
 * 1024, so that a chunk is small beside the store. Provisional: chosen by thought, not yet by
 * measurement.
 */
DM_API size_t dm_fit_default_chunk(size_t n_voxels, int workers);

#endif
