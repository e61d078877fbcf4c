/*
 * What the disk has lost is made again, with all that it was made from and that is no more: released values, values
 * lost themselves, one of several values of a task, lists of refs. Where that ends, a status says why. Nobody waits
 * for ever, also if workers die meanwhile, and nothing is left of it.
 */
#include <signal.h>
#include <sys/stat.h>

#include "runtime/role.h"
#include "runtime/session.h"
#include "tests/support/damaged.h"
#include "tests/support/lawful.h"
#include "tests/support/steps.h"

enum { OBJECT = DAMAGED_OBJECT, FILL = DAMAGED_FILL, PATIENCE = 30000 };

/* ---- tasks ---- */

/* An object from several: whose, then for each of the others whose it is, and it. */
DM_REMOTE(lineage_join)
{
    uint64_t whose, other;
    size_t bytes = OBJECT;
    dm_view view;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &whose));
    for (int i = 1; i + 1 < dm_arg_count(call); i += 2) {
        DM_TRY(dm_arg(call, i, &other));
        DM_TRY(dm_arg(call, i + 1, &view));
        if (!is_marked(view.data, view.bytes, other))
            return dm_fail(call, "value %llu has wrong bytes", (unsigned long long)other);
    }
    marked_note_run(whose);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    marked_fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* The second of its arguments is a number that comes of the first. */
DM_REMOTE(lineage_number)
{
    uint64_t whose, number;
    DM_TRY(dm_arg(call, 0, &whose));
    DM_TRY(dm_arg(call, 1, &number));
    marked_note_run(whose);
    return dm_return(call, number + 1);
}

/* n objects, of whose, whose + 1, ..., of which the second is a number. From an object of whose - 9, if it is given
 * one. */
DM_REMOTE(lineage_several)
{
    uint64_t whose;
    int n = dm_return_count(call);
    DM_TRY(dm_arg(call, 0, &whose));
    if (dm_arg_count(call) > 1) {
        dm_view view;
        DM_TRY(dm_arg(call, 1, &view));
        if (!is_marked(view.data, view.bytes, whose - 9))
            return dm_fail(call, "value %llu has wrong bytes", (unsigned long long)whose - 9);
    }
    marked_note_run(whose);
    for (int i = 0; i < n; i++) {
        dm_buffer buffer;
        size_t bytes = OBJECT;
        if (i == 1) {
            DM_TRY(dm_return_at(call, i, whose + 1));
            continue;
        }
        DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
        marked_fill(buffer.data, bytes, whose + (uint64_t)i);
        DM_TRY(dm_return_at(call, i, &buffer));
    }
    return DM_OK;
}

/* A small object that says how long the chain is: for chains of many. */
DM_REMOTE(lineage_link)
{
    dm_view view;
    dm_buffer buffer;
    size_t shape = 256;
    DM_TRY(dm_arg(call, 0, &view));
    DM_TRY(dm_create(DM_F64, 1, &shape, &buffer));
    for (size_t i = 0; i < shape; i++)
        ((double *)buffer.data)[i] = ((const double *)view.data)[i] + 1;
    return dm_return(call, &buffer);
}

DM_REMOTE(lineage_begin)
{
    dm_buffer buffer;
    size_t shape = 256;
    DM_TRY(dm_create(DM_F64, 1, &shape, &buffer));
    for (size_t i = 0; i < shape; i++)
        ((double *)buffer.data)[i] = (double)i;
    return dm_return(call, &buffer);
}

/* A list of n refs to objects of whose, whose + 1, ... */
DM_REMOTE(lineage_list)
{
    enum { MOST = 8 };
    uint64_t whose;
    size_t n;
    dm_ref refs[MOST];
    DM_TRY(dm_arg(call, 0, &whose));
    DM_TRY(dm_arg(call, 1, &n));
    marked_note_run(whose - 1);
    for (size_t i = 0; i < n && i < MOST; i++)
        refs[i] = dm_remote(marked_make_and_note, OBJECT, whose + i);
    return dm_return(call, &DM_REF_LIST(refs, n));
}

