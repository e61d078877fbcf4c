/*
 * dmrt.c - CSD of a data set, alone and as tasks of several sizes.
 *
 *   dmrt --data FOLDER [--workers N] [--engine NAME] [--only CASE] [--scale F]
 *
 * Timed is a whole call, from images in memory to maps in memory: the model is set up anew each
 * time, by the driver when it fits alone, by each worker when there are tasks. On a crop of some
 * hundred voxels that shows; params.model_ns says how long it takes once. Reading files and
 * starting workers are not in it.
 *
 * The ways of cutting take turns, fit by fit, so that a machine which changes its speed changes
 * it for all of them. Every single result must have the bytes of the fit alone, and those must
 * agree with DIPY: no figure without a right answer.
 */
#include <dm/fit.h>

#include "data_set.h"

typedef struct cut {
    const char *name;
    bool alone;
    size_t voxels_per_task; /* 0: as dm_fit_csd likes it */
} cut;

/* Reported in this order; alone is last because the others are compared with it. */
enum { DEFAULT, BY_512, BY_8, BY_1, ALONE, CUTS };
static const cut cuts[CUTS] = {
    [DEFAULT] = {"default chunks", false, 0},
    [BY_512] = {"512 voxels a task", false, 512},
    [BY_8] = {"8 voxels a task", false, 8},
    [BY_1] = {"one voxel a task", false, 1},
    [ALONE] = {"alone", true, 0},
};

/* All fits of one cut. */
typedef struct timing {
    int64_t wall, cpu;
    size_t fits, tasks; /* tasks: of one fit */
} timing;

static bench_options options = {.engine = "processes", .workers = 2, .scale = 1};
static const char *folder;
static data_set set;
static dm_csd_settings settings;
static dm_csd_maps expected, found;

/* ---- maps ---- */

static dm_csd_maps maps_create(void)
{
    dm_csd_maps maps = {0};
    const dm_grid *grid = &set.dwi->grid;
    BENCH_TRY(dm_volume_create(grid, dm_sh_count(LMAX), DM_VOLUME_F64, &maps.coefficients));
    BENCH_TRY(dm_volume_create(grid, 1, DM_VOLUME_I32, &maps.iterations));
    return maps;
}

static void maps_destroy(dm_csd_maps *maps)
{
    dm_volume_destroy(maps->coefficients);
    dm_volume_destroy(maps->iterations);
}

static size_t coefficient_bytes(void)
{
    return set.dwi->n_voxels * dm_sh_count(LMAX) * sizeof(double);
}

static size_t iteration_bytes(void)
{
    return set.dwi->n_voxels * sizeof(int32_t);
}

/* So that a voxel which nobody fits does not keep the right answer of the fit before. */
static void maps_spoil(dm_csd_maps *maps)
{
    memset(maps->coefficients->data, 0xff, coefficient_bytes());
    memset(maps->iterations->data, 0xff, iteration_bytes());
}

static bool maps_same(const dm_csd_maps *a, const dm_csd_maps *b)
{
    return memcmp(a->coefficients->data, b->coefficients->data, coefficient_bytes()) == 0 &&
           memcmp(a->iterations->data, b->iterations->data, iteration_bytes()) == 0;
}

/* FNV-1a of n words of memory. */
static uint64_t hash(uint64_t so_far, const void *bytes, size_t n_bytes)
{
    for (const unsigned char *at = bytes, *end = at + n_bytes; at < end; at++)
        so_far = (so_far ^ *at) * UINT64_C(1099511628211);
    return so_far;
}

static uint64_t maps_answer(const dm_csd_maps *maps)
{
    uint64_t of = UINT64_C(14695981039346656037);
    of = hash(of, maps->coefficients->data, coefficient_bytes());
    return fold(hash(of, maps->iterations->data, iteration_bytes()));
}

/* ---- fitting ---- */

static void fit(const cut *how, const dm_csd_maps *maps, dm_fit_report *report)
{
    dm_csd_fit_input input = {.dwi = set.dwi,
                              .gradients = set.gradients,
                              .mask = set.mask,
                              .response = set.response,
                              .settings = &settings};
    dm_fit_options cutting = {.voxels_per_chunk = how->voxels_per_task};
    if (how->alone)
        BENCH_TRY(dm_fit_csd_alone(&input, maps, report));
    else
        BENCH_TRY(dm_fit_csd(&input, &cutting, maps, report));
}

static void fit_timed(const cut *how, timing *took)
{
    dm_fit_report report;
    maps_spoil(&found);
    int64_t cpu = bench_session_cpu_ns(), start = bench_now_ns();
    fit(how, &found, &report);
    took->wall += bench_now_ns() - start;
    took->cpu += bench_session_cpu_ns() - cpu;
    took->tasks = report.n_chunks;
    took->fits++;
    if (!maps_same(&expected, &found)) {
        fprintf(stderr, "%s, %s: not the bytes of the fit alone\n", set.name, how->name);
        exit(1);
    }
}

