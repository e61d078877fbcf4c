/*
 * What may be said of one task: its name, how often and after what it is tried again, what goes first, how
 * many CPUs it needs, how long it takes. The same from the program and from a task.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "runtime/session.h"
#include "tests/support/killer.h"
#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { ORDERED = 400, WORKERS = 3, TRIES = 4000 };

typedef struct notes {
    _Atomic int runs;
    _Atomic int holders;
    _Atomic bool gate;
    _Atomic int written; /* of `order` */
    _Atomic int order[2 * ORDERED];
    _Atomic int busy, most; /* CPUs, now and ever */
    _Atomic int tries[TRIES];
    _Atomic int children;
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

/* ---- tasks ---- */

DM_REMOTE(holds_up)
{
    (void)call;
    atomic_fetch_add(&common->holders, 1);
    while (!atomic_load(&common->gate))
        watch_pause();
    return DM_OK;
}

DM_REMOTE(notes_order)
{
    int x;
    DM_TRY(dm_arg(call, 0, &x));
    if (x >= 0)
        atomic_store(&common->order[atomic_fetch_add(&common->written, 1) % (2 * ORDERED)], x);
    return DM_OK;
}

/* Fails with this status so many times, as an argument says, then is well. */
DM_REMOTE(fails_first)
{
    int number, times, status;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &times));
    DM_TRY(dm_arg(call, 2, &status));
    if (dm_arg_count(call) > 3)
        DM_TRY(dm_arg(call, 3, (void *)NULL));
    int before = atomic_fetch_add(&common->tries[number], 1);
    if (before >= times)
        return dm_return(call, before);
    if (status == DM_ERR_TASK_CRASH)
        kill(getpid(), SIGKILL);
    if (status == DM_ERR_TASK_FAILED)
        return dm_fail(call, "not yet, %d", before);
    return (dm_status)status;
}

DM_REMOTE(adds)
{
    int x, sum = 0;
    for (int i = 0; i < dm_arg_count(call); i++) {
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum + 1);
}

DM_REMOTE(child)
{
    (void)call;
    atomic_fetch_add(&common->children, 1);
    return DM_OK;
}

/* Submits children that are still waiting when it fails. */
DM_REMOTE(fails_with_children)
{
    dm_ref refs[20];
    for (int i = 0; i < 20; i++)
        refs[i] = dm_remote(child);
    if (atomic_fetch_add(&common->tries[0], 1) < 3)
        return DM_ERR_IO;
    for (int i = 0; i < 20; i++)
        DM_TRY(dm_get(refs[i], (void *)NULL));
    return DM_OK;
}

DM_REMOTE(holds_up_and_returns_bytes)
{
    static const char bytes[10000];
    atomic_fetch_add(&common->holders, 1);
    while (!atomic_load(&common->gate))
        watch_pause();
    return dm_return(call, &DM_BYTES(bytes, sizeof bytes));
}

DM_REMOTE(takes_bytes)
{
    dm_view view;
    atomic_fetch_add(&common->children, 1);
    return dm_arg(call, 0, &view);
}

/* The first attempt fails while what it has submitted runs, and something waits for that. */
DM_REMOTE(fails_while_a_child_runs)
{
    if (atomic_fetch_add(&common->tries[0], 1) != 0)
        return DM_OK;
    dm_remote(takes_bytes, dm_remote(holds_up_and_returns_bytes));
    while (atomic_load(&common->holders) == 0)
        watch_pause();
    return DM_ERR_IO;
}

DM_REMOTE(is_long)
{
    (void)call;
    usleep(20000);
    return DM_OK;
}

DM_REMOTE(is_busy)
{
    int cpus;
    DM_TRY(dm_arg(call, 0, &cpus));
    int now = atomic_fetch_add(&common->busy, cpus) + cpus, most = atomic_load(&common->most);
    while (now > most && !atomic_compare_exchange_weak(&common->most, &most, now))
        continue;
    usleep(1000);
    atomic_fetch_sub(&common->busy, cpus);
    return dm_return(call, cpus);
}

