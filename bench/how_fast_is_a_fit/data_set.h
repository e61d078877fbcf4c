/*
 * data_set.h - a folder laid out as those of tests/data: an image, the volumes of it that are
 * fitted, and DIPY's result; and how far another result is from that one.
 *
 * Reading is not what is measured, so whatever fails here ends the contestant.
 */
#ifndef BENCH_FIT_DATA_SET_H
#define BENCH_FIT_DATA_SET_H

#include <dm/models.h>
#include <math.h>

#include "bench/support/session.h"
#include "cases.h"

typedef struct data_set {
    const char *name; /* the last part of its path */
    dm_volume *dwi;   /* only the volumes of csd_vols.txt, and so the gradients */
    dm_gradients *gradients;
    dm_mask *mask;
    dm_response response;
    dm_volume *sh, *iterations; /* DIPY's */
} data_set;

typedef struct deviation {
    double largest;      /* max |dc| / max |c| of any voxel */
    double within_bound; /* shares of the voxels */
    double iterations_equal;
} deviation;

/* ---- reading ---- */

/* In one buffer: good until the next call. */
static const char *path_of(const char *folder, const char *name)
{
    static char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) {
        fprintf(stderr, "%s: too long a path\n", folder);
        exit(1);
    }
    return path;
}

/* The numbers of a text file, at most `most`. Returns how many. */
static size_t read_numbers(const char *path, size_t most, size_t *numbers)
{
    FILE *file = fopen(path, "r");
    size_t n = 0;
    while (file && n < most && fscanf(file, "%zu", &numbers[n]) == 1)
        n++;
    if (n == 0) {
        fprintf(stderr, "%s: no list of volumes\n", path);
        exit(1);
    }
    fclose(file);
    return n;
}

/* Stored bytes are copied: slope and type stay, so that values are the same to the last bit. */
static dm_volume *select_image(const dm_volume *all, size_t n, const size_t *volumes)
{
    static const unsigned char sizes[DM_VOLUME_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    size_t bytes = all->n_voxels * sizes[all->type];
    dm_volume *some;
    BENCH_TRY(dm_volume_create(&all->grid, n, all->type, &some));
    some->slope = all->slope;
    some->inter = all->inter;
    for (size_t i = 0; i < n; i++)
        memcpy((char *)some->data + i * bytes, (const char *)all->data + volumes[i] * bytes, bytes);
    return some;
}

/* A set of several shells is fitted on one of them: DIPY was given these volumes, no others. The
 * gradients come first: it is they that refuse a volume which is not there. */
static void select_volumes(data_set *set, const char *path)
{
    size_t *volumes = calloc(set->dwi->n_volumes, sizeof *volumes);
    size_t n = read_numbers(path, set->dwi->n_volumes, volumes);
    dm_gradients *all_gradients = set->gradients;
    BENCH_TRY(dm_gradients_select(all_gradients, n, volumes, &set->gradients));
    dm_gradients_destroy(all_gradients);
    dm_volume *all = set->dwi;
    set->dwi = select_image(all, n, volumes);
    dm_volume_destroy(all);
    free(volumes);
}

static const char *name_of(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash ? slash + 1 : folder;
}

static void read_gradients(data_set *set, const char *folder)
{
    char bval[4096];
    snprintf(bval, sizeof bval, "%s", path_of(folder, "dwi.bval"));
    BENCH_TRY(dm_gradients_read(bval, path_of(folder, "dwi.bvec"), &set->gradients));
}

/* The response is read, not found anew: DIPY's came from voxels of its own choice. */
static data_set data_set_read(const char *folder)
{
    data_set set = {.name = name_of(folder)};
    read_gradients(&set, folder);
    BENCH_TRY(dm_dwi_read(path_of(folder, "dwi.nii.gz"), set.gradients, &set.dwi));
    select_volumes(&set, path_of(folder, "csd_vols.txt"));
    BENCH_TRY(dm_mask_read(path_of(folder, "mask.nii.gz"), set.dwi, &set.mask));
    BENCH_TRY(dm_response_read(path_of(folder, "response.txt"), &set.response));
    BENCH_TRY(dm_volume_read(path_of(folder, "csd_sh.nii.gz"), &set.sh));
    BENCH_TRY(dm_volume_read(path_of(folder, "csd_nit.nii.gz"), &set.iterations));
    bench_expect(set.dwi->n_voxels, set.sh->n_voxels, "voxels of csd_sh.nii.gz");
    bench_expect(set.dwi->n_voxels, set.iterations->n_voxels, "voxels of csd_nit.nii.gz");
    bench_expect(dm_sh_count(LMAX), set.sh->n_volumes, "volumes of csd_sh.nii.gz");
    return set;
}

static void data_set_fini(data_set *set)
{
    dm_volume_destroy(set->dwi);
    dm_gradients_destroy(set->gradients);
    dm_mask_destroy(set->mask);
    dm_volume_destroy(set->sh);
    dm_volume_destroy(set->iterations);
}

/* ---- comparing ---- */

/* A NaN of ours stays: fmax would drop it, and the voxel would pass. */
static double voxel_deviation(size_t n, const double *c, const double *reference)
{
    double apart = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(c[i] - reference[i]);
        apart = d <= apart || isnan(apart) ? apart : d;
        largest = fmax(largest, fabs(reference[i]));
    }
    return largest > 0 ? apart / largest : apart;
}

static deviation deviation_from(const data_set *set, const dm_volume *sh,
                                const dm_volume *iterations)
{
    deviation of = {0};
    double ours[128], theirs[128], our_count, their_count;
    bench_expect(1, sh->n_volumes <= 128, "room for the coefficients of a voxel");
    for (size_t i = 0; i < set->mask->n; i++) {
        const size_t *voxel = &set->mask->voxels[i];
        dm_volume_gather(sh, 1, voxel, ours);
        dm_volume_gather(set->sh, 1, voxel, theirs);
        dm_volume_gather(iterations, 1, voxel, &our_count);
        dm_volume_gather(set->iterations, 1, voxel, &their_count);
        double apart = voxel_deviation(sh->n_volumes, ours, theirs);
        of.largest = apart <= of.largest || isnan(of.largest) ? of.largest : apart;
        of.within_bound += apart <= BOUND;
        of.iterations_equal += our_count == their_count;
    }
    of.within_bound /= (double)set->mask->n;
    of.iterations_equal /= (double)set->mask->n;
    return of;
}

#endif
