/*
 * A get of what is in memory waits for no other thread: not for one that has the role, whatever keeps it, and not for
 * one that has memory put behind its pages. Who wants room, large or small, for a put, for what comes back from the
 * disk, or for the reserve, may have to wait for the system. Others meanwhile get what is there, release what they have,
 * and put numbers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "runtime/residence.h"
#include "runtime/role.h"
#include "runtime/session.h"
#include "tests/support/lawful.h"
#include "tests/support/marked.h"

enum { STORE = 64 * MARKED_MIB, LARGE = 8 * MARKED_MIB, OBJECT = MARKED_MIB, LITTLE = 4096, GETS = 100 };

/* ---- a system that takes its time ---- */

static atomic_bool gate;   /* closed: no memory is put behind pages */
static atomic_int at_gate; /* calls that wait there */
static atomic_int sleeper; /* a thread that will wait */

/* In the place of libc's. */
int fallocate(int fd, int mode, off_t at, off_t count)
{
    if (mode == 0 && atomic_load(&gate)) {
        atomic_fetch_add(&at_gate, 1);
        while (atomic_load(&gate))
            watch_pause();
    }
    return (int)syscall(SYS_fallocate, fd, mode, at, count);
}

static void close_gate(void)
{
    atomic_store(&at_gate, 0);
    atomic_store(&gate, true);
}

/* ---- the program ---- */

static void begin_spilling_at(dm_engine engine, double threshold)
{
    session_begin_with(&(dm_options){.engine = engine,
                                     .workers = 1,
                                     .store_bytes = STORE,
                                     .spill_threshold = threshold,
                                     .log = driver_no_log});
}

static void begin(dm_engine engine)
{
    begin_spilling_at(engine, 0); /* as it is by itself */
}

/* From now on the driver's heap has nothing warm. */
static void cool_down(void)
{
    dmi_role_take(&dmi_the_session->role);
    dmi_heap_trim(dmi_the_session->heap);
    dmi_role_leave(&dmi_the_session->role);
}

/* What needs no room is done, while another waits for some. */
static void others_go_on(dm_ref resident, dm_ref other)
{
    int number;
    for (int i = 0; i < GETS; i++)
        assert_marked(resident, OBJECT, 1);
    assert_ok(dm_release(other));
    dm_ref small = dm_put(7);
    assert_ok(dm_get(small, &number));
    assert_int_equal(number, 7);
    assert_ok(dm_release(small));
}

static pthread_t begin_thread(void *(*run)(void *), dm_ref *ref)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, ref), 0);
    return thread;
}

static void *put_large(void *into)
{
    *(dm_ref *)into = marked_put(LARGE, 3);
    return NULL;
}

static void *put_little(void *into)
{
    *(dm_ref *)into = marked_put(LITTLE, 4);
    return NULL;
}

/* NULL if it is not what it was. */
static void *get_what_is_away(void *of)
{
    return marked_is_there(*(dm_ref *)of, OBJECT, 0) ? of : NULL;
}

/* ---- cases ---- */

static void while_a_value_is_put(dm_engine engine, void *(*put)(void *), size_t bytes, uint64_t whose)
{
    residue before;
    dm_ref value = DM_NO_REF;
    residue_begin(&before);
    begin(engine);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    cool_down();
    close_gate();
    pthread_t thread = begin_thread(put, &value);
    assert_soon(atomic_load(&at_gate) > 0);
    others_go_on(resident, other);
    atomic_store(&gate, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_marked(value, bytes, whose);
    assert_ok(dm_release(value));
    assert_ok(dm_release(resident));
    marked_end(&before);
}

static void while_a_large_value_is_put(dm_engine engine)
{
    while_a_value_is_put(engine, put_large, LARGE, 3);
}
ON_ENGINES(while_a_large_value_is_put)

static void while_a_small_value_is_put(dm_engine engine)
{
    while_a_value_is_put(engine, put_little, LITTLE, 4);
}
ON_ENGINES(while_a_small_value_is_put)

/* Until the kernel says that it sleeps: in front of the heap, whoever it is who is at it. */
static void *put_little_noting_who(void *into)
{
    atomic_store(&sleeper, (int)syscall(SYS_gettid));
    return put_little(into);
}

static bool it_sleeps(void)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&sleeper));
    FILE *stat = fopen(path, "r");
    if (stat == NULL)
        return false;
    if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(stat);
    return state == 'S';
}

