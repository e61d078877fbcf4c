/*
 * What goes in comes out: every type, at its boundaries, as argument, result and put value, copied or
 * lent where it lies.
 */
#include <float.h>
#include <math.h>

#include "tests/support/test.h"

/* ---- tasks ---- */

DM_REMOTE(same_int)
{
    int64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(same_uint)
{
    uint64_t x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(same_double)
{
    double x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(same_string)
{
    const char *x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

static dm_array array_of(const dm_view *view)
{
    dm_array array = {.data = view->data, .dtype = view->dtype, .ndim = view->ndim};
    memcpy(array.shape, view->shape, sizeof array.shape);
    return array;
}

DM_REMOTE(same_array)
{
    dm_view x;
    DM_TRY(dm_arg(call, 0, &x));
    dm_array array = array_of(&x);
    return dm_return(call, &array);
}

/* The same through a buffer: no copy on the way out. */
DM_REMOTE(same_array_made)
{
    dm_view x;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &x));
    DM_TRY(dm_create(x.dtype, x.ndim, x.shape, &buffer));
    if ((uintptr_t)buffer.data % 64 != 0 || buffer.bytes != x.bytes)
        return dm_fail(call, "a buffer of %zu bytes at %p", buffer.bytes, buffer.data);
    memcpy(buffer.data, x.data, x.bytes);
    return dm_return(call, &buffer);
}

DM_REMOTE(same_ref)
{
    dm_ref x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x);
}

DM_REMOTE(a_string_of)
{
    size_t length;
    DM_TRY(dm_arg(call, 0, &length));
    char *text = malloc(length + 1);
    memset(text, 's', length);
    text[length] = 0;
    dm_status status = dm_return(call, text);
    free(text);
    return status;
}

DM_REMOTE(buffers_of_all_fates)
{
    dm_buffer one, two, three;
    size_t shape[] = {1000};
    DM_TRY(dm_create(DM_U8, 1, shape, &one));
    DM_TRY(dm_create(DM_U8, 1, shape, &two));
    DM_TRY(dm_create(DM_U8, 1, shape, &three)); /* neither sealed nor abandoned */
    memset(one.data, 1, one.bytes);
    memset(three.data, 3, three.bytes);
    dm_abandon(&two);
    dm_ref ref = dm_seal(&one);
    dm_view view;
    DM_TRY(dm_get(ref, &view));
    int sum = 0;
    for (size_t i = 0; i < view.bytes; i++)
        sum += ((const unsigned char *)view.data)[i];
    dm_view_release(&view);
    return dm_return(call, sum);
}

DM_REMOTE(returns_twice)
{
    static char large[5000];
    DM_TRY(dm_return(call, &DM_BYTES(large, sizeof large)));
    DM_TRY(dm_return(call, 1));
    return dm_return(call, "the last one counts");
}

DM_REMOTE(returns_then_fails)
{
    static char large[5000];
    DM_TRY(dm_return(call, &DM_BYTES(large, sizeof large)));
    return dm_fail(call, "after all");
}

/* ---- numbers ---- */

static void integers(dm_engine engine)
{
    static const int64_t some[] = {0,         1,         -1,          31,         32,          127,       128,
                                   -32,       -33,       -128,        -129,       INT16_MIN,   INT16_MAX, INT16_MIN - 1,
                                   INT32_MIN, INT32_MAX, (int64_t)INT32_MAX + 1,  INT64_MIN,   INT64_MAX, 255, 65536};
    session_begin(engine, 1);
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        dm_ref task = dm_remote(same_int, some[i]), put = dm_put(some[i]);
        dm_ref both = dm_remote(same_int, put);
        int64_t x;
        assert_ok(dm_get(task, &x));
        assert_true(x == some[i]);
        assert_ok(dm_get(put, &x));
        assert_true(x == some[i]);
        assert_ok(dm_get(both, &x));
        assert_true(x == some[i]);
        dm_release(task), dm_release(put), dm_release(both);
    }
    static const uint64_t large[] = {0, 1, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        dm_ref task = dm_remote(same_uint, large[i]);
        uint64_t x;
        assert_ok(dm_get(task, &x));
        assert_true(x == large[i]);
        dm_release(task);
    }
    dm_shutdown();
}
ON_ENGINES(integers)

