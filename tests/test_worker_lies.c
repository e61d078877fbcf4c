/*
 * A worker gone wild: it writes anywhere it can, and says what cannot be. It is killed, its task fails and says
 * why, and what others made is intact. Rows 33 and 34 of tests/faults/README.md.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "objectstore/object.h"
#include "runtime/worker.h"
#include "tests/support/test.h"

enum { WORKERS = 2, WITNESSES = 8, NUMBERS = 3000, ROUNDS = 5 };

/* ---- what a worker can say by itself ---- */

static void post(dm_call *call, dmi_message message)
{
    dmi_worker_post(call->worker, &message);
}

static void post_words(dm_call *call, dmi_message_kind kind, uint64_t first, uint64_t second)
{
    dmi_message message = {.kind = (uint8_t)kind};
    memcpy(message.args, &first, 8);
    memcpy(message.args + 8, &second, 8);
    post(call, message);
}

static uint64_t this_record(const dm_call *call)
{
    return dmi_refword(DMI_REF_RECORD, 0, 0, call->index);
}

/* A number that the driver may have seen in this place. */
static dmi_message submission(const dm_call *call)
{
    return (dmi_message){.kind = DMI_MSG_SUBMIT, .function = call->record->function, .cell = 9, .maker = call->index + 1};
}

static void post_blob(dm_call *call, dmi_message message, dmi_blob blob)
{
    message.blob = 1;
    memcpy(message.args, &blob, sizeof blob);
    post(call, message);
}

/* Without what dmi_worker_post says of itself. */
static void post_at(dm_call *call, uint64_t at)
{
    dmi_worker *worker = call->worker;
    dmi_message message = {.kind = DMI_MSG_TRIMMED, .at = at};
    dmi_shared_copy(&worker->up->ring[worker->posted % DMI_UP_RING], &message, sizeof message);
    dmi_word_publish(&worker->up->up_tail, ++worker->posted);
}

/* The task's own slot, whatever is in it. */
static void publish(dm_call *call, dmi_slot_kind kind, unsigned bytes, uint64_t first, uint64_t second)
{
    uint64_t payload[3] = {first, second, second};
    dmi_shared_copy(call->slot->payload, payload, sizeof payload);
    dmi_word_publish(&call->slot->word, dmi_slot_word(call->serial, kind, bytes));
    dmi_word_publish(&call->worker->up->done, call->worker->next + 1);
}

/* An object with this header in the own heap; its offset. */
static uint64_t object(dm_call *call, dmi_object header)
{
    uint64_t offset = dmi_heap_alloc(call->worker->heap, 4096);
    header.magic = DMI_OBJECT_MAGIC;
    dmi_shared_copy(call->worker->own.rw + offset, &header, sizeof header);
    return offset;
}

/* ---- the lies ---- */

#define LIE(name_) static void name_(dm_call *call)
#define UP (call->worker->up)

