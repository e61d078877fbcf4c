/*
 * dm_cancel: a task that has not begun never runs; one that runs is asked to stop, and its worker is killed
 * after a grace; what is done stays. Whoever waits for it is told, what it submitted goes with it, and
 * nobody else loses an attempt by it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { MANY = 2000, LONG_MS = 100000, KILLS_MS = 2500 };

/* What driver, test and workers know in common. */
typedef struct notes {
    _Atomic int runs;    /* of tasks that count theirs */
    _Atomic int holders; /* tasks that stand before a gate, as often as they came there */
    _Atomic int told;    /* tasks that heard that they are to stop */
    _Atomic int woken;   /* 1 + the status with which one that waited went on */
    _Atomic bool gate, second_gate;
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

static void stand_before(_Atomic bool *gate)
{
    atomic_fetch_add(&common->holders, 1);
    while (!atomic_load(gate))
        watch_pause();
}

/* ---- tasks ---- */

DM_REMOTE(counts)
{
    int x = 0;
    for (int i = 0; i < dm_arg_count(call); i++)
        DM_TRY(dm_arg(call, i, &x));
    atomic_fetch_add(&common->runs, 1);
    return dm_return(call, x);
}

/* Hears nothing. */
DM_REMOTE(holds_up)
{
    stand_before(&common->gate);
    return dm_return(call, 5);
}

DM_REMOTE(stops_when_told)
{
    atomic_fetch_add(&common->holders, 1);
    while (!dm_cancelled(call))
        watch_pause();
    atomic_fetch_add(&common->told, 1);
    return DM_ERR_CANCELLED;
}

DM_REMOTE(returns_when_told)
{
    atomic_fetch_add(&common->holders, 1);
    while (!dm_cancelled(call))
        watch_pause();
    return dm_return(call, 42);
}

/* Far down in a chain of tasks that wait on one worker is one that stops when it is told. */
DM_REMOTE(waits_for_the_told)
{
    int n;
    DM_TRY(dm_arg(call, 0, &n));
    return dm_get(n > 1 ? dm_remote(waits_for_the_told, n - 1) : dm_remote(stops_when_told), (void *)NULL);
}

static dm_status note_woken(dm_status status)
{
    atomic_store(&common->woken, 1 + (int)status);
    return status;
}

/* Waits for one that holds up another worker. */
DM_REMOTE(waits)
{
    bool for_one_of_two;
    DM_TRY(dm_arg(call, 0, &for_one_of_two));
    dm_ref ref = dm_remote(holds_up);
    while (atomic_load(&common->holders) == 0)
        watch_pause();
    if (for_one_of_two)
        return note_woken(dm_wait((dm_ref[]){ref, ref}, 2, 1, DM_NONE, NULL));
    return note_woken(dm_get(ref, (void *)NULL));
}

/* Submits many that count, and returns the first: that one has another holder then. */
DM_REMOTE(leaves_many)
{
    dm_ref first = dm_remote(counts, 1);
    for (int i = 1; i < 100; i++)
        dm_remote(counts, i);
    stand_before(&common->gate);
    return dm_return(call, first);
}

/* The same with tasks of several values; one value of the first has another holder then. */
DM_REMOTE(leaves_many_of_several)
{
    dm_ref refs[3], first = DM_NO_REF;
    for (int i = 0; i < 50; i++) {
        dm_remote_n(refs, 3, counts, i);
        first = i == 0 ? refs[1] : first;
    }
    stand_before(&common->gate);
    return dm_return(call, first);
}

/* The same, and the latest is an argument of another. */
DM_REMOTE(leaves_a_chain)
{
    bool listens;
    DM_TRY(dm_arg(call, 0, &listens));
    dm_ref last = dm_remote(holds_up);
    for (int i = 0; i < 100; i++)
        last = dm_remote(counts, last);
    stand_before(&common->second_gate);
    for (int i = 0; listens && !dm_cancelled(call); i++)
        watch_pause();
    for (int i = 0; i < 10; i++)
        dm_remote(counts, i); /* never begin: it has been cancelled by now */
    return dm_return(call, 3);
}

DM_REMOTE(cancels_its_own)
{
    int64_t grace_ms;
    DM_TRY(dm_arg(call, 0, &grace_ms));
    dm_ref ref = dm_remote(counts, 1), other = dm_remote(counts, ref);
    DM_TRY(grace_ms < 0 ? dm_cancel(ref) : dm_cancel_within(ref, grace_ms));
    dm_status status = dm_get(ref, (void *)NULL), second = dm_get(other, (void *)NULL);
    bool ran = status == DM_OK && second == DM_OK; /* somebody was quicker */
    if (!ran && (status != DM_ERR_CANCELLED || second != DM_ERR_DEP_FAILED))
        return dm_fail(call, "%s, %s: %s", dm_status_name(status), dm_status_name(second), dm_last_error());
    DM_TRY(dm_release(ref));
    return dm_return(call, (int)ran);
}

DM_REMOTE(cancels_what_runs)
{
    dm_ref ref = dm_remote(stops_when_told);
    while (atomic_load(&common->holders) == 0)
        watch_pause();
    DM_TRY(dm_cancel_within(ref, DM_NONE));
    return dm_return(call, (int)dm_get(ref, (void *)NULL));
}

/* What may not be cancelled, and what is done. */
DM_REMOTE(cancels_others)
{
    dm_ref argument;
    double numbers[1000] = {0};
    DM_TRY(dm_arg(call, 0, &argument));
    dm_ref put = dm_put(&DM_ARRAY(numbers, DM_F64, 1000)), wrong = dm_remote(counts, DM_NO_REF);
    DM_TRY(dm_cancel(argument)); /* it is done, or I had not begun */
    DM_TRY(dm_cancel(wrong));
    if (dm_cancel(put) != DM_ERR_INVALID || !strstr(dm_last_error(), "put"))
        return dm_fail(call, "a put value was cancelled");
    DM_TRY(dm_release(put));
    if (dm_cancel(put) != DM_ERR_STALE || dm_cancel(DM_NO_REF) != DM_ERR_BADREF)
        return dm_fail(call, "a wrong ref was cancelled");
    return DM_OK;
}

/* Submits one that holds up, and returns its ref: the program has it, too. */
DM_REMOTE(hands_on)
{
    stand_before(&common->second_gate);
    return dm_return(call, dm_remote(holds_up));
}

/* Waits for that one, which runs on this very worker. */
DM_REMOTE(waits_for_inner)
{
    dm_ref outer, inner;
    int x = 0;
    DM_TRY(dm_arg(call, 0, &outer));
    DM_TRY(dm_get(outer, &inner));
    dm_status status = dm_get(inner, &x);
    if (status == DM_ERR_CANCELLED)
        return dm_return(call, 7);
    DM_TRY(status);
    return dm_return(call, x);
}

/* ---- cases ---- */

static residue before;

static void begin_with(dm_engine engine, int workers, int retries)
{
    common = notes_make(sizeof *common);
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .store_bytes = 64 << 20,
                                     .retries = retries, .cancel_grace_ms = LONG_MS, .log = driver_no_log});
}

