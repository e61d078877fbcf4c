/*
 * reference_check.c - see reference_check.h.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dm/dm.h"
#include "runtime/dm/reference_check.h"

static bool same_bytes(const dm_volume *a, const dm_volume *b, size_t element_bytes)
{
    return a->n_voxels == b->n_voxels && a->n_volumes == b->n_volumes && a->type == b->type &&
           memcmp(a->data, b->data, a->n_voxels * a->n_volumes * element_bytes) == 0;
}

bool maps_same_bits(const dm_csd_maps *a, const dm_csd_maps *b)
{
    size_t real = a->coefficients->type == DM_VOLUME_F64 ? sizeof(double) : sizeof(float);
    return same_bytes(a->coefficients, b->coefficients, real) && same_bytes(a->gfa, b->gfa, real) &&
           same_bytes(a->iterations, b->iterations, sizeof(int32_t));
}

/* fmax, but a NaN stays: a voxel of NaN must not pass for one that agrees. */
static double larger(double a, double b)
{
    return isnan(a) || a >= b ? a : b;
}

static double voxel_deviation(size_t n, const double *c, const double *reference)
{
    double apart = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        apart = larger(apart, fabs(c[i] - reference[i]));
        largest = fmax(largest, fabs(reference[i]));
    }
    return largest > 0 ? apart / largest : apart;
}

static void compare_voxel(const dm_csd_maps *maps, const dm_volume *sh, const dm_volume *iterations,
                          size_t voxel, double *scratch, reference_deviation *d)
{
    size_t n = sh->n_volumes;
    double ours, theirs;
    dm_volume_gather(maps->coefficients, 1, &voxel, scratch);
    dm_volume_gather(sh, 1, &voxel, scratch + n);
    dm_volume_gather(maps->iterations, 1, &voxel, &ours);
    dm_volume_gather(iterations, 1, &voxel, &theirs);
    double deviation = voxel_deviation(n, scratch, scratch + n);
    d->largest = larger(d->largest, deviation);
    d->within_bound += deviation <= REFERENCE_BOUND;
    d->iterations_equal += ours == theirs;
}

static dm_status compare(const dm_csd_maps *maps, const dm_volume *sh, const dm_volume *iterations,
                         const dm_mask *mask, reference_deviation *out)
{
    if (sh->n_voxels != maps->coefficients->n_voxels || iterations->n_voxels != sh->n_voxels ||
        sh->n_volumes != maps->coefficients->n_volumes)
        return dmi_error(DM_ERR_FORMAT, "the reference has %zu voxels and %zu coefficients, the "
                         "fit %zu and %zu", sh->n_voxels, sh->n_volumes,
                         maps->coefficients->n_voxels, maps->coefficients->n_volumes);
    double *scratch = calloc(2 * sh->n_volumes, sizeof *scratch);
    if (!scratch)
        return dmi_error(DM_ERR_NOMEM, "no memory to compare voxels");
    *out = (reference_deviation){0};
    for (size_t i = 0; i < mask->n; i++)
        compare_voxel(maps, sh, iterations, mask->voxels[i], scratch, out);
    out->within_bound /= (double)mask->n;
    out->iterations_equal /= (double)mask->n;
    free(scratch);
    return DM_OK;
}

dm_status reference_compare(const char *folder, const dm_csd_maps *maps, const dm_mask *mask,
                            reference_deviation *out)
{
    char path[1100];
    dm_volume *sh = NULL, *iterations = NULL;
    snprintf(path, sizeof path, "%s/csd_sh.nii.gz", folder);
    dm_status status = dm_volume_read(path, &sh);
    snprintf(path, sizeof path, "%s/csd_nit.nii.gz", folder);
    if (status == DM_OK)
        status = dm_volume_read(path, &iterations);
    if (status == DM_OK)
        status = compare(maps, sh, iterations, mask, out);
    dm_volume_destroy(sh);
    dm_volume_destroy(iterations);
    return status;
}
