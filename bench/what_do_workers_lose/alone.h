/*
 * alone.h - the fit without a runtime, and several of them side by side: what workers are measured by.
 *
 * Side by side each process fits the whole image, into maps of its own; they start at one moment, and
 * the time ends with the last. It is what so many cores can do when nothing is cut, sent or gathered:
 * they share caches and memory, and the machine's other programs, as workers do.
 */
#ifndef BENCH_LOSE_ALONE_H
#define BENCH_LOSE_ALONE_H

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "phantom.h"

/* ---- one process ---- */

static void fit_csd_voxel_by_voxel(const phantom *p, const maps *m)
{
    dm_csd_settings settings = dm_csd_defaults();
    dm_csd *model;
    dm_csd_workspace *workspace;
    double values[128];
    double *signals = calloc(p->dwi->n_volumes, sizeof *signals);
    settings.lmax = LMAX;
    BENCH_TRY(dm_csd_create(&settings, p->gradients, &response, &model));
    BENCH_TRY(dm_csd_workspace_create(model, &workspace));
    for (size_t i = 0; i < p->mask->n; i++) {
        int32_t iterations;
        dm_volume_gather(p->dwi, 1, &p->mask->voxels[i], signals);
        BENCH_TRY(dm_csd_fit(model, workspace, 1, signals, values, &iterations));
        const double count = iterations;
        dm_volume_scatter(m->values, 1, &p->mask->voxels[i], values);
        dm_volume_scatter(m->counts, 1, &p->mask->voxels[i], &count);
    }
    dm_csd_workspace_destroy(workspace);
    dm_csd_destroy(model);
    free(signals);
}

static void fit_fwdti_voxel_by_voxel(const phantom *p, const maps *m)
{
    const dm_fwdti_settings settings = dm_fwdti_defaults();
    dm_fwdti *model;
    dm_fwdti_workspace *workspace;
    double values[DM_FWDTI_PARAMETERS];
    double *signals = calloc(p->dwi->n_volumes, sizeof *signals);
    BENCH_TRY(dm_fwdti_create(&settings, p->gradients, &model));
    BENCH_TRY(dm_fwdti_workspace_create(model, &workspace));
    for (size_t i = 0; i < p->mask->n; i++) {
        int32_t evaluations;
        dm_volume_gather(p->dwi, 1, &p->mask->voxels[i], signals);
        BENCH_TRY(dm_fwdti_fit(model, workspace, 1, signals, values, &evaluations));
        const double count = evaluations;
        dm_volume_scatter(m->values, 1, &p->mask->voxels[i], values);
        dm_volume_scatter(m->counts, 1, &p->mask->voxels[i], &count);
    }
    dm_fwdti_workspace_destroy(workspace);
    dm_fwdti_destroy(model);
    free(signals);
}

static void fit_alone(which_model model, bool voxel_by_voxel, const phantom *p, const maps *m)
{
    if (voxel_by_voxel)
        (model == CSD ? fit_csd_voxel_by_voxel : fit_fwdti_voxel_by_voxel)(p, m);
    else if (model == CSD)
        BENCH_TRY(dm_fit_csd_alone(
            &(dm_csd_fit_input){p->dwi, p->gradients, p->mask, response, NULL, NULL},
            &(dm_csd_maps){.coefficients = m->values, .iterations = m->counts}, NULL));
    else
        BENCH_TRY(dm_fit_fwdti_alone(
            &(dm_fwdti_fit_input){p->dwi, p->gradients, p->mask, NULL, NULL},
            &(dm_fwdti_maps){.parameters = m->values, .evaluations = m->counts}, NULL));
}

/* ---- several ---- */

/* Shared with the processes beside; each waits for the next turn. */
typedef struct beside {
    pthread_barrier_t begin, done, checked;
    which_model model;
    bool voxel_by_voxel, over;
    int n;
    struct {
        int64_t cpu;
        uint64_t answer;
    } each[BENCH_MAX_WORKERS];
} beside;

/* Nobody is left behind if the one that asks dies. */
static void take_turns(beside *b, int which, const phantom *p)
{
    maps all[MODELS];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int k = 0; k < MODELS; k++)
        all[k] = maps_make(p, (which_model)k);
    for (;;) {
        pthread_barrier_wait(&b->begin);
        if (b->over)
            _exit(0);
        const int64_t cpu = bench_cpu_ns(getpid());
        fit_alone(b->model, b->voxel_by_voxel, p, &all[b->model]);
        b->each[which].cpu = bench_cpu_ns(getpid()) - cpu;
        pthread_barrier_wait(&b->done);
        b->each[which].answer = maps_answer(&all[b->model]);
        maps_spoil(&all[b->model]);
        pthread_barrier_wait(&b->checked);
    }
}

static beside *beside_begin(int n, const phantom *p)
{
    beside *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench_expect(1, b != MAP_FAILED && n <= BENCH_MAX_WORKERS, "room for processes");
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_t *const barriers[] = {&b->begin, &b->done, &b->checked};
    for (int k = 0; k < 3; k++)
        pthread_barrier_init(barriers[k], &shared, (unsigned)n + 1);
    b->n = n;
    for (int k = 0; k < n; k++) {
        const pid_t pid = fork();
        bench_expect(1, pid >= 0, "fork");
        if (pid == 0)
            take_turns(b, k, p);
    }
    return b;
}

/* One fit of the whole image by each: wall and CPU time of all, and the answer. */
static uint64_t beside_fit(beside *b, which_model model, bool voxel_by_voxel, int64_t *wall,
                           int64_t *cpu)
{
    b->model = model;
    b->voxel_by_voxel = voxel_by_voxel;
    const int64_t start = bench_now_ns();
    pthread_barrier_wait(&b->begin);
    pthread_barrier_wait(&b->done);
    *wall = bench_now_ns() - start;
    *cpu = 0;
    pthread_barrier_wait(&b->checked);
    for (int k = 0; k < b->n; k++) {
        *cpu += b->each[k].cpu;
        bench_expect(b->each[0].answer, b->each[k].answer, "the fit beside another");
    }
    return b->each[0].answer;
}

static void beside_end(beside *b)
{
    b->over = true;
    pthread_barrier_wait(&b->begin);
    while (wait(NULL) > 0)
        ;
    munmap(b, sizeof *b);
}

#endif