static void begin(dm_engine engine, int workers)
{
    begin_with(engine, workers, DM_NONE);
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

static void release_all(dm_ref *refs, int n)
{
    for (int i = 0; i < n; i++)
        assert_ok(dm_release(refs[i]));
}

/* Some lie in the worker's ring, some in the queue, some wait for their input. */
static void unbegun(dm_engine engine)
{
    static dm_ref refs[MANY], dependents[MANY];
    begin(engine, 1);
    dm_ref gate = dm_remote(holds_up);
    assert_soon(atomic_load(&common->holders) == 1);
    for (int i = 0; i < MANY; i++) {
        refs[i] = i % 2 ? dm_remote(counts, i) : dm_remote(counts, gate);
        dependents[i] = dm_remote(counts, refs[i]);
    }
    for (int i = 0; i < MANY; i++) {
        assert_ok(dm_cancel(refs[i]));
        assert_refused(dm_get_within(refs[i], (void *)NULL, 0), DM_ERR_CANCELLED, "counts (task ");
        assert_refused(dm_get_within(refs[i], (void *)NULL, 0), DM_ERR_CANCELLED, "before it began");
        assert_ok(dm_cancel(refs[i]));
    }
    atomic_store(&common->gate, true);
    for (int i = 0; i < MANY; i++)
        assert_refused(dm_get(dependents[i], (void *)NULL), DM_ERR_DEP_FAILED, "cancelled");
    assert_ok(dm_get(gate, (void *)NULL));
    assert_int_equal(atomic_load(&common->runs), 0);
    assert_soon(stats_now().tasks_failed == 2 * MANY);
    assert_int_equal(stats_now().workers_lost, 0);
    release_all(refs, MANY);
    release_all(dependents, MANY);
    release_all(&gate, 1);
    end();
}

static void unbegun_in_processes(void **state)
{
    (void)state;
    unbegun(DM_ENGINE_PROCESSES);
}

static void unbegun_in_threads(void **state)
{
    (void)state;
    unbegun(DM_ENGINE_THREADS);
}

/* Short tasks are claimed in groups, and one that is claimed cannot be taken back: it is told. */
static void claimed_and_not_begun(void **state)
{
    (void)state;
    static dm_ref refs[MANY];
    enum { FIRST = MANY / 2 };
    begin(DM_ENGINE_PROCESSES, 1);
    for (int i = 0; i < MANY; i++)
        refs[i] = i == FIRST ? dm_remote(holds_up) : dm_remote(counts, i);
    assert_soon(atomic_load(&common->holders) == 1);
    for (int i = FIRST + 1; i < MANY; i++)
        assert_ok(dm_cancel_within(refs[i], 0));
    assert_soon(atomic_load(&common->runs) == FIRST);
    usleep(30000); /* a kill would have come by now */
    atomic_store(&common->gate, true);
    for (int i = 0; i < MANY; i++) {
        dm_status status = dm_get(refs[i], (void *)NULL);
        assert_int_equal(status, i > FIRST ? DM_ERR_CANCELLED : DM_OK);
    }
    assert_int_equal(atomic_load(&common->runs), FIRST);
    assert_int_equal(stats_now().workers_lost, 0);
    release_all(refs, MANY);
    end();
}

/* One of many in a row fails: all behind it do, and those before it do not. */
static void the_middle_of_a_chain(void **state)
{
    (void)state;
    enum { LONG = 500 };
    dm_ref refs[LONG];
    begin(DM_ENGINE_PROCESSES, 2);
    dm_ref gate = dm_remote(holds_up);
    for (int i = 0; i < LONG; i++)
        refs[i] = dm_remote(counts, i ? refs[i - 1] : gate);
    assert_ok(dm_cancel(refs[LONG / 2]));
    atomic_store(&common->gate, true);
    for (int i = 0; i < LONG; i++) {
        dm_status status = dm_get(refs[i], (void *)NULL);
        assert_int_equal(status, i < LONG / 2    ? DM_OK
                                 : i == LONG / 2 ? DM_ERR_CANCELLED
                                                 : DM_ERR_DEP_FAILED);
    }
    assert_int_equal(atomic_load(&common->runs), LONG / 2);
    release_all(refs, LONG);
    release_all(&gate, 1);
    end();
}

static void running(dm_engine engine)
{
    int x = 0;
    begin(engine, 2);
    dm_ref stops = dm_remote(stops_when_told), returns = dm_remote(returns_when_told);
    dm_ref dependent = dm_remote(counts, stops), fine = dm_remote(counts, returns);
    assert_soon(atomic_load(&common->holders) == 2);
    assert_ok(dm_cancel(stops));
    assert_refused(dm_get(stops, &x), DM_ERR_CANCELLED, "stops_when_told");
    assert_refused(dm_get(dependent, &x), DM_ERR_DEP_FAILED, "stops_when_told");
    assert_refused(dm_get_within(returns, &x, 50), DM_ERR_TIMEOUT, ""); /* one is told, the other is not */
    assert_ok(dm_cancel(returns));
    assert_ok(dm_get(returns, &x)); /* what it returns is its value */
    assert_int_equal(x, 42);
    assert_ok(dm_cancel(returns)); /* it is done */
    assert_ok(dm_get(returns, &x));
    assert_ok(dm_get(fine, &x));
    assert_int_equal(x, 42);
    assert_int_equal(atomic_load(&common->told), 1);
    assert_int_equal(stats_now().workers_lost, 0);
    release_all((dm_ref[]){stops, returns, dependent, fine}, 4);
    end();
}

static void running_in_processes(void **state)
{
    (void)state;
    running(DM_ENGINE_PROCESSES);
}

static void running_in_threads(void **state)
{
    (void)state;
    running(DM_ENGINE_THREADS);
}

/* Its worker is killed. What lay behind it runs elsewhere, though it has no retries. */
static void killed_after(int64_t grace_ms)
{
    enum { BEHIND = 20 };
    dm_ref behind[BEHIND];
    begin_with(DM_ENGINE_PROCESSES, 1, DM_NONE);
    dm_ref deaf = dm_remote_with((&(dm_task_options){.retries = 5}), holds_up);
    dm_ref dependent = dm_remote(counts, deaf);
    assert_soon(atomic_load(&common->holders) == 1);
    for (int i = 0; i < BEHIND; i++)
        behind[i] = dm_remote(counts, i);
    int64_t start = watch_now_ms();
    assert_ok(dm_cancel_within(deaf, grace_ms));
    assert_refused(dm_get(deaf, (void *)NULL), DM_ERR_CANCELLED, "while it ran");
    assert_true(watch_now_ms() - start >= grace_ms);
    assert_refused(dm_get(dependent, (void *)NULL), DM_ERR_DEP_FAILED, "holds_up");
    for (int i = 0; i < BEHIND; i++)
        assert_ok(dm_get(behind[i], (void *)NULL));
    assert_int_equal(atomic_load(&common->holders), 1);
    assert_int_equal(stats_now().workers_lost, 1);
    assert_int_equal(stats_now().tasks_retried, 0);
    release_all(behind, BEHIND);
    release_all((dm_ref[]){deaf, dependent}, 2);
    end();
}

static void killed_at_once(void **state)
{
    (void)state;
    killed_after(0);
}

static void killed_after_a_grace(void **state)
{
    (void)state;
    killed_after(100);
}

static void the_grace_is_an_option(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_shutdown();
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 1, .store_bytes = 64 << 20,
                                     .cancel_grace_ms = 50, .log = driver_no_log});
    dm_ref deaf = dm_remote(holds_up);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_ok(dm_cancel(deaf));
    assert_refused(dm_get(deaf, (void *)NULL), DM_ERR_CANCELLED, "holds_up");
    release_all(&deaf, 1);
    end();
}

