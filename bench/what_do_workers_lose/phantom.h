/*
 * phantom.h - what is fitted here: a phantom in memory, by both models; and where results go.
 *
 * Small crops are fitted in some milliseconds, where a moment of waking counts as much as a chunk.
 * This one takes more than a second alone.
 */
#ifndef BENCH_LOSE_PHANTOM_H
#define BENCH_LOSE_PHANTOM_H

#include <dm/fit.h>

#include "bench/support/session.h"

enum { SIDE = 32, SLICES = 40, LMAX = 8 };

typedef enum { CSD, FREE_WATER, MODELS } which_model;
static const char *const model_names[MODELS] = {[CSD] = "csd", [FREE_WATER] = "free water nls"};

typedef struct phantom {
    dm_gradients *gradients;
    dm_volume *dwi;
    dm_mask *mask;
} phantom;

static const dm_response response = {{1.7e-3, 3e-4, 3e-4}, 1000};

/* Both models' maps: what a voxel results in, and a count. */
typedef struct maps {
    dm_volume *values, *counts;
} maps;

static inline phantom phantom_make(const char *scheme, size_t slices)
{
    enum { AT_ONCE = 256 };
    char bval[4096], bvec[4096];
    phantom p = {0};
    dm_phantom_settings settings = dm_phantom_defaults();
    dm_grid grid = {.shape = {SIDE, SIDE, slices}, .pixdim = {1, 1, 1, 1}};
    snprintf(bval, sizeof bval, "%s.bval", scheme);
    snprintf(bvec, sizeof bvec, "%s.bvec", scheme);
    BENCH_TRY(dm_gradients_read(bval, bvec, &p.gradients));
    memcpy(settings.shape, grid.shape, sizeof settings.shape);
    BENCH_TRY(dm_volume_create(&grid, p.gradients->n_volumes, DM_VOLUME_I16, &p.dwi));
    double *signals = calloc(AT_ONCE * p.gradients->n_volumes, sizeof *signals);
    bench_expect(1, signals != NULL, "memory for signals");
    for (size_t first = 0; first < p.dwi->n_voxels; first += AT_ONCE) {
        size_t voxels[AT_ONCE], n = 0;
        for (; n < AT_ONCE && first + n < p.dwi->n_voxels; n++)
            voxels[n] = first + n;
        dm_phantom_signals(&settings, p.gradients, n, voxels, signals);
        dm_volume_scatter(p.dwi, n, voxels, signals);
    }
    free(signals);
    BENCH_TRY(dm_mask_all(p.dwi, &p.mask));
    return p;
}

static inline void phantom_end(phantom *p)
{
    dm_mask_destroy(p->mask);
    dm_volume_destroy(p->dwi);
    dm_gradients_destroy(p->gradients);
}

static inline size_t n_values(which_model model)
{
    return model == CSD ? dm_sh_count(LMAX) : DM_FWDTI_PARAMETERS;
}

static inline maps maps_make(const phantom *p, which_model model)
{
    maps m;
    BENCH_TRY(dm_volume_create(&p->dwi->grid, n_values(model), DM_VOLUME_F64, &m.values));
    BENCH_TRY(dm_volume_create(&p->dwi->grid, 1, DM_VOLUME_F64, &m.counts));
    return m;
}

static inline void maps_end(maps *m)
{
    dm_volume_destroy(m->values);
    dm_volume_destroy(m->counts);
}

/* So that a voxel which nobody fits does not keep the right answer of the fit before. */
static inline void maps_spoil(const maps *m)
{
    memset(m->values->data, 0xff, m->values->n_voxels * m->values->n_volumes * sizeof(double));
    memset(m->counts->data, 0xff, m->counts->n_voxels * sizeof(double));
}

/* FNV-1a by words of 8 bytes, as many as a JSON number holds. */
static inline uint64_t maps_answer(const maps *m)
{
    uint64_t of = UINT64_C(14695981039346656037);
    const dm_volume *both[] = {m->values, m->counts};
    for (int k = 0; k < 2; k++) {
        const uint64_t *words = both[k]->data;
        for (size_t i = 0; i < both[k]->n_voxels * both[k]->n_volumes; i++)
            of = (of ^ words[i]) * UINT64_C(1099511628211);
    }
    return of >> 16;
}

#endif