DM_REMOTE(returns_bytes)
{
    static const char bytes[10000];
    return dm_return(call, &DM_BYTES(bytes, sizeof bytes));
}

/* ---- sessions ---- */

static residue before;

static void begin_with(const dm_options *options)
{
    common = notes_make(sizeof *common);
    residue_begin(&before);
    session_begin_with(options);
}

static void begin(dm_engine engine, int workers)
{
    begin_with(&(dm_options){.engine = engine, .workers = workers, .store_bytes = 64 << 20, .log = driver_no_log});
}

static dm_stats stats_now(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static void end(void)
{
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().objects, 0);
    dm_shutdown();
    assert_no_residue(&before);
    notes_end(common, sizeof *common);
}

static int value_of(dm_ref ref)
{
    int x = -1;
    assert_ok(dm_get(ref, &x));
    assert_ok(dm_release(ref));
    return x;
}

#define WITH(...) (&(dm_task_options){__VA_ARGS__})

static void refuses(dm_ref ref, dm_status status, const char *words)
{
    assert_refused(dm_get(ref, (void *)NULL), status, words);
    assert_ok(dm_release(ref));
}

/* ---- what makes no sense ---- */

typedef struct bad {
    dm_task_options options;
    const char *words;
} bad;

#define SIXTY "123456789012345678901234567890123456789012345678901234567890"

static const bad bads[] = {
    {{.retries = -2}, "dm_task_options.retries is -2, but it may be 1 to 32767"},
    {{.retries = 32768}, "dm_task_options.retries is 32768"},
    {{.limit_ms = -2}, "dm_task_options.limit_ms is -2"},
    {{.limit_ms = (int64_t)1 << 31}, "dm_task_options.limit_ms is 2147483648"},
    {{.priority = 1001}, "dm_task_options.priority is 1001, but it may be -1000 to 1000"},
    {{.priority = -1001}, "dm_task_options.priority is -1001"},
    {{.cpus = -1}, "dm_task_options.cpus is -1"},
    {{.cpus = 10001}, "dm_task_options.cpus is 10001"},
    {{.cost_ns = -1}, "dm_task_options.cost_ns is -1"},
    {{.retry_on = 1}, "dm_task_options.retry_on is 0x1"},
    {{.retry_on = UINT64_C(1) << 63}, "make it of DM_ON"},
    {{.name = ""}, "dm_task_options.name has 0 bytes"},
    {{.name = SIXTY SIXTY "12345678"}, "dm_task_options.name has 128 bytes, but it may have 1 to 127"},
};

enum { BADS = sizeof bads / sizeof *bads };

static const dm_task_options goods[] = {
    {.retries = 32767},    {.retries = DM_NONE}, {.limit_ms = INT32_MAX},  {.limit_ms = DM_NONE},
    {.priority = 1000},    {.priority = -1000},  {.cpus = 10000},          {.cost_ns = INT64_MAX},
    {.name = SIXTY SIXTY}, {.name = "1"},        {.retry_on = DM_ON(DM_ERR_SPILL_UNSAFE)},
};

enum { GOODS = sizeof goods / sizeof *goods };

DM_REMOTE(says_what_is_bad)
{
    for (int i = 0; i < BADS; i++) {
        dm_status status = dm_get(dm_remote_with(&bads[i].options, adds, 1), (void *)NULL);
        if (status != DM_ERR_OPTION || !strstr(dm_last_error(), bads[i].words))
            return dm_fail(call, "bad %d: %s: %s", i, dm_status_name(status), dm_last_error());
    }
    for (int i = 0; i < GOODS; i++)
        DM_TRY(dm_get(dm_remote_with(&goods[i], adds, i), (void *)NULL));
    return DM_OK;
}

