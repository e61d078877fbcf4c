/*
 * fit_inputs.c - see fit_inputs.h. Reads and checks; does not fit and does not print.
 */
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dm/dm.h"
#include "runtime/dm/fit_inputs.h"

dm_status fit_about(const char *path, dm_status status)
{
    if (status == DM_OK || strstr(dm_last_error(), path))
        return status;
    char message[1024];
    snprintf(message, sizeof message, "%s", dm_last_error());
    return dmi_error(status, "%s: %s", path, message);
}

/* ---- the image and its gradients ---- */

static dm_status read_image(const fit_files *files, fit_inputs *in)
{
    DM_TRY(fit_about(files->dwi, dm_image_file_open(files->dwi, &in->file)));
    in->dwi = dm_image_file_header(in->file);
    const size_t *shape = in->dwi->grid.shape;
    if (in->dwi->n_volumes == 1)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: a single volume of %zu x %zu x %zu voxels was found; a diffusion "
                         "image has four dimensions, the last one counting the weighted volumes",
                         files->dwi, shape[0], shape[1], shape[2]);
    return DM_OK;
}

static dm_status read_gradients(const fit_files *files, fit_inputs *in)
{
    dm_status status = dm_gradients_read(files->bval, files->bvec, &in->gradients);
    if (status != DM_OK)
        return strstr(dm_last_error(), files->bval) ? status : fit_about(files->bvec, status);
    if (in->gradients->n_volumes == in->dwi->n_volumes)
        return DM_OK;
    return dmi_error(DM_ERR_FORMAT,
                     "%s: %zu b-values were found; %s has %zu volumes, so as many were expected",
                     files->bval, in->gradients->n_volumes, files->dwi, in->dwi->n_volumes);
}

/* ---- a choice of volumes ---- */

typedef struct volume_list {
    size_t n, capacity;
    size_t *volumes;
} volume_list;

static dm_status list_add(volume_list *list, size_t volume)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        size_t *grown = realloc(list->volumes, capacity * sizeof *grown);
        if (!grown)
            return dmi_error(DM_ERR_NOMEM, "no memory for a list of %zu volumes", capacity);
        list->volumes = grown;
        list->capacity = capacity;
    }
    list->volumes[list->n++] = volume;
    return DM_OK;
}

/* One "7" or "7-66" of the list, from `text` on; `*end` becomes what follows. */
static dm_status list_add_range(volume_list *list, const char *text, char **end, size_t n_volumes,
                                const char *source)
{
    unsigned long first = strtoul(text, end, 10), last = first;
    bool good = isdigit((unsigned char)*text);
    if (good && **end == '-') {
        text = *end + 1;
        good = isdigit((unsigned char)*text);
        last = strtoul(text, end, 10);
    }
    if (!good)
        return dmi_error(DM_ERR_FORMAT, "%s: '%.20s' was found where a volume (7) or a range of "
                         "them (7-66) was expected", source, text);
    if (last >= n_volumes || first > last)
        return dmi_error(DM_ERR_FORMAT, "%s: the volumes %lu-%lu were asked for; the image has "
                         "volumes 0 to %zu", source, first, last, n_volumes - 1);
    for (size_t volume = first; volume <= last; volume++)
        DM_TRY(list_add(list, volume));
    return DM_OK;
}

static dm_status parse_list(const char *text, const char *source, size_t n_volumes,
                            volume_list *list)
{
    for (;;) {
        while (*text == ',' || isspace((unsigned char)*text))
            text++;
        if (!*text)
            break;
        char *end;
        DM_TRY(list_add_range(list, text, &end, n_volumes, source));
        text = end;
    }
    if (list->n == 0)
        return dmi_error(DM_ERR_FORMAT, "%s: no volume was found; a list like 0,7-66 was expected",
                         source);
    return DM_OK;
}

static dm_status read_text(const char *path, char **text)
{
    enum { MOST = 1 << 20 }; /* a list of volumes is never so long */
    FILE *file = fopen(path, "r");
    char *bytes = file ? calloc(1, MOST + 1) : NULL;
    size_t n = bytes ? fread(bytes, 1, MOST, file) : 0;
    int reason = errno;
    bool failed = !file || !bytes || ferror(file);
    if (file)
        fclose(file);
    if (failed || memchr(bytes, 0, n)) {
        bool binary = !failed;
        free(bytes);
        return dmi_error(DM_ERR_IO, "%s: %s; a text file with a list of volumes was expected", path,
                         binary ? "binary data was found" : strerror(reason));
    }
    *text = bytes;
    return DM_OK;
}

static dm_status read_list(const char *volumes, size_t n_volumes, volume_list *list)
{
    if (strspn(volumes, "0123456789,- ") == strlen(volumes))
        return parse_list(volumes, "--volumes", n_volumes, list);
    char *text = NULL;
    DM_TRY(read_text(volumes, &text));
    dm_status status = parse_list(text, volumes, n_volumes, list);
    free(text);
    return status;
}

static dm_status select_listed(const volume_list *list, fit_inputs *in)
{
    dm_gradients *gradients;
    DM_TRY(dm_gradients_select(in->gradients, list->n, list->volumes, &gradients));
    dm_gradients_destroy(in->gradients);
    in->gradients = gradients;
    return dm_image_file_select(in->file, list->n, list->volumes);
}

static dm_status select_volumes(const fit_files *files, fit_inputs *in)
{
    volume_list list = {0};
    if (!files->volumes)
        return DM_OK;
    dm_status status = read_list(files->volumes, in->dwi->n_volumes, &list);
    if (status == DM_OK)
        status = fit_about(files->volumes, select_listed(&list, in));
    free(list.volumes);
    return status;
}

