/*
 * Both fits by tasks give the bits of the fit alone with the sums of every kind of processor that this
 * one can play: chunks of 1, 7, 112 and 4096 voxels, 1 to 3 workers, all engines. And the kinds differ
 * in their last digits, so a worker that took another kind than the driver would be seen.
 *
 * This program is driver and worker: main begins with dm_init, from which a worker does not return.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dm/dm.h"
#include "dm/fit.h"
#include "models/isa.h"

enum { VOXELS = 120, MOST_VALUES = 45 }; /* two chunks of 112, of which one is short */

typedef enum { CSD, FREE_WATER, MODELS } which_model;
static const size_t n_values[MODELS] = {[CSD] = 45, [FREE_WATER] = DM_FWDTI_PARAMETERS};

typedef struct brain {
    dm_volume *dwi;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_response response;
} brain;

/* What is compared: the values of each voxel of the mask, and its count. */
typedef struct result {
    double values[VOXELS * MOST_VALUES], counts[VOXELS];
} result;

static void assert_ok(dm_status status)
{
    if (status != DM_OK)
        fail_msg("%s: %s", dm_status_name(status), dm_last_error());
}

#define SET DM_TEST_DATA "/s101/"

static brain brain_read(void)
{
    brain b;
    assert_ok(dm_volume_read(SET "dwi.nii.gz", &b.dwi));
    assert_ok(dm_gradients_read(SET "dwi.bval", SET "dwi.bvec", &b.gradients));
    assert_ok(dm_mask_read(SET "mask.nii.gz", b.dwi, &b.mask));
    assert_ok(dm_response_read(SET "response.txt", &b.response));
    assert_true(b.mask->n >= VOXELS);
    b.mask->n = VOXELS;
    return b;
}

static void brain_destroy(brain *b)
{
    dm_mask_destroy(b->mask);
    dm_gradients_destroy(b->gradients);
    dm_volume_destroy(b->dwi);
}

/* `options` NULL: alone. Returns the number of chunks. */
static size_t fit(const brain *b, which_model model, const dm_fit_options *options, result *to)
{
    dm_volume *values, *counts;
    dm_fit_report report;
    assert_ok(dm_volume_create(&b->dwi->grid, n_values[model], DM_VOLUME_F64, &values));
    assert_ok(dm_volume_create(&b->dwi->grid, 1, DM_VOLUME_F64, &counts));
    const dm_csd_fit_input csd = {
        .dwi = b->dwi, .gradients = b->gradients, .mask = b->mask, .response = b->response};
    const dm_fwdti_fit_input water = {.dwi = b->dwi, .gradients = b->gradients, .mask = b->mask};
    const dm_csd_maps csd_maps = {.coefficients = values, .iterations = counts};
    const dm_fwdti_maps water_maps = {.parameters = values, .evaluations = counts};
    if (model == CSD)
        assert_ok(options ? dm_fit_csd(&csd, options, &csd_maps, &report)
                          : dm_fit_csd_alone(&csd, &csd_maps, &report));
    else
        assert_ok(options ? dm_fit_fwdti(&water, options, &water_maps, &report)
                          : dm_fit_fwdti_alone(&water, &water_maps, &report));
    memset(to, 0, sizeof *to);
    dm_volume_gather(values, VOXELS, b->mask->voxels, to->values);
    dm_volume_gather(counts, VOXELS, b->mask->voxels, to->counts);
    dm_volume_destroy(values);
    dm_volume_destroy(counts);
    return report.n_chunks;
}

static void check_session(const brain *b, dm_engine engine, int workers, const result *alone)
{
    static const size_t chunks[] = {1, 7, 112, 4096};
    static result found;
    assert_ok(dm_init(&(dm_options){.engine = engine, .workers = workers}));
    for (int model = 0; model < MODELS; model++)
        for (int k = 0; k < 4; k++) {
            const dm_fit_options cut = {.voxels_per_chunk = chunks[k]};
            assert_int_equal(fit(b, (which_model)model, &cut, &found),
                             (VOXELS + chunks[k] - 1) / chunks[k]);
            assert_memory_equal(&found, &alone[model], sizeof found);
        }
    dm_shutdown();
}

static void check_isa(dmi_isa isa, result *alone)
{
    brain b = brain_read();
    assert_int_equal(setenv("DM_ISA", dmi_isa_name(isa), 1), 0);
    assert_int_equal(dmi_isa_best(), isa);
    for (int model = 0; model < MODELS; model++)
        assert_int_equal(fit(&b, (which_model)model, NULL, &alone[model]), 0);
    check_session(&b, DM_ENGINE_SERIAL, 1, alone);
    for (int workers = 1; workers <= 3; workers++) {
        check_session(&b, DM_ENGINE_THREADS, workers, alone);
        check_session(&b, DM_ENGINE_PROCESSES, workers, alone);
    }
    unsetenv("DM_ISA");
    brain_destroy(&b);
}

static void bits_depend_on_the_isa_alone(void **state)
{
    (void)state;
    static result alone[DMI_ISA_AVX512 + 1][MODELS];
    unsetenv("DM_ISA");
    const dmi_isa best = dmi_isa_best();
    for (dmi_isa isa = DMI_ISA_PLAIN; isa <= best; isa++) {
        check_isa(isa, alone[isa]);
        print_message("%s: the same bits\n", dmi_isa_name(isa));
        for (int model = 0; model < MODELS && isa > DMI_ISA_PLAIN; model++)
            assert_memory_not_equal(&alone[isa][model], &alone[isa - 1][model],
                                    sizeof alone[isa][model]);
    }
}

int main(void)
{
    DM_TRY_MAIN(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    dm_shutdown();
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits_depend_on_the_isa_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