static void ranges(dm_engine engine)
{
    begin(engine, 2);
    for (int i = 0; i < BADS; i++)
        refuses(dm_remote_with(&bads[i].options, adds, 1), DM_ERR_OPTION, bads[i].words);
    for (int i = 0; i < GOODS; i++)
        assert_int_equal(value_of(dm_remote_with(&goods[i], adds, i)), i + 1);
    dm_ref inside = dm_remote(says_what_is_bad);
    assert_ok(dm_get(inside, (void *)NULL));
    assert_ok(dm_release(inside));
    end();
}
ON_ENGINES(ranges)

/* ---- names ---- */

DM_REMOTE(names_others)
{
    char name[] = "the inner one";
    dm_ref ref = dm_remote_with(WITH(.name = name), fails_first, 1, 100, DM_ERR_TASK_FAILED);
    memset(name, 'x', sizeof name - 1); /* it was copied */
    return dm_return(call, ref);
}

static void names(dm_engine engine)
{
    char name[] = "chunk 7";
    begin(engine, 2);
    dm_ref short_one = dm_remote_with(WITH(.name = name), fails_first, 0, 100, DM_ERR_TASK_FAILED);
    memset(name, 'x', sizeof name - 1);
    assert_refused(dm_get(short_one, (void *)NULL), DM_ERR_TASK_FAILED, "chunk 7: not yet");
    refuses(dm_remote(adds, short_one), DM_ERR_DEP_FAILED, "chunk 7: not yet");
    refuses(dm_remote_with(WITH(.name = SIXTY), adds, "no number", "long enough for a place of its own in memory"),
            DM_ERR_TYPE, SIXTY ": adds: argument 0");
    assert_int_equal(value_of(dm_remote_with(WITH(.name = "well"), adds, 1, 2)), 4);
    dm_ref outer = dm_remote(names_others), inner;
    assert_ok(dm_get(outer, &inner));
    assert_refused(dm_get(inner, (void *)NULL), DM_ERR_TASK_FAILED, "the inner one: not yet");
    assert_ok(dm_release(outer));
    assert_ok(dm_release(inner));
    assert_ok(dm_release(short_one));
    end();
}
ON_ENGINES(names)

/* What the driver says of a task, and what it shows. */
static void names_are_shown(void **state)
{
    (void)state;
    char command[300], output[8192];
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref held = dm_remote_with(WITH(.name = "the long one"), holds_up);
    dm_ref bytes = dm_remote_with(WITH(.name = "the large one"), returns_bytes);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_refused(dm_get_within(held, (void *)NULL, 1), DM_ERR_TIMEOUT, "the long one");
    dm_ref dies = dm_remote_with(WITH(.name = "the brief one", .retries = DM_NONE), fails_first, 0, 100,
                                 DM_ERR_TASK_CRASH);
    atomic_store(&common->gate, true);
    refuses(dies, DM_ERR_TASK_CRASH, "the brief one (task ");
    assert_ok(dm_get(bytes, (void *)NULL));
    snprintf(command, sizeof command, "%s/dm memory %d --json", DM_BIN_DIR, (int)getpid());
    FILE *shown = popen(command, "r");
    assert_non_null(shown);
    output[fread(output, 1, sizeof output - 1, shown)] = 0;
    assert_int_equal(pclose(shown), 0);
    assert_non_null(strstr(output, "the large one"));
    assert_ok(dm_release(held));
    assert_ok(dm_release(bytes));
    end();
}

/* ---- tried again ---- */

DM_REMOTE(tries_inside)
{
    int x;
    dm_ref ref = dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_IO), .retries = 3), fails_first, 10, 2, DM_ERR_IO);
    DM_TRY(dm_get(ref, &x)); /* on this very worker */
    return dm_return(call, x);
}

