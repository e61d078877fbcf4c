/*
 * Workers are killed at random moments while graphs are computed: no result is lost, wrong or doubled,
 * and nothing is left. `--short` for every run of the suite; `--seed N` repeats a run's choices.
 */
#include "tests/support/killer.h"

enum { LAYERS = 6, WIDTH = 24, LARGE = 3000 };

/* Mixes its inputs; an object or a number, by its number. */
DM_REMOTE(mixes)
{
    uint64_t number, sum = 0, x, words[LARGE / 8];
    DM_TRY(dm_arg(call, 0, &number));
    for (int i = 1; i < dm_arg_count(call); i++) {
        dm_view view;
        if (dm_arg(call, i, &x) != DM_OK) {
            DM_TRY(dm_arg(call, i, &view));
            x = ((const uint64_t *)view.data)[(number * 7) % (LARGE / 8)];
        }
        sum = (sum * 31 + x) & INT64_MAX;
    }
    sum = (sum * 1000003 + number) & INT64_MAX;
    if (number % 4)
        return dm_return(call, sum);
    for (int i = 0; i < LARGE / 8; i++)
        words[i] = sum;
    return dm_return(call, &DM_ARRAY(words, DM_U64, LARGE / 8));
}

/* Submits and waits, so that deaths meet blocked workers, too. */
DM_REMOTE(nests)
{
    uint64_t number, x;
    DM_TRY(dm_arg(call, 0, &number));
    dm_ref inner = dm_remote(mixes, number * 4 + 1);
    DM_TRY(dm_get(inner, &x));
    return dm_return(call, x);
}

static bool is_value(dm_ref ref, uint64_t expected)
{
    uint64_t x = 0;
    dm_view view;
    dm_status status = dm_get_within(ref, &x, 60000);
    if (status == DM_ERR_TYPE && (status = dm_get(ref, &view)) == DM_OK) {
        const uint64_t *words = view.data;
        x = words[0];
        for (int i = 0; i < LARGE / 8; i++)
            if (words[i] != x)
                x = 0;
        dm_view_release(&view);
    }
    if (status == DM_OK && x == expected)
        return true;
    fprintf(stderr, "%llu, expected %llu: %s: %s\n", (unsigned long long)x, (unsigned long long)expected,
            dm_status_name(status), status == DM_OK ? "wrong value" : dm_last_error());
    return false;
}

/* One graph of layers, each task with inputs from the layer before. Number of wrong results. */
static int compute(unsigned *seed)
{
    static dm_ref refs[LAYERS][WIDTH];
    static uint64_t expected[LAYERS][WIDTH];
    int wrong = 0;
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < WIDTH; i++) {
            uint64_t number = (uint64_t)(layer * WIDTH + i), sum = 0;
            dm_value values[4] = {dm_value_uint(number)};
            int inputs = layer ? (int)((unsigned)rand_r(seed) % 4) : 0;
            for (int j = 0; j < inputs; j++) {
                unsigned from = (unsigned)rand_r(seed) % WIDTH;
                values[j + 1] = dm_value_ref(refs[layer - 1][from]);
                sum = (sum * 31 + expected[layer - 1][from]) & INT64_MAX;
            }
            bool nested = inputs == 0 && rand_r(seed) % 8 == 0;
            expected[layer][i] = nested ? number * 4 + 1 : (sum * 1000003 + number) & INT64_MAX;
            refs[layer][i] = dm_submit(nested ? &nests : &mixes, NULL, values, (size_t)inputs + 1);
        }
    for (int layer = LAYERS - 1; layer >= 0; layer--)
        for (int i = 0; i < WIDTH; i++) {
            wrong += !is_value(refs[layer][i], expected[layer][i]);
            wrong += dm_release(refs[layer][i]) != DM_OK;
        }
    return wrong;
}

static int soak(int kills, unsigned seed, int workers)
{
    residue before;
    char said[4096];
    killer k = {.seed = seed, .most_ms = watch_sanitized() ? 60 : 20};
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = workers, .store_bytes = 128 << 20, .retries = 1000,
                                     .log = driver_no_log});
    killer_begin(&k);
    int graphs = 0, wrong = 0;
    int64_t begin = watch_now_ms();
    while (atomic_load(&k.kills) < kills && wrong == 0) {
        wrong += compute(&seed);
        graphs++;
    }
    killer_end(&k);
    int64_t took = watch_now_ms() - begin, until = watch_now_ms() + WATCH_PATIENCE_MS;
    dm_stats stats = {.refs = 1};
    while (stats.refs != 0 && watch_now_ms() < until)
        wrong += dm_stats_get(&stats) != DM_OK;
    printf("%d kills, %d graphs of %d tasks in %d ms; %llu attempts were repeated; %d wrong\n",
           atomic_load(&k.kills), graphs, LAYERS * WIDTH, (int)took,
           (unsigned long long)stats.tasks_retried, wrong);
    if (stats.refs != 0 || stats.objects != 0 || stats.tasks_failed != 0)
        wrong += printf("left: %llu refs, %llu objects; failed: %llu tasks\n",
                        (unsigned long long)stats.refs, (unsigned long long)stats.objects,
                        (unsigned long long)stats.tasks_failed);
    dm_shutdown();
    if (!residue_check(&before, said, sizeof said))
        wrong += printf("residue:\n%s", said);
    return wrong;
}

int main(int argc, char **argv)
{
    int status;
    bool is_short = false;
    unsigned seed = (unsigned)watch_now_us();
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            is_short = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = (unsigned)strtoul(argv[++i], NULL, 10);
    }
    printf("seed %u\n", seed);
    fflush(stdout);
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    int wrong = soak(is_short ? 150 : 1500, seed, 2);
    if (wrong == 0)
        wrong = soak(is_short ? 50 : 500, seed + 1, 1);
    test_end();
    return wrong != 0;
}
