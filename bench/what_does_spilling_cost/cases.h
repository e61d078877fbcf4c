/*
 * cases.h - what every contestant does here: have TOTAL bytes out of its way, in parts of PART bytes, then get
 * them back, all of it checked. The figure is raw bytes per second, of what a program has; what reaches the
 * disk is params.stored.
 *
 * The data: signals as a scanner gives them (288 volumes of a voxel, float32 with integers in them), what a fit
 * makes of those (float32, fractions), noise, zeros.
 */
#ifndef BENCH_SPILLING_COST_CASES_H
#define BENCH_SPILLING_COST_CASES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench/support/signals.h"

static const char question[] = "what_does_spilling_cost";

enum { PART = 4 << 20, PARTS = 256 };

typedef struct spill_case {
    const char *out, *back;
    float (*value)(uint64_t *state, size_t i); /* NULL: zeros */
} spill_case;

static inline float case_fit(uint64_t *state, size_t i)
{
    return case_smooth(i) / 1531.0f + 0.01f * case_gauss(state);
}

static inline float case_noise(uint64_t *state, size_t i)
{
    uint32_t bits = (uint32_t)(case_random(state) >> 16);
    float value;
    (void)i;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static const spill_case cases[] = {
    {"signals, out", "signals, back", case_signal},
    {"a fit's results, out", "a fit's results, back", case_fit},
    {"noise, out", "noise, back", case_noise},
    {"zeros, out", "zeros, back", NULL},
};
enum { CASES = sizeof cases / sizeof *cases };

static inline void case_fill(const spill_case *of, void *to, size_t bytes)
{
    uint64_t state = 88172645463325252u;
    memset(to, 0, bytes);
    for (size_t i = 0; of->value && i < bytes / sizeof(float); i++) {
        float value = of->value(&state, i);
        memcpy((char *)to + i * sizeof value, &value, sizeof value);
    }
}

#endif
