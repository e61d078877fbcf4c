/*
 * fit_fwdti_command.c - dm fit fwdti: what the free-water fit adds to the options, files and figures
 * of every fit.
 */
#include <stdio.h>
#include <string.h>

#include "runtime/dm/fit_command.h"
#include "runtime/dm/fit_folder.h"

static const char help_text[] =
    "dm fit fwdti - a tensor beside free water (Pasternak 2009), in each voxel of a diffusion image\n"
    "\n"
    "Usage: dm fit fwdti --dwi FILE --bval FILE --bvec FILE --out DIR [OPTION...]\n"
    "\n"
    "The image needs at least three distinct b-values, b = 0 among them.\n"
    "\n"
    FIT_HELP_INPUT
    "\n"
    "Model\n"
    "  --method M            wls: the fraction of water by a grid search, the tensor by weighted\n"
    "                        linear least squares (Hoy 2014). nls: from there by non-linear least\n"
    "                        squares (nls)\n"
    "  --mdreg X             a mean diffusivity from X on is all water, mm2/s (2.7e-3)\n"
    "  --min-signal X        logarithms are taken of no less, and voxels not above it not fitted\n"
    "                        (1e-6)\n"
    "  --piterations N       grids, each ten times finer than the one before, 1 to 8 (3)\n"
    "  --cholesky            nls looks for the tensor's Cholesky factors, so that no eigenvalue is\n"
    "                        negative at any step (for its elements; negative ones become 0)\n"
    "  --no-f-transform      nls looks for the fraction itself, which may leave 0..1 (for an angle\n"
    "                        that keeps it there)\n"
    "\n"
    "Output\n"
    "  --out DIR             made if need be; gets\n"
    "                          fwdti_params.nii.gz  13 values: the tissue's eigenvalues, largest\n"
    "                                               first, in mm2/s; the 3 x 3 matrix of\n"
    "                                               eigenvectors by rows, column k of eigenvalue\n"
    "                                               k; the fraction of free water\n"
    "                          fwdti_f.nii.gz       that fraction\n"
    "                          fwdti_fa.nii.gz      fractional anisotropy of the tissue\n"
    "                          fwdti_md.nii.gz      its mean diffusivity, mm2/s\n"
    "                          fwdti_ad.nii.gz      axial: the first eigenvalue\n"
    "                          fwdti_rd.nii.gz      radial: the mean of the others\n"
    "                        with the affine and units of the input; 0 outside the mask\n"
    "  --float64             values in double precision (single)\n"
    FIT_HELP_FILES
    "\n"
    FIT_HELP_HOW;

/* ---- options ---- */

enum {
    OPT_METHOD = FIT_OWN_OPTION,
    OPT_MDREG,
    OPT_MIN_SIGNAL,
    OPT_PITERATIONS,
    OPT_CHOLESKY,
    OPT_NO_F_TRANSFORM
};

static const struct option own_options[] = {
    {"method", required_argument, NULL, OPT_METHOD},
    {"mdreg", required_argument, NULL, OPT_MDREG},
    {"min-signal", required_argument, NULL, OPT_MIN_SIGNAL},
    {"piterations", required_argument, NULL, OPT_PITERATIONS},
    {"cholesky", no_argument, NULL, OPT_CHOLESKY},
    {"no-f-transform", no_argument, NULL, OPT_NO_F_TRANSFORM},
    {0},
};

static int take(int option, const char *text, fit_request *r, void *own);
static int check(const fit_request *r, const void *own);
static dm_status fit(const fit_request *r, const void *own);

static const fit_command fwdti = {.as = &command_fwdti,
                                  .noun = "fwdti",
                                  .options = own_options,
                                  .take = take,
                                  .check = check,
                                  .fit = fit};

static int take_method(const char *text, dm_fwdti_settings *settings)
{
    settings->method = DM_FWDTI_NLS;
    if (strcmp(text, "wls") == 0)
        settings->method = DM_FWDTI_WLS;
    else if (strcmp(text, "nls") != 0)
        return fit_usage(&fwdti, "--method", text, "wls or nls");
    return DM_EXIT_OK;
}

