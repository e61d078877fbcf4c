/*
 * What cannot be is refused with a status of its own, and the sentence names the thing: the function,
 * the argument, the option, what was expected and what was found.
 */
#include <math.h>
#include <pthread.h>
#include <sys/wait.h>

#include "tests/support/test.h"

/* ---- tasks ---- */

DM_REMOTE(wants_a_double)
{
    double x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(wants_a_byte)
{
    unsigned char x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(wants_a_ref)
{
    dm_ref x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(wants_a_string)
{
    const char *x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(wants_two)
{
    double x, y;
    DM_TRY(dm_arg(call, 0, &x));
    DM_TRY(dm_arg(call, 1, &y));
    return dm_return(call, x + y);
}

DM_REMOTE(counts_them)
{
    return dm_return(call, dm_arg_count(call));
}

DM_REMOTE(echoes)
{
    double x;
    if (dm_arg_count(call) > 0)
        DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, "here");
}

DM_REMOTE(fails_by_itself)
{
    int i;
    DM_TRY(dm_arg(call, 0, &i));
    return dm_fail(call, "voxel %d has no signal", i);
}

DM_REMOTE(fails_without_a_word)
{
    (void)call;
    return DM_ERR_NUMERIC;
}

DM_REMOTE(returns_nothing)
{
    (void)call;
    return DM_OK;
}

DM_REMOTE(writes_to_its_argument)
{
    union {
        const void *read;
        char *write;
    } data;
    dm_view view;
    DM_TRY(dm_arg(call, 0, &view));
    data.read = view.data;
    data.write[5] = 1;
    return dm_return(call, "was not stopped");
}

DM_REMOTE(does_what_a_task_must_not)
{
    dm_stats stats;
    dm_status init = dm_init(NULL), counted = dm_stats_get(&stats);
    dm_shutdown(); /* does nothing */
    dm_ref ref = dm_put(1.5);
    double x = 0;
    DM_TRY(dm_get(ref, &x));
    return dm_return(call, init == DM_ERR_ALREADY_RUNNING && counted == DM_ERR_INVALID && x == 1.5);
}

DM_REMOTE(uses_bad_refs)
{
    int bad = 0;
    double x;
    dm_ref ref = dm_put(1.5);
    bad += dm_release(ref) != DM_OK;
    bad += dm_release(ref) != DM_ERR_STALE;
    bad += dm_get(ref, &x) != DM_ERR_STALE;
    bad += dm_retain(ref) != DM_ERR_STALE;
    bad += dm_get((dm_ref){0x1234567800000007}, &x) != DM_ERR_BADREF;
    bad += dm_get(DM_NO_REF, &x) != DM_ERR_BADREF;
    return dm_return(call, bad);
}

static dm_status get_nothing(dm_ref ref)
{
    dm_status status = dm_get(ref, (void *)NULL);
    dm_release(ref);
    return status;
}

/* ---- values of the wrong kind ---- */

static void wrong_types(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    session_begin(engine, 1);
    assert_refused(get_nothing(dm_remote(wants_a_double, "text")), DM_ERR_TYPE,
                   "wants_a_double: argument 0: expected double, got string");
    assert_refused(get_nothing(dm_remote(wants_a_string, 7)), DM_ERR_TYPE,
                   "wants_a_string: argument 0: expected string, got integer");
    assert_refused(get_nothing(dm_remote(wants_a_ref, 7)), DM_ERR_TYPE,
                   "wants_a_ref: argument 0: expected ref, got integer");
    dm_ref text = dm_put("text");
    double x = 7;
    dm_ref inner;
    int i;
    char *copy;
    dm_view view;
    const char *lent;
    assert_refused(dm_get(text, &x), DM_ERR_TYPE, "expected double, got string");
    assert_refused(dm_get(text, &inner), DM_ERR_TYPE, "expected ref, got string");
    assert_refused(dm_get(text, &lent), DM_ERR_TYPE, "string");
    assert_true(x == 7);
    dm_ref number = dm_put(2.5);
    assert_refused(dm_get(number, &i), DM_ERR_TYPE, "got double");
    assert_refused(dm_get(number, &copy), DM_ERR_TYPE, "got double");
    assert_refused(dm_get(number, &view), DM_ERR_TYPE, "got double");
    dm_ref nil = dm_remote(returns_nothing);
    assert_refused(dm_get(nil, &x), DM_ERR_TYPE, "got nil");
    assert_ok(dm_get(nil, (void *)NULL));
    assert_refused(dm_get_into(number, DM_INTO_DOUBLE, NULL, DM_NONE), DM_ERR_INVALID, "NULL");
    dm_release(text);
    dm_release(number);
    dm_release(nil);
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(wrong_types)

static void wrong_ranges(dm_engine engine)
{
    session_begin(engine, 1);
    assert_refused(get_nothing(dm_remote(wants_a_byte, 256)), DM_ERR_RANGE,
                   "wants_a_byte: argument 0: 256 does not fit uint8");
    assert_refused(get_nothing(dm_remote(wants_a_byte, -1)), DM_ERR_RANGE, "-1 does not fit");
    assert_refused(get_nothing(dm_remote(wants_a_double, ((int64_t)1 << 53) + 1)), DM_ERR_RANGE,
                   "9007199254740993");
    assert_ok(get_nothing(dm_remote(wants_a_double, (int64_t)1 << 53)));
    assert_ok(get_nothing(dm_remote(wants_a_byte, 255)));
    dm_ref huge = dm_put(UINT64_MAX), low = dm_put(INT64_MIN), big = dm_put(1e300);
    int64_t i;
    uint64_t u;
    float f;
    bool b;
    assert_refused(dm_get(huge, &i), DM_ERR_RANGE, "18446744073709551615 does not fit int64");
    assert_refused(dm_get(low, &u), DM_ERR_RANGE, "-9223372036854775808 does not fit uint64");
    assert_refused(dm_get(big, &f), DM_ERR_RANGE, "does not fit float");
    assert_refused(dm_get(huge, &b), DM_ERR_RANGE, "bool");
    dm_release(huge);
    dm_release(low);
    dm_release(big);
    dm_shutdown();
}
ON_ENGINES(wrong_ranges)

static void too_few_and_too_many(dm_engine engine)
{
    session_begin(engine, 1);
    assert_refused(get_nothing(dm_remote(wants_two, 1.0)), DM_ERR_ARG_MISSING,
                   "wants_two: argument 1 is missing: it was given 1");
    assert_refused(get_nothing(dm_remote(wants_two)), DM_ERR_ARG_MISSING, "argument 0 is missing");
    assert_refused(get_nothing(dm_remote(wants_two, 1.0, 2.0, 3.0)), DM_ERR_ARG_SURPLUS,
                   "wants_two: it was given 3 arguments and read 2");
    int count;
    dm_ref ref = dm_remote(counts_them, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    assert_ok(dm_get(ref, &count));
    assert_int_equal(count, 16);
    dm_release(ref);
    dm_shutdown();
}
ON_ENGINES(too_few_and_too_many)

static void failures_of_its_own(dm_engine engine)
{
    session_begin(engine, 1);
    dm_ref ref = dm_remote(fails_by_itself, 41);
    for (int i = 0; i < 2; i++) /* each time it is asked */
        assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_FAILED,
                       "fails_by_itself: voxel 41 has no signal");
    dm_ref next = dm_remote(wants_a_double, ref);
    assert_refused(get_nothing(next), DM_ERR_DEP_FAILED, "voxel 41 has no signal");
    assert_refused(get_nothing(dm_remote(fails_without_a_word)), DM_ERR_NUMERIC,
                   "fails_without_a_word");
    dm_release(ref);
    dm_shutdown();
}
ON_ENGINES(failures_of_its_own)

/* ---- what is not there ---- */

static void functions_nobody_registered(dm_engine engine)
{
    session_begin(engine, 1);
    dm_function stranger = wants_a_double;
    stranger.name = "stranger";
    assert_refused(get_nothing(dm_submit(&stranger, NULL, NULL, 0)), DM_ERR_NO_FUNCTION,
                   "\"stranger\" is registered: define it with DM_REMOTE");
    assert_refused(get_nothing(dm_submit(NULL, NULL, NULL, 0)), DM_ERR_NO_FUNCTION, "dm_function_named");
    dm_function copy = wants_a_double, nameless = {0};
    assert_refused(get_nothing(dm_submit(&copy, NULL, NULL, 0)), DM_ERR_NO_FUNCTION, "a copy or another of its name: pass "
                   "wants_a_double itself");
    assert_refused(get_nothing(dm_submit(&nameless, NULL, NULL, 0)), DM_ERR_NO_FUNCTION, "(no name)");
    assert_null(dm_function_named("stranger"));
    assert_ptr_equal(dm_function_named("wants_a_double"), &wants_a_double);
    dm_shutdown();
}
ON_ENGINES(functions_nobody_registered)

static void refs_that_are_none(dm_engine engine)
{
    session_begin(engine, 1);
    double x;
    dm_ref ref = dm_put(1.5), other = dm_put(2.5);
    assert_ok(dm_retain(ref));
    assert_ok(dm_release(ref));
    assert_ok(dm_release(ref));
    assert_refused(dm_release(ref), DM_ERR_STALE, "has been released");
    assert_refused(dm_get(ref, &x), DM_ERR_STALE, "");
    assert_refused(dm_retain(ref), DM_ERR_STALE, "");
    assert_refused(dm_wait(&ref, 1, 1, 0, NULL), DM_ERR_STALE, "");
    assert_refused(get_nothing(dm_remote(wants_a_double, ref)), DM_ERR_STALE, "");
    dm_ref later = dm_put(3.5); /* may well lie where ref lay */
    assert_refused(dm_get(ref, &x), DM_ERR_STALE, "");
    assert_refused(dm_get(DM_NO_REF, &x), DM_ERR_BADREF, "");
    assert_ok(dm_release(DM_NO_REF));
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 2000; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        dm_ref random = {bits};
        dm_status status = dm_release(random);
        assert_true(status == DM_ERR_BADREF || status == DM_ERR_STALE);
        status = dm_get_within(random, &x, 0);
        assert_true(status == DM_ERR_BADREF || status == DM_ERR_STALE);
    }
    assert_ok(dm_get(other, &x));
    assert_true(x == 2.5);
    int bad;
    dm_ref inside = dm_remote(uses_bad_refs);
    assert_ok(dm_get(inside, &bad));
    assert_int_equal(bad, 0);
    dm_release(other);
    dm_release(later);
    dm_release(inside);
    dm_shutdown();
}
ON_ENGINES(refs_that_are_none)

static void refs_of_another_session(void **state)
{
    (void)state;
    double x;
    session_begin(DM_ENGINE_SERIAL, 1);
    dm_ref old = dm_put(1.5);
    dm_shutdown();
    assert_refused(dm_get(old, &x), DM_ERR_SHUT_DOWN, "");
    session_begin(DM_ENGINE_SERIAL, 1);
    dm_ref mine = dm_put(2.5);
    assert_refused(dm_get(old, &x), DM_ERR_BADREF, "not a ref of this session");
    assert_refused(dm_release(old), DM_ERR_BADREF, "");
    assert_refused(get_nothing(dm_remote(wants_a_double, old)), DM_ERR_BADREF, "argument 0");
    assert_ok(dm_get(mine, &x));
    assert_true(x == 2.5);
    dm_release(mine);
    dm_shutdown();
}

/* Whoever copies a view and releases both, or keeps one from session to session, takes nothing from others. */
static void views_that_are_none(dm_engine engine)
{
    double numbers[5] = {1, 2, 3, 4, 5};
    dm_stats stats;
    session_begin(engine, 1);
    dm_ref ref = dm_put(&DM_ARRAY(numbers, DM_F64, 5)), other = dm_put(&DM_ARRAY(numbers, DM_F64, 5));
    dm_view view, copy, kept;
    assert_ok(dm_get(ref, &view));
    assert_ok(dm_get(other, &kept));
    copy = view;
    dm_view_release(&view);
    dm_view_release(&copy); /* spent: nobody has lent it twice */
    copy = kept;
    copy.pin += 1000000; /* of no value */
    dm_view_release(&copy);
    copy = kept;
    copy.pin ^= UINT64_C(1) << 50; /* of a value that was there before */
    dm_view_release(&copy);
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.refs, 2);
    assert_memory_equal(kept.data, numbers, sizeof numbers);
    assert_ok(dm_release(ref));
    assert_ok(dm_release(other));
    assert_ok(dm_stats_get(&stats));
    assert_int_equal(stats.refs, 1); /* the view has it */
    copy = kept;
    dm_view_release(&kept);
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
    session_begin(engine, 1);
    ref = dm_put(&DM_ARRAY(numbers, DM_F64, 5));
    assert_ok(dm_get(ref, &view));
    dm_view_release(&copy); /* of the session before */
    assert_memory_equal(view.data, numbers, sizeof numbers);
    dm_view_release(&view);
    assert_ok(dm_release(ref));
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
}
ON_ENGINES(views_that_are_none)

/* In the middle of many that go the quick way. */
static void strangers_among_many(dm_engine engine)
{
    enum { MANY = 400 };
    dm_ref refs[MANY];
    double x;
    dm_function stranger = wants_a_double;
    stranger.name = "stranger";
    session_begin(engine, 1);
    for (int i = 0; i < MANY; i++) {
        dm_value value = dm_value_double(i);
        refs[i] = dm_submit(i % 10 ? &wants_a_double : &stranger, NULL, &value, 1);
    }
    for (int i = 0; i < MANY; i++) {
        if (i % 10)
            assert_ok(dm_get(refs[i], &x));
        else
            assert_refused(dm_get(refs[i], &x), DM_ERR_NO_FUNCTION, "stranger");
        assert_ok(dm_release(refs[i]));
    }
    dm_shutdown();
}
ON_ENGINES(strangers_among_many)

static void values_that_are_none(dm_engine engine)
{
    session_begin(engine, 1);
    dm_array broken[] = {
        {.data = NULL, .dtype = DM_F64, .ndim = 1, .shape = {3}},
        {.data = "", .dtype = DM_DTYPE_COUNT, .ndim = 1, .shape = {1}},
        {.data = "", .dtype = DM_U8, .ndim = 9, .shape = {1}},
        {.data = "", .dtype = DM_U8, .ndim = -1, .shape = {1}},
        {.data = "", .dtype = DM_F64, .ndim = 3, .shape = {SIZE_MAX / 8, 9, 9}},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_refused(get_nothing(dm_put(&broken[i])), DM_ERR_INVALID, "");
        assert_refused(get_nothing(dm_remote(wants_a_double, 1.0, &broken[i])), DM_ERR_INVALID,
                       "argument 1");
    }
    assert_refused(get_nothing(dm_put((dm_value){.kind = (dm_kind)77})), DM_ERR_INVALID, "77");
    dm_ref ref = dm_put(1.5);
    assert_refused(get_nothing(dm_put(ref)), DM_ERR_INVALID, "ref");
    dm_buffer buffer;
    size_t shape[] = {4, SIZE_MAX};
    assert_refused(dm_create(DM_F64, 2, shape, &buffer), DM_ERR_INVALID, "");
    assert_refused(dm_create(DM_F64, 9, shape, &buffer), DM_ERR_INVALID, "");
    assert_refused(dm_create((dm_dtype)99, 1, shape, &buffer), DM_ERR_INVALID, "99");
    assert_refused(dm_create(DM_F64, 1, NULL, &buffer), DM_ERR_INVALID, "shape");
    assert_refused(dm_create(DM_F64, 1, shape, NULL), DM_ERR_INVALID, "out");
    assert_ok(dm_create(DM_F64, 1, shape, &buffer));
    dm_buffer twice = buffer;
    dm_ref sealed = dm_seal(&buffer);
    assert_null(buffer.data);
    assert_refused(get_nothing(dm_seal(&buffer)), DM_ERR_INVALID, "spent");
    assert_refused(get_nothing(dm_seal(&twice)), DM_ERR_INVALID, "spent");
    dm_abandon(&twice);
    dm_abandon(NULL);
    assert_ok(dm_get(sealed, (void *)NULL));
    dm_ref refs[2] = {ref, sealed};
    assert_refused(dm_wait(refs, 2, 3, 0, NULL), DM_ERR_INVALID, "3 of 2");
    assert_refused(dm_wait(NULL, 2, 1, 0, NULL), DM_ERR_INVALID, "");
    assert_refused(dm_wait(refs, 2, 2, -2, NULL), DM_ERR_INVALID, "dm_wait: -2 ms cannot be waited for");
    assert_refused(dm_get_within(refs[0], (void *)NULL, INT64_MIN), DM_ERR_INVALID, "DM_NONE for no limit");
    dm_release(ref);
    dm_release(sealed);
    dm_shutdown();
}
ON_ENGINES(values_that_are_none)

static void a_second_session(dm_engine engine)
{
    session_begin(engine, 1);
    assert_refused(dm_init(NULL), DM_ERR_ALREADY_RUNNING, "dm_shutdown");
    bool right;
    dm_ref ref = dm_remote(does_what_a_task_must_not);
    assert_ok(dm_get(ref, &right));
    assert_true(right);
    dm_release(ref);
    dm_shutdown();
    dm_shutdown();
}
ON_ENGINES(a_second_session)

/* ---- writing to what was lent ---- */

static void a_view_written_to(void **state)
{
    (void)state;
    static char bytes[100000];
    residue before;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 1,
                                     .store_bytes = 64 << 20, .log = driver_no_log});
    dm_ref shared = dm_put(&DM_BYTES(bytes, sizeof bytes));
    dm_ref guilty = dm_remote(writes_to_its_argument, shared);
    assert_refused(dm_get(guilty, (void *)NULL), DM_ERR_VIEW_WRITTEN, "writes_to_its_argument");
    dm_view view;
    assert_ok(dm_get(shared, &view));
    assert_int_equal(view.bytes, sizeof bytes);
    assert_memory_equal(view.data, bytes, sizeof bytes);
    dm_view_release(&view);
    dm_ref inline_one = dm_remote(writes_to_its_argument, &DM_BYTES(bytes, 20));
    assert_refused(dm_get(inline_one, (void *)NULL), DM_ERR_VIEW_WRITTEN, "writes_to_its_argument");
    dm_release(shared);
    dm_release(guilty);
    dm_release(inline_one);
    dm_shutdown();
    assert_no_residue(&before);
}

