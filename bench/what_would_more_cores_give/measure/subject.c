/*
 * subject.c - see subject.h.
 */
#include "bench/what_would_more_cores_give/measure/subject.h"

#include <math.h>

#include "bench/support/session.h"

enum { X = 145, Y = 174, Z = 145, LMAX = 8 }; /* the study's */
enum { LEFT = 20, RIGHT = 125, FRONT = 30, BACK = 144, SLICE = Z / 2 }; /* rows through a brain */

/* ---- making ---- */

static const char *path_of(const char *folder, const char *name, char *path, size_t bytes)
{
    if ((size_t)snprintf(path, bytes, "%s/%s", folder, name) < bytes)
        return path;
    fprintf(stderr, "%s: too long a path\n", folder);
    exit(2);
}

static void *memory(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);
    if (p)
        return p;
    fprintf(stderr, "no memory for %zu voxels\n", n);
    exit(1);
}

static dm_mask rows_of(size_t n)
{
    dm_mask mask = {n, memory(n, sizeof *mask.voxels)};
    for (size_t i = 0; i < n; i++) {
        size_t x = LEFT + i % (RIGHT - LEFT), row = i / (RIGHT - LEFT);
        size_t y = FRONT + row % (BACK - FRONT), z = SLICE + row / (BACK - FRONT);
        mask.voxels[i] = x + X * (y + Y * z);
    }
    if (mask.voxels[n - 1] < (size_t)X * Y * Z)
        return mask;
    fprintf(stderr, "--voxels %zu is more than there are\n", n);
    exit(2);
}

static void fill_phantom(subject *s)
{
    enum { AT_A_TIME = 256 };
    const dm_phantom_settings settings = dm_phantom_defaults();
    double *signals = memory(AT_A_TIME * s->gradients->n_volumes, sizeof *signals);
    for (size_t i = 0; i < s->mask.n; i += AT_A_TIME) {
        size_t left = s->mask.n - i, n = left < AT_A_TIME ? left : AT_A_TIME;
        dm_phantom_signals(&settings, s->gradients, n, s->mask.voxels + i, signals);
        dm_volume_scatter(s->dwi, n, s->mask.voxels + i, signals);
    }
    free(signals);
}

size_t results_of(int model)
{
    return 1 + (model == CSDM ? dm_sh_count(LMAX) : DM_FWDTI_PARAMETERS);
}

subject subject_create(const char *scheme, size_t voxels)
{
    subject s = {.mask = rows_of(voxels)};
    const dm_grid grid = {.shape = {X, Y, Z},
                          .pixdim = {1, 1.25f, 1.25f, 1.25f},
                          .sform_code = 1,
                          .sform = {{1.25f}, {0, 1.25f}, {0, 0, 1.25f}}};
    char bval[4096], bvec[4096];
    BENCH_TRY(dm_gradients_read(path_of(scheme, "dwi.bval", bval, sizeof bval),
                                path_of(scheme, "dwi.bvec", bvec, sizeof bvec), &s.gradients));
    BENCH_TRY(dm_response_read(path_of(scheme, "response.txt", bval, sizeof bval), &s.response));
    BENCH_TRY(dm_volume_create(&grid, s.gradients->n_volumes, DM_VOLUME_I16, &s.dwi));
    for (int m = 0; m < MODELS; m++)
        BENCH_TRY(dm_volume_create(&grid, results_of(m) - 1, DM_VOLUME_F32, &s.maps[m]));
    fill_phantom(&s);
    return s;
}

void subject_destroy(subject *s)
{
    dm_volume_destroy(s->dwi);
    for (int m = 0; m < MODELS; m++)
        dm_volume_destroy(s->maps[m]);
    dm_gradients_destroy(s->gradients);
    free(s->mask.voxels);
}

/* ---- fitting ---- */