/* It dies when it runs for the second time. */
DM_REMOTE(lineage_dies_once)
{
    uint64_t whose;
    char path[300];
    struct stat about = {0};
    size_t bytes = OBJECT;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &whose));
    marked_note_run(whose);
    marked_path(path, whose);
    if (stat(path, &about) == 0 && about.st_size == 2)
        raise(SIGKILL);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    marked_fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* ---- the laws ---- */

/* Nothing is remembered of what nobody can need. */
static void assert_forgotten(void)
{
    dmi_role_take(&dmi_the_session->role);
    uint64_t bytes = dmi_the_session->lineage_bytes, recipes = dmi_the_session->recipes;
    dmi_role_leave(&dmi_the_session->role);
    assert_int_equal(bytes, 0);
    assert_int_equal(recipes, 0);
}

/* All refs are released. */
static void finish(const residue *before)
{
    enum { WHOSE = 300 };
    assert_soon(marked_stats().refs == 0);
    assert_lawful();
    assert_forgotten();
    for (uint64_t i = 0; i < WHOSE; i++)
        marked_runs(i);
    marked_end(before);
}

static void end(dm_ref fill[FILL], const residue *before)
{
    assert_lawful();
    for (int i = 0; i < FILL; i++)
        assert_marked(fill[i], OBJECT, DAMAGED_GONE + (uint64_t)i);
    marked_release(fill, FILL);
    finish(before);
}

/* ---- inputs that are released ---- */

static void a_chain_of_released_inputs(dm_engine engine)
{
    enum { N = 6 };
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref last = dm_remote(marked_make_and_note, OBJECT, 0);
    for (int i = 1; i < N; i++) {
        dm_ref next = dm_remote(marked_remake, i, i - 1, last);
        assert_ok(dm_release(last));
        last = next;
    }
    assert_marked(last, OBJECT, N - 1);
    assert_soon(marked_stats().objects == 1 && marked_stats().refs == 1);
    damaged_push_out(fill);
    damaged_flip(N - 1);
    assert_marked(last, OBJECT, N - 1);
    assert_soon(marked_stats().objects == FILL + 1);
    for (uint64_t i = 0; i < N; i++)
        assert_int_equal(marked_runs(i), 2);
    assert_int_equal(marked_stats().tasks_failed, 0);
    assert_ok(dm_release(last));
    end(fill, &before);
}
ON_ENGINES(a_chain_of_released_inputs)

/* What two are made from is made once. */
static void a_diamond_of_released_inputs(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 2);
    dm_ref top = dm_remote(marked_make_and_note, OBJECT, 1);
    dm_ref left = dm_remote(lineage_join, 2, 1, top), right = dm_remote(lineage_join, 3, 1, top);
    dm_ref bottom = dm_remote(lineage_join, 4, 2, left, 3, right, 1, top, 2, left);
    assert_marked(bottom, OBJECT, 4);
    assert_ok(dm_release(top));
    assert_ok(dm_release(left));
    assert_ok(dm_release(right));
    damaged_push_out(fill);
    damaged_flip(4);
    assert_marked(bottom, OBJECT, 4);
    for (uint64_t i = 2; i <= 4; i++)
        assert_int_equal(marked_runs(i), 2);
    assert_int_equal(marked_runs(1), 2);
    assert_ok(dm_release(bottom));
    end(fill, &before);
}
ON_ENGINES(a_diamond_of_released_inputs)

