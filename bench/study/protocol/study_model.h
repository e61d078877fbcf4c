/*
 * study_model.h - the two models of the study, fitted in each of the ways that are compared.
 */
#ifndef BENCH_STUDY_MODEL_H
#define BENCH_STUDY_MODEL_H

#include "bench/study/protocol/study_data.h"
#include "dm/fit.h"

typedef struct study_model {
    const char *name;  /* the study's: csdm, fwdtim */
    const char *title; /* for people */
    bool needs_response;
    size_t n_values;   /* of a voxel, in the map that is compared */
    /* Into a map of n_values volumes. `alone`: in the calling thread, without a session, and then no options. */
    dm_status (*fit)(const study_data *data, const dm_fit_options *options, bool alone, dm_volume *map,
                     dm_fit_report *report);
    /* The setup as flat bytes, for workers. */
    size_t (*packed_bytes)(const dm_gradients *gradients);
    dm_status (*pack)(const study_data *data, void *bytes, size_t n_bytes);
    const dm_function *mapped; /* by dm_map: the setup shared, items are signals, results n_values numbers */
} study_model;

enum { STUDY_MODELS = 2 };
extern const study_model study_models[STUDY_MODELS];

/* NULL: there is none of this name. */
const study_model *study_model_named(const char *name);

/* The setup of a model as flat bytes. Yours: free them. */
dm_status study_model_setup(const study_model *model, const study_data *data, void **bytes,
                            size_t *n_bytes) DM_NODISCARD;

/* CSD of a chunk, as a task that is given everything: setup (bytes), signals (n x volumes, double), and whether the
 * setup is a value shared by all tasks. Its value is n x coefficients. */
DM_REMOTE_DECLARE(study_csd_chunk);

/* The same fit by dm_map with its own chunks; `n_chunks` becomes how many it made. */
dm_status study_model_map(const study_model *model, const study_data *data, dm_volume *map,
                          size_t *n_chunks) DM_NODISCARD;

#endif