static void fit_csdm(const subject *s, const dm_mask *mask, const dm_fit_options *options, bool with_map)
{
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = LMAX;
    const dm_csd_fit_input input = {.dwi = s->dwi,
                                    .gradients = s->gradients,
                                    .mask = mask,
                                    .response = s->response,
                                    .settings = &settings};
    const dm_csd_maps maps = {.coefficients = with_map ? s->maps[CSDM] : NULL};
    if (options->chunks)
        BENCH_TRY(dm_fit_csd(&input, options, &maps, NULL));
    else
        BENCH_TRY(dm_fit_csd_alone(&input, &maps, NULL));
}

static void fit_fwdtim(const subject *s, const dm_mask *mask, const dm_fit_options *options, bool with_map)
{
    const dm_fwdti_fit_input input = {.dwi = s->dwi, .gradients = s->gradients, .mask = mask};
    const dm_fwdti_maps maps = {.parameters = with_map ? s->maps[FWDTIM] : NULL};
    if (options->chunks)
        BENCH_TRY(dm_fit_fwdti(&input, options, &maps, NULL));
    else
        BENCH_TRY(dm_fit_fwdti_alone(&input, &maps, NULL));
}

static double workers_cpu_ns(void)
{
    int pids[BENCH_MAX_WORKERS];
    double total = 0;
    for (int n = dm_worker_pids(pids, BENCH_MAX_WORKERS); n > 0; n--)
        total += pids[n - 1] == getpid() ? 0 : (double)bench_cpu_ns(pids[n - 1]);
    return total;
}

fit_times fit_once(const subject *s, int model, size_t voxels, size_t chunks, bool with_map)
{
    const dm_mask mask = {voxels, s->mask.voxels};
    const dm_fit_options options = {.chunks = chunks};
    double workers = chunks ? workers_cpu_ns() : 0;
    int64_t driver = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID), start = bench_now_ns();
    (model == CSDM ? fit_csdm : fit_fwdtim)(s, &mask, &options, with_map);
    fit_times took = {.wall = (double)(bench_now_ns() - start)};
    took.driver = (double)(bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - driver);
    took.workers = chunks ? workers_cpu_ns() - workers : 0;
    return took;
}

/* ---- voxel by voxel ---- */

typedef struct fitter {
    dm_csd *csd;
    dm_csd_workspace *csd_workspace;
    dm_fwdti *fwdti;
    dm_fwdti_workspace *fwdti_workspace;
} fitter;

static fitter fitter_create(const subject *s)
{
    fitter f;
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = LMAX;
    const dm_fwdti_settings others = dm_fwdti_defaults();
    BENCH_TRY(dm_csd_create(&settings, s->gradients, &s->response, &f.csd));
    BENCH_TRY(dm_csd_workspace_create(f.csd, &f.csd_workspace));
    BENCH_TRY(dm_fwdti_create(&others, s->gradients, &f.fwdti));
    BENCH_TRY(dm_fwdti_workspace_create(f.fwdti, &f.fwdti_workspace));
    return f;
}

static void fitter_destroy(fitter *f)
{
    dm_csd_workspace_destroy(f->csd_workspace);
    dm_csd_destroy(f->csd);
    dm_fwdti_workspace_destroy(f->fwdti_workspace);
    dm_fwdti_destroy(f->fwdti);
}

static double voxel_ns(fitter *f, int model, const double *signals)
{
    double values[128];
    int32_t count;
    int64_t start = bench_now_ns();
    if (model == CSDM)
        BENCH_TRY(dm_csd_fit(f->csd, f->csd_workspace, 1, signals, values, &count));
    else
        BENCH_TRY(dm_fwdti_fit(f->fwdti, f->fwdti_workspace, 1, signals, values, &count));
    return (double)(bench_now_ns() - start);
}

void fit_each(const subject *s, int model, size_t voxels, double *ns)
{
    fitter f = fitter_create(s);
    double *signals = memory(s->gradients->n_volumes, sizeof *signals);
    for (size_t i = 0; i < voxels; i++) {
        dm_volume_gather(s->dwi, 1, &s->mask.voxels[i], signals);
        double first = voxel_ns(&f, model, signals), second = voxel_ns(&f, model, signals);
        ns[i] = fmin(first, second);
    }
    free(signals);
    fitter_destroy(&f);
}
