/*
 * sweep.c - see sweep.h.
 */
#include "bench/how_small_may_a_task_be/sweep/sweep.h"

#include "bench/support/statistics.h"

enum {
    STEPS = 1000,
    REPEATS = 5,
    MOST_POINTS = 24,
    MOST_ROUNDS = 1 << 18, /* some 0.3 ms */
    ENOUGH = 5             /* per cent of efficiency: what is below draws no curve */
};

static const char question[] = "how_small_may_a_task_be";

typedef struct point {
    double granularity, efficiency; /* ns, share */
} point;

typedef struct curve {
    point points[MOST_POINTS];
    int count;
    uint64_t answer;
} curve;

static const sweep *contestant;
static int cores;
static double round_ns;

static double agreed(double value)
{
    return contestant->agree ? contestant->agree(value) : value;
}

static point measure(const graph *g, uint64_t *answer)
{
    double took[REPEATS];
    for (int i = 0; i < REPEATS; i++)
        took[i] = contestant->run(g, answer);
    double elapsed = agreed(bench_median(took, REPEATS)), tasks = (double)graph_tasks(g);
    return (point){elapsed * cores / tasks, (double)g->rounds * round_ns * tasks / (elapsed * cores)};
}

static void follow(graph *g, curve *to)
{
    for (g->rounds = MOST_ROUNDS; g->rounds > 0 && to->count < MOST_POINTS; g->rounds /= 2) {
        to->points[to->count] = measure(g, &to->answer);
        if (to->points[to->count++].efficiency * 100 < ENOUGH)
            return;
    }
}

/* 0: never as efficient. The last crossing is the one that counts: to the left of it all is below. */
static double metg(const curve *of)
{
    for (int i = of->count - 1; i > 0; i--) {
        const point *above = &of->points[i - 1], *below = &of->points[i];
        if (above->efficiency >= 0.5 && below->efficiency < 0.5) {
            double share = (above->efficiency - 0.5) / (above->efficiency - below->efficiency);
            return above->granularity + share * (below->granularity - above->granularity);
        }
    }
    return 0;
}

static void leave_series(const curve *of, const char *pattern)
{
    char path[4096];
    const char *folder = getenv("BENCH_SERIES");
    if (folder == NULL)
        return;
    snprintf(path, sizeof path, "%s/%s-%s", folder, pattern, contestant->name);
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    for (int i = 0; i < of->count; i++)
        fprintf(file, "%.6g %.6g\n", of->points[i].granularity, of->points[i].efficiency);
    fclose(file);
}

static void report(const graph *g, const curve *of)
{
    char more[MOST_POINTS * 32 + 64];
    const bench_reporter reporter = {question, contestant->name, contestant->options.workers};
    double value = metg(of);
    if (value == 0) {
        fprintf(stderr, "%s, %s: left out: no crossing of 50 %% between tasks of %g and %g ns\n",
                contestant->name, graph_name(g->pattern), of->points[0].granularity,
                of->points[of->count - 1].granularity);
        return;
    }
    int used = snprintf(more, sizeof more, "\"width\":%d,\"steps\":%d,\"cores\":%d,\"curve\":[", g->width,
                        g->steps, cores);
    for (int i = 0; i < of->count; i++)
        used += snprintf(more + used, sizeof more - (size_t)used, "%s[%.5g,%.4g]", i ? "," : "",
                         of->points[i].granularity, of->points[i].efficiency);
    snprintf(more + used, sizeof more - (size_t)used, "]");
    bench_report(&reporter, (bench_row){.name = graph_name(g->pattern),
                                        .unit = "ns",
                                        .value = value,
                                        .n = graph_tasks(g),
                                        .answer = of->answer,
                                        .more = more});
}

static void sweep_pattern(graph_pattern pattern)
{
    if (!bench_wants(&contestant->options, graph_name(pattern)))
        return;
    graph g = {pattern, cores, (int)bench_scaled(&contestant->options, STEPS), 64};
    curve c = {.count = 0};
    contestant->run(&g, &c.answer); /* warm */
    follow(&g, &c);
    if (contestant->silent)
        return;
    report(&g, &c);
    leave_series(&c, graph_name(pattern));
}

void sweep_run(const sweep *of)
{
    enum { LOOK = 1 << 14 };
    contestant = of;
    cores = of->options.workers < bench_cpus() ? of->options.workers : bench_cpus();
    cores = cores < GRAPH_MOST_WIDTH ? cores : GRAPH_MOST_WIDTH;
    round_ns = agreed(bench_burn_ns(LOOK) / LOOK);
    for (int pattern = 0; pattern < GRAPH_PATTERNS; pattern++)
        sweep_pattern((graph_pattern)pattern);
}