static void tried_again(dm_engine engine)
{
    const uint64_t on_io = DM_ON(DM_ERR_IO) | DM_ON(DM_ERR_TASK_FAILED);
    begin(engine, 1);
    assert_int_equal(value_of(dm_remote_with(WITH(.retry_on = on_io), fails_first, 0, 3, DM_ERR_IO)), 3);
    assert_int_equal(stats_now().tasks_retried, 3);
    refuses(dm_remote_with(WITH(.retry_on = on_io, .retries = 2), fails_first, 1, 9, DM_ERR_TASK_FAILED),
            DM_ERR_TASK_FAILED, "fails_first: not yet, 2 (attempt 3)");
    assert_int_equal(atomic_load(&common->tries[1]), 3);
    refuses(dm_remote_with(WITH(.retry_on = on_io, .retries = DM_NONE), fails_first, 2, 9, DM_ERR_IO), DM_ERR_IO, "");
    assert_int_equal(atomic_load(&common->tries[2]), 1);
    refuses(dm_remote_with(WITH(.retry_on = on_io), fails_first, 3, 9, DM_ERR_NUMERIC), DM_ERR_NUMERIC, "");
    assert_int_equal(atomic_load(&common->tries[3]), 1);
    refuses(dm_remote_with(WITH(.retries = 5), fails_first, 4, 9, DM_ERR_IO), DM_ERR_IO, "");
    assert_int_equal(atomic_load(&common->tries[4]), 1);
    char text[200] = "an argument that is not in the record but beside it: ";
    assert_int_equal(value_of(dm_remote_with(WITH(.retry_on = on_io, .name = SIXTY), fails_first, 5, 1, DM_ERR_IO,
                                             text)), 1);
    assert_int_equal(value_of(dm_remote(tries_inside)), 2);
    end();
}
ON_ENGINES(tried_again)

/* Whoever waits for it sees only the end. */
static void dependents_wait_for_the_last(dm_engine engine)
{
    enum { ROUNDS = 500 };
    begin(engine, 2);
    dm_ref last = dm_put(0);
    for (int i = 0; i < ROUNDS; i++) {
        dm_ref first = dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_IO)), fails_first, i, i % 4, DM_ERR_IO);
        dm_ref next = dm_remote(adds, last, first);
        assert_ok(dm_release(first));
        assert_ok(dm_release(last));
        last = next;
    }
    assert_int_equal(value_of(last), ROUNDS + ROUNDS / 4 * (0 + 1 + 2 + 3));
    end();
}
ON_ENGINES(dependents_wait_for_the_last)

/* Deaths and failures use up the same retries. */
static void retries_of_both_kinds(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    refuses(dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_IO), .retries = 2), fails_first, 0, 9, DM_ERR_TASK_CRASH),
            DM_ERR_TASK_CRASH, "attempt 3");
    assert_int_equal(atomic_load(&common->tries[0]), 3);
    assert_int_equal(value_of(dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_IO)), fails_first, 1, 1,
                                             DM_ERR_TASK_CRASH)), 1);
    end();
}

/* What a failed attempt had submitted is dropped like a dead one's, unless its worker is quicker. */
static void children_of_a_failed_attempt(void **state)
{
    (void)state;
    enum { ATTEMPTS = 4, CHILDREN = 20, ROUNDS = 100, ENOUGH = 30 };
    dm_stats stats = {0};
    begin(DM_ENGINE_PROCESSES, 1);
    for (int round = 1; round <= ROUNDS && stats.tasks_dropped < ENOUGH; round++) {
        atomic_store(&common->tries[0], 0);
        dm_ref ref = dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_IO)), fails_with_children);
        assert_ok(dm_get(ref, (void *)NULL));
        assert_ok(dm_release(ref));
        assert_soon(stats_now().refs == 0);
        stats = stats_now();
        assert_int_equal(stats.tasks_submitted, round * (1 + ATTEMPTS * CHILDREN));
        assert_int_equal(stats.tasks_dropped + (uint64_t)atomic_load(&common->children), round * ATTEMPTS * CHILDREN);
    }
    assert_true(stats.tasks_dropped >= ENOUGH);
    end();
}

