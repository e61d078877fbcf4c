/*
 * map.c - one function over many items: how long are a million vectors, if they are stretched? First into an array,
 * with a line of progress; then with a few bad vectors among them, which are told of and stop nothing.
 *
 *     cc map.c $(pkg-config --cflags --libs dmrt) -lm
 *     ./a.out [N]
 *
 * Ends with 0 if every length is right, with 1 if not.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <dm/dm.h>

static double length(const double v[3], double stretch)
{
    return stretch * sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

DM_MAP(stretched_length) /* registers itself; runs in workers, over a range of items */
{
    double stretch, *out;
    const double(*v)[3];
    DM_TRY(dm_arg(call, 0, &stretch)); /* shared by all tasks */
    DM_TRY(dm_range_items(range, &v));
    DM_TRY(dm_range_results(range, &out));
    for (size_t i = 0; i < range->n; i++) {
        if (isnan(v[i][0]))
            return dm_fail(call, "vector %zu has no length", range->first + i);
        out[i] = length(v[i], stretch);
    }
    return DM_OK;
}

static void draw(void *context, size_t n_done, size_t n)
{
    int *percent = context, now = (int)(100.0 * (double)n_done / (double)n);
    if (now / 10 != *percent / 10 || n_done == n)
        fprintf(stderr, "\r%3d %%%s", now, n_done == n ? "\n" : "");
    *percent = now;
}

static void count_bad(void *context, size_t item, dm_status status, const char *said)
{
    fprintf(stderr, "vector %zu: %s: %s\n", item, dm_status_name(status), said);
    ++*(int *)context;
}

static int all_right(size_t n, double (*v)[3], const double *lengths)
{
    for (size_t i = 0; i < n; i++)
        if (!isnan(v[i][0]) && lengths[i] != length(v[i], 2.0))
            return 0;
    return 1;
}

int main(int argc, char **argv)
{
    DM_TRY_MAIN(dm_init(NULL));
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    double(*v)[3] = calloc(n, sizeof *v), *lengths = calloc(n, sizeof *lengths);
    if (!v || !lengths)
        return 1;
    for (size_t i = 0; i < n; i++)
        v[i][0] = (double)(i % 1000), v[i][1] = 1.0, v[i][2] = (double)(i / 1000);

    int percent = 0, bad = 0;
    dm_map_options options = {.progress = draw, .context = &percent};
    DM_TRY_MAIN(dm_map_with(&options, stretched_length, DM_ITEMS(v, n), DM_RESULTS(lengths), 2.0));
    int right = all_right(n, v, lengths);

    int spoilt = 0;
    for (size_t i = n / 4; i < n; i += n / 3 + 1, spoilt++)
        v[i][0] = NAN;
    dm_map_options patient = {.failed = count_bad, .context = &bad};
    DM_TRY_MAIN(dm_map_with(&patient, stretched_length, DM_ITEMS(v, n), DM_RESULTS(lengths), 2.0));
    right = right && all_right(n, v, lengths) && bad == spoilt;

    dm_stats stats;
    DM_TRY_MAIN(dm_stats_get(&stats));
    printf("%zu vectors, twice, in %llu tasks; %d were bad\n", n, (unsigned long long)stats.tasks_submitted, bad);
    dm_shutdown();
    free(v);
    free(lengths);
    return right ? 0 : 1;
}