LIE(done_ahead) { dmi_word_publish(&UP->done, call->worker->next + 700); }
LIE(done_back) { dmi_word_publish(&UP->done, 0); }
LIE(tail_ahead) { dmi_word_publish(&UP->up_tail, call->worker->posted + DMI_UP_RING + 1); }
LIE(tail_back) { dmi_word_publish(&UP->up_tail, call->worker->posted - 1); }
LIE(at_ahead) { post_at(call, call->worker->next + 1); }
LIE(at_back) { post_at(call, 0); }
LIE(kind_of_nothing) { post(call, (dmi_message){.kind = 0}); }
LIE(kind_unknown) { post(call, (dmi_message){.kind = 200}); }
LIE(claim_back)
{
    dmi_word_publish(&UP->claim, 0);
    post_words(call, DMI_MSG_BLOCKED, this_record(call), 0);
}
LIE(claim_ahead)
{
    dmi_word_publish(&UP->claim, UINT64_MAX);
    post_words(call, DMI_MSG_BLOCKED, this_record(call), 0);
}
LIE(blocked_on_nothing) { post_words(call, DMI_MSG_BLOCKED, dmi_refword(DMI_REF_RECORD, 0, 0, 1u << 25), 0); }
LIE(bounced_what_it_has_not)
{
    dmi_word_publish(&UP->done, call->worker->next + 1);
    post(call, (dmi_message){.kind = DMI_MSG_BOUNCED});
    post(call, (dmi_message){.kind = DMI_MSG_BOUNCED});
}
LIE(ran_what_it_has_not) { post_words(call, DMI_MSG_RAN, call->index, 0); }
LIE(ran_nothing) { post_words(call, DMI_MSG_RAN, UINT64_MAX, 0); }
LIE(unrun_what_it_has_not) { post_words(call, DMI_MSG_UNRUN, call->index, 0); }
LIE(failed_what_may_not) { post_words(call, DMI_MSG_FAILED, call->index, 0); }
LIE(cancelled_nothing) { post_words(call, DMI_MSG_CANCEL, UINT64_MAX, 0); }
LIE(cancelled_before_time) { post_words(call, DMI_MSG_CANCEL, this_record(call), (uint64_t)INT64_MIN); }
LIE(fetched_nothing) { post_words(call, DMI_MSG_FETCH, dmi_refword(DMI_REF_CELL, 4000, 1, 1), 0); }
LIE(held_nothing) { post_words(call, DMI_MSG_HOLD, dmi_refword(DMI_REF_RECORD, 0, 0, UINT32_MAX), 0); }
LIE(held_in_no_cell)
{
    dmi_message message = {.kind = DMI_MSG_HOLD, .cell = DMI_CELLS};
    uint64_t word = this_record(call);
    memcpy(message.args, &word, 8);
    post(call, message);
}
LIE(held_in_one_cell_twice)
{
    post_words(call, DMI_MSG_HOLD, this_record(call), 0);
    post_words(call, DMI_MSG_HOLD, this_record(call), 0);
}
LIE(held_the_inside_of_nothing) { post_words(call, DMI_MSG_HOLD_INNER, 0, 0); }
LIE(held_the_insides_elsewhere)
{
    post_blob(call, (dmi_message){.kind = DMI_MSG_HOLD_INNERS}, (dmi_blob){UINT64_MAX - 8, call->worker->segment, 16});
}
LIE(dropped_nothing) { post(call, (dmi_message){.kind = DMI_MSG_DROP, .cell = 77}); }
LIE(dropped_no_cell) { post(call, (dmi_message){.kind = DMI_MSG_DROP, .cell = UINT32_MAX}); }
LIE(adopted_beyond_the_end) { post_words(call, DMI_MSG_ADOPT, call->worker->own.bytes - 64, 0); }
LIE(adopted_what_is_no_object) { post_words(call, DMI_MSG_ADOPT, 64, 0); }
LIE(adopted_what_is_too_long)
{
    uint64_t offset = object(call, (dmi_object){.kind = DMI_OBJECT_ARRAY, .dtype = DM_U8, .ndim = 1, .bytes = UINT64_MAX});
    post_words(call, DMI_MSG_ADOPT, offset, 0);
}
LIE(adopted_too_many_dimensions)
{
    post_words(call, DMI_MSG_ADOPT, object(call, (dmi_object){.kind = DMI_OBJECT_ARRAY, .ndim = 200}), 0);
}
LIE(adopted_a_shape_that_is_longer)
{
    dmi_object header = {.kind = DMI_OBJECT_ARRAY, .dtype = DM_F64, .ndim = 2, .bytes = 64, .shape = {16, 2}};
    post_words(call, DMI_MSG_ADOPT, object(call, header), 0);
}
LIE(adopted_a_type_that_is_none)
{
    dmi_object header = {.kind = DMI_OBJECT_ARRAY, .dtype = 99, .ndim = 1, .bytes = 8, .shape = {1}};
    post_words(call, DMI_MSG_ADOPT, object(call, header), 0);
}
LIE(adopted_a_kind_that_is_none)
{
    post_words(call, DMI_MSG_ADOPT, object(call, (dmi_object){.kind = 50, .ndim = 1, .bytes = 8, .shape = {8}}), 0);
}
LIE(adopted_a_string_without_end)
{
    uint64_t offset = object(call, (dmi_object){.kind = DMI_OBJECT_STRING, .dtype = DM_U8, .ndim = 1, .bytes = 8, .shape = {8}});
    memset(call->worker->own.rw + offset + sizeof(dmi_object), 'x', 64);
    post_words(call, DMI_MSG_ADOPT, offset, 0);
}
LIE(submitted_an_unknown_function)
{
    dmi_message message = submission(call);
    message.function = 60000;
    post(call, message);
}
LIE(submitted_more_arguments_than_bytes)
{
    dmi_message message = submission(call);
    message.arg_count = 1000;
    post(call, message);
}
LIE(submitted_a_ref_to_nothing)
{
    dmi_message message = submission(call);
    dmi_out out = {message.args, message.args, message.args + sizeof message.args};
    dmi_wire_ref(&out, dmi_refword(DMI_REF_RECORD, 0, 0, 1u << 25));
    message.arg_count = 1;
    post(call, message);
}
LIE(submitted_for_another)
{
    dmi_message message = submission(call);
    message.maker = UINT32_MAX;
    post(call, message);
}
LIE(submitted_arguments_beyond_the_end)
{
    post_blob(call, submission(call), (dmi_blob){call->worker->own.bytes - 8, call->worker->segment, 64});
}
LIE(submitted_arguments_of_others) { post_blob(call, submission(call), (dmi_blob){0, 0, 64}); }
LIE(submitted_arguments_larger_than_the_store)
{
    post_blob(call, submission(call), (dmi_blob){0, call->worker->segment, 200u << 20});
}
LIE(submitted_too_many_values)
{
    dmi_message message = submission(call);
    message.returns = UINT16_MAX;
    post_blob(call, message, (dmi_blob){0, call->worker->segment, 64});
}
LIE(submitted_values_without_cells)
{
    dmi_message message = submission(call);
    message.returns = 3;
    post(call, message);
}
LIE(submitted_with_a_name_that_is_none)
{
    dmi_message message = submission(call);
    message.named = 1;
    memset(message.args, 0x80, sizeof message.args);
    post(call, message);
}
LIE(submitted_with_a_priority_that_is_none)
{
    dmi_message message = submission(call);
    message.priority = INT32_MIN;
    post(call, message);
}