/* Released inputs, others that are there, others that are lost, too. */
static void inputs_of_all_kinds(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref put = marked_put(OBJECT, 1), held = dm_remote(marked_make_and_note, OBJECT, 2);
    dm_ref gone = dm_remote(lineage_join, 3, 1, put), lost = dm_remote(lineage_join, 4, 2, held);
    dm_ref last = dm_remote(lineage_join, 5, 1, put, 2, held, 3, gone, 4, lost);
    assert_marked(last, OBJECT, 5);
    assert_ok(dm_release(gone));
    damaged_push_out(fill);
    damaged_flip(4);
    damaged_flip(5);
    assert_marked(last, OBJECT, 5);
    assert_marked(lost, OBJECT, 4);
    assert_int_equal(marked_runs(2), 1);
    for (uint64_t i = 3; i <= 5; i++)
        assert_int_equal(marked_runs(i), 2);
    assert_ok(dm_release(put));
    assert_ok(dm_release(held));
    assert_ok(dm_release(lost));
    assert_ok(dm_release(last));
    end(fill, &before);
}
ON_ENGINES(inputs_of_all_kinds)

/* A small value is as good as its recipe: what made it need not run. */
static void small_inputs_that_are_released(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref first = dm_remote(lineage_number, 1, 5), second = dm_remote(lineage_number, 2, first);
    dm_ref made = dm_remote(marked_make_and_note, OBJECT, second);
    assert_ok(dm_release(first));
    assert_ok(dm_release(second));
    assert_marked(made, OBJECT, 7);
    damaged_push_out(fill);
    damaged_flip(7);
    assert_marked(made, OBJECT, 7);
    assert_int_equal(marked_runs(1), 1);
    assert_int_equal(marked_runs(2), 1);
    assert_int_equal(marked_runs(7), 2);
    assert_ok(dm_release(made));
    end(fill, &before);
}
ON_ENGINES(small_inputs_that_are_released)

/* Many tasks at once wait for arguments that are lost, and whose makers' arguments are released. */
static void a_store_of_released_inputs(dm_engine engine)
{
    enum { N = 12 };
    residue before;
    dm_ref fill[FILL], second[N], third[N];
    int good;
    residue_begin(&before);
    damaged_begin(engine, 2);
    for (int i = 0; i < N; i++) {
        dm_ref first = dm_remote(marked_make_and_note, OBJECT, 100 + i);
        second[i] = dm_remote(marked_remake, 200 + i, 100 + i, first);
        assert_marked(second[i], OBJECT, 200 + (uint64_t)i);
        assert_ok(dm_release(first));
    }
    damaged_push_out(fill);
    for (uint64_t i = 0; i < N; i++)
        disk_flip(marked_word(200 + i, OBJECT / 16));
    for (int i = 0; i < N; i++)
        third[i] = dm_remote(marked_check, 200 + i, second[i]);
    for (int i = 0; i < N; i++) {
        assert_ok(dm_get_within(third[i], &good, PATIENCE));
        assert_int_equal(good, 1);
    }
    marked_release(second, N);
    marked_release(third, N);
    end(fill, &before);
}
ON_ENGINES(a_store_of_released_inputs)

/* What is lost is released while it is made again. */
static void released_meanwhile(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref first = dm_remote(marked_make_and_note, OBJECT, 1), second = dm_remote(marked_remake, 2, 1, first);
    assert_marked(second, OBJECT, 2);
    assert_ok(dm_release(first));
    damaged_push_out(fill);
    damaged_flip(2);
    dm_status status = dm_get_within(second, (void *)NULL, 0);
    assert_true(status == DM_OK || status == DM_ERR_TIMEOUT);
    assert_ok(dm_release(second));
    end(fill, &before);
}
ON_ENGINES(released_meanwhile)

/* ---- several values of a task ---- */

static void one_of_several(dm_engine engine)
{
    enum { N = 4 };
    residue before;
    dm_ref fill[FILL], parts[N];
    uint64_t number;
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_remote_n(parts, N, lineage_several, 10);
    assert_marked(parts[0], OBJECT, 10);
    assert_ok(dm_release(parts[3]));
    damaged_push_out(fill);
    damaged_flip(12);
    assert_marked(parts[2], OBJECT, 12);
    assert_marked(parts[0], OBJECT, 10);
    assert_ok(dm_get(parts[1], &number));
    assert_int_equal(number, 11);
    assert_int_equal(marked_runs(10), 2);
    assert_int_equal(marked_stats().objects, FILL + 2);
    marked_release(parts, 3);
    end(fill, &before);
}
ON_ENGINES(one_of_several)