/* ---- without a session: each in a process of its own ---- */

static int never_begun(const char *argument)
{
    (void)argument;
    double x;
    dm_buffer buffer;
    dm_stats stats;
    NEED(dm_get(DM_NO_REF, &x) == DM_ERR_NOT_RUNNING);
    NEED(strstr(dm_last_error(), "dm_init"));
    dm_ref ref = dm_remote(wants_a_double, 1.0);
    NEED(dm_get(ref, &x) == DM_ERR_NOT_RUNNING);
    ref = dm_put(1.5);
    NEED(dm_get(ref, &x) == DM_ERR_NOT_RUNNING);
    NEED(dm_wait(&ref, 1, 1, 0, NULL) == DM_ERR_NOT_RUNNING);
    NEED(dm_retain((dm_ref){5}) == DM_ERR_NOT_RUNNING);
    NEED(dm_release((dm_ref){5}) == DM_ERR_NOT_RUNNING);
    NEED(dm_create(DM_U8, 0, NULL, &buffer) == DM_ERR_NOT_RUNNING);
    buffer = (dm_buffer){0};
    ref = dm_seal(&buffer);
    NEED(dm_get(ref, &x) == DM_ERR_NOT_RUNNING);
    dm_abandon(&buffer);
    dm_view view = {.pin = 4};
    dm_view_release(&view);
    NEED(dm_stats_get(&stats) == DM_ERR_NOT_RUNNING);
    NEED(dm_worker_pids(NULL, 0) == 0);
    dm_shutdown();
    NEED(dm_get(DM_NO_REF, &x) == DM_ERR_NOT_RUNNING);
    return 0;
}