static void round_of_fits(timing *took)
{
    for (int i = 0; i < CUTS; i++)
        fit_timed(&cuts[i], &took[i]);
}

static int64_t shortest(const timing *took)
{
    int64_t least = took[0].wall;
    for (int i = 1; i < CUTS; i++)
        least = took[i].wall < least ? took[i].wall : least;
    return least;
}

/* The first round does not count: it starts workers and touches memory. */
static void measure(timing *took)
{
    timing unused[CUTS] = {0};
    round_of_fits(unused);
    do
        round_of_fits(took);
    while ((double)shortest(took) < AT_LEAST_NS * options.scale);
}

/* ---- checking and reporting ---- */

static deviation checked_deviation(void)
{
    deviation of = deviation_from(&set, expected.coefficients, expected.iterations);
    if (of.within_bound >= SHARE && of.iterations_equal >= SHARE)
        return of;
    fprintf(stderr,
            "%s: %.3f %% of the voxels are within %g of DIPY (largest %.3g) and %.3f %% have its "
            "number of iterations; %.1f %% were expected\n",
            set.name, 100 * of.within_bound, BOUND, of.largest, 100 * of.iterations_equal,
            100 * SHARE);
    exit(1);
}

/* The best of some looks: what setting a model up takes when nothing disturbs it. */
static double model_ns(void)
{
    enum { LOOKS = 9 };
    int64_t best = INT64_MAX;
    for (int i = 0; i < LOOKS; i++) {
        dm_csd *model;
        int64_t start = bench_now_ns();
        BENCH_TRY(dm_csd_create(&settings, set.gradients, &set.response, &model));
        int64_t took = bench_now_ns() - start;
        best = took < best ? took : best;
        dm_csd_destroy(model);
    }
    return (double)best;
}

static double ns_per_voxel(const timing *took)
{
    return (double)took->wall / ((double)took->fits * (double)set.mask->n);
}

/* What stands beside every figure of a set. */
typedef struct checked {
    deviation from; /* DIPY */
    double alone_ns, model_ns;
} checked;

/* Efficiency: the time alone over that of all workers together. 1 if tasks cost nothing. */
static void report(const cut *how, const timing *took, const checked *with)
{
    char more[512];
    double ns = ns_per_voxel(took);
    int workers = how->alone ? 1 : options.workers;
    snprintf(more, sizeof more,
             "\"engine\":\"%s\",\"voxels_per_s\":%.6g,\"efficiency\":%.4f,\"tasks\":%zu,"
             "\"fits\":%zu,\"cpu_ns\":%.6g,\"dwi\":%zu,\"model_ns\":%.6g,\"deviation\":%.3g,"
             "\"within_bound\":%.6g,\"iterations_equal\":%.6g",
             options.engine, 1e9 / ns, with->alone_ns / (workers * ns), took->tasks, took->fits,
             (double)took->cpu / ((double)took->fits * (double)set.mask->n), set.gradients->n_dwi,
             with->model_ns, with->from.largest, with->from.within_bound,
             with->from.iterations_equal);
    bench_reporter reporter = {question, how->name, workers};
    bench_report(&reporter, (bench_row){.name = set.name,
                                        .unit = "ns",
                                        .value = ns,
                                        .n = set.mask->n,
                                        .answer = maps_answer(&found),
                                        .more = more});
}

static void answer_question(void)
{
    timing took[CUTS] = {0};
    expected = maps_create();
    found = maps_create();
    maps_spoil(&expected);
    fit(&cuts[ALONE], &expected, NULL);
    checked with = {.from = checked_deviation()};
    measure(took);
    with.alone_ns = ns_per_voxel(&took[ALONE]);
    with.model_ns = model_ns();
    for (int i = 0; i < CUTS; i++)
        report(&cuts[i], &took[i], &with);
    maps_destroy(&expected);
    maps_destroy(&found);
}

static void read_options(int argc, char **argv)
{
    bool right = true;
    for (int i = 1; i < argc && right; i += 2) {
        right = i + 1 < argc;
        if (right && strcmp(argv[i], "--data") == 0)
            folder = argv[i + 1];
        else
            right = right && bench_option(&options, argv[i], argv[i + 1]);
    }
    if (right && folder && options.workers > 0 && options.scale > 0)
        return;
    fprintf(stderr,
            "usage: %s --data FOLDER [--workers N] [--engine NAME] [--only CASE] "
            "[--scale F]\n",
            argv[0]);
    exit(2);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    dm_options session = bench_session_options(&options);
    BENCH_TRY(dm_init(&session));
    if (bench_wants(&options, name_of(folder))) {
        settings = dm_csd_defaults();
        settings.lmax = LMAX;
        set = data_set_read(folder);
        answer_question();
        data_set_fini(&set);
    }
    dm_shutdown();
}
