/*
 * test_models_golden.h - one set of golden data in memory, for the tests of the fits.
 *
 * Any file that cannot be read ends the test with the library's own sentence.
 */
#ifndef DM_TEST_MODELS_GOLDEN_H
#define DM_TEST_MODELS_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dm/models.h"
#include "models/isa.h"
#include "models/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define assert_dm_ok(call)                                                                         \
    do {                                                                                           \
        const dm_status found_ = (call);                                                           \
        if (found_ != DM_OK)                                                                       \
            fail_msg("%s: %s: %s", #call, dm_status_name(found_), dm_last_error());                \
    } while (0)

/* The call fails with `status`, and its sentence has `words` in it. */
#define assert_dm_error(call, status, words)                                                       \
    do {                                                                                           \
        const dm_status found_ = (call);                                                           \
        if (found_ != (status))                                                                    \
            fail_msg("%s: %s instead of %s", #call, dm_status_name(found_),                        \
                     dm_status_name(status));                                                      \
        if (!strstr(dm_last_error(), (words)))                                                     \
            fail_msg("%s: \"%s\" says nothing of \"%s\"", #call, dm_last_error(), (words));        \
    } while (0)

__attribute__((unused)) static const char *const golden_names[] = {"s64", "s101", "hcpsim_s"};
enum { GOLDEN_SETS = sizeof golden_names / sizeof *golden_names, GOLDEN_COEFFICIENTS = 45 };

typedef struct golden {
    char name[32];
    dm_gradients *gradients;
    dm_volume *dwi;
    dm_mask *mask;
    dm_response response; /* zeros in a set without CSD */
    size_t n;        /* voxels in the mask */
    double *signals; /* n x n_volumes */
} golden;

/* The path of a file of a set; good until the fourth next call. */
static inline const char *golden_path(const char *set, const char *file)
{
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s/%s", DM_TEST_DATA, set, file);
    return path;
}

static inline void *golden_alloc(size_t n, size_t bytes)
{
    void *memory = calloc(n, bytes);
    assert_non_null(memory);
    return memory;
}

static inline golden golden_open(const char *name)
{
    golden g = {0};
    snprintf(g.name, sizeof g.name, "%s", name);
    assert_dm_ok(dm_gradients_read(golden_path(name, "dwi.bval"), golden_path(name, "dwi.bvec"),
                                   &g.gradients));
    assert_dm_ok(dm_dwi_read(golden_path(name, "dwi.nii.gz"), g.gradients, &g.dwi));
    assert_dm_ok(dm_mask_read(golden_path(name, "mask.nii.gz"), g.dwi, &g.mask));
    if (access(golden_path(name, "response.txt"), F_OK) == 0)
        assert_dm_ok(dm_response_read(golden_path(name, "response.txt"), &g.response));
    g.n = g.mask->n;
    g.signals = golden_alloc(g.n * g.dwi->n_volumes, sizeof(double));
    dm_volume_gather(g.dwi, g.n, g.mask->voxels, g.signals);
    return g;
}

static inline void golden_close(golden *g)
{
    dm_gradients_destroy(g->gradients);
    dm_volume_destroy(g->dwi);
    dm_mask_destroy(g->mask);
    free(g->signals);
}

/* The values of an image of the set inside its mask, n x `width`. Yours: free. */
static inline double *golden_values(const golden *g, const char *file, size_t width)
{
    dm_volume *image = NULL;
    assert_dm_ok(dm_volume_read(golden_path(g->name, file), &image));
    assert_int_equal(image->n_voxels, g->dwi->n_voxels);
    assert_int_equal(image->n_volumes, width);
    double *values = golden_alloc(g->n * width, sizeof *values);
    dm_volume_gather(image, g->n, g->mask->voxels, values);
    dm_volume_destroy(image);
    return values;
}

/* The model of the set, from DIPY's response, and a workspace. */
static inline void golden_model(const golden *g, dm_csd **model, dm_csd_workspace **workspace)
{
    assert_dm_ok(dm_csd_create(NULL, g->gradients, &g->response, model));
    assert_dm_ok(dm_csd_workspace_create(*model, workspace));
}

/* Runs a group of tests with each kind of kernel that this processor can run. Returns how many
 * failed. */
static inline int golden_on_every_isa(int (*group)(void))
{
    int failed = 0;
    unsetenv("DM_ISA");
    const dmi_isa best = dmi_isa_best();
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best; isa++) {
        print_message("DM_ISA=%s\n", dmi_isa_name(isa));
        setenv("DM_ISA", dmi_isa_name(isa), 1);
        failed += group();
    }
    unsetenv("DM_ISA");
    return failed;
}

/* Tests that write do it in a directory of their own: these two are a group's setup and teardown.
 * The teardown fails if the test left more there than it removed. */
__attribute__((unused)) static char own_directory[] = "/tmp/dmrt-test-models-XXXXXX";

static inline int enter_own_directory(void **state)
{
    (void)state;
    return mkdtemp(own_directory) && chdir(own_directory) == 0 ? 0 : -1;
}

static inline int leave_own_directory(void **state)
{
    (void)state;
    return chdir("/") == 0 && rmdir(own_directory) == 0 ? 0 : -1;
}

static inline void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

#endif
