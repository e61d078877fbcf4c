/*
 * test_models_fwdti_setup_refuses.c - packed free-water setups that are cut, changed or foreign are refused and
 * never read beyond their end.
 */
#include "test_models_golden.h"

typedef struct packed {
    golden g;
    unsigned char *bytes;
    size_t n;
} packed;

static int set_up(void **state)
{
    packed *p = golden_alloc(1, sizeof *p);
    p->g = golden_open("s101");
    p->n = dm_fwdti_packed_bytes(p->g.gradients);
    p->bytes = golden_alloc(p->n, 1);
    assert_dm_ok(dm_fwdti_pack(NULL, p->g.gradients, p->bytes, p->n));
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    packed *p = *state;
    golden_close(&p->g);
    free(p->bytes);
    free(p);
    return 0;
}

static void any_other_size_is_refused(void **state)
{
    packed *p = *state;
    dm_fwdti *model = NULL;
    for (size_t n = 0; n <= p->n; n++) {
        /* A copy of exactly this size, so that a sanitizer sees a read beyond it. */
        unsigned char *cut = malloc(n > 0 ? n : 1);
        assert_non_null(cut);
        memcpy(cut, p->bytes, n);
        if (n < p->n)
            assert_dm_error(dm_fwdti_unpack(cut, n, &model), DM_ERR_FORMAT, "free water setup: ");
        free(cut);
    }
    assert_null(model);
    assert_dm_error(dm_fwdti_pack(NULL, p->g.gradients, p->bytes, p->n - 1), DM_ERR_INVALID,
                    "dm_fwdti_packed_bytes()");
}

static void check_changed(packed *p, size_t at, const void *bytes, size_t n, const char *words)
{
    dm_fwdti *model = NULL;
    unsigned char before[16];
    memcpy(before, p->bytes + at, n);
    memcpy(p->bytes + at, bytes, n);
    assert_dm_error(dm_fwdti_unpack(p->bytes, p->n, &model), DM_ERR_FORMAT, words);
    assert_null(model);
    memcpy(p->bytes + at, before, n);
}

static void foreign_bytes_are_refused(void **state)
{
    packed *p = *state;
    const uint32_t version = 3, order = 0x04030201;
    const uint64_t volumes[3] = {UINT64_MAX, 103, (uint64_t)1 << 61};
    const int32_t method = 7, passes = 99;
    const double nan = NAN;
    check_changed(p, 0, "DM", 2, "do not begin");
    check_changed(p, 8, &version, sizeof version, "version 3");
    check_changed(p, 12, &order, sizeof order, "byte order");
    for (int k = 0; k < 3; k++)
        check_changed(p, 16, &volumes[k], sizeof volumes[k], "not the size");
    check_changed(p, 24, &method, sizeof method, "method 7");
    check_changed(p, 28, &passes, sizeof passes, "piterations is 99");
    check_changed(p, 32, &nan, sizeof nan, "mdreg is NaN");
    check_changed(p, 40, &nan, sizeof nan, "min_signal is nan");
    check_changed(p, 56, &nan, sizeof nan, "volume 0");
}

/* Any change of a byte gives a model or a refusal. */
static void changed_bytes_never_crash(void **state)
{
    packed *p = *state;
    for (size_t at = 0; at < p->n; at += at < 64 ? 1 : 37) {
        dm_fwdti *model = NULL;
        p->bytes[at] ^= 0xff;
        const dm_status status = dm_fwdti_unpack(p->bytes, p->n, &model);
        p->bytes[at] ^= 0xff;
        assert_true((status == DM_OK) == (model != NULL));
        dm_fwdti_destroy(model);
    }
}

#define REFUSAL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REFUSAL(any_other_size_is_refused),
        REFUSAL(foreign_bytes_are_refused),
        REFUSAL(changed_bytes_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