LIE(result_of_no_kind) { publish(call, (dmi_slot_kind)77, 8, 1, 1); }
LIE(result_longer_than_its_slot) { publish(call, DMI_SLOT_INLINE, 200, 0, 0); }
LIE(result_cut_off) { publish(call, DMI_SLOT_INLINE, 3, 0xcf, 0); }
LIE(result_beyond_the_end) { publish(call, DMI_SLOT_OBJECT, 8, call->worker->own.bytes - 64, 0); }
LIE(result_at_an_odd_place) { publish(call, DMI_SLOT_OBJECT, 8, 12345, 0); }
LIE(result_of_several) { publish(call, DMI_SLOT_PARTS, 16, 0, 5); }
LIE(failure_beyond_the_end) { publish(call, DMI_SLOT_ERROR, 16, UINT64_MAX - 63, DM_ERR_IO); }
LIE(failure_without_end)
{
    uint64_t offset = object(call, (dmi_object){.kind = DMI_OBJECT_ERROR, .ndim = 1, .bytes = 8, .status = DM_ERR_IO});
    memset(call->worker->own.rw + offset + sizeof(dmi_object), 'x', 64);
    publish(call, DMI_SLOT_ERROR, 16, offset, DM_ERR_IO);
}
LIE(memory_beyond_measure)
{
    dmi_word_publish(&UP->committed, UINT64_MAX - 4096);
    post_words(call, DMI_MSG_NEED, 4096, 0);
}