/* The second does not wait for the system, but for the first. */
static void while_two_values_are_put(dm_engine engine)
{
    residue before;
    dm_ref large = DM_NO_REF, little = DM_NO_REF;
    residue_begin(&before);
    begin(engine);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    cool_down();
    close_gate();
    atomic_store(&sleeper, 0);
    pthread_t first = begin_thread(put_large, &large);
    assert_soon(atomic_load(&at_gate) > 0);
    pthread_t second = begin_thread(put_little_noting_who, &little);
    assert_soon(atomic_load(&sleeper) != 0 && it_sleeps());
    others_go_on(resident, other);
    atomic_store(&gate, false);
    assert_int_equal(pthread_join(first, NULL), 0);
    assert_int_equal(pthread_join(second, NULL), 0);
    assert_marked(large, LARGE, 3);
    assert_marked(little, LITTLE, 4);
    assert_ok(dm_release(large));
    assert_ok(dm_release(little));
    assert_ok(dm_release(resident));
    marked_end(&before);
}
ON_ENGINES(while_two_values_are_put)

static void while_a_value_comes_back(dm_engine engine)
{
    enum { FILL = STORE / OBJECT + 8 };
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    begin(engine);
    dm_ref away = marked_put(OBJECT, 0);
    for (int i = 0; i < FILL; i++)
        fill[i] = marked_put(OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    marked_release(fill, FILL);
    assert_int_equal(marked_stats().spilled_objects, 1);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    cool_down();
    close_gate();
    pthread_t thread = begin_thread(get_what_is_away, &away);
    assert_soon(atomic_load(&at_gate) > 0);
    others_go_on(resident, other);
    atomic_store(&gate, false);
    void *got;
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_ptr_equal(got, &away);
    assert_ok(dm_release(away));
    assert_ok(dm_release(resident));
    marked_end(&before);
}
ON_ENGINES(while_a_value_comes_back)

/* What leaves was a worker's, and the driver's heap is to have room for its return; it leaves early, while there is
 * room. */
static void while_the_reserve_is_had(void **state)
{
    enum { MADE = STORE / OBJECT / 2 };
    (void)state;
    residue before;
    dm_ref made[MADE];
    dm_view views[2]; /* by which the driver's own stays where it is */
    residue_begin(&before);
    begin_spilling_at(DM_ENGINE_PROCESSES, 0.25);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    assert_ok(dm_get(resident, &views[0]));
    assert_ok(dm_get(other, &views[1]));
    cool_down();
    close_gate();
    for (int i = 0; i < MADE; i++)
        made[i] = dm_remote(marked_make, OBJECT, 100 + i);
    assert_ok(dm_wait(made, MADE, MADE, WATCH_PATIENCE_MS, NULL));
    assert_soon(marked_stats().spilled_objects != 0);
    assert_soon(atomic_load(&at_gate) > 0);
    others_go_on(resident, other);
    dm_view_release(&views[0]);
    dm_view_release(&views[1]);
    atomic_store(&gate, false);
    for (int i = 0; i < MADE; i++)
        assert_marked(made[i], OBJECT, 100 + (uint64_t)i);
    marked_release(made, MADE);
    assert_ok(dm_release(resident));
    marked_end(&before);
}

/* ---- cases: another has the role ---- */

/* What a thread gets while the test itself has the role, and does not let go. */
typedef struct getter {
    dm_ref ref;
    void (*get)(const struct getter *);
    atomic_bool done;
} getter;

static void *run_getter(void *of)
{
    getter *g = of;
    g->get(g);
    atomic_store(&g->done, true);
    return NULL;
}

/* It ends although we have it. */
static void get_with_the_role_taken(dm_ref ref, void (*get)(const getter *))
{
    getter g = {.ref = ref, .get = get};
    pthread_t thread;
    dmi_role_take(&dmi_the_session->role);
    assert_int_equal(pthread_create(&thread, NULL, run_getter, &g), 0);
    assert_soon(atomic_load(&g.done));
    dmi_role_leave(&dmi_the_session->role);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void get_views(const getter *g)
{
    dm_view first, second;
    for (int i = 0; i < GETS; i++) {
        assert_ok(dm_get(g->ref, &first));
        assert_ok(dm_get(g->ref, &second));
        assert_true(is_marked(first.data, first.bytes, 1) && second.data == first.data);
        dm_view_release(&first);
        dm_view_release(&second);
    }
}

static void get_nothing(const getter *g)
{
    assert_ok(dm_get(g->ref, (void *)NULL));
}

static void get_a_number_from_an_array(const getter *g)
{
    double number;
    assert_int_equal(dm_get(g->ref, &number), DM_ERR_TYPE);
}

static void get_a_string(const getter *g)
{
    char *text;
    assert_ok(dm_get(g->ref, &text));
    assert_int_equal(strlen(text), LITTLE - 1);
    free(text);
}

static void while_another_has_the_role(dm_engine engine)
{
    residue before;
    static char text[LITTLE];
    residue_begin(&before);
    begin(engine);
    memset(text, 'a', sizeof text - 1);
    dm_ref put = marked_put(OBJECT, 1), made = dm_remote(marked_make, OBJECT, 1), string = dm_put((const char *)text);
    assert_marked(made, OBJECT, 1);
    get_with_the_role_taken(put, get_views);
    get_with_the_role_taken(made, get_views);
    get_with_the_role_taken(put, get_nothing);
    get_with_the_role_taken(put, get_a_number_from_an_array);
    get_with_the_role_taken(string, get_a_string);
    assert_lawful();
    assert_ok(dm_release(put));
    assert_ok(dm_release(made));
    assert_ok(dm_release(string));
    marked_end(&before);
}
ON_ENGINES(while_another_has_the_role)

static dmi_presence presence_of(dm_ref ref)
{
    uint64_t disk;
    dmi_role_take(&dmi_the_session->role);
    dmi_presence presence = dmi_residence_presence(dmi_the_session, (uint32_t)ref.id, &disk);
    dmi_role_leave(&dmi_the_session->role);
    return presence;
}

/* As long as anybody has a view it stays where it is, and whole; however the view was had, and whether it is the
 * program's last. */
static void what_was_lent_stays(dm_engine engine)
{
    enum { FILL = 2 * (STORE / OBJECT) };
    residue before;
    dm_ref fill[FILL];
    dm_view view, again;
    residue_begin(&before);
    begin(engine);
    dm_ref lent = marked_put(OBJECT, 1), dropped = marked_put(OBJECT, 2);
    assert_ok(dm_get(lent, &view));
    assert_ok(dm_get(dropped, &again));
    assert_ok(dm_release(dropped));
    assert_int_equal(dm_get(dropped, (void *)NULL), DM_ERR_STALE);
    for (int i = 0; i < FILL; i++)
        fill[i] = marked_put(OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilled_objects != 0);
    assert_true(is_marked(view.data, view.bytes, 1) && is_marked(again.data, again.bytes, 2));
    assert_int_equal(presence_of(lent), DMI_IN_MEMORY); /* it was not even written */
    assert_in_range(marked_stats().pinned_bytes, 2 * OBJECT, 2 * OBJECT + LITTLE);
    assert_lawful();
    uint64_t objects = marked_stats().objects;
    dm_view_release(&again);
    assert_int_equal(marked_stats().objects, objects - 1);
    dm_view_release(&view);
    assert_int_equal(marked_stats().pinned_bytes, 0);
    marked_release(fill, FILL);
    assert_ok(dm_release(lent));
    marked_end(&before);
}
ON_ENGINES(what_was_lent_stays)

/* More views than there are places for. */
static void more_views_than_places(dm_engine engine)
{
    enum { VIEWS = 3 * DMI_SHOWN_ROW };
    residue before;
    dm_view views[VIEWS];
    residue_begin(&before);
    begin(engine);
    dm_ref one = marked_put(OBJECT, 1), two = marked_put(OBJECT, 2);
    for (int i = 0; i < VIEWS; i++)
        assert_ok(dm_get(i % 2 ? one : two, &views[i]));
    assert_in_range(marked_stats().pinned_bytes, 2 * OBJECT, 2 * OBJECT + LITTLE);
    assert_lawful();
    assert_ok(dm_release(two));
    for (int i = 0; i < VIEWS; i++) {
        assert_true(is_marked(views[i].data, LITTLE, i % 2 ? 1 : 2));
        dm_view_release(&views[i]);
    }
    assert_int_equal(marked_stats().pinned_bytes, 0);
    assert_int_equal(marked_stats().objects, 1);
    assert_ok(dm_release(one));
    marked_end(&before);
}
ON_ENGINES(more_views_than_places)

/* ---- a view at the last moment ---- */

#if defined(DM_DEBUG) && DM_DEBUG
enum { LAST_STORE = 4 * MARKED_MIB, LAST_OBJECT = MARKED_MIB / 4, LAST_FILL = LAST_STORE / LAST_OBJECT };

static atomic_long steps, lend_at; /* stores so far; before which one somebody reads */
static dm_ref to_lend;
static uint64_t lent; /* the pin */
static atomic_bool is_lent;

/* In whatever thread it is, which may have the role. */
static void lend_before_a_store(void)
{
    if (atomic_fetch_add(&steps, 1) != atomic_load(&lend_at))
        return;
    int at = dmi_shown_read(&dmi_the_session->shown, to_lend.id);
    if (at < 0)
        return;
    lent = dmi_shown_lend(&dmi_the_session->shown, at, to_lend.id);
    atomic_store(&is_lent, true);
}

/* Others push it out; a view is had before the n-th store of that. False: there are not so many. */
static bool lend_before(long n)
{
    dm_ref fill[LAST_FILL];
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_THREADS,
                                     .workers = 1,
                                     .store_bytes = LAST_STORE,
                                     .log = driver_no_log});
    dm_view view, pin = {0};
    to_lend = marked_put(LAST_OBJECT, 1);
    assert_ok(dm_get(to_lend, &view));
    const void *data = view.data;
    dm_view_release(&view);
    atomic_store(&steps, 0);
    atomic_store(&lend_at, n);
    atomic_store(&is_lent, false);
    dmi_step_hook = lend_before_a_store;
    for (int i = 0; i < LAST_FILL; i++)
        fill[i] = marked_put(LAST_OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    dmi_step_hook = NULL;
    long all = atomic_load(&steps);
    if (atomic_load(&is_lent)) {
        pin.pin = lent;
        assert_true(is_marked(data, LAST_OBJECT, 1));
        assert_int_not_equal(presence_of(to_lend), DMI_ON_DISK);
        dm_view_release(&pin);
    }
    assert_marked(to_lend, LAST_OBJECT, 1);
    assert_lawful();
    marked_release(fill, LAST_FILL);
    assert_ok(dm_release(to_lend));
    marked_end(&before);
    return n < all;
}

static void lent_before_any_store(void **state)
{
    long n = 0;
    (void)state;
    while (lend_before(n))
        n++;
    print_message("%ld stores\n", n);
    assert_true(n > LAST_FILL);
}
#endif

static const struct CMUnitTest tests[] = {
#if defined(DM_DEBUG) && DM_DEBUG
    cmocka_unit_test(lent_before_any_store),
#endif
    ENGINE_CASES(while_another_has_the_role),
    ENGINE_CASES(what_was_lent_stays),
    ENGINE_CASES(more_views_than_places),
    ENGINE_CASES(while_a_large_value_is_put),
    ENGINE_CASES(while_a_small_value_is_put),
    ENGINE_CASES(while_two_values_are_put),
    ENGINE_CASES(while_a_value_comes_back),
    cmocka_unit_test(while_the_reserve_is_had),
};
TEST_MAIN(tests, NULL)