static void integers_of_each_width(dm_engine engine)
{
    session_begin(engine, 1);
    bool b;
    signed char i8;
    unsigned char u8;
    short i16;
    unsigned short u16;
    int i32;
    unsigned u32;
    float f;
    double d;
    dm_ref ref = dm_put(1), low = dm_put(-1), high = dm_put(true);
    assert_ok(dm_get(ref, &b));
    assert_ok(dm_get(ref, &u8));
    assert_ok(dm_get(ref, &u16));
    assert_ok(dm_get(ref, &u32));
    assert_true(b && u8 == 1 && u16 == 1 && u32 == 1);
    assert_ok(dm_get(low, &i8));
    assert_ok(dm_get(low, &i16));
    assert_ok(dm_get(low, &i32));
    assert_ok(dm_get(low, &d));
    assert_ok(dm_get(low, &f));
    assert_true(i8 == -1 && i16 == -1 && i32 == -1 && d == -1 && f == -1);
    assert_ok(dm_get(high, &b));
    assert_true(b);
    dm_release(ref), dm_release(low), dm_release(high);
    dm_shutdown();
}
ON_ENGINES(integers_of_each_width)

static void doubles(dm_engine engine)
{
    const double some[] = {0.0, -0.0, 1.5, DBL_MIN, DBL_MAX, -DBL_MAX, 4.9e-324, -4.9e-324, INFINITY,
                           -INFINITY, NAN, -NAN};
    session_begin(engine, 1);
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        dm_ref task = dm_remote(same_double, some[i]), put = dm_put(some[i]);
        double x, y;
        assert_ok(dm_get(task, &x));
        assert_ok(dm_get(put, &y));
        assert_memory_equal(&x, &some[i], 8); /* bits: NaN and -0.0, too */
        assert_memory_equal(&y, &some[i], 8);
        dm_release(task), dm_release(put);
    }
    float f;
    dm_ref third = dm_put(1.0 / 3), nan = dm_put(NAN), infinite = dm_put(INFINITY);
    assert_ok(dm_get(third, &f));
    assert_true(f == (float)(1.0 / 3));
    assert_ok(dm_get(nan, &f));
    assert_true(isnan(f));
    assert_ok(dm_get(infinite, &f));
    assert_true(isinf(f));
    dm_release(third), dm_release(nan), dm_release(infinite);
    dm_shutdown();
}
ON_ENGINES(doubles)

/* ---- strings ---- */

static void assert_string(dm_ref ref, const char *text)
{
    char *copy;
    dm_view view;
    assert_ok(dm_get(ref, &copy));
    assert_string_equal(copy, text);
    free(copy);
    assert_ok(dm_get(ref, &view));
    assert_int_equal(view.bytes, strlen(text));
    assert_int_equal(view.dtype, DM_U8);
    assert_memory_equal(view.data, text, strlen(text) + 1); /* the zero, too */
    dm_view_release(&view);
    dm_release(ref);
}

static void strings(dm_engine engine)
{
    static const size_t lengths[] = {0,  1,  20, 21, 22, 23,  24,  29,   30,   31,   32,   37,   38,   39,
                                     40, 41, 42, 60, 61, 254, 255, 256, 1022, 1023, 1024, 1025, 4096, 100000};
    session_begin(engine, 1);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *text = malloc(lengths[i] + 1);
        memset(text, 's', lengths[i]);
        text[lengths[i]] = 0;
        assert_string(dm_remote(same_string, text), text);
        assert_string(dm_put(text), text);
        assert_string(dm_remote(a_string_of, lengths[i]), text);
        dm_ref put = dm_put(text);
        assert_string(dm_remote(same_string, put), text);
        dm_release(put);
        free(text);
    }
    dm_ref nil = dm_put((char *)NULL);
    assert_ok(dm_get(nil, (void *)NULL));
    dm_release(nil);
    dm_shutdown();
}
ON_ENGINES(strings)

/* ---- arrays ---- */

static void assert_array(dm_ref ref, const dm_array *array, size_t bytes, bool object)
{
    dm_view view;
    assert_ok(dm_get(ref, &view));
    assert_int_equal(view.bytes, bytes);
    assert_int_equal(view.dtype, array->dtype);
    assert_int_equal(view.ndim, array->ndim);
    for (int i = 0; i < array->ndim; i++)
        assert_int_equal(view.shape[i], array->shape[i]);
    if (object)
        assert_int_equal((uintptr_t)view.data % 64, 0);
    assert_true(bytes == 0 || memcmp(view.data, array->data, bytes) == 0);
    dm_view_release(&view);
    dm_release(ref);
}