static int ended(const char *argument)
{
    dm_options options = {.workers = 1, .store_bytes = 16 << 20};
    options.engine = strcmp(argument, "serial") == 0 ? DM_ENGINE_SERIAL : DM_ENGINE_PROCESSES;
    for (int i = 0; i < 3; i++) {
        double x = 0;
        NEED(dm_init(&options) == DM_OK);
        dm_ref ref = dm_remote(wants_a_double, 1.5 + i);
        NEED(dm_get(ref, &x) == DM_OK && x == 1.5 + i);
        dm_shutdown();
        NEED(dm_get(ref, &x) == DM_ERR_SHUT_DOWN);
        NEED(strstr(dm_last_error(), "shut down"));
        NEED(dm_release(ref) == DM_ERR_SHUT_DOWN);
        ref = dm_remote(wants_a_double, 2.0);
        NEED(dm_get(ref, &x) == DM_ERR_SHUT_DOWN);
    }
    return 0;
}

static int forked(const char *argument)
{
    (void)argument;
    double x = 0;
    NEED(dm_init(&(dm_options){.workers = 1, .store_bytes = 16 << 20}) == DM_OK);
    dm_ref ref = dm_remote(wants_a_double, 1.5);
    NEED(dm_get(ref, &x) == DM_OK);
    pid_t pid = fork();
    if (pid == 0) {
        int right = dm_get(ref, &x) == DM_ERR_FORKED;
        right &= strstr(dm_last_error(), "forked") != NULL;
        right &= dm_release(ref) == DM_ERR_FORKED;
        right &= dm_get(dm_put(2.0), &x) == DM_ERR_FORKED;
        right &= dm_init(NULL) == DM_ERR_FORKED;
        dm_shutdown();
        _exit(right ? 0 : 1);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid && status == 0);
    NEED(dm_get(ref, &x) == DM_OK && x == 1.5); /* the driver has noticed nothing */
    ref = dm_remote(wants_a_double, 2.5);
    NEED(dm_get(ref, &x) == DM_OK && x == 2.5);
    dm_shutdown();
    return 0;
}