static void all_of_several(dm_engine engine)
{
    enum { N = 5 };
    residue before;
    dm_ref fill[FILL], parts[N], checked[N];
    int good;
    residue_begin(&before);
    damaged_begin(engine, 2);
    dm_ref input = dm_remote(lineage_number, 1, 10);
    dm_remote_n(parts, N, lineage_several, input);
    assert_marked(parts[0], OBJECT, 11);
    assert_ok(dm_release(input));
    damaged_push_out(fill);
    for (uint64_t i = 0; i < N; i++)
        if (i != 1)
            damaged_flip(11 + i);
    for (int i = 0; i < N; i++)
        checked[i] = i == 1 ? DM_NO_REF : dm_remote(marked_check, 11 + i, parts[i]);
    for (int i = 0; i < N; i++) {
        if (i == 1)
            continue;
        assert_ok(dm_get_within(checked[i], &good, PATIENCE));
        assert_int_equal(good, 1);
        assert_ok(dm_release(checked[i]));
    }
    int runs = marked_runs(11);
    assert_true(runs >= 2 && runs <= 4); /* retries are 3; those found lost while it runs join it */
    assert_int_equal(marked_stats().tasks_failed, 0);
    marked_release(parts, N);
    end(fill, &before);
}
ON_ENGINES(all_of_several)

/* It was made from one of several, which is released, as is what those were made from. */
static void through_one_of_several(dm_engine engine)
{
    enum { N = 3 };
    residue before;
    dm_ref fill[FILL], parts[N];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref input = dm_remote(marked_make_and_note, OBJECT, 1);
    dm_remote_n(parts, N, lineage_several, 10, input);
    dm_ref made = dm_remote(lineage_join, 20, 12, parts[2]), other = dm_remote(lineage_join, 21, 10, parts[0]);
    assert_marked(made, OBJECT, 20);
    assert_marked(other, OBJECT, 21);
    assert_ok(dm_release(input));
    marked_release(parts, N);
    assert_soon(marked_stats().objects == 2);
    damaged_push_out(fill);
    damaged_flip(20);
    assert_marked(made, OBJECT, 20);
    assert_int_equal(marked_runs(1), 2);
    assert_int_equal(marked_runs(10), 2);
    assert_int_equal(marked_runs(21), 1);
    assert_soon(marked_stats().objects == FILL + 2);
    assert_ok(dm_release(made));
    assert_ok(dm_release(other));
    end(fill, &before);
}
ON_ENGINES(through_one_of_several)

/* ---- lists ---- */

/* The driver knows what a list names; it is written once more, and no task runs for it. */
static void a_list_that_was_put(dm_engine engine)
{
    enum { N = 3000 };
    residue before;
    dm_ref fill[FILL], refs[N];
    dm_ref_list back;
    residue_begin(&before);
    damaged_begin(engine, 1);
    for (int i = 0; i < N; i++)
        refs[i] = dm_put(i);
    dm_ref list = dm_put(&DM_REF_LIST(refs, N));
    marked_release(refs, N);
    damaged_push_out(fill);
    disk_truncate();
    assert_ok(dm_get_within(list, &back, PATIENCE));
    assert_int_equal(back.count, N);
    for (int i = 0; i < N; i++) {
        int number;
        assert_ok(dm_get(back.refs[i], &number));
        assert_int_equal(number, i);
    }
    assert_int_equal(marked_stats().objects_lost, 1);
    dm_ref_list_release(&back);
    assert_ok(dm_release(list));
    marked_release(fill, FILL); /* some of it is lost, and was put */
    finish(&before);
}
ON_ENGINES(a_list_that_was_put)

