/*
 * Random graphs in stores that are hardly larger than what one of their tasks needs: whatever the sizes, everything
 * ends, with its bytes or with a status that says why not. If objects can be spilled, and a task has room when it runs
 * alone, it ends with its bytes. `--short` for every run of the suite; `--seed N` repeats a run's choices.
 */
#include "tests/support/marked.h"

enum { VALUES = 48, INPUTS = 3, CASES_SHORT = 24, CASES = 2000 };

typedef struct setting {
    size_t store_bytes;
    int workers;
    dm_engine engine;
    bool spills;
    int small, large; /* objects: percent of the store */
    int share;        /* what a task reads and makes: at most so many percent */
} setting;

static int pick(uint64_t *state, int from, int to)
{
    return from + (int)(marked_random(state) % (uint64_t)(to - from + 1));
}

/* ---- tasks ---- */

enum { MAKES_LAST, MAKES_FIRST, MAKES_BETWEEN, PUTS_AND_GETS, DELEGATES, WAYS };

static bool all_right(dm_call *call, int from)
{
    for (int i = from; i + 1 < dm_arg_count(call); i += 2) {
        dm_view view;
        uint64_t whose;
        if (dm_arg(call, i, &whose) != DM_OK || dm_arg(call, i + 1, &view) != DM_OK ||
            !is_marked(view.data, view.bytes, whose))
            return false;
    }
    return true;
}

/* The task's value by way of another: in two objects, one after the other. */
static dm_status in_two_steps(size_t bytes, uint64_t whose, dm_buffer *buffer)
{
    dm_view view;
    dm_ref mine = marked_put(bytes / 2 / 8 * 8, whose);
    if (mine.id == 0)
        return DM_ERR_STORE_FULL;
    dm_status status = dm_get(mine, &view);
    bool right = status == DM_OK && is_marked(view.data, view.bytes, whose);
    if (status == DM_OK)
        dm_view_release(&view);
    dm_release(mine);
    if (status != DM_OK || !right)
        return status != DM_OK ? status : DM_ERR_CORRUPT;
    return dm_create(DM_U8, 1, &bytes, buffer);
}

/* bytes, whose, way, microseconds; then whose and an object, up to INPUTS times. */
DM_REMOTE(small_store_task)
{
    size_t bytes;
    uint64_t whose;
    int way, us;
    dm_buffer buffer = {0};
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_arg(call, 1, &whose));
    DM_TRY(dm_arg(call, 2, &way));
    DM_TRY(dm_arg(call, 3, &us));
    if (way == MAKES_FIRST)
        DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    if (!all_right(call, 4))
        return dm_fail(call, "wrong bytes before");
    usleep((unsigned)us);
    if (way == DELEGATES) {
        dm_ref inner = dm_remote(marked_make, bytes, whose);
        dm_status status = dm_get(inner, (void *)NULL);
        return status == DM_OK ? dm_return(call, inner) : status;
    }
    if (way == PUTS_AND_GETS)
        DM_TRY(in_two_steps(bytes, whose, &buffer));
    else if (way != MAKES_FIRST)
        DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    usleep((unsigned)us);
    if (!all_right(call, 4))
        return dm_fail(call, "wrong bytes after");
    marked_fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* ---- a graph ---- */

typedef struct value {
    dm_ref ref;
    size_t bytes;
    bool delegated; /* its value is a ref */
} value;

static uint64_t name_of(uint64_t seed, int i)
{
    return (seed % 1000 + 1) * 1000 + (uint64_t)i;
}

/* Some values made before, so few that with the result they are no more than their share of the store. */
static int choose_inputs(const setting *of, const value *values, int n, size_t bytes, uint64_t *state,
                         int inputs[INPUTS])
{
    size_t most = of->store_bytes / 100 * (size_t)of->share, sum = bytes;
    int count = 0;
    for (int tries = pick(state, 0, INPUTS); tries > 0 && n > 0; tries--) {
        int i = pick(state, n > 12 ? n - 12 : 0, n - 1);
        if (values[i].ref.id == 0 || values[i].delegated || sum + values[i].bytes > most)
            continue;
        sum += values[i].bytes;
        inputs[count++] = i;
    }
    return count;
}

static dm_ref submit(const setting *of, value *values, int n, uint64_t seed, uint64_t *state)
{
    int inputs[INPUTS], us = pick(state, 0, 3) == 0 ? pick(state, 0, 3000) : 0;
    int way = pick(state, 0, of->engine == DM_ENGINE_PROCESSES ? WAYS - 1 : WAYS - 2);
    size_t bytes = values[n].bytes;
    int count = choose_inputs(of, values, n, bytes + (way == PUTS_AND_GETS ? bytes / 2 : 0), state, inputs);
    values[n].delegated = way == DELEGATES;
    dm_value arguments[4 + 2 * INPUTS] = {dm_value_of(bytes), dm_value_of(name_of(seed, n)), dm_value_of(way),
                                          dm_value_of(us)};
    for (int i = 0; i < count; i++) {
        arguments[4 + 2 * i] = dm_value_of(name_of(seed, inputs[i]));
        arguments[5 + 2 * i] = dm_value_of(values[inputs[i]].ref);
    }
    return dm_submit(&small_store_task, NULL, arguments, 4 + 2 * (size_t)count);
}

static bool is_named_full(dm_status status)
{
    return status == DM_ERR_STORE_FULL || status == DM_ERR_DEP_FAILED;
}