static int take(int option, const char *text, fit_request *r, void *own)
{
    (void)r;
    dm_fwdti_settings *settings = own;
    long n;
    switch (option) {
    case OPT_METHOD: return take_method(text, settings);
    case OPT_CHOLESKY: settings->cholesky = true; break;
    case OPT_NO_F_TRANSFORM: settings->f_untransformed = true; break;
    case OPT_MDREG:
        if (!command_amount(text, &settings->mdreg))
            return fit_usage(&fwdti, "--mdreg", text, "a number from 0 on");
        break;
    case OPT_MIN_SIGNAL:
        if (!command_amount(text, &settings->min_signal) || settings->min_signal == 0)
            return fit_usage(&fwdti, "--min-signal", text, "a number above 0");
        break;
    default:
        if (!command_number(text, 1, DM_FWDTI_MOST_PITERATIONS, &n))
            return fit_usage(&fwdti, "--piterations", text, "a number from 1 to 8");
        settings->piterations = (int)n;
        break;
    }
    return DM_EXIT_OK;
}

static int check(const fit_request *r, const void *own)
{
    (void)r;
    const dm_fwdti_settings *settings = own;
    if (settings->method == DM_FWDTI_WLS && (settings->cholesky || settings->f_untransformed))
        return command_usage(fwdti.as,
                             "%s does not go with --method wls: it is of the non-linear fit",
                             settings->cholesky ? "--cholesky" : "--no-f-transform");
    return DM_EXIT_OK;
}

/* ---- outputs ---- */

enum { PARAMS, F, FA, MD, AD, RD, FILES };

static dm_status open_folder(const fit_request *r, const dm_grid *grid, fit_folder *folder)
{
    static const char *const names[FILES] = {
        [PARAMS] = "fwdti_params.nii.gz", [F] = "fwdti_f.nii.gz",   [FA] = "fwdti_fa.nii.gz",
        [MD] = "fwdti_md.nii.gz",         [AD] = "fwdti_ad.nii.gz", [RD] = "fwdti_rd.nii.gz"};
    *folder = (fit_folder){.n = FILES, .overwrite = r->force};
    for (int i = 0; i < FILES; i++)
        folder->files[i] = (fit_file){.name = names[i],
                                      .n_volumes = i == PARAMS ? DM_FWDTI_PARAMETERS : 1,
                                      .type = r->float64 ? DM_VOLUME_F64 : DM_VOLUME_F32};
    return fit_folder_open(folder, r->out, grid);
}

enum { BLOCK = 64 };

static dm_status take_block(fit_folder *folder, size_t n, const size_t *voxels,
                            const double *parameters)
{
    double values[FILES][BLOCK];
    const dm_fwdti_measures measures = {.f = values[F],
                                        .fa = values[FA],
                                        .md = values[MD],
                                        .ad = values[AD],
                                        .rd = values[RD]};
    dm_fwdti_measure(n, parameters, &measures);
    for (int i = 0; i < FILES; i++)
        DM_TRY(dm_map_file_put(folder->files[i].map, n, voxels,
                               i == PARAMS ? parameters : values[i]));
    return DM_OK;
}

static dm_status take_results(void *context, size_t n, const size_t *voxels,
                              const double *parameters, const double *evaluations)
{
    (void)evaluations;
    for (size_t first = 0; first < n; first += BLOCK)
        DM_TRY(take_block(context, n - first < BLOCK ? n - first : BLOCK, voxels + first,
                          parameters + first * DM_FWDTI_PARAMETERS));
    return DM_OK;
}

/* ---- what was done ---- */

static const char *method_name(const dm_fwdti_settings *settings)
{
    return settings->method == DM_FWDTI_WLS ? "wls" : "nls";
}

