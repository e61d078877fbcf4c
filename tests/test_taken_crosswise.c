/*
 * Two workers take refs out of each other's results before the driver has heard of either: whichever it listens to first
 * speaks of a task whose end the other has not told yet, and the other way round. Nothing is lost, or counted twice.
 */
#include <fcntl.h>

#include "runtime/lane.h"
#include "runtime/session.h"
#include "tests/support/test.h"

enum { GROUPS = 40, HANDED = 4, TAKERS = 2, ALL = GROUPS * HANDED, ROUNDS = 10, STORE = 64 << 20 };
enum { WORKERS = 3 }; /* one of them waits at the gate */

/* ---- tasks ---- */

/* Refs that a worker keeps from one task to the next. */
static dm_ref kept[ALL];
static size_t kept_count;

/* Keeps a list, in place of what was kept. */
DM_REMOTE(keeps)
{
    unsigned us;
    dm_ref_list list;
    DM_TRY(dm_arg(call, 0, &list));
    DM_TRY(dm_arg(call, 1, &us));
    for (size_t i = 0; i < kept_count; i++)
        DM_TRY(dm_release(kept[i]));
    for (kept_count = 0; kept_count < list.count; kept_count++) {
        kept[kept_count] = list.refs[kept_count];
        DM_TRY(dm_retain(kept[kept_count]));
    } /* the list itself goes with the task */
    usleep(us); /* others shall, too */
    return dm_return(call, (int)getpid());
}

static const char *in_directory(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", getenv("TMPDIR"), name);
    return path;
}

static void make_file(const char *name)
{
    close(open(in_directory(name), O_CREAT | O_WRONLY, 0600));
}

/* Nothing that depends on it begins before the gate is opened. */
DM_REMOTE(waits_at_the_gate)
{
    make_file("begun");
    while (access(in_directory("open"), F_OK) != 0)
        watch_pause();
    return dm_return(call, 1);
}

/* A ref to a value of its own, by itself or in a list. */
DM_REMOTE(hands_on)
{
    int x, in_list, open;
    DM_TRY(dm_arg(call, 0, &in_list));
    DM_TRY(dm_arg(call, 1, &x));
    DM_TRY(dm_arg(call, 2, &open));
    dm_ref inner = dm_put(x);
    return in_list ? dm_return(call, &DM_REF_LIST(&inner, 1)) : dm_return(call, inner);
}

/* The ref in it, if it is there. (To read what that names would be to wait for the driver.) */
static dm_status take(dm_ref ref, bool in_list, dm_ref *inner)
{
    dm_ref_list list;
    if (!in_list)
        return dm_get_within(ref, inner, 0);
    DM_TRY(dm_get_within(ref, &list, 0));
    *inner = list.refs[0];
    DM_TRY(dm_retain(*inner));
    dm_ref_list_release(&list);
    return DM_OK;
}

/* A list of what can be taken from those that are kept, from one on. */
DM_REMOTE(takes)
{
    enum { MOST = 32 };
    int in_list, open;
    size_t from, count = 0;
    dm_ref inner[MOST];
    DM_TRY(dm_arg(call, 0, &in_list));
    DM_TRY(dm_arg(call, 1, &from));
    DM_TRY(dm_arg(call, 2, &open));
    for (size_t i = from; i < kept_count && i < from + MOST; i++) {
        dm_status status = take(kept[i], in_list != 0, &inner[count]);
        if (status != DM_OK && status != DM_ERR_TIMEOUT)
            return status;
        count += status == DM_OK;
    }
    dm_status status = dm_return(call, &DM_REF_LIST(inner, count));
    for (size_t i = 0; i < count && in_list; i++)
        DM_TRY(dm_release(inner[i]));
    return status;
}

/* ---- the driver ---- */