/* Nobody is killed where nobody may be; and a second call may say otherwise. */
static void only_asked(dm_engine engine)
{
    int x = 0;
    begin(engine, 1);
    dm_ref deaf = dm_remote(holds_up);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_ok(dm_cancel_within(deaf, engine == DM_ENGINE_PROCESSES ? DM_NONE : 0));
    assert_refused(dm_get_within(deaf, &x, 100), DM_ERR_TIMEOUT, "holds_up");
    atomic_store(&common->gate, true);
    assert_ok(dm_get(deaf, &x));
    assert_int_equal(x, 5);
    release_all(&deaf, 1);
    dm_ref next = dm_remote(counts, 3); /* on that very worker */
    assert_ok(dm_get(next, &x));
    release_all(&next, 1);
    assert_int_equal(stats_now().workers_lost, 0);
    end();
}

static void only_asked_in_processes(void **state)
{
    (void)state;
    only_asked(DM_ENGINE_PROCESSES);
}

static void only_asked_in_threads(void **state)
{
    (void)state;
    only_asked(DM_ENGINE_THREADS);
}

/* More lie there than can be asked at once; those on top are. */
static void asked_far_down(dm_engine engine)
{
    enum { DEPTH = 300 };
    begin(engine, 1);
    dm_ref ref = dm_remote(waits_for_the_told, DEPTH);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_ok(dm_cancel_within(ref, DM_NONE));
    assert_refused(dm_get_within(ref, (void *)NULL, WATCH_PATIENCE_MS), DM_ERR_CANCELLED, "");
    assert_soon(atomic_load(&common->told) == 1); /* it may lie on another worker */
    assert_ok(dm_release(ref));
    end();
}