#define L(name_) {#name_, name_}
static const struct {
    const char *name;
    void (*tell)(dm_call *call);
} lies[] = {
    L(done_ahead), L(done_back), L(tail_ahead), L(tail_back), L(at_ahead), L(at_back), L(kind_of_nothing),
    L(kind_unknown), L(claim_back), L(claim_ahead), L(blocked_on_nothing), L(bounced_what_it_has_not),
    L(ran_what_it_has_not), L(ran_nothing), L(unrun_what_it_has_not), L(failed_what_may_not), L(cancelled_nothing),
    L(cancelled_before_time), L(fetched_nothing), L(held_nothing), L(held_in_no_cell), L(held_in_one_cell_twice),
    L(held_the_inside_of_nothing), L(held_the_insides_elsewhere), L(dropped_nothing), L(dropped_no_cell),
    L(adopted_beyond_the_end), L(adopted_what_is_no_object), L(adopted_what_is_too_long),
    L(adopted_too_many_dimensions), L(adopted_a_shape_that_is_longer), L(adopted_a_type_that_is_none),
    L(adopted_a_kind_that_is_none), L(adopted_a_string_without_end), L(submitted_an_unknown_function),
    L(submitted_more_arguments_than_bytes), L(submitted_a_ref_to_nothing), L(submitted_for_another),
    L(submitted_arguments_beyond_the_end), L(submitted_arguments_of_others),
    L(submitted_arguments_larger_than_the_store), L(submitted_too_many_values), L(submitted_values_without_cells),
    L(submitted_with_a_name_that_is_none), L(submitted_with_a_priority_that_is_none), L(result_of_no_kind),
    L(result_longer_than_its_slot), L(result_cut_off), L(result_beyond_the_end), L(result_at_an_odd_place),
    L(result_of_several), L(failure_beyond_the_end), L(failure_without_end),
    L(memory_beyond_measure),
};
enum { LIES = sizeof lies / sizeof *lies };

/* ---- tasks ---- */

static _Noreturn void wait_for_the_end(dmi_worker *worker)
{
    for (;;) {
        dmi_worker_ring(worker);
        usleep(1000);
    }
}

DM_REMOTE(lies_once)
{
    int which;
    DM_TRY(dm_arg(call, 0, &which));
    if (call->worker->next == 0)
        return dm_return(call, 0); /* who has done nothing yet cannot take it back */
    lies[which].tell(call);
    wait_for_the_end(call->worker);
}

static uint64_t random_word(uint64_t *seed)
{
    *seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17;
    return *seed;
}

/* Everything of this worker's that others read: its words and messages, its slots, its objects. The own end of
 * it as it was, since without its own counters it would do nothing more. */
static void scribble(dmi_worker *worker, uint64_t seed)
{
    uint64_t *words = (uint64_t *)(void *)worker->own.rw;
    size_t up = sizeof(dmi_up) / sizeof *words, heap = worker->head->up_heap_at / sizeof *words;
    for (size_t i = 0; i < up; i++)
        words[i] = random_word(&seed) % 3 ? random_word(&seed) : random_word(&seed) % 2000;
    for (size_t i = 0; i < 4096; i++)
        words[up + i] = random_word(&seed);
    for (size_t i = 0; i < (1 << 20) / sizeof *words; i++)
        words[heap + i] = random_word(&seed);
}

DM_REMOTE(scribbles)
{
    uint64_t seed;
    DM_TRY(dm_arg(call, 0, &seed));
    scribble(call->worker, seed);
    wait_for_the_end(call->worker);
}

