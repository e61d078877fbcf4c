/*
 * study_model.c - see study_model.h. Numerics are models/'s; here is only who calls them.
 */
#include "bench/study/protocol/study_model.h"

#include <stdlib.h>
#include <string.h>

/* ---- as dm fit does it ---- */

static dm_status fit_csd(const study_data *data, const dm_fit_options *options, bool alone, dm_volume *map,
                         dm_fit_report *report)
{
    const dm_csd_fit_input input = {.dwi = data->dwi,
                                    .gradients = data->gradients,
                                    .mask = data->mask,
                                    .response = data->response};
    const dm_csd_maps maps = {.coefficients = map};
    return alone ? dm_fit_csd_alone(&input, &maps, report) : dm_fit_csd(&input, options, &maps, report);
}

static dm_status fit_fwdti(const study_data *data, const dm_fit_options *options, bool alone, dm_volume *map,
                           dm_fit_report *report)
{
    const dm_fwdti_fit_input input = {.dwi = data->dwi, .gradients = data->gradients, .mask = data->mask};
    const dm_fwdti_maps maps = {.parameters = map};
    return alone ? dm_fit_fwdti_alone(&input, &maps, report) : dm_fit_fwdti(&input, options, &maps, report);
}

static dm_status pack_csd(const study_data *data, void *bytes, size_t n_bytes)
{
    const dm_csd_settings settings = dm_csd_defaults();
    return dm_csd_pack(&settings, data->gradients, &data->response, bytes, n_bytes);
}

static dm_status pack_fwdti(const study_data *data, void *bytes, size_t n_bytes)
{
    const dm_fwdti_settings settings = dm_fwdti_defaults();
    return dm_fwdti_pack(&settings, data->gradients, bytes, n_bytes);
}

/* ---- by dm_map, as a program would that knows only the models ---- */

typedef struct csd_fitter {
    dm_csd *model;
    dm_csd_workspace *workspace;
} csd_fitter;

static void csd_destroy(void *made)
{
    csd_fitter *fitter = made;
    dm_csd_workspace_destroy(fitter->workspace);
    dm_csd_destroy(fitter->model);
    free(fitter);
}