static void asked_far_down_in_processes(void **state)
{
    (void)state;
    asked_far_down(DM_ENGINE_PROCESSES);
}

static void asked_far_down_in_threads(void **state)
{
    (void)state;
    asked_far_down(DM_ENGINE_THREADS);
}

static void a_second_call_sets_a_new_grace(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref deaf = dm_remote(holds_up);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_ok(dm_cancel_within(deaf, DM_NONE));
    assert_refused(dm_get_within(deaf, (void *)NULL, 50), DM_ERR_TIMEOUT, "holds_up");
    assert_ok(dm_cancel_within(deaf, 0));
    assert_refused(dm_get(deaf, (void *)NULL), DM_ERR_CANCELLED, "holds_up");
    release_all(&deaf, 1);
    end();
}

/* It dies by itself while it is asked: it is not tried again. */
static void one_that_dies_meanwhile(void **state)
{
    (void)state;
    int pid;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref deaf = dm_remote_with((&(dm_task_options){.retries = 5}), holds_up);
    assert_soon(atomic_load(&common->holders) == 1);
    assert_ok(dm_cancel(deaf));
    assert_int_equal(dm_worker_pids(&pid, 1), 1);
    assert_true(watch_kill(pid));
    assert_refused(dm_get(deaf, (void *)NULL), DM_ERR_CANCELLED, "holds_up");
    assert_int_equal(atomic_load(&common->holders), 1);
    assert_int_equal(stats_now().tasks_retried, 0);
    release_all(&deaf, 1);
    end();
}