/* Messages in which everything is possible and nothing is sure, until it is killed. */
DM_REMOTE(babbles)
{
    uint64_t seed;
    DM_TRY(dm_arg(call, 0, &seed));
    for (int i = 0; i < 100000; i++) {
        dmi_message message;
        uint64_t *words = (uint64_t *)(void *)&message;
        for (size_t k = 0; k < sizeof message / sizeof *words; k++)
            words[k] = random_word(&seed) % 2 ? random_word(&seed) % 64 : random_word(&seed);
        message.kind = (uint8_t)(1 + random_word(&seed) % DMI_MSG_FAILED);
        if (message.kind == DMI_MSG_SUBMIT || message.kind == DMI_MSG_CANCEL || message.kind == DMI_MSG_NEED ||
            message.kind == DMI_MSG_BOUNCED)
            continue; /* may be sane, and then begins or ends others, or this task once more */
        uint64_t ref = dmi_refword(random_word(&seed) % 2 + 1, 0, (unsigned)random_word(&seed) % 3,
                                   (uint32_t)random_word(&seed) % 40);
        if (random_word(&seed) % 2)
            memcpy(message.args, &ref, 8);
        dmi_worker_post(call->worker, &message);
    }
    wait_for_the_end(call->worker);
}

/* Numbers that begin with who made them. */
DM_REMOTE(testifies)
{
    int which;
    DM_TRY(dm_arg(call, 0, &which));
    double numbers[NUMBERS] = {getpid()};
    for (int i = 1; i < NUMBERS; i++)
        numbers[i] = which * 1e4 + i;
    int64_t until = watch_now_ms() + 3; /* long enough for another worker to take the next */
    while (watch_now_ms() < until)
        watch_pause();
    return dm_return(call, &DM_ARRAY(numbers, DM_F64, NUMBERS));
}

/* ---- witnesses ---- */

static dm_ref made[WITNESSES], put[WITNESSES];

static int maker_of(int i)
{
    dm_view view;
    assert_ok(dm_get(made[i], &view));
    int pid = (int)((const double *)view.data)[0];
    dm_view_release(&view);
    return pid;
}

static bool are_of_two(void)
{
    for (int i = 1; i < WITNESSES; i++)
        if (maker_of(i) != maker_of(0))
            return true;
    return false;
}

static void make_witnesses(void)
{
    double numbers[NUMBERS];
    for (int i = 0; i < WITNESSES; i++) {
        for (int k = 0; k < NUMBERS; k++)
            numbers[k] = i * 1e4 + k;
        put[i] = dm_put(&DM_ARRAY(numbers, DM_F64, NUMBERS));
        made[i] = dm_remote(testifies, i);
    }
}

static void release_witnesses(void)
{
    for (int i = 0; i < WITNESSES; i++) {
        dm_release(put[i]);
        dm_release(made[i]);
    }
}

static bool is_intact(dm_ref ref, int which)
{
    dm_view view;
    if (dm_get(ref, &view) != DM_OK)
        return false;
    bool good = view.bytes == NUMBERS * sizeof(double) && view.ndim == 1 && view.shape[0] == NUMBERS;
    for (int i = 1; good && i < NUMBERS; i++)
        good = ((const double *)view.data)[i] == which * 1e4 + i;
    dm_view_release(&view);
    return good;
}

/* Those that are not by this process, or all. */
static void assert_intact(const int *makers, int but_of)
{
    for (int i = 0; i < WITNESSES; i++) {
        assert_true(is_intact(put[i], i));
        if (makers[i] != but_of)
            assert_true(is_intact(made[i], i));
    }
}

/* ---- cases ---- */

static void begin(void)
{
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = WORKERS, .store_bytes = 64 << 20,
                                     .retries = DM_NONE, .log = driver_no_log});
    do {
        release_witnesses(); /* those of the last round, if any */
        make_witnesses();
    } while (!are_of_two());
}

static uint64_t lost(void)
{
    dm_stats stats;
    assert_ok(dm_stats_get(&stats));
    return stats.workers_lost;
}

static dm_status end_of(const dm_function *task, uint64_t argument)
{
    dm_status status;
    do {
        dm_ref ref = dm_submit(task, NULL, &(dm_value){.kind = DM_UINT, .u = argument}, 1);
        status = dm_get_within(ref, (void *)NULL, 20000);
        dm_release(ref);
    } while (status == DM_OK);
    return status;
}

