/*
 * fit_csd.c - a program of your own that fits CSD to an image on all cores.
 *
 *     cc fit_csd.c $(pkg-config --cflags --libs dmrt_models)
 *     ./a.out FOLDER        # with dwi.nii.gz, dwi.bval, dwi.bvec and mask.nii.gz in it
 *
 * Writes nothing: it prints the mean GFA. dm_volume_write would write the maps.
 */
#include <stdio.h>

#include <dm/dm.h>
#include <dm/fit.h>
#include <dm/models.h>

static const char *in_folder(const char *folder, const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static double mean_gfa(const dm_volume *gfa, const dm_mask *mask)
{
    double sum = 0;
    for (size_t i = 0; i < mask->n; i++) {
        double value;
        dm_volume_gather(gfa, 1, &mask->voxels[i], &value);
        sum += value;
    }
    return sum / (double)mask->n;
}

int main(int argc, char **argv)
{
    DM_TRY_MAIN(dm_init(NULL)); /* first: in the workers it does not return */
    if (argc != 2) {
        fprintf(stderr, "usage: fit_csd FOLDER\n");
        return 2;
    }

    dm_volume *dwi;
    dm_gradients *gradients;
    dm_mask *mask;
    dm_response response; /* of one fibre, from the image itself */
    DM_TRY_MAIN(dm_volume_read(in_folder(argv[1], "dwi.nii.gz"), &dwi));
    DM_TRY_MAIN(dm_gradients_read(in_folder(argv[1], "dwi.bval"), in_folder(argv[1], "dwi.bvec"),
                                  &gradients));
    DM_TRY_MAIN(dm_mask_read(in_folder(argv[1], "mask.nii.gz"), dwi, &mask));
    DM_TRY_MAIN(dm_response_auto_ssst(dwi, gradients, NULL, &response, NULL));

    dm_csd_settings settings = dm_csd_defaults();
    dm_csd_fit_input input = {.dwi = dwi,
                              .gradients = gradients,
                              .mask = mask,
                              .response = response,
                              .settings = &settings};
    dm_csd_maps maps = {0};
    dm_fit_report report;
    DM_TRY_MAIN(dm_volume_create(&dwi->grid, dm_sh_count(settings.lmax), DM_VOLUME_F32,
                                 &maps.coefficients));
    DM_TRY_MAIN(dm_volume_create(&dwi->grid, 1, DM_VOLUME_F32, &maps.gfa));
    DM_TRY_MAIN(dm_fit_csd(&input, NULL, &maps, &report));

    printf("%zu voxels in %zu tasks, mean GFA %.3f\n", report.n_voxels, report.n_chunks,
           mean_gfa(maps.gfa, mask));

    dm_volume_destroy(maps.coefficients);
    dm_volume_destroy(maps.gfa);
    dm_mask_destroy(mask);
    dm_gradients_destroy(gradients);
    dm_volume_destroy(dwi);
    dm_shutdown();
    return 0;
}
