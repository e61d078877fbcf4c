/*
 * costs.c - the table of constants, and draws from what is known of them.
 */
#include "bench/what_would_more_cores_give/model/costs.h"

#include <math.h>
#include <stdlib.h>

const char *const model_names[MODELS] = {"csdm", "fwdtim"};

#define ENTRY(name, unit, by_model, improves, where, how)                                                             \
    {                                                                                                                 \
        #name, unit, offsetof(costs, name), by_model, improves, where, how                                            \
    }
enum { SHARED = 0, EACH = 1, CHANGES = 1, STAYS = 0 };

const cost_entry cost_table[] = {
    ENTRY(fit_ns, "ns", EACH, CHANGES, "driver, once per fit", "CPU time of the driver's process in six kinds of fit"),
    ENTRY(task_ns, "ns", EACH, CHANGES, "driver, per task", "the same: 32 and 4,096 chunks"),
    ENTRY(look_ns, "ns", EACH, CHANGES, "driver, per lane looked at", "the same: as many workers as CPUs, and 48"),
    ENTRY(copy_ns, "ns", EACH, CHANGES, "driver, per voxel", "the same: all voxels, and a sixteenth"),
    ENTRY(fill_ns, "ns", EACH, CHANGES, "driver, per voxel", "the same: with and without maps"),
    ENTRY(build_ns, "ns", EACH, CHANGES, "worker, once per fit", "CPU time of the workers in the same fits"),
    ENTRY(worker_task_ns, "ns", EACH, CHANGES, "worker, per task", "the same: 32 and 4,096 chunks"),
    ENTRY(voxel_ns, "ns", EACH, STAYS, "worker, per voxel", "the same, one worker"),
    ENTRY(crowd, "", EACH, STAYS, "worker, per voxel", "the same, a worker on each CPU over one worker"),
    ENTRY(worker_wake_ns, "ns", SHARED, CHANGES, "a worker that sleeps",
          "time stamp in a task minus that before dm_remote, after 2 ms of sleep"),
    ENTRY(driver_wake_ns, "ns", SHARED, CHANGES, "driver or supervisor that sleeps",
          "time stamp after dm_get minus the task's last, all workers busy"),
    ENTRY(bell_ns, "ns", SHARED, CHANGES, "whoever rings", "dm_remote with the worker asleep minus awake"),
    ENTRY(memory_b, "bytes/ns", SHARED, STAYS, "memory, one core", "copying 64 MiB"),
    ENTRY(memory_s, "", SHARED, STAYS, "memory, more cores", "the same on 1, 2 .. all CPUs at once"),
    ENTRY(alone_ns, "ns", EACH, STAYS, "one thread, per voxel", "CPU time of a fit alone; in each round all of the above is taken relative to it"),
};
const size_t cost_count = sizeof cost_table / sizeof cost_table[0];

/* ---- draws ---- */

/* Splitmix64: a number that looks random for each number. */
static uint64_t scatter(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static double uniform(uint64_t of)
{
    return ((double)(scatter(of) >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller. */
static double normal(uint64_t of)
{
    return sqrt(-2 * log(uniform(2 * of))) * cos(2 * M_PI * uniform(2 * of + 1));
}

static double least_of(size_t entry)
{
    return cost_table[entry].at == offsetof(costs, crowd) ? 1 : 0;
}

costs calibration_draw(const calibration *c, int model, uint64_t draw)
{
    costs drawn = c->value[model], error = c->error[model];
    for (size_t i = 0; i < cost_count && draw != 0; i++) {
        uint64_t which = (draw * MODELS + (cost_table[i].by_model ? (uint64_t)model : 0)) * cost_count + i;
        double *value = cost_at(&drawn, i), deviation = *cost_at(&error, i) * normal(which);
        double at_least = fmax(least_of(i), 0.1 * *value);
        *value = fmax(*value + deviation, at_least);
    }
    return drawn;
}

void calibration_fini(calibration *c)
{
    for (int m = 0; m < MODELS; m++)
        free(c->voxels[m]);
    *c = (calibration){0};
}