/* The liar's task says so, its worker goes, the others go on. Its process id is returned. */
static int dies_of(const char *name, const dm_function *task, uint64_t argument)
{
    int was[WORKERS], is[WORKERS], gone = 0;
    uint64_t before = lost();
    assert_soon(dm_worker_pids(was, WORKERS) == WORKERS);
    dm_status status = end_of(task, argument);
    if (status != DM_ERR_WORKER_CORRUPT)
        fail_msg("%s: %s: %s", name, dm_status_name(status), dm_last_error());
    assert_soon(lost() == before + 1);
    assert_soon(dm_worker_pids(is, WORKERS) == WORKERS);
    for (int i = 0; i < WORKERS; i++)
        if (was[i] != is[0] && was[i] != is[1])
            gone = was[i];
    return gone;
}

static void a_lie_is_the_last(void **state)
{
    (void)state;
    int makers[WITNESSES];
    residue before;
    residue_begin(&before);
    begin();
    for (int i = 0; i < WITNESSES; i++)
        makers[i] = maker_of(i);
    for (int i = 0; i < LIES; i++) {
        dies_of(lies[i].name, &lies_once, (uint64_t)i);
        assert_intact(makers, 0);
    }
    release_witnesses();
    dm_shutdown();
    assert_no_residue(&before);
}

static void a_wild_writer_harms_what_is_its_own(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    for (int i = 0; i < ROUNDS; i++) {
        int makers[WITNESSES];
        begin();
        for (int k = 0; k < WITNESSES; k++)
            makers[k] = maker_of(k);
        int liar = dies_of("scribbles", &scribbles, (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u);
        assert_intact(makers, liar);
        release_witnesses();
        dm_shutdown();
    }
    assert_no_residue(&before);
}

static void babble_is_not_understood(void **state)
{
    (void)state;
    int makers[WITNESSES];
    residue before;
    residue_begin(&before);
    begin();
    for (int i = 0; i < WITNESSES; i++)
        makers[i] = maker_of(i);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        dies_of("babbles", &babbles, (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u);
        assert_intact(makers, 0);
    }
    release_witnesses();
    dm_shutdown();
    assert_no_residue(&before);
}

/* ---- what was right ---- */

static char *last_made;

DM_REMOTE(makes_for_now)
{
    size_t bytes = 5000;
    dm_buffer buffer;
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memset(buffer.data, 1, bytes);
    last_made = buffer.data;
    return dm_return(call, &buffer);
}

/* The number of the worker that made it and does this to it: there is one. */
DM_REMOTE(spoils_it)
{
    memset(last_made - sizeof(dmi_object), 0xff, sizeof(dmi_object));
    return dm_return(call, (int)getpid());
}

/* A result is overwritten before anybody has read it, by a worker that is there still, or dead by then. */
static void what_was_right_goes_wrong(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 1, .store_bytes = 64 << 20,
                                     .retries = DM_NONE, .log = driver_no_log});
    for (int dead = 0; dead < 2; dead++) {
        dm_view view;
        int pid = 0;
        uint64_t had = lost();
        dm_ref ref = dm_remote(makes_for_now), spoilt = dm_remote(spoils_it);
        assert_ok(dm_wait(&ref, 1, 1, 20000, NULL));
        assert_ok(dm_get_within(spoilt, &pid, 20000));
        if (dead) {
            assert_true(watch_kill(pid));
            assert_soon(lost() == had + 1);
        }
        assert_int_equal(dm_get_within(ref, &view, 20000), DM_ERR_WORKER_CORRUPT);
        assert_soon(lost() == had + 1);
        assert_soon(!watch_alive(pid));
        assert_ok(dm_release(ref));
        assert_ok(dm_release(spoilt));
    }
    dm_shutdown();
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_right_goes_wrong),
    cmocka_unit_test(a_lie_is_the_last),
    cmocka_unit_test(a_wild_writer_harms_what_is_its_own),
    cmocka_unit_test(babble_is_not_understood),
};

TEST_MAIN(tests, NULL)