static void wrong_ones(dm_engine engine)
{
    int x;
    double numbers[1000] = {0};
    begin(engine, 1);
    dm_ref done = dm_remote(counts, 3), small = dm_put(7), wrong = dm_remote(counts, DM_NO_REF);
    dm_ref large = dm_put(&DM_ARRAY(numbers, DM_F64, 1000));
    assert_ok(dm_get(done, &x));
    assert_ok(dm_cancel(done));
    assert_ok(dm_get(done, &x));
    assert_int_equal(x, 3);
    assert_refused(dm_cancel(small), DM_ERR_INVALID, "put");
    assert_refused(dm_cancel(large), DM_ERR_INVALID, "put");
    assert_ok(dm_cancel(wrong));
    assert_refused(dm_cancel(DM_NO_REF), DM_ERR_BADREF, "");
    assert_refused(dm_cancel_within(done, -2), DM_ERR_INVALID, "-2");
    dm_ref inside = dm_remote(cancels_others, done);
    assert_ok(dm_get(inside, (void *)NULL));
    release_all((dm_ref[]){done, small, wrong, large, inside}, 5);
    assert_refused(dm_cancel(done), DM_ERR_STALE, "released");
    end();
}
ON_ENGINES(wrong_ones)

/* The task that waits goes on at once; it is not killed, and what it waited for is cancelled with it. */
static void blocked(dm_engine engine, bool for_one_of_two)
{
    begin(engine, 2);
    dm_ref waiting = dm_remote(waits, for_one_of_two);
    assert_soon(atomic_load(&common->holders) == 1);
    usleep(20000); /* it waits by now, in all likelihood */
    assert_ok(dm_cancel(waiting));
    assert_refused(dm_get(waiting, (void *)NULL), DM_ERR_CANCELLED, "waits");
    assert_int_equal(atomic_load(&common->woken), 1 + DM_ERR_CANCELLED);
    atomic_store(&common->gate, true);
    assert_int_equal(stats_now().workers_lost, 0);
    release_all(&waiting, 1);
    end();
}