static int registered_twice(const char *argument)
{
    (void)argument;
    static dm_function again = {.name = "wants_two", .file = "elsewhere.c", .line = 7};
    again.body = wants_two.body;
    dm_register(&again);
    NEED(dm_init(NULL) == DM_ERR_DUPLICATE);
    NEED(strstr(dm_last_error(), "wants_two") && strstr(dm_last_error(), "elsewhere.c:7"));
    double x;
    NEED(dm_get(dm_put(1.0), &x) == DM_ERR_NOT_RUNNING);
    return 0;
}

static int bad_settings(const char *argument)
{
    (void)argument;
    static const struct {
        const char *name, *value;
    } variables[] = {{"DM_WORKERS", "0"},         {"DM_WORKERS", "many"},      {"DM_ENGINE", "steam"},
                     {"DM_STORE_BYTES", "1X"},    {"DM_STORE_BYTES", "12K"},   {"DM_RETRIES", "-3"},
                     {"DM_TASK_LIMIT_MS", "0"},   {"DM_STORE_WAIT_MS", "x"},   {"DM_INLINE_BYTES", "-1"},
                     {"DM_SPILL_DIR", ""}};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        setenv(variables[i].name, variables[i].value, 1);
        NEED(dm_init(NULL) == DM_ERR_OPTION);
        NEED(strstr(dm_last_error(), variables[i].name));
        NEED(strstr(dm_last_error(), variables[i].value));
        unsetenv(variables[i].name);
    }
    NEED(dm_init(&(dm_options){.workers = 251}) == DM_ERR_OPTION && strstr(dm_last_error(), "workers"));
    NEED(dm_init(&(dm_options){.store_bytes = 5}) == DM_ERR_OPTION);
    NEED(strstr(dm_last_error(), "store_bytes"));
    NEED(dm_init(&(dm_options){.engine = (dm_engine)9}) == DM_ERR_OPTION);
    NEED(strstr(dm_last_error(), "engine"));
    NEED(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL, .store_bytes = 1 << 20}) == DM_OK);
    dm_shutdown();
    return 0;
}