/* One value, to the end. */
static bool is_right(const setting *of, const value *v, uint64_t whose)
{
    dm_ref ref = v->ref;
    dm_view view;
    dm_status status = v->delegated ? dm_get_within(v->ref, &ref, WATCH_PATIENCE_MS) : DM_OK;
    if (status == DM_OK)
        status = dm_get_within(ref, &view, WATCH_PATIENCE_MS);
    bool right = status == DM_OK && view.bytes == v->bytes && is_marked(view.data, view.bytes, whose);
    if (status == DM_OK)
        dm_view_release(&view);
    if (ref.id != v->ref.id)
        dm_release(ref);
    if (right || (status != DM_OK && is_named_full(status) && !of->spills))
        return true;
    printf("value %llu of %zu bytes: %s: %s\n", (unsigned long long)whose, v->bytes, dm_status_name(status),
           status == DM_OK ? "wrong bytes" : dm_last_error());
    return false;
}

static int one_graph(const setting *of, uint64_t seed)
{
    value values[VALUES] = {{DM_NO_REF, 0, false}};
    uint64_t state = seed;
    int wrong = 0;
    for (int n = 0; n < VALUES; n++) {
        values[n].bytes = of->store_bytes / 100 * (size_t)pick(&state, of->small, of->large) / 8 * 8;
        bool put = pick(&state, 0, 3) == 0;
        values[n].ref = put ? marked_put(values[n].bytes, name_of(seed, n)) : submit(of, values, n, seed, &state);
        if (put && values[n].ref.id == 0 && of->spills)
            wrong += printf("put %d: %s\n", n, dm_last_error()) > 0;
        int gone = pick(&state, 0, n);
        if (pick(&state, 0, 2) == 0 && values[gone].ref.id != 0) {
            wrong += dm_release(values[gone].ref) != DM_OK;
            values[gone].ref = DM_NO_REF;
        }
    }
    for (int n = 0; n < VALUES; n++) {
        if (values[n].ref.id == 0)
            continue;
        wrong += !is_right(of, &values[n], name_of(seed, n));
        wrong += dm_release(values[n].ref) != DM_OK;
    }
    return wrong;
}

/* ---- a soak ---- */

static int what_is_left(void)
{
    dm_stats stats = {.refs = 1};
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while ((stats.refs != 0 || stats.disk_bytes != 0) && watch_now_ms() < until) {
        watch_pause();
        if (dm_stats_get(&stats) != DM_OK)
            return 1;
    }
    if (stats.refs == 0 && stats.objects == 0 && stats.store_used == 0 && stats.disk_bytes == 0)
        return 0;
    return printf("left: %llu refs, %llu objects, %zu bytes in memory, %llu on disk\n",
                  (unsigned long long)stats.refs, (unsigned long long)stats.objects, stats.store_used,
                  (unsigned long long)stats.disk_bytes);
}

static setting random_setting(uint64_t *state)
{
    static const dm_engine engines[] = {DM_ENGINE_PROCESSES, DM_ENGINE_PROCESSES, DM_ENGINE_THREADS, DM_ENGINE_SERIAL};
    return (setting){.store_bytes = (size_t)pick(state, 1024, 4096) << 10,
                     .workers = pick(state, 1, 3),
                     .engine = engines[pick(state, 0, 3)],
                     .spills = pick(state, 0, 3) != 0,
                     .small = pick(state, 1, 10),
                     .large = pick(state, 11, 30),
                     .share = pick(state, 30, 50)};
}

static int soak(uint64_t seed)
{
    uint64_t state = seed;
    const setting of = random_setting(&state);
    int64_t began = watch_now_ms();
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    session_begin_with(&(dm_options){.workers = of.workers,
                                     .engine = of.engine,
                                     .store_bytes = of.store_bytes,
                                     .store_wait_ms = of.spills ? 4000 : 20,
                                     .spill_policy = of.spills ? DM_SPILL_AUTO : DM_SPILL_OFF,
                                     .log = driver_no_log});
    int wrong = one_graph(&of, seed) + what_is_left();
    dm_stats stats = {0};
    dm_status status = dm_stats_get(&stats);
    dm_shutdown();
    printf("seed %llu: store %zu, %d workers, engine %d, %s, objects %d..%d %%, share %d %%: %lld ms, spilled %llu "
           "KiB; %d wrong\n", (unsigned long long)seed, of.store_bytes, of.workers, (int)of.engine,
           of.spills ? "spills" : "does not spill", of.small, of.large, of.share, (long long)(watch_now_ms() - began),
           (unsigned long long)stats.spilled_total >> 10, wrong);
    fflush(stdout);
    return wrong + (status != DM_OK);
}

int main(int argc, char **argv)
{
    int status, wrong = 0, cases = CASES;
    uint64_t seed = (uint64_t)watch_now_us();
    residue before;
    char said[4096];
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            cases = CASES_SHORT;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
            cases = 1;
        }
    }
    watch_dog(cases <= CASES_SHORT ? WATCH_DOG_S : 7000);
    residue_begin(&before);
    for (int i = 0; i < cases && wrong == 0; i++)
        wrong = soak(seed + (uint64_t)i);
    if (!residue_check(&before, said, sizeof said))
        wrong += printf("residue:\n%s", said);
    test_end();
    return wrong != 0;
}