static dm_status write_figures(const fit_request *r, const dm_fwdti_settings *settings,
                               const fit_inputs *in, const dm_fit_report *report,
                               const fit_times *times, const dm_stats *session)
{
    figures *f = fit_figures_create(&fwdti, in, report, times, session);
    figures_text(f, "method", method_name(settings));
    if (settings->method == DM_FWDTI_NLS) {
        figures_flag(f, "cholesky", settings->cholesky);
        figures_flag(f, "f_transform", !settings->f_untransformed);
    }
    dm_status status = figures_write(f, r->json);
    figures_destroy(f);
    return status;
}

static dm_status tell(const fit_request *r, const dm_fwdti_settings *settings,
                      const fit_inputs *in, const fit_folder *folder, const dm_fit_report *report,
                      const fit_times *times)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    if (fit_prints(r)) {
        fit_print_summary(&fwdti, report, &session);
        printf("method: %s%s%s\n", method_name(settings),
               settings->cholesky ? ", Cholesky factors" : "",
               settings->f_untransformed ? ", f untransformed" : "");
        fit_print_nan(report);
        if (report->n_unconverged)
            printf("%zu voxels used all %d evaluations\n", report->n_unconverged,
                   DM_FWDTI_MAX_EVALUATIONS);
        fit_folder_print(folder);
    }
    return r->json ? write_figures(r, settings, in, report, times, &session) : DM_OK;
}

/* ---- the fit ---- */

/* Made here only to hear what it has to say, before anything is computed or written. */
static dm_status try_model(const fit_request *r, const dm_fwdti_settings *settings,
                           const fit_inputs *in)
{
    dm_fwdti *model;
    DM_TRY(fit_about(r->files.bval, dm_fwdti_create(settings, in->gradients, &model)));
    dm_fwdti_destroy(model);
    return DM_OK;
}

static dm_status fit_into(const fit_request *r, const dm_fwdti_settings *settings,
                          const fit_inputs *in, fit_folder *folder, fit_times *times)
{
    const dm_fwdti_maps maps = {.take = take_results, .context = folder};
    dm_fwdti_fit_input input = {
        .gradients = in->gradients, .settings = settings, .signals = in->signals};
    dm_fit_options options = r->cut;
    fit_progress progress;
    dm_fit_report report;
    fit_progress_begin(&progress, &fwdti, "fitting", "voxels", &options);
    dm_status status = dm_fit_fwdti(&input, &options, &maps, &report);
    times->fitting = fit_progress_end(&progress);
    DM_TRY(status);
    const double fitted = command_seconds();
    DM_TRY(fit_folder_finish(folder));
    DM_TRY(fit_check_stopped());
    DM_TRY(fit_folder_commit(folder));
    times->writing = command_seconds() - fitted;
    return tell(r, settings, in, folder, &report, times);
}

static dm_status fit_all(const fit_request *r, const dm_fwdti_settings *settings, fit_inputs *in,
                         fit_folder *folder)
{
    fit_times times = {0};
    DM_TRY(fit_inputs_read(&r->files, in));
    DM_TRY(try_model(r, settings, in));
    fit_listen_for_signals();
    DM_TRY(open_folder(r, &in->dwi->grid, folder));
    DM_TRY(fit_check_figures(r));
    DM_TRY(fit_read_signals(&fwdti, r, in, &times));
    return fit_into(r, settings, in, folder, &times);
}

static dm_status fit(const fit_request *r, const void *own)
{
    fit_inputs in = {0};
    fit_folder folder = {0};
    dm_status status = fit_all(r, own, &in, &folder);
    fit_folder_fini(&folder);
    fit_inputs_fini(&in);
    return status;
}

static int run(int argc, char **argv)
{
    dm_fwdti_settings settings = dm_fwdti_defaults();
    return fit_command_run(&fwdti, argc, argv, &settings);
}

const command command_fwdti = {
    .name = "fit fwdti",
    .summary = "a tensor beside free water",
    .help = help_text,
    .run = run,
};
