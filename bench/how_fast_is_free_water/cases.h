/*
 * cases.h - what every contestant does here: the free-water fit of a data set, all volumes, in the
 * voxels of its mask, by one method. A case is called as its set and the method: "s101 nls".
 *
 * Timed is the fit alone: from signals to parameters in memory, the model set up before.
 *
 * The answer is 0: 99 % of the voxels are as near to DIPY's golden result as tests/data/README.md
 * wants them. `params.off` is how many are not; it may differ between right answers.
 *
 * "SET METHOD, peak memory" is the whole contestant's, image and golden results included.
 */
#ifndef BENCH_FREE_WATER_CASES_H
#define BENCH_FREE_WATER_CASES_H

#include <dm/models.h>
#include <math.h>

#include "bench/support/peak_memory.h"

enum { METHODS = 2, P = DM_FWDTI_PARAMETERS, AT_LEAST_NS = 300000000 };

static const char asked[] = "how_fast_is_free_water";
static const char *const method_names[METHODS] = {[DM_FWDTI_NLS] = "nls", [DM_FWDTI_WLS] = "wls"};

/* Of f and of eigenvalues, by method; and the share of the voxels that must be within. */
static const double f_bounds[METHODS] = {[DM_FWDTI_NLS] = 1e-4, [DM_FWDTI_WLS] = 1e-9};
static const double eigenvalue_bounds[METHODS] = {[DM_FWDTI_NLS] = 1e-6, [DM_FWDTI_WLS] = 1e-9};
#define SHARE 0.99

/* A folder laid out as those of tests/data. */
typedef struct data_set {
    const char *name; /* the last part of its path */
    dm_gradients *gradients;
    dm_volume *dwi;
    dm_mask *mask;
    dm_volume *golden[METHODS];
} data_set;

/* In one of two buffers: good until the next call but one. */
static inline const char *path_of(const char *folder, const char *name)
{
    static char paths[2][4096];
    static int turn;
    char *path = paths[turn++ % 2];
    if ((size_t)snprintf(path, sizeof paths[0], "%s/%s", folder, name) >= sizeof paths[0]) {
        fprintf(stderr, "%s: too long a path\n", folder);
        exit(1);
    }
    return path;
}

/* Reading is not what is measured, so whatever fails here ends the contestant. */
static inline data_set data_set_read(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    data_set set = {.name = slash ? slash + 1 : folder};
    BENCH_TRY(dm_gradients_read(path_of(folder, "dwi.bval"), path_of(folder, "dwi.bvec"),
                                &set.gradients));
    BENCH_TRY(dm_dwi_read(path_of(folder, "dwi.nii.gz"), set.gradients, &set.dwi));
    BENCH_TRY(dm_mask_read(path_of(folder, "mask.nii.gz"), set.dwi, &set.mask));
    BENCH_TRY(dm_volume_read(path_of(folder, "fwdti_nls.nii.gz"), &set.golden[DM_FWDTI_NLS]));
    BENCH_TRY(dm_volume_read(path_of(folder, "fwdti_wls.nii.gz"), &set.golden[DM_FWDTI_WLS]));
    for (int m = 0; m < METHODS; m++) {
        bench_expect(set.dwi->n_voxels, set.golden[m]->n_voxels, "voxels of the golden result");
        bench_expect(P, set.golden[m]->n_volumes, "volumes of the golden result");
    }
    return set;
}

static inline void data_set_fini(data_set *set)
{
    dm_gradients_destroy(set->gradients);
    dm_volume_destroy(set->dwi);
    dm_mask_destroy(set->mask);
    for (int m = 0; m < METHODS; m++)
        dm_volume_destroy(set->golden[m]);
}

static inline const char *case_name(const data_set *set, dm_fwdti_method method)
{
    static char name[256];
    snprintf(name, sizeof name, "%s %s", set->name, method_names[method]);
    return name;
}

static inline dm_fwdti_settings settings_of(dm_fwdti_method method)
{
    dm_fwdti_settings settings = dm_fwdti_defaults();
    settings.method = method;
    return settings;
}

/* A NaN is beyond every bound. */
static inline bool is_near(const double *ours, const double *theirs, dm_fwdti_method method)
{
    bool near = fabs(ours[DM_FWDTI_F] - theirs[DM_FWDTI_F]) <= f_bounds[method];
    for (int k = 0; k < 3; k++)
        near &= fabs(ours[k] - theirs[k]) <= eigenvalue_bounds[method];
    return near;
}

/* `parameters` of the voxels of the mask, n x P. Ends the contestant if too many are off. */
static inline uint64_t voxels_off(const data_set *set, dm_fwdti_method method,
                                  const double *parameters)
{
    uint64_t off = 0;
    for (size_t i = 0; i < set->mask->n; i++) {
        double theirs[P];
        dm_volume_gather(set->golden[method], 1, &set->mask->voxels[i], theirs);
        off += !is_near(parameters + i * P, theirs, method);
    }
    if ((double)off <= (1 - SHARE) * (double)set->mask->n)
        return off;
    fprintf(stderr, "%s: %llu of %zu voxels are not near DIPY's; 1 %% may be off\n",
            case_name(set, method), (unsigned long long)off, set->mask->n);
    exit(1);
}

/* bench_options, and --data FOLDER. */
static inline const char *read_options(int argc, char **argv, bench_options *options)
{
    const char *folder = NULL;
    bool right = true;
    for (int i = 1; i < argc && right; i += 2) {
        right = i + 1 < argc;
        if (right && strcmp(argv[i], "--data") == 0)
            folder = argv[i + 1];
        else
            right = right && bench_option(options, argv[i], argv[i + 1]);
    }
    if (right && folder && options->workers > 0 && options->scale > 0)
        return folder;
    fprintf(stderr, "usage: %s --data FOLDER [--workers N] [--only CASE] [--scale F]\n", argv[0]);
    exit(2);
}

#endif
