/*
 * subject.h - what is fitted while something is measured: voxels of a phantom, lying in an image of the study's shape,
 * so that the volumes of a voxel are as far apart in memory as there.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <dm/fit.h>

#include "bench/what_would_more_cores_give/model/costs.h"

enum { CSDM, FWDTIM };

typedef struct subject {
    dm_gradients *gradients;
    dm_response response;
    dm_volume *dwi;
    dm_mask mask;
    dm_volume *maps[MODELS]; /* coefficients, parameters */
} subject;

/* `scheme`: a folder with dwi.bval, dwi.bvec and response.txt. Ends the program if that cannot be. */
subject subject_create(const char *scheme, size_t voxels);
void subject_destroy(subject *s);

/* What one fit took, in ns: on the clock; CPU time of this process, and of its workers. */
typedef struct fit_times {
    double wall, driver, workers;
} fit_times;

/* The first `voxels` of the subject in so many chunks, by the running session; 0 chunks: in this thread alone. */
fit_times fit_once(const subject *s, int model, size_t voxels, size_t chunks, bool with_map);

/* What each voxel takes by itself, the shorter of two times: n numbers. */
void fit_each(const subject *s, int model, size_t voxels, double *ns);

size_t results_of(int model);

#endif