/* Two workers keep them. */
static void keep(dm_ref *refs, size_t count)
{
    enum { AT_ONCE = 6, SHORT_TRIES = 5 };
    int first = 0, second = 0;
    for (int tries = 0; second == 0; tries++) {
        dm_ref all[AT_ONCE];
        unsigned us = tries < SHORT_TRIES ? 0 : 20000; /* but what takes long is handed out one by one from then on */
        for (int k = 0; k < AT_ONCE; k++)
            all[k] = dm_remote(keeps, &DM_REF_LIST(refs, count), us);
        for (int k = 0; k < AT_ONCE; k++) {
            int pid = 0;
            assert_ok(dm_get_within(all[k], &pid, WATCH_PATIENCE_MS));
            assert_ok(dm_release(all[k]));
            first = first == 0 ? pid : first;
            second = pid != first ? pid : second;
        }
    }
}

/* What workers keep is given up with them. */
static void let_go_of_all(void)
{
    int pids[WORKERS], count = dm_worker_pids(pids, WORKERS);
    for (int i = 0; i < count; i++)
        assert_true(watch_kill(pids[i]));
}

static uint64_t said(const dmi_session *session)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < session->lane_count; i++)
        if (session->lanes[i].state == DMI_LANE_SERVING)
            sum += dmi_word_load(&session->lanes[i].up->up_tail);
    return sum;
}

/* Nobody listens until the workers have nothing more to say. */
static void keep_from_listening(void)
{
    enum { PAUSES = 20, MOST = 200 };
    dmi_session *session = dmi_the_session;
    dmi_role_take(&session->role);
    uint64_t before = 0;
    for (int quiet = 0, all = 0; quiet < PAUSES && all < MOST; all++) {
        uint64_t now = said(session);
        quiet = now == before ? quiet + 1 : 0;
        before = now;
        watch_pause();
    }
    dmi_role_leave(&session->role);
}

/* What was taken is a value of somebody's. How many there are. */
static size_t assert_taken(dm_ref taker)
{
    dm_ref_list list;
    assert_ok(dm_get_within(taker, &list, WATCH_PATIENCE_MS));
    size_t count = list.count;
    for (size_t i = 0; i < count; i++) {
        int x = -1;
        assert_ok(dm_get_within(list.refs[i], &x, WATCH_PATIENCE_MS));
        assert_true(x >= 0 && x < ALL);
    }
    dm_ref_list_release(&list);
    assert_ok(dm_release(taker));
    return count;
}

static size_t one_round(bool in_list)
{
    dm_ref handed[ALL], takers[GROUPS][TAKERS], gate = dm_remote(waits_at_the_gate);
    size_t count = 0;
    assert_soon(access(in_directory("begun"), F_OK) == 0); /* or others might be claimed together with it */
    for (int g = 0; g < GROUPS; g++) {
        for (int i = g * HANDED; i < (g + 1) * HANDED; i++)
            handed[i] = dm_remote(hands_on, (int)in_list, i, gate);
        for (int i = 0; i < TAKERS; i++)
            takers[g][i] = dm_remote(takes, (int)in_list, g < 4 ? 0 : (g - 4) * HANDED, gate);
    }
    keep(handed, ALL);
    make_file("open");
    assert_ok(dm_get_within(gate, (void *)NULL, WATCH_PATIENCE_MS));
    keep_from_listening();
    unlink(in_directory("open"));
    unlink(in_directory("begun"));
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < TAKERS; i++)
            count += assert_taken(takers[g][i]);
    for (int i = 0; i < ALL; i++)
        assert_ok(dm_release(handed[i]));
    assert_ok(dm_release(gate));
    return count;
}

static void taken(bool in_list)
{
    residue before;
    dm_stats stats = {.refs = 1};
    size_t count = 0;
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = WORKERS, .store_bytes = STORE, .log = driver_no_log});
    for (int round = 0; round < ROUNDS; round++)
        count += one_round(in_list);
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.workers_lost, 0);
    let_go_of_all();
    print_message("%zu refs taken\n", count);
    assert_true(count != 0);
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    dm_shutdown();
    assert_no_residue(&before);
}

static void refs(void **state)
{
    (void)state;
    taken(false);
}

static void lists(void **state)
{
    (void)state;
    taken(true);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(refs),
    cmocka_unit_test(lists),
};

TEST_MAIN(tests, NULL)