static void a_list_and_what_it_names(dm_engine engine)
{
    enum { N = 3 };
    residue before;
    dm_ref fill[FILL];
    dm_ref_list back;
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref list = dm_remote(lineage_list, 100, N);
    assert_ok(dm_get(list, &back));
    for (size_t i = 0; i < N; i++)
        assert_marked(back.refs[i], OBJECT, 100 + i);
    dm_ref_list_release(&back);
    damaged_push_out(fill);
    disk_truncate();
    assert_ok(dm_get_within(list, &back, PATIENCE));
    for (size_t i = 0; i < N; i++)
        assert_marked(back.refs[i], OBJECT, 100 + i);
    assert_int_equal(marked_runs(99), 1);
    for (uint64_t i = 0; i < N; i++)
        assert_int_equal(marked_runs(100 + i), 2);
    dm_ref_list_release(&back);
    assert_ok(dm_release(list));
    marked_release(fill, FILL);
    finish(&before);
}
ON_ENGINES(a_list_and_what_it_names)

/* ---- where it ends ---- */

static void assert_says(dm_ref ref, const char *words)
{
    assert_refused(dm_get_within(ref, (void *)NULL, PATIENCE), DM_ERR_CORRUPT, "was damaged on disk");
    if (!strstr(dm_last_error(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, dm_last_error());
}

/* Two steps back there is something that was put. */
static void at_what_was_put(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref put = marked_put(OBJECT, 1), second = dm_remote(marked_remake, 2, 1, put);
    dm_ref third = dm_remote(marked_remake, 3, 2, second);
    assert_marked(third, OBJECT, 3);
    assert_ok(dm_release(put));
    assert_ok(dm_release(second));
    damaged_push_out(fill);
    damaged_flip(3);
    assert_says(third, "was put, and is released");
    assert_says(third, "marked_remake");
    dm_ref read = dm_remote(marked_check, 3, third);
    assert_refused(dm_get_within(read, (void *)NULL, PATIENCE), DM_ERR_DEP_FAILED, "was put, and is released");
    assert_int_equal(marked_runs(2), 1);
    assert_int_equal(marked_runs(3), 1);
    assert_forgotten();
    assert_ok(dm_release(read));
    assert_ok(dm_release(third));
    end(fill, &before);
}
ON_ENGINES(at_what_was_put)

static void at_a_task_without_retries(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref first = dm_remote_with((&(dm_task_options){.retries = DM_NONE}), marked_make_and_note, OBJECT, 1);
    dm_ref second = dm_remote(marked_remake, 2, 1, first);
    assert_marked(second, OBJECT, 2);
    assert_ok(dm_release(first));
    damaged_push_out(fill);
    damaged_flip(2);
    assert_says(second, "marked_make_and_note");
    assert_says(second, "has no retries left");
    assert_int_equal(marked_runs(1), 1);
    assert_int_equal(marked_runs(2), 1);
    assert_ok(dm_release(second));
    end(fill, &before);
}
ON_ENGINES(at_a_task_without_retries)

/* A session that may remember next to nothing, or something. */
static void begin_forgetful(dm_engine engine, size_t lineage_bytes)
{
    session_begin_with(&(dm_options){.engine = engine,
                                     .workers = 1,
                                     .store_bytes = DAMAGED_STORE,
                                     .lineage_bytes = lineage_bytes,
                                     .log = driver_no_log});
}

static void at_what_may_be_remembered(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    begin_forgetful(engine, 100);
    dm_ref first = dm_remote(marked_make_and_note, OBJECT, 1), second = dm_remote(marked_remake, 2, 1, first);
    assert_marked(second, OBJECT, 2);
    assert_ok(dm_release(first));
    damaged_push_out(fill);
    damaged_flip(2);
    assert_says(second, "lineage_bytes being 100");
    assert_int_equal(marked_runs(1), 1);
    assert_int_equal(marked_runs(2), 1);
    assert_ok(dm_release(second));
    end(fill, &before);
}
ON_ENGINES(at_what_may_be_remembered)

/* ---- long chains ---- */

static dm_ref chain_of(int n)
{
    dm_ref last = dm_remote(lineage_begin);
    for (int i = 1; i < n; i++) {
        dm_ref next = dm_remote(lineage_link, last);
        assert_ok(dm_release(last));
        last = next;
    }
    return last;
}

static void assert_link(dm_ref last, int n)
{
    dm_view view;
    assert_ok(dm_get_within(last, &view, PATIENCE));
    for (size_t i = 0; i < view.shape[0]; i++)
        if (((const double *)view.data)[i] != (double)i + n - 1)
            fail_msg("element %zu is %g", i, ((const double *)view.data)[i]);
    dm_view_release(&view);
}

static void a_long_chain(dm_engine engine)
{
    enum { N = 3000 };
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref last = chain_of(N);
    assert_link(last, N);
    damaged_push_out(fill);
    uint64_t done = marked_stats().tasks_done;
    disk_truncate();
    assert_link(last, N);
    assert_int_equal(marked_stats().tasks_done, done + N);
    assert_soon(marked_stats().objects == FILL + 1);
    assert_ok(dm_release(last));
    marked_release(fill, FILL);
    finish(&before);
}
ON_ENGINES(a_long_chain)

/* A program that goes on for ever: what is remembered does not grow with it. */
static void a_chain_longer_than_may_be_remembered(dm_engine engine)
{
    enum { N = 5000, BYTES = 64 << 10 };
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    begin_forgetful(engine, BYTES);
    dm_ref last = dm_remote(lineage_begin);
    for (int i = 1; i < N; i++) {
        dm_ref next = dm_remote(lineage_link, last);
        assert_ok(dm_release(last));
        last = next;
        dmi_role_take(&dmi_the_session->role);
        uint64_t bytes = dmi_the_session->lineage_bytes;
        dmi_role_leave(&dmi_the_session->role);
        assert_true(bytes <= BYTES);
    }
    assert_link(last, N);
    assert_lawful();
    damaged_push_out(fill);
    disk_truncate();
    dm_status status = dm_get_within(last, (void *)NULL, PATIENCE);
    assert_true(status == DM_ERR_CORRUPT || status == DM_ERR_IO);
    assert_non_null(strstr(dm_last_error(), "lineage_bytes being 65536"));
    assert_ok(dm_release(last));
    marked_release(fill, FILL);
    finish(&before);
}
ON_ENGINES(a_chain_longer_than_may_be_remembered)

/* ---- in tasks ---- */

/* Two values, of which the first is released, are pushed out; told that, the driver damages the second. */
DM_REMOTE(lineage_reads_what_is_damaged)
{
    char flag[300];
    dm_ref refs[FILL];
    dm_ref first = dm_remote(marked_make_and_note, OBJECT, 1), second = dm_remote(marked_remake, 2, 1, first);
    if (!marked_is_there(second, OBJECT, 2))
        return dm_fail(call, "before: %s", dm_last_error());
    DM_TRY(dm_release(first));
    for (int i = 0; i < FILL; i++)
        refs[i] = marked_put(OBJECT, DAMAGED_GONE + (uint64_t)i);
    marked_note_run(8);
    snprintf(flag, sizeof flag, "%s/damaged", getenv("TMPDIR"));
    for (int i = 0; i < 20000 && access(flag, F_OK) != 0; i++)
        watch_pause();
    if (!marked_is_there(second, OBJECT, 2))
        return dm_fail(call, "after: %s", dm_last_error());
    for (int i = 0; i < FILL; i++)
        DM_TRY(dm_release(refs[i]));
    return DM_OK;
}

/* The only worker waits for what must be made again. */
static void read_by_the_only_worker(void **state)
{
    (void)state;
    residue before;
    char flag[300], path[300];
    residue_begin(&before);
    snprintf(flag, sizeof flag, "%s/damaged", test_directory());
    marked_path(path, 8);
    damaged_begin(DM_ENGINE_PROCESSES, 1);
    dm_ref reads = dm_remote(lineage_reads_what_is_damaged);
    assert_soon(access(path, F_OK) == 0);
    assert_soon(disk_has(marked_word(2, OBJECT / 16)));
    assert_soon(marked_stats().spilling_bytes == 0);
    damaged_flip(2);
    close(open(flag, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_ok(dm_get_within(reads, (void *)NULL, PATIENCE));
    unlink(flag);
    assert_int_equal(marked_runs(1), 2);
    assert_int_equal(marked_runs(2), 2);
    assert_int_equal(marked_runs(8), 1);
    assert_ok(dm_release(reads));
    finish(&before);
}

/* ---- deaths ---- */

static void a_worker_that_dies_meanwhile(void **state)
{
    (void)state;
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(DM_ENGINE_PROCESSES, 2);
    dm_ref first = dm_remote(lineage_dies_once, 1), second = dm_remote(marked_remake, 2, 1, first);
    assert_marked(second, OBJECT, 2);
    assert_ok(dm_release(first));
    damaged_push_out(fill);
    damaged_flip(2);
    assert_marked(second, OBJECT, 2);
    assert_int_equal(marked_runs(1), 3);
    assert_int_equal(marked_runs(2), 2);
    assert_true(marked_stats().workers_lost >= 1);
    assert_ok(dm_release(second));
    end(fill, &before);
}

static dm_ref spilled[FILL], several[3], made_of_them;

/* What was made is damaged wherever it is on the disk, and read. */
static void lose_and_read(void)
{
    marked_release(spilled, FILL);
    damaged_push_out(spilled);
    disk_flip(marked_word(20, OBJECT / 16));
    disk_flip(marked_word(10, OBJECT / 16));
    assert_marked(made_of_them, OBJECT, 20);
    assert_marked(several[0], OBJECT, 10);
}

static void a_worker_before_each_store(void **state)
{
    (void)state;
    enum { FOR_MS = 12000, RETRIES = 30000 };
    residue before;
    steps_begin();
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = DAMAGED_STORE, .retries = RETRIES,
                                     .log = driver_no_log});
    dm_ref input = dm_remote(marked_make, OBJECT, 1);
    dm_remote_n(several, 3, lineage_several, 10, input);
    made_of_them = dm_remote(lineage_join, 20, 12, several[2], 10, several[0]);
    assert_marked(made_of_them, OBJECT, 20);
    assert_ok(dm_release(input));
    assert_ok(dm_release(several[2]));
    damaged_push_out(spilled);
    assert_true(steps_enumerate("making again", 1, FOR_MS, lose_and_read) > 9);
    assert_true(marked_stats().objects_lost > 9);
    assert_int_equal(marked_stats().tasks_failed, 0);
    assert_ok(dm_release(made_of_them));
    marked_release(several, 2);
    end(spilled, &before);
    steps_end();
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(a_chain_of_released_inputs),
    ENGINE_CASES(a_diamond_of_released_inputs),
    ENGINE_CASES(inputs_of_all_kinds),
    ENGINE_CASES(small_inputs_that_are_released),
    ENGINE_CASES(a_store_of_released_inputs),
    ENGINE_CASES(released_meanwhile),
    ENGINE_CASES(one_of_several),
    ENGINE_CASES(all_of_several),
    ENGINE_CASES(through_one_of_several),
    ENGINE_CASES(a_list_that_was_put),
    ENGINE_CASES(a_list_and_what_it_names),
    ENGINE_CASES(at_what_was_put),
    ENGINE_CASES(at_a_task_without_retries),
    ENGINE_CASES(at_what_may_be_remembered),
    ENGINE_CASES(a_long_chain),
    ENGINE_CASES(a_chain_longer_than_may_be_remembered),
    cmocka_unit_test(read_by_the_only_worker),
    cmocka_unit_test(a_worker_that_dies_meanwhile),
    cmocka_unit_test(a_worker_before_each_store),
};
TEST_MAIN(tests, NULL)