/*
 * Nobody wants the child but another of the dropped ones, which waits for it. That one ends in the middle of the
 * child's own end.
 */
static void the_last_to_name_a_value_is_dropped(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 2);
    for (int i = 0; i < 4; i++) { /* so that nothing is placed before what it waits for is there */
        dm_ref ref = dm_remote(is_long);
        assert_ok(dm_get(ref, (void *)NULL));
        assert_ok(dm_release(ref));
    }
    dm_ref ref = dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_IO)), fails_while_a_child_runs);
    assert_ok(dm_get(ref, (void *)NULL));
    assert_ok(dm_release(ref));
    atomic_store(&common->gate, true);
    assert_soon(stats_now().refs == 0);
    assert_int_equal(atomic_load(&common->children), 0);
    assert_int_equal(stats_now().tasks_dropped, 1);
    dm_ref refs[8];
    for (int i = 0; i < 8; i++) { /* what was freed is used again */
        refs[i] = dm_remote(returns_bytes);
        assert_ok(dm_get(refs[i], (void *)NULL));
    }
    for (int i = 0; i < 8; i++)
        assert_ok(dm_release(refs[i]));
    end();
}

static void a_cancelled_one_is_not_tried_again(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref held = dm_remote(holds_up);
    dm_ref ref = dm_remote_with(WITH(.retry_on = DM_ON(DM_ERR_CANCELLED) | DM_ON(DM_ERR_IO), .retries = 100),
                                fails_first, 0, 100000000, DM_ERR_IO);
    dm_ref dependent = dm_remote(adds, ref);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_ok(dm_cancel(ref));
    atomic_store(&common->gate, true);
    refuses(ref, DM_ERR_CANCELLED, "fails_first");
    refuses(dependent, DM_ERR_DEP_FAILED, "cancelled");
    assert_int_equal(atomic_load(&common->tries[0]), 0);
    assert_ok(dm_release(held));
    end();
}

/* Priorities, names, tries and deaths, all at once: every value is right. */
static void all_among_kills(void **state)
{
    (void)state;
    enum { EACH = 200, KILLS_MS = 2500 };
    begin(DM_ENGINE_PROCESSES, 2);
    killer k = {.seed = 3, .most_ms = 150};
    unsigned seed = 4;
    killer_begin(&k);
    int round = 0;
    for (int64_t until = watch_now_ms() + KILLS_MS; watch_now_ms() < until; round++) {
        dm_ref refs[EACH];
        for (int i = 0; i < EACH; i++) {
            dm_task_options options = {.retries = 30000, .priority = rand_r(&seed) % 5 - 2,
                                       .name = rand_r(&seed) % 2 ? "one of many" : NULL,
                                       .cpus = rand_r(&seed) % 3, .cost_ns = rand_r(&seed) % 3 * 600000,
                                       .retry_on = DM_ON(DM_ERR_IO)};
            refs[i] = i % 2 ? dm_remote_with(&options, adds, refs[i - 1], i > 2 ? refs[i - 2] : refs[i - 1])
                            : dm_remote_with(&options, fails_first, round * EACH % TRIES + i, i % 3, DM_ERR_IO);
        }
        for (int i = 0; i < EACH; i++) {
            dm_status status = dm_get_within(refs[i], (void *)NULL, WATCH_PATIENCE_MS);
            if (status != DM_OK)
                fail_msg("round %d, task %d: %s", round, i, dm_last_error());
        }
        for (int i = 0; i < EACH; i++) {
            assert_ok(dm_release(refs[i]));
            atomic_store(&common->tries[round * EACH % TRIES + i], 0);
        }
    }
    killer_end(&k);
    print_message("%d rounds, %llu workers lost, %llu attempts repeated\n", round,
                  (unsigned long long)stats_now().workers_lost, (unsigned long long)stats_now().tasks_retried);
    end();
}

/* ---- what goes first ---- */