static dm_status csd_build(const dm_view *setup, void **made)
{
    csd_fitter *fitter = calloc(1, sizeof *fitter);
    if (fitter == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a fitter");
    dm_status status = dm_csd_unpack(setup->data, setup->bytes, &fitter->model);
    if (status == DM_OK)
        status = dm_csd_workspace_create(fitter->model, &fitter->workspace);
    if (status != DM_OK)
        csd_destroy(fitter);
    else
        *made = fitter;
    return status;
}

DM_MAP(study_csd)
{
    void *made;
    const double *signals;
    double *coefficients;
    DM_TRY(dm_local(call, 0, csd_build, csd_destroy, &made));
    DM_TRY(dm_range_items(range, &signals));
    DM_TRY(dm_range_results(range, &coefficients));
    const csd_fitter *fitter = made;
    return dm_csd_fit(fitter->model, fitter->workspace, range->n, signals, coefficients, NULL);
}

/* A task that was given everything it needs: setup, signals (n x volumes), and whether the setup is shared by all. */
DM_REMOTE(study_csd_chunk)
{
    dm_view setup, signals;
    dm_buffer coefficients = {0};
    bool shared;
    void *made;
    DM_TRY(dm_arg(call, 0, &setup));
    DM_TRY(dm_arg(call, 1, &signals));
    DM_TRY(dm_arg(call, 2, &shared));
    DM_TRY(shared ? dm_local(call, 0, csd_build, csd_destroy, &made) : csd_build(&setup, &made));
    const csd_fitter *fitter = made;
    const size_t shape[2] = {signals.shape[0], dm_csd_n_coefficients(fitter->model)};
    dm_status status = dm_create(DM_F64, 2, shape, &coefficients);
    if (status == DM_OK)
        status = dm_csd_fit(fitter->model, fitter->workspace, shape[0], signals.data, coefficients.data, NULL);
    if (!shared)
        csd_destroy(made);
    if (status == DM_OK)
        return dm_return(call, &coefficients);
    dm_abandon(&coefficients);
    return status;
}

typedef struct fwdti_fitter {
    dm_fwdti *model;
    dm_fwdti_workspace *workspace;
} fwdti_fitter;

static void fwdti_destroy(void *made)
{
    fwdti_fitter *fitter = made;
    dm_fwdti_workspace_destroy(fitter->workspace);
    dm_fwdti_destroy(fitter->model);
    free(fitter);
}

static dm_status fwdti_build(const dm_view *setup, void **made)
{
    fwdti_fitter *fitter = calloc(1, sizeof *fitter);
    if (fitter == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a fitter");
    dm_status status = dm_fwdti_unpack(setup->data, setup->bytes, &fitter->model);
    if (status == DM_OK)
        status = dm_fwdti_workspace_create(fitter->model, &fitter->workspace);
    if (status != DM_OK)
        fwdti_destroy(fitter);
    else
        *made = fitter;
    return status;
}

DM_MAP(study_fwdti)
{
    void *made;
    const double *signals;
    double *parameters;
    DM_TRY(dm_local(call, 0, fwdti_build, fwdti_destroy, &made));
    DM_TRY(dm_range_items(range, &signals));
    DM_TRY(dm_range_results(range, &parameters));
    const fwdti_fitter *fitter = made;
    return dm_fwdti_fit(fitter->model, fitter->workspace, range->n, signals, parameters, NULL);
}

/* The driver's side of the map. */
typedef struct mapping {
    const study_data *data;
    dm_volume *map;
    size_t n_chunks;
} mapping;

static dm_status fill_signals(void *context, size_t first, size_t n, void *items)
{
    const mapping *m = context;
    dm_volume_gather(m->data->dwi, n, m->data->mask->voxels + first, items);
    return DM_OK;
}

static dm_status gather_values(void *context, size_t first, size_t n, dm_ref value)
{
    mapping *m = context;
    dm_view values;
    DM_TRY(dm_get(value, &values));
    dm_status status = values.bytes == n * m->map->n_volumes * sizeof(double)
                           ? DM_OK
                           : dmi_error(DM_ERR_TYPE, "%zu voxels came back as %zu bytes", n, values.bytes);
    if (status == DM_OK)
        dm_volume_scatter(m->map, n, m->data->mask->voxels + first, values.data);
    m->n_chunks++;
    dm_view_release(&values);
    return status;
}

dm_status study_model_setup(const study_model *model, const study_data *data, void **bytes, size_t *n_bytes)
{
    *n_bytes = model->packed_bytes(data->gradients);
    *bytes = malloc(*n_bytes);
    if (*bytes == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a setup of %zu bytes", *n_bytes);
    const dm_status status = model->pack(data, *bytes, *n_bytes);
    if (status != DM_OK)
        free(*bytes);
    return status;
}

static dm_status put_setup(const study_model *model, const study_data *data, dm_ref *setup)
{
    void *bytes;
    size_t n_bytes;
    DM_TRY(study_model_setup(model, data, &bytes, &n_bytes));
    *setup = dm_put(&DM_BYTES(bytes, n_bytes));
    free(bytes);
    return dm_get(*setup, (void *)0);
}

dm_status study_model_map(const study_model *model, const study_data *data, dm_volume *map, size_t *n_chunks)
{
    mapping m = {.data = data, .map = map};
    const dm_map_options options = {.context = &m, .fill = fill_signals, .gather = gather_values};
    const dm_array signals = {.dtype = DM_F64, .ndim = 2, .shape = {data->mask->n, data->dwi->n_volumes}};
    const dm_results results = {NULL, DM_F64, model->n_values};
    dm_ref setup = DM_NO_REF;
    dm_status status = put_setup(model, data, &setup);
    if (status == DM_OK)
        status = dm_map_over(model->mapped, &options, dm_value_of(&signals), results,
                             (const dm_value[]){dm_value_of(setup)}, 1);
    if (setup.id != DM_NO_REF.id)
        (void)dm_release(setup);
    *n_chunks = m.n_chunks;
    return status;
}

/* ---- the two ---- */

const study_model study_models[STUDY_MODELS] = {
    {"csdm", "CSD", true, 45, fit_csd, dm_csd_packed_bytes, pack_csd, &study_csd},
    {"fwdtim", "free water", false, DM_FWDTI_PARAMETERS, fit_fwdti, dm_fwdti_packed_bytes, pack_fwdti, &study_fwdti},
};

const study_model *study_model_named(const char *name)
{
    for (int i = 0; i < STUDY_MODELS; i++)
        if (strcmp(study_models[i].name, name) == 0)
            return &study_models[i];
    return NULL;
}