static void round_trips(const dm_array *array)
{
    size_t bytes = dm_dtype_bytes(array->dtype);
    for (int i = 0; i < array->ndim; i++)
        bytes *= array->shape[i];
    assert_array(dm_put(array), array, bytes, bytes > 100);
    assert_array(dm_remote(same_array, array), array, bytes, bytes > 100);
    assert_array(dm_remote(same_array_made, array), array, bytes, true);
    dm_ref put = dm_put(array);
    assert_array(dm_remote(same_array, put), array, bytes, bytes > 100);
    assert_array(dm_remote(same_array_made, put), array, bytes, true);
    dm_release(put);
}

static unsigned char pattern[1 << 17];

static void make_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (unsigned char)(i * 131 + i / 251);
}

static void arrays_of_each_size(dm_engine engine)
{
    static const size_t sizes[] = {0,  1,   7,   20,  21,  22,  23,  24,  30,   36,   37,   38,   39,  40,  41,
                                   63, 64,  65,  127, 128, 254, 255, 256, 1000, 1023, 1024, 1025, 4096, 65536, 100001};
    make_pattern();
    session_begin(engine, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        round_trips(&DM_BYTES(pattern, sizes[i]));
    dm_shutdown();
}
ON_ENGINES(arrays_of_each_size)

static void arrays_of_each_shape(dm_engine engine)
{
    static const dm_array shapes[] = {
        {.ndim = 0},
        {.ndim = 1, .shape = {0}},
        {.ndim = 2, .shape = {3, 0}},
        {.ndim = 2, .shape = {3, 5}},
        {.ndim = 3, .shape = {2, 3, 4}},
        {.ndim = 4, .shape = {7, 5, 3, 2}},
        {.ndim = 8, .shape = {1, 2, 1, 3, 1, 2, 1, 2}},
        {.ndim = 8, .shape = {2, 2, 2, 2, 2, 2, 2, 2}},
    };
    make_pattern();
    session_begin(engine, 1);
    for (int dtype = 0; dtype < DM_DTYPE_COUNT; dtype++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            dm_array array = shapes[i];
            array.data = pattern;
            array.dtype = (dm_dtype)dtype;
            round_trips(&array);
        }
    dm_array empty = {.data = NULL, .dtype = DM_F32, .ndim = 1, .shape = {0}};
    round_trips(&empty);
    dm_shutdown();
}
ON_ENGINES(arrays_of_each_shape)

static void a_large_array(dm_engine engine)
{
    size_t bytes = (size_t)64 << 20;
    unsigned char *large = malloc(bytes);
    make_pattern();
    for (size_t i = 0; i < bytes; i += sizeof pattern) {
        memcpy(large + i, pattern, sizeof pattern);
        memcpy(large + i, &i, sizeof i);
    }
    dm_array array = {.data = large, .dtype = DM_F32, .ndim = 3, .shape = {256, 256, 256}};
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = (size_t)400 << 20});
    assert_array(dm_put(&array), &array, bytes, true);
    assert_array(dm_remote(same_array_made, &array), &array, bytes, true);
    dm_shutdown();
    free(large);
}
ON_ENGINES(a_large_array)

/* ---- lives ---- */

static void a_view_outlives_its_ref(dm_engine engine)
{
    make_pattern();
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = 8 << 20});
    dm_ref put = dm_put(&DM_BYTES(pattern, 100000));
    dm_ref result = dm_remote(same_array, put), small = dm_remote(same_string, "short");
    dm_view of_put, of_result, again, of_small;
    assert_ok(dm_get(put, &of_put));
    assert_ok(dm_get(result, &of_result));
    assert_ok(dm_get(result, &again));
    assert_ok(dm_get(small, &of_small));
    assert_ok(dm_release(put));
    assert_ok(dm_release(result));
    assert_ok(dm_release(small));
    for (int i = 0; i < 30; i++) { /* what would be laid over it, if it were free */
        dm_ref other = dm_put(&DM_BYTES(pattern + 1000, 100000));
        dm_ref more = dm_remote(same_array, other), text = dm_remote(same_string, "other");
        assert_ok(dm_get(more, (void *)NULL));
        assert_ok(dm_get(text, (void *)NULL));
        dm_release(other), dm_release(more), dm_release(text);
    }
    assert_memory_equal(of_put.data, pattern, 100000);
    dm_view_release(&again);
    dm_view_release(&again); /* fine */
    assert_memory_equal(of_result.data, pattern, 100000);
    assert_memory_equal(of_small.data, "short", 6);
    dm_stats stats;
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 3);
    dm_view_release(&of_put);
    dm_view_release(&of_result);
    dm_view_release(&of_small);
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.store_used, 0);
    dm_shutdown();
}
ON_ENGINES(a_view_outlives_its_ref)

