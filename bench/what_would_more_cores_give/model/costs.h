/*
 * costs.h - the constants of the model: what the runtime's steps take on one machine, and where each of them is
 * spent. `cost_table` says beside each how it is measured (measure/, `--calibrate`).
 */
#ifndef BENCH_COSTS_H
#define BENCH_COSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/what_would_more_cores_give/model/profile.h"

enum { MODELS = 2 };
extern const char *const model_names[MODELS]; /* as the study calls them: csdm, fwdtim */

/* One set of them, for one of the two models. Times are CPU time, in ns. */
typedef struct costs {
    /* In the driver's process, where one thread at a time dispatches (the role, runtime/role.h). */
    double fit_ns;  /* once per fit: the setup is packed and put, arrays are made (models/fit_drive.c) */
    double task_ns; /* submit, place, reap, read, release (runtime/driver.c, lane.c, task.c); half before it runs */
    double look_ns; /* one look at one lane; a turn and a choice look at all of them (runtime/dispatch.c) */
    double copy_ns; /* a voxel's signals from the image into a block in the store, when the first task that reads
                       the block is submitted (make_group, models/signals.c) */
    double fill_ns; /* a voxel's results into the maps, when its chunk is gathered (fill_maps, models/fit_drive.c) */
    /* In a worker. */
    double build_ns;       /* once per fit: the model from its setup, and first use of its memory (dm_local) */
    double worker_task_ns; /* ring, arguments, room for the result, publishing (runtime/worker.c, call.c) */
    double voxel_ns;       /* the mean voxel, while no other worker runs; the others by the profile */
    double crowd;          /* by how much longer it takes while all CPUs have a worker; a factor, 1 or a bit more */
    /* Bells (runtime/rest.c, worker.c): from the store that says so until the other one runs. */
    double worker_wake_ns; /* a worker that sleeps */
    double driver_wake_ns; /* the driver's thread, or its supervisor's, while workers keep all CPUs busy */
    double bell_ns;        /* what ringing takes whoever rings */
    /* Memory, in bytes a ns. With k cores reading there are k b / (1 + (k - 1) s) in all. */
    double memory_b; /* one core alone */
    double memory_s; /* 0: each core has its own */
    /* Without tasks: what speed-up is relative to. */
    double alone_ns; /* a voxel from image to map in one thread (dm_fit_csd_alone) */
} costs;

typedef struct cost_entry {
    const char *name, *unit;
    size_t at;     /* in costs */
    bool by_model; /* measured for each model, or once */
    bool improves; /* a tenth of it would be better: a row of the sensitivity table */
    const char *where, *how;
} cost_entry;

extern const cost_entry cost_table[];
extern const size_t cost_count;

static inline double *cost_at(costs *c, size_t entry)
{
    return (double *)((char *)c + cost_table[entry].at);
}

/* What was measured: medians of rounds (of waits, lower quartiles), the standard error of each, and every voxel's
 * cost. */
typedef struct calibration {
    int cpus; /* of the machine, that this process could use */
    char machine[256], commit[64];
    size_t n_volumes, value_bytes;
    size_t n_results[MODELS];
    costs value[MODELS], error[MODELS];
    size_t n_voxels[MODELS];
    double *voxels[MODELS]; /* ns */
} calibration;

/* NULL or why not. Yours: calibration_fini, also if it failed. */
const char *calibration_read(const char *path, calibration *c);
const char *calibration_write(const char *path, const calibration *c);
void calibration_fini(calibration *c);

/* What might as well have been measured: each constant from a normal distribution around it. Draw 0 is the medians
 * themselves; another draw of another model shares what both have in common. */
costs calibration_draw(const calibration *c, int model, uint64_t draw);

#endif
