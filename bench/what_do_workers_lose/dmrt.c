/*
 * dmrt.c - a fit by n workers, cut into tasks of several sizes, and n fits alone side by side.
 *
 *   dmrt --scheme PREFIX [--workers N] [--engine NAME] [--only CASE] [--scale F]
 *
 * Timed are whole calls, from an image in memory to maps in memory. The ways take turns, fit by fit,
 * and each must have the bits of the fit alone. "efficiency" is the time of the fits side by side over
 * the time of n workers.
 */
#include "alone.h"

typedef struct way {
    const char *name;
    bool beside, voxel_by_voxel; /* without a runtime */
    size_t voxels_per_task;      /* 0: as the fit likes it */
    size_t parts;                /* or so many tasks for each worker */
} way;

/* The first one of each kind without a runtime is what those with workers are measured by. */
enum { BESIDE, DEFAULT, ONE_EACH, BY_1024, BY_112, BY_8, BESIDE_ONE_BY_ONE, BY_1, WAYS };
static const way ways[WAYS] = {
    [BESIDE] = {.name = "alone, side by side", .beside = true},
    [DEFAULT] = {.name = "default chunks"},
    [ONE_EACH] = {.name = "one task each", .parts = 1},
    [BY_1024] = {.name = "1024 voxels a task", .voxels_per_task = 1024},
    [BY_112] = {.name = "112 voxels a task", .voxels_per_task = 112},
    [BY_8] = {.name = "8 voxels a task", .voxels_per_task = 8},
    [BESIDE_ONE_BY_ONE] = {.name = "voxel by voxel, side by side",
                           .beside = true,
                           .voxel_by_voxel = true},
    [BY_1] = {.name = "one voxel a task", .voxels_per_task = 1},
};

/* Of one fit of the image. */
typedef struct timing {
    double wall, cpu;
    size_t tasks;
} timing;

static bench_options options = {.engine = "processes", .workers = 2, .scale = 1};
static phantom image;
static beside *others;
static uint64_t answer;

static size_t fit_by_tasks(const way *how, which_model model, const maps *m)
{
    const dm_fit_options cut = {.voxels_per_chunk = how->voxels_per_task,
                                .chunks = how->parts * (size_t)options.workers};
    dm_fit_report report;
    if (model == CSD)
        BENCH_TRY(dm_fit_csd(
            &(dm_csd_fit_input){image.dwi, image.gradients, image.mask, response, NULL, NULL}, &cut,
            &(dm_csd_maps){.coefficients = m->values, .iterations = m->counts}, &report));
    else
        BENCH_TRY(dm_fit_fwdti(
            &(dm_fwdti_fit_input){image.dwi, image.gradients, image.mask, NULL, NULL}, &cut,
            &(dm_fwdti_maps){.parameters = m->values, .evaluations = m->counts}, &report));
    return report.n_chunks;
}

static timing fit_beside(const way *how, which_model model)
{
    int64_t wall, cpu;
    const uint64_t found = beside_fit(others, model, how->voxel_by_voxel, &wall, &cpu);
    if (how->voxel_by_voxel)
        bench_expect(answer, found, how->name);
    answer = found;
    return (timing){(double)wall / options.workers, (double)cpu / options.workers, 0};
}

static timing fit_timed(const way *how, which_model model, const maps *m)
{
    if (how->beside)
        return fit_beside(how, model);
    maps_spoil(m);
    const int64_t cpu = bench_session_cpu_ns(), start = bench_now_ns();
    const size_t tasks = fit_by_tasks(how, model, m);
    const timing took = {(double)(bench_now_ns() - start), (double)(bench_session_cpu_ns() - cpu),
                         tasks};
    bench_expect(answer, maps_answer(m), how->name);
    return took;
}

static void report_time(const way *how, which_model model, const timing *took)
{
    char more[128];
    const double n = (double)image.mask->n;
    snprintf(more, sizeof more, "\"engine\":\"%s\",\"tasks\":%zu,\"cpu_ns\":%.6g", options.engine,
             took->tasks, took->cpu / n);
    const bench_reporter reporter = {"what_do_workers_lose", how->name, options.workers};
    bench_report(&reporter, (bench_row){.name = model_names[model],
                                        .unit = "ns",
                                        .value = took->wall / n,
                                        .n = image.mask->n,
                                        .answer = answer,
                                        .more = more});
}

/* Of the fits side by side before and after it, which share a slow minute of the machine with it. */
static void report_efficiency(const way *how, which_model model, const timing *took,
                              const timing *before, const timing *after)
{
    char name[64], more[64];
    snprintf(name, sizeof name, "%s, efficiency", model_names[model]);
    snprintf(more, sizeof more, "\"cpu_efficiency\":%.4f",
             (before->cpu + after->cpu) / 2 / took->cpu);
    const bench_reporter reporter = {"what_do_workers_lose", how->name, options.workers};
    bench_report(&reporter, (bench_row){.name = name,
                                        .unit = "of alone",
                                        .value = (before->wall + after->wall) / 2 / took->wall,
                                        .n = image.mask->n,
                                        .answer = answer,
                                        .more = more});
}

/* The first way, which has no runtime, then each of the others and the first again. */
static void measure_ways(which_model model, const maps *m, int first, int last)
{
    timing before = fit_timed(&ways[first], model, m);
    report_time(&ways[first], model, &before);
    for (int k = first + 1; k <= last; k++) {
        const timing took = fit_timed(&ways[k], model, m);
        const timing after = fit_timed(&ways[first], model, m);
        report_time(&ways[k], model, &took);
        report_efficiency(&ways[k], model, &took, &before, &after);
        before = after;
    }
}

/* The first round starts workers and touches memory. */
static void measure(which_model model)
{
    maps m = maps_make(&image, model);
    for (int k = 0; k < WAYS; k++)
        fit_timed(&ways[k], model, &m);
    measure_ways(model, &m, BESIDE, BY_8);
    measure_ways(model, &m, BESIDE_ONE_BY_ONE, BY_1);
    maps_end(&m);
}

static const char *read_options(int argc, char **argv)
{
    const char *scheme = NULL;
    bool right = true;
    for (int i = 1; i < argc && right; i += 2) {
        right = i + 1 < argc;
        if (right && strcmp(argv[i], "--scheme") == 0)
            scheme = argv[i + 1];
        else
            right = right && bench_option(&options, argv[i], argv[i + 1]);
    }
    if (right && scheme && options.workers > 0 && options.scale > 0)
        return scheme;
    fprintf(stderr,
            "usage: %s --scheme PREFIX [--workers N] [--engine NAME] [--only CASE] [--scale F]\n",
            argv[0]);
    exit(2);
}

int main(int argc, char **argv)
{
    const char *scheme = read_options(argc, argv);
    const dm_options session = bench_session_options(&options);
    BENCH_TRY(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL})); /* a worker goes no further */
    dm_shutdown();
    image = phantom_make(scheme, bench_scaled(&options, SLICES));
    others = beside_begin(options.workers, &image);
    BENCH_TRY(dm_init(&session));
    for (int k = 0; k < MODELS; k++)
        if (bench_wants(&options, model_names[k]))
            measure((which_model)k);
    dm_shutdown();
    beside_end(others);
    phantom_end(&image);
}