static void check_order(int from, int count)
{
    int last = INT32_MIN;
    for (int i = from; i < count; i++) {
        int x = atomic_load(&common->order[i]);
        if (x < last)
            fail_msg("%d came after %d, at %d", x, last, i);
        last = x;
    }
}

/* The number of a task says where it belongs: the higher priority first, then in order of submission. */
static int submit_in_disorder(unsigned seed, int count)
{
    for (int i = 0; i < count; i++) {
        int priority = rand_r(&seed) % 5 - 2;
        dm_ref ref = dm_remote_with(WITH(.priority = priority), notes_order, (2 - priority) * 10000 + i);
        if (dm_release(ref) != DM_OK)
            return -1;
    }
    return count;
}

static void the_higher_goes_first(dm_engine engine)
{
    begin(engine, 1);
    for (unsigned round = 0; round < 3; round++) {
        atomic_store(&common->written, 0);
        atomic_store(&common->gate, false);
        dm_ref held = dm_remote(holds_up);
        assert_soon(atomic_load(&common->holders) == (int)round + 1);
        for (int i = 0; i < 1100; i++) /* the ring is full of these, and they are first */
            assert_ok(dm_release(dm_remote(notes_order, -1)));
        submit_in_disorder(round, ORDERED);
        /* Some are taken out from anywhere in the queue, and some come that have none. */
        for (int i = 0; i < 50; i++) {
            dm_ref ref = dm_remote_with(WITH(.priority = i % 5 - 2), notes_order, -1);
            assert_ok(dm_cancel(ref));
            assert_ok(dm_release(ref));
        }
        atomic_store(&common->gate, true);
        assert_soon(atomic_load(&common->written) == ORDERED);
        check_order(0, ORDERED);
        assert_ok(dm_release(held));
        assert_soon(stats_now().refs == 0);
    }
    end();
}

static void the_higher_goes_first_in_processes(void **state)
{
    (void)state;
    the_higher_goes_first(DM_ENGINE_PROCESSES);
}

static void the_higher_goes_first_in_threads(void **state)
{
    (void)state;
    the_higher_goes_first(DM_ENGINE_THREADS);
}

DM_REMOTE(submits_in_disorder)
{
    for (int i = 0; i < 1100; i++)
        DM_TRY(dm_release(dm_remote(notes_order, -1)));
    submit_in_disorder(5, ORDERED);
    DM_TRY(holds_up.body(call));
    return DM_OK;
}

static void from_a_task(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref ref = dm_remote(submits_in_disorder);
    assert_soon(stats_now().tasks_submitted == 1 + 1100 + ORDERED);
    atomic_store(&common->gate, true);
    assert_soon(atomic_load(&common->written) == ORDERED);
    check_order(0, ORDERED);
    assert_ok(dm_release(ref));
    end();
}