/* ---- a choice of shells ---- */

enum { MOST_SHELLS = 32 };

static dm_status parse_shells(const char *text, double shells[MOST_SHELLS], size_t *n)
{
    for (*n = 0; *n < MOST_SHELLS;) {
        char *end;
        shells[(*n)++] = strtod(text, &end);
        bool good = end != text && shells[*n - 1] >= 0 && shells[*n - 1] <= DBL_MAX;
        if (good && !*end)
            return DM_OK;
        if (!good || *end != ',')
            break;
        text = end + 1;
    }
    return dmi_error(DM_ERR_FORMAT, "--shells: '%.20s' was found where a b-value was expected; a "
                     "list like 0,2000 of at most %d", text, MOST_SHELLS);
}

static dm_status select_shells(const fit_files *files, fit_inputs *in)
{
    double shells[MOST_SHELLS];
    size_t n;
    if (!files->shells)
        return DM_OK;
    DM_TRY(parse_shells(files->shells, shells, &n));
    volume_list list = {0, in->dwi->n_volumes, calloc(in->dwi->n_volumes, sizeof *list.volumes)};
    if (!list.volumes)
        return dmi_error(DM_ERR_NOMEM, "no memory for a list of volumes");
    dm_status status =
        fit_about(files->bval, dm_gradients_shells(in->gradients, n, shells, list.volumes, &list.n));
    if (status == DM_OK)
        status = fit_about("--shells", select_listed(&list, in));
    free(list.volumes);
    return status;
}

static dm_status check_directions(const fit_files *files, const fit_inputs *in)
{
    if (in->gradients->n_dwi >= FIT_MIN_DWI)
        return DM_OK;
    return dmi_error(DM_ERR_FORMAT,
                     "%s: %zu weighted volumes (b > %g) were found among the %zu to be used; at "
                     "least %d directions were expected",
                     files->bval, in->gradients->n_dwi, DM_B0_THRESHOLD, in->gradients->n_volumes,
                     FIT_MIN_DWI);
}

/* ---- mask and response ---- */

static dm_status read_mask(const fit_files *files, fit_inputs *in)
{
    if (!files->mask)
        return dm_mask_all(in->dwi, &in->mask);
    DM_TRY(fit_about(files->mask, dm_mask_read(files->mask, in->dwi, &in->mask)));
    if (in->mask->n == 0)
        return dmi_error(DM_ERR_FORMAT, "%s: no voxel above 0 was found; at least one was expected",
                         files->mask);
    return DM_OK;
}

static dm_response_settings response_settings(const fit_files *files)
{
    dm_response_settings settings = dm_response_defaults();
    if (files->fa_threshold > 0)
        settings.fa_threshold = files->fa_threshold;
    return settings;
}

static dm_status read_response_mask(const fit_files *files, fit_inputs *in)
{
    const char *path = files->response_mask;
    DM_TRY(fit_about(path, dm_mask_read(path, in->dwi, &in->response_mask)));
    if (in->response_mask->n == 0)
        return dmi_error(DM_ERR_FORMAT, "%s: no voxel above 0 was found; at least one was expected",
                         path);
    return DM_OK;
}

dm_status fit_inputs_choose_response(const fit_files *files, fit_inputs *in)
{
    if (files->response_mask)
        return read_response_mask(files, in);
    if (files->response && strcmp(files->response, "auto") != 0)
        return fit_about(files->response, dm_response_read(files->response, &in->response));
    const dm_response_settings settings = response_settings(files);
    return fit_about(files->dwi, dm_response_box(in->dwi, &settings, &in->response_mask));
}

dm_status fit_inputs_find_response(const fit_files *files, fit_inputs *in)
{
    if (!in->response_mask)
        return DM_OK;
    const dm_response_settings settings = response_settings(files);
    const char *about = files->response_mask ? files->response_mask : files->dwi;
    dm_status status = dm_response_from_signals(in->response_signals, in->gradients,
                                                files->response_mask ? NULL : &settings,
                                                &in->response, &in->n_response);
    dm_signals_destroy(in->response_signals);
    in->response_signals = NULL;
    return fit_about(about, status);
}

dm_status fit_inputs_read_signals(const fit_files *files, fit_inputs *in,
                                  const dm_fit_options *options)
{
    const dm_mask *masks[2] = {in->mask, in->response_mask};
    dm_signals *signals[2] = {NULL, NULL};
    DM_TRY(fit_about(files->dwi, dm_signals_read(in->file, in->response_mask ? 2 : 1, masks,
                                                 options, signals)));
    in->signals = signals[0];
    in->response_signals = signals[1];
    return DM_OK;
}

dm_status fit_inputs_read(const fit_files *files, fit_inputs *inputs)
{
    *inputs = (fit_inputs){0};
    DM_TRY(read_image(files, inputs));
    DM_TRY(read_gradients(files, inputs));
    DM_TRY(select_volumes(files, inputs));
    DM_TRY(select_shells(files, inputs));
    DM_TRY(check_directions(files, inputs));
    return read_mask(files, inputs);
}

void fit_inputs_fini(fit_inputs *inputs)
{
    dm_signals_destroy(inputs->signals);
    dm_signals_destroy(inputs->response_signals);
    dm_image_file_close(inputs->file);
    dm_gradients_destroy(inputs->gradients);
    dm_mask_destroy(inputs->mask);
    dm_mask_destroy(inputs->response_mask);
    *inputs = (fit_inputs){0};
}
