/*
 * fit.h - a fit of a whole image on all cores: the voxels of a mask are cut into chunks, each chunk
 * is a task, and the results are gathered in order into maps.
 *
 *     dm_init(NULL);
 *     dm_volume_read("dwi.nii.gz", &dwi);
 *     ...                                           // gradients, mask, response: models.h
 *     dm_volume_create(&dwi->grid, 45, DM_VOLUME_F32, &sh);
 *     dm_fit_csd(&(dm_csd_fit_input){.dwi = dwi, .gradients = gradients, .mask = mask,
 *                                    .response = response}, NULL,
 *                &(dm_csd_maps){.coefficients = sh}, NULL);
 *
 * docs/examples/fit_csd.c has all of it. The maps are the same to the last bit whatever the engine,
 * the number of workers and the chunks (on one kind of CPU, see models.h).
 *
 * Memory: beside input and maps only what is under way at one time: two chunks for each worker, or
 * more of them up to 256 MiB and a quarter of the store. For images whose input and maps should not
 * be in memory either there are dm_signals and dm_map_file.
 */
#ifndef DM_FIT_H
#define DM_FIT_H

#include <stdbool.h>
#include <stddef.h>

#include <dm/models.h>

/* ---- images larger than memory ---- */

/*
 * An image that stays in its file: only the header has been read. Of a .nii, values are read as they are
 * needed; if it is cut short meanwhile, that is DM_ERR_FORMAT. A .nii.gz is inflated by those calls
 * below that say so.
 */
typedef struct dm_image_file dm_image_file;

/* Errors as dm_volume_read. Yours: dm_image_file_close. */
DM_API dm_status dm_image_file_open(const char *path, dm_image_file **file) DM_NODISCARD;

/* From now on it has these volumes, in this order. DM_ERR_INVALID for one that is not there, or
 * twice. */
DM_API dm_status dm_image_file_select(dm_image_file *file, size_t n,
                                      const size_t *volumes) DM_NODISCARD;

/* What the header says, with `data` NULL. Mine, until the file is closed. */
DM_API const dm_volume *dm_image_file_header(const dm_image_file *file);

/* All of it into memory, like dm_volume_read; inflates. Yours: dm_volume_destroy. */
DM_API dm_status dm_image_file_read(const dm_image_file *file, dm_volume **volume) DM_NODISCARD;

DM_API void dm_image_file_close(dm_image_file *file);

/*
 * The signals of the voxels of a mask, for one use: a fit, or a response. Those of a .nii are read
 * block by block as they are used. A .nii.gz has time as its slowest axis, so that no voxel is whole
 * before the last volume: it is inflated once, and the voxels of all masks are laid into the
 * session's store on the way, which spills what it has no room for. docs/decisions/0017.
 */
typedef struct dm_signals dm_signals;

struct dm_fit_options;

/*
 * Signals for each of n masks, which must outlive them, as must `file`. Of the options (NULL: none)
 * only those who look on count; progress is in volumes. Needs a session. Errors as dm_volume_read,
 * dm_create, DM_ERR_CANCELLED. Blocks. Yours: dm_signals_destroy, before dm_shutdown.
 */
DM_API dm_status dm_signals_read(const dm_image_file *file, size_t n, const dm_mask *const *masks,
                                 const struct dm_fit_options *options,
                                 dm_signals **signals) DM_NODISCARD;

DM_API void dm_signals_destroy(dm_signals *signals);

/* The voxels of the box that dm_response_auto_ssst looks at. Yours: dm_mask_destroy. */
DM_API dm_status dm_response_box(const dm_volume *like, const dm_response_settings *settings,
                                 dm_mask **box) DM_NODISCARD;

/* dm_response_auto_ssst from the signals of that box; with `settings` NULL, dm_response_from_mask
 * from those of a mask. The same bits. Uses the signals up. `n_used` may be NULL. */
DM_API dm_status dm_response_from_signals(dm_signals *signals, const dm_gradients *gradients,
                                          const dm_response_settings *settings,
                                          dm_response *response, size_t *n_used) DM_NODISCARD;