#define IN_A_DRIVER(case_, name_, argument_)                                                       \
    static void case_(void **state)                                                                \
    {                                                                                              \
        (void)state;                                                                               \
        residue before;                                                                            \
        residue_begin(&before);                                                                    \
        assert_int_equal(driver_run(name_, argument_), 0);                                         \
        assert_no_residue(&before);                                                                \
    }
IN_A_DRIVER(before_dm_init, "never_begun", NULL)
IN_A_DRIVER(after_dm_shutdown_and_again, "ended", "processes")
IN_A_DRIVER(after_a_serial_session_and_again, "ended", "serial")
IN_A_DRIVER(in_a_forked_child, "forked", NULL)
IN_A_DRIVER(a_name_registered_twice, "registered_twice", NULL)
IN_A_DRIVER(settings_that_make_no_sense, "bad_settings", NULL)

static const test_driver drivers[] = {{"never_begun", never_begun},
                                      {"ended", ended},
                                      {"forked", forked},
                                      {"registered_twice", registered_twice},
                                      {"bad_settings", bad_settings},
                                      {0}};

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(wrong_types),
    ENGINE_CASES(wrong_ranges),
    ENGINE_CASES(too_few_and_too_many),
    ENGINE_CASES(failures_of_its_own),
    ENGINE_CASES(functions_nobody_registered),
    ENGINE_CASES(refs_that_are_none),
    cmocka_unit_test(refs_of_another_session),
    ENGINE_CASES(views_that_are_none),
    ENGINE_CASES(strangers_among_many),
    ENGINE_CASES(values_that_are_none),
    ENGINE_CASES(a_second_session),
    cmocka_unit_test(a_view_written_to),
    cmocka_unit_test(before_dm_init),
    cmocka_unit_test(after_dm_shutdown_and_again),
    cmocka_unit_test(after_a_serial_session_and_again),
    cmocka_unit_test(in_a_forked_child),
    cmocka_unit_test(a_name_registered_twice),
    cmocka_unit_test(settings_that_make_no_sense),
};

TEST_MAIN(tests, drivers)