static void blocked_in_get(void **state)
{
    (void)state;
    blocked(DM_ENGINE_PROCESSES, false);
    blocked(DM_ENGINE_THREADS, false);
}

static void blocked_in_wait(void **state)
{
    (void)state;
    blocked(DM_ENGINE_PROCESSES, true);
    blocked(DM_ENGINE_THREADS, true);
}

/* ---- what it has submitted ---- */

static void children_go_with_it(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref parent = dm_remote(leaves_many);
    assert_soon(stats_now().tasks_submitted == 101);
    assert_ok(dm_cancel_within(parent, DM_NONE));
    assert_soon(stats_now().tasks_failed == 100);
    atomic_store(&common->gate, true);
    dm_ref first;
    assert_ok(dm_get(parent, &first)); /* it heard nothing, and its value stands */
    assert_refused(dm_get(first, (void *)NULL), DM_ERR_CANCELLED, "counts");
    assert_int_equal(atomic_load(&common->runs), 0);
    release_all((dm_ref[]){parent, first}, 2);
    end();
}

static void children_of_several_values_go_with_it(void **state)
{
    (void)state;
    begin(DM_ENGINE_PROCESSES, 1);
    dm_ref parent = dm_remote(leaves_many_of_several), value;
    assert_soon(stats_now().tasks_submitted == 51);
    assert_ok(dm_cancel_within(parent, DM_NONE));
    assert_soon(stats_now().tasks_failed == 50);
    atomic_store(&common->gate, true);
    assert_ok(dm_get(parent, &value));
    assert_refused(dm_get(value, (void *)NULL), DM_ERR_CANCELLED, "counts");
    assert_int_equal(atomic_load(&common->runs), 0);
    release_all((dm_ref[]){parent, value}, 2);
    end();
}

/* To cancel one of several values is to cancel their task. */
static void several_values(void **state)
{
    (void)state;
    dm_ref unbegun[3], running[2];
    begin(DM_ENGINE_PROCESSES, 1);
    dm_remote_n(running, 2, holds_up);
    assert_soon(atomic_load(&common->holders) == 1);
    dm_remote_n(unbegun, 3, counts, 1);
    assert_ok(dm_cancel(unbegun[1]));
    for (int i = 0; i < 3; i++)
        assert_refused(dm_get_within(unbegun[i], (void *)NULL, 0), DM_ERR_CANCELLED, "before it began");
    assert_ok(dm_cancel_within(running[1], 0));
    for (int i = 0; i < 2; i++)
        assert_refused(dm_get(running[i], (void *)NULL), DM_ERR_CANCELLED, "while it ran");
    assert_ok(dm_cancel(running[0]));
    assert_int_equal(stats_now().workers_lost, 1);
    assert_int_equal(atomic_load(&common->runs), 0);
    release_all(unbegun, 3);
    release_all(running, 2);
    end();
}

static void children_in_a_chain(dm_engine engine, int64_t grace_ms)
{
    int x;
    begin(engine, 2);
    dm_ref parent = dm_remote(leaves_a_chain, grace_ms < 0);
    assert_soon(stats_now().tasks_submitted == 102 && atomic_load(&common->holders) == 2);
    assert_ok(dm_cancel_within(parent, grace_ms)); /* 0: with the child that runs, whose worker dies as well */
    atomic_store(&common->second_gate, true);
    if (grace_ms == 0 && engine == DM_ENGINE_PROCESSES)
        assert_refused(dm_get(parent, &x), DM_ERR_CANCELLED, "leaves_a_chain");
    else
        assert_ok(dm_get(parent, &x));
    if (grace_ms == 0 && engine == DM_ENGINE_PROCESSES)
        assert_soon(stats_now().workers_lost == 2);
    atomic_store(&common->gate, true);
    release_all(&parent, 1);
    assert_soon(stats_now().refs == 0);
    assert_int_equal(atomic_load(&common->runs), 0);
    end();
}