/* A task may be more urgent than what it needs. */
static void urgent_dependents(dm_engine engine)
{
    enum { COUNT = 1500 };
    static dm_ref refs[COUNT];
    static int values[COUNT];
    unsigned seed = 9;
    begin(engine, 2);
    for (int i = 0; i < COUNT; i++) {
        int a = i ? rand_r(&seed) % i : 0, b = i ? rand_r(&seed) % i : 0;
        dm_task_options options = {.priority = rand_r(&seed) % 3 ? i % 7 - 3 : 0};
        values[i] = i ? (values[a] + values[b] + 1) % 1000000 : 1;
        refs[i] = i ? dm_remote_with(&options, adds, refs[a], refs[b]) : dm_remote_with(&options, adds, 0);
        if (i && values[a] + values[b] > 100000) { /* so that they stay small */
            assert_ok(dm_release(refs[i]));
            values[i] = 1;
            refs[i] = dm_remote(adds, 0);
        }
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(value_of(refs[i]), values[i]);
    end();
}
ON_ENGINES(urgent_dependents)

/* ---- CPUs and cost ---- */

DM_REMOTE(keeps_busy_inside)
{
    dm_ref refs[30];
    for (int i = 0; i < 30; i++)
        refs[i] = dm_remote_with(WITH(.cpus = i % 3 + 1), is_busy, i % 3 + 1);
    return dm_wait(refs, 30, 30, DM_NONE, NULL);
}

static void several_cpus(dm_engine engine)
{
    enum { COUNT = 150 };
    dm_ref refs[COUNT];
    begin(engine, WORKERS);
    for (int i = 0; i < COUNT; i++) {
        int cpus = i % 7 == 6 ? 100 : i % 7 == 3 ? 2 : 1; /* more than there are: all of them */
        refs[i] = dm_remote_with(WITH(.cpus = cpus), is_busy, cpus < WORKERS ? cpus : WORKERS);
    }
    for (int i = 0; i < COUNT; i++)
        value_of(refs[i]);
    assert_int_equal(atomic_load(&common->most), WORKERS);
    assert_int_equal(atomic_load(&common->busy), 0);
    /* Afterwards everything is as before. */
    for (int i = 0; i < COUNT; i++)
        refs[i] = dm_remote(is_busy, 1);
    for (int i = 0; i < COUNT; i++)
        value_of(refs[i]);
    assert_int_equal(atomic_load(&common->most), WORKERS);
    dm_ref inside = dm_remote(keeps_busy_inside);
    assert_ok(dm_get(inside, (void *)NULL));
    assert_ok(dm_release(inside));
    end();
}
ON_ENGINES(several_cpus)

static uint64_t entries_beside(int64_t cost_ns)
{
    enum { SHORT = 3000, BEHIND = 300 };
    dm_ref refs[BEHIND];
    uint64_t most = 0;
    begin(DM_ENGINE_PROCESSES, 2);
    for (int i = 0; i < SHORT; i++) /* so that they are known to be short */
        value_of(dm_remote(adds, i));
    dm_ref held = dm_remote_with(WITH(.cost_ns = cost_ns), holds_up);
    dmi_session *session = dmi_the_session;
    for (int i = 0; i < BEHIND; i++) {
        refs[i] = dm_remote(adds, i);
        dmi_role_take(&session->role);
        for (uint32_t l = 0; l < session->lane_count; l++)
            for (uint64_t at = session->lanes[l].reaped; at < session->lanes[l].pushed; at++)
                if (session->lanes[l].sent[at % DMI_RING] == (uint32_t)held.id + 1 &&
                    session->lanes[l].pushed - at > most)
                    most = session->lanes[l].pushed - at;
        dmi_role_leave(&session->role);
    }
    atomic_store(&common->gate, true);
    for (int i = 0; i < BEHIND; i++)
        value_of(refs[i]);
    assert_ok(dm_get(held, (void *)NULL));
    assert_ok(dm_release(held));
    end();
    return most;
}

static void nothing_is_put_behind_a_long_one(void **state)
{
    (void)state;
    assert_int_equal(entries_beside(1000000000), 1);
    assert_true(entries_beside(0) > 1); /* or this says nothing */
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(ranges),
    ENGINE_CASES(names),
    cmocka_unit_test(names_are_shown),
    ENGINE_CASES(tried_again),
    ENGINE_CASES(dependents_wait_for_the_last),
    cmocka_unit_test(retries_of_both_kinds),
    cmocka_unit_test(children_of_a_failed_attempt),
    cmocka_unit_test(the_last_to_name_a_value_is_dropped),
    cmocka_unit_test(a_cancelled_one_is_not_tried_again),
    cmocka_unit_test(all_among_kills),
    cmocka_unit_test(the_higher_goes_first_in_processes),
    cmocka_unit_test(the_higher_goes_first_in_threads),
    cmocka_unit_test(from_a_task),
    ENGINE_CASES(urgent_dependents),
    ENGINE_CASES(several_cpus),
    cmocka_unit_test(nothing_is_put_behind_a_long_one),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