static void refs_as_results(dm_engine engine)
{
    make_pattern();
    session_begin(engine, 1);
    dm_ref put = dm_put(&DM_BYTES(pattern, 5000)), carrier = dm_remote(same_ref, put), inner, second;
    assert_ok(dm_get(carrier, &inner));
    dm_release(put);
    dm_release(carrier);
    dm_view view;
    assert_ok(dm_get(inner, &view)); /* it lives by this ref alone */
    assert_memory_equal(view.data, pattern, 5000);
    dm_view_release(&view);
    carrier = dm_remote(same_ref, inner);
    assert_ok(dm_get(carrier, (void *)NULL));
    dm_release(inner);
    assert_ok(dm_get(carrier, &second)); /* it lived by the value that contains it */
    dm_release(carrier);
    assert_ok(dm_get(second, &view));
    assert_memory_equal(view.data, pattern, 5000);
    dm_view_release(&view);
    dm_release(second);
    dm_stats stats;
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    dm_shutdown();
}
ON_ENGINES(refs_as_results)

static void buffers(dm_engine engine)
{
    session_begin(engine, 1);
    dm_stats before, after;
    assert_ok(dm_stats_get(&before));
    size_t shape[] = {10, 20};
    dm_buffer buffer, abandoned, zeroed = {0};
    assert_ok(dm_create(DM_F64, 2, shape, &buffer));
    assert_ok(dm_create(DM_F64, 2, shape, &abandoned));
    assert_int_equal(buffer.bytes, 1600);
    assert_int_equal((uintptr_t)buffer.data % 64, 0);
    for (int i = 0; i < 200; i++)
        ((double *)buffer.data)[i] = i;
    dm_abandon(&abandoned);
    dm_abandon(&abandoned);
    dm_abandon(&zeroed);
    dm_ref ref = dm_seal(&buffer), more = dm_remote(same_array, ref);
    dm_view view;
    assert_ok(dm_get(more, &view));
    assert_int_equal(view.ndim, 2);
    for (int i = 0; i < 200; i++)
        assert_true(((const double *)view.data)[i] == i);
    dm_view_release(&view);
    dm_release(ref), dm_release(more);
    int sum;
    ref = dm_remote(buffers_of_all_fates);
    assert_ok(dm_get(ref, &sum));
    assert_int_equal(sum, 1000);
    dm_release(ref);
    assert_string(dm_remote(returns_twice), "the last one counts");
    ref = dm_remote(returns_then_fails);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_FAILED, "after all");
    dm_release(ref);
    assert_soon(dm_stats_get(&after) == DM_OK && after.refs == before.refs);
    assert_int_equal(after.objects, before.objects);
    dm_shutdown();
}
ON_ENGINES(buffers)

static void many_arguments(dm_engine engine)
{
    enum { COUNT = 3000 };
    static dm_value values[COUNT];
    session_begin(engine, 1);
    for (int i = 0; i < COUNT; i++)
        values[i] = dm_value_int(i);
    int64_t first;
    dm_ref ref = dm_submit(&same_int, NULL, values, 1);
    assert_ok(dm_get(ref, &first));
    dm_release(ref);
    ref = dm_submit(&same_int, NULL, values, COUNT);
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_ARG_SURPLUS, "3000 arguments and read 1");
    dm_release(ref);
    dm_shutdown();
}
ON_ENGINES(many_arguments)

static void nothing_is_left(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    a_view_outlives_its_ref(DM_ENGINE_PROCESSES);
    refs_as_results(DM_ENGINE_PROCESSES);
    assert_no_residue(&before);
    a_view_outlives_its_ref(DM_ENGINE_THREADS);
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(integers),
    ENGINE_CASES(integers_of_each_width),
    ENGINE_CASES(doubles),
    ENGINE_CASES(strings),
    ENGINE_CASES(arrays_of_each_size),
    ENGINE_CASES(arrays_of_each_shape),
    ENGINE_CASES(a_large_array),
    ENGINE_CASES(a_view_outlives_its_ref),
    ENGINE_CASES(refs_as_results),
    ENGINE_CASES(buffers),
    ENGINE_CASES(many_arguments),
    cmocka_unit_test(nothing_is_left),
};

TEST_MAIN(tests, NULL)