static void children_that_wait_for_each_other(void **state)
{
    (void)state;
    children_in_a_chain(DM_ENGINE_PROCESSES, DM_NONE);
    children_in_a_chain(DM_ENGINE_THREADS, DM_NONE);
}

static void a_child_that_runs(void **state)
{
    (void)state;
    children_in_a_chain(DM_ENGINE_PROCESSES, 0);
}

static void from_a_task(dm_engine engine)
{
    int x = 0;
    begin(engine, 2);
    for (int i = 0; i < 20; i++) {
        int runs = atomic_load(&common->runs);
        dm_ref ref = dm_remote(cancels_its_own, i % 2 ? 0 : -1);
        assert_ok(dm_get(ref, &x));
        release_all(&ref, 1);
        if (!x)
            assert_int_equal(atomic_load(&common->runs), runs);
    }
    end();
}
ON_ENGINES(from_a_task)

static void what_runs_from_a_task(void **state)
{
    (void)state;
    for (int engine = DM_ENGINE_PROCESSES; engine <= DM_ENGINE_THREADS; engine++) {
        int x = 0;
        begin((dm_engine)engine, 2);
        dm_ref ref = dm_remote(cancels_what_runs);
        assert_ok(dm_get(ref, &x));
        assert_int_equal(x, DM_ERR_CANCELLED);
        assert_int_equal(atomic_load(&common->told), 1);
        release_all(&ref, 1);
        end();
    }
}

/* ---- others on the stack ---- */

/* One worker: `outer` waits for `inner`, which runs on top of it. */
static void stack(dm_ref *first, dm_ref *outer, dm_ref *inner)
{
    dm_ref fillers[4];
    begin(DM_ENGINE_PROCESSES, 1);
    *first = dm_remote(hands_on);
    for (int i = 0; i < 4; i++) /* so that `inner` is not in the ring before `outer` */
        fillers[i] = dm_remote(counts, i);
    *outer = dm_remote(waits_for_inner, *first);
    assert_soon(atomic_load(&common->holders) == 1);
    atomic_store(&common->second_gate, true);
    assert_ok(dm_get(*first, inner));
    assert_soon(atomic_load(&common->holders) == 2);
    release_all(fillers, 4);
}

static void the_outer_of_two(void **state)
{
    (void)state;
    dm_ref first, outer, inner;
    int x = 0;
    stack(&first, &outer, &inner);
    assert_ok(dm_cancel_within(outer, 20));
    assert_refused(dm_get(outer, (void *)NULL), DM_ERR_CANCELLED, "waits_for_inner");
    assert_soon(atomic_load(&common->holders) == 3); /* the other begins again, and is not to blame */
    atomic_store(&common->gate, true);
    assert_ok(dm_get(inner, &x));
    assert_int_equal(x, 5);
    assert_int_equal(stats_now().tasks_retried, 0);
    assert_int_equal(stats_now().workers_lost, 1);
    release_all((dm_ref[]){first, outer, inner}, 3);
    end();
}

static void the_inner_of_two(void **state)
{
    (void)state;
    dm_ref first, outer, inner;
    int x = 0;
    stack(&first, &outer, &inner);
    assert_ok(dm_cancel_within(inner, 20));
    assert_refused(dm_get(inner, (void *)NULL), DM_ERR_CANCELLED, "holds_up");
    assert_ok(dm_get(outer, &x)); /* begins again, and hears of it */
    assert_int_equal(x, 7);
    assert_int_equal(stats_now().tasks_retried, 0);
    assert_int_equal(stats_now().workers_lost, 1);
    release_all((dm_ref[]){first, outer, inner}, 3);
    end();
}

/* ---- among kills ---- */

typedef struct killer {
    atomic_bool stop;
    unsigned seed;
} killer;

static void *kill_now_and_then(void *argument)
{
    killer *k = argument;
    while (!atomic_load(&k->stop)) {
        nanosleep(&(struct timespec){0, (long)((unsigned)rand_r(&k->seed) % 150000000)}, NULL);
        watch_kill_a_worker(&k->seed);
    }
    return NULL;
}