/*
 * A map that is written as its voxels come, each after those before it: .nii, or .nii.gz compressed
 * block by block by tasks of the session, while others fit. What is not put is 0. The bytes are in
 * nameless files beside the final one until that gets its name, as with dm_volume_write.
 */
typedef struct dm_map_file dm_map_file;

/* Errors as dm_volume_write. Needs a session. Yours: dm_map_file_destroy, before dm_shutdown. */
DM_API dm_status dm_map_file_open(const dm_grid *grid, size_t n_volumes, dm_volume_type type,
                                  const char *path, bool overwrite, dm_map_file **map) DM_NODISCARD;

/* `values`, n x n_volumes, become those of these voxels, ascending and above all before; types as
 * dm_volume_scatter. What cannot be written is DM_ERR_IO, here or below. May block. */
DM_API dm_status dm_map_file_put(dm_map_file *map, size_t n, const size_t *voxels,
                                 const double *values) DM_NODISCARD;

/* No more voxels: all bytes are written. Then commit gives the name. Both block. */
DM_API dm_status dm_map_file_finish(dm_map_file *map) DM_NODISCARD;
DM_API dm_status dm_map_file_commit(dm_map_file *map) DM_NODISCARD;

/* What was not committed is gone. */
DM_API void dm_map_file_destroy(dm_map_file *map);

/* ---- CSD ---- */

/* What is fitted, only read; `gradients` has an entry for each volume of `dwi`. */
typedef struct dm_csd_fit_input {
    const dm_volume *dwi;
    const dm_gradients *gradients;
    const dm_mask *mask;
    dm_response response;
    const dm_csd_settings *settings; /* NULL: dm_csd_defaults() */
    dm_signals *signals;             /* in the place of dwi and mask; used up. NULL: those */
} dm_csd_fit_input;

/* How it is cut, and who looks on. All 0, or NULL for the whole, is fine. */
typedef struct dm_fit_options {
    size_t chunks;           /* so many tasks, but not more than voxels; as even as can be */
    size_t voxels_per_chunk; /* or tasks of so many voxels; both 0: chosen while it runs, from the time that
                                voxels take (dm/pace.h) */
    /* Told after each chunk, in the calling thread, how many voxels are done. */
    void (*progress)(void *context, size_t n_done, size_t n_voxels);
    /* Asked in the calling thread, ten times a second at least if that is not inside a task: true
     * ends the fit with DM_ERR_CANCELLED. */
    bool (*stop)(void *context);
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
    /* Given the results of n voxels, ascending, in the calling thread: n x coefficients, and n
     * iterations. What it returns, unless DM_OK, ends the fit. NULL: nobody. */
    dm_status (*take)(void *context, size_t n, const size_t *voxels, const double *coefficients,
                      const double *iterations);
    void *context;
} dm_csd_maps;

/* What was done. */
typedef struct dm_fit_report {
    size_t n_voxels;
    size_t n_chunks;      /* tasks submitted */
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
 * The same in the calling thread alone, with no session and no tasks (and no signals): what a fit
 * costs by itself, and the bits to compare with. n_chunks is 0.
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
    dm_signals *signals;               /* in the place of dwi and mask; used up. NULL: those */
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
    /* As in dm_csd_maps: n x DM_FWDTI_PARAMETERS, and n evaluations. */
    dm_status (*take)(void *context, size_t n, const size_t *voxels, const double *parameters,
                      const double *evaluations);
    void *context;
} dm_fwdti_maps;

/* The free-water fit with the tasks of the running session, like dm_fit_csd; and DM_ERR_INVALID for
 * what dm_fwdti_create refuses. Blocks. */
DM_API dm_status dm_fit_fwdti(const dm_fwdti_fit_input *input, const dm_fit_options *options,
                              const dm_fwdti_maps *maps, dm_fit_report *report) DM_NODISCARD;

/* The same in the calling thread alone, like dm_fit_csd_alone. */
DM_API dm_status dm_fit_fwdti_alone(const dm_fwdti_fit_input *input, const dm_fwdti_maps *maps,
                                    dm_fit_report *report) DM_NODISCARD;

#endif