DM_REMOTE(nests_and_looks)
{
    int depth, x;
    DM_TRY(dm_arg(call, 0, &depth));
    if (dm_cancelled(call))
        return DM_ERR_CANCELLED;
    if (depth == 0)
        return dm_return(call, 1);
    dm_ref a = dm_remote(nests_and_looks, depth - 1), b = dm_remote(nests_and_looks, depth - 1);
    if (depth == 2)
        DM_TRY(dm_cancel_within(a, 0));
    int sum = 1;
    dm_status status = dm_get(a, &x);
    if (status != DM_OK && status != DM_ERR_CANCELLED)
        return status;
    sum += status == DM_OK ? x : 0;
    DM_TRY(dm_get(b, &x));
    return dm_return(call, sum + x);
}

static bool is_an_end(dm_status status)
{
    return status == DM_OK || status == DM_ERR_CANCELLED || status == DM_ERR_DEP_FAILED;
}

static void among_random_kills(void **state)
{
    enum { TASKS = 40 };
    (void)state;
    begin_with(DM_ENGINE_PROCESSES, 2, 10000);
    killer k = {.seed = 11};
    unsigned seed = 7;
    pthread_t thread;
    int ends[2] = {0}, rounds = 0;
    pthread_create(&thread, NULL, kill_now_and_then, &k);
    for (int64_t until = watch_now_ms() + KILLS_MS; watch_now_ms() < until; rounds++) {
        dm_ref refs[TASKS];
        for (int i = 0; i < TASKS; i++)
            refs[i] = i % 4 ? dm_remote(counts, refs[i - 1]) : dm_remote(nests_and_looks, 3);
        for (int i = 0; i < TASKS; i++)
            if (rand_r(&seed) % 2)
                assert_ok(dm_cancel_within(refs[rand_r(&seed) % TASKS], rand_r(&seed) % 3 - 1));
        for (int i = 0; i < TASKS; i++) {
            dm_status status = dm_get_within(refs[i], (void *)NULL, WATCH_PATIENCE_MS);
            if (!is_an_end(status))
                fail_msg("task %d: %s", i, dm_last_error());
            ends[status != DM_OK]++;
        }
        release_all(refs, TASKS);
    }
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    print_message("%d rounds, %d values, %d failures, %llu workers lost\n", rounds, ends[0], ends[1],
                  (unsigned long long)stats_now().workers_lost);
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(unbegun_in_processes),
    cmocka_unit_test(unbegun_in_threads),
    cmocka_unit_test(claimed_and_not_begun),
    cmocka_unit_test(the_middle_of_a_chain),
    cmocka_unit_test(running_in_processes),
    cmocka_unit_test(running_in_threads),
    cmocka_unit_test(killed_at_once),
    cmocka_unit_test(killed_after_a_grace),
    cmocka_unit_test(the_grace_is_an_option),
    cmocka_unit_test(only_asked_in_processes),
    cmocka_unit_test(only_asked_in_threads),
    cmocka_unit_test(asked_far_down_in_processes),
    cmocka_unit_test(asked_far_down_in_threads),
    cmocka_unit_test(a_second_call_sets_a_new_grace),
    cmocka_unit_test(one_that_dies_meanwhile),
    ENGINE_CASES(wrong_ones),
    cmocka_unit_test(blocked_in_get),
    cmocka_unit_test(blocked_in_wait),
    cmocka_unit_test(children_go_with_it),
    cmocka_unit_test(children_of_several_values_go_with_it),
    cmocka_unit_test(several_values),
    cmocka_unit_test(children_that_wait_for_each_other),
    cmocka_unit_test(a_child_that_runs),
    ENGINE_CASES(from_a_task),
    cmocka_unit_test(what_runs_from_a_task),
    cmocka_unit_test(the_outer_of_two),
    cmocka_unit_test(the_inner_of_two),
    cmocka_unit_test(among_random_kills),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
