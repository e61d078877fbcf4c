/*
 * fit_free_water.c - the free-water fit on arrays in memory, with no files and no workers.
 *
 *     cc fit_free_water.c $(pkg-config --cflags --libs dmrt_models) -lm
 *     ./a.out
 *
 * Makes the signals of voxels with more and more water, fits them, and prints what was put in and what
 * came out. A program with threads of its own would give each a workspace; the model is shared.
 */
#include <math.h>
#include <stdio.h>

#include <dm/models.h>

enum { SHELLS = 2, DIRECTIONS = 30, VOLUMES = 1 + SHELLS * DIRECTIONS, VOXELS = 4 };

/* One b0, then two shells; directions on a spiral over the sphere. */
static void make_scheme(double *b, dm_vector *g)
{
    b[0] = 0;
    for (int i = 1; i < VOLUMES; i++) {
        const double z = 1 - 2 * ((i - 1) % DIRECTIONS + 0.5) / DIRECTIONS, around = 2.4 * i;
        b[i] = i <= DIRECTIONS ? 500 : 1500;
        g[i][0] = sqrt(1 - z * z) * cos(around);
        g[i][1] = sqrt(1 - z * z) * sin(around);
        g[i][2] = z;
    }
}

/* A fibre along z with this much free water, S0 = 1000. */
static double signal(double f, double b, const double *g)
{
    const double across = 3e-4, along = 1.7e-3;
    const double tissue = across * (g[0] * g[0] + g[1] * g[1]) + along * g[2] * g[2];
    return 1000 * ((1 - f) * exp(-b * tissue) + f * exp(-b * DM_FREE_WATER_DIFFUSIVITY));
}

static dm_status fit(const dm_gradients *gradients, const double *signals, double *parameters)
{
    dm_fwdti *model = NULL;
    dm_fwdti_workspace *workspace = NULL;
    dm_status status = dm_fwdti_create(NULL, gradients, &model);
    if (status == DM_OK)
        status = dm_fwdti_workspace_create(model, &workspace);
    if (status == DM_OK)
        status = dm_fwdti_fit(model, workspace, VOXELS, signals, parameters, NULL);
    dm_fwdti_workspace_destroy(workspace);
    dm_fwdti_destroy(model);
    return status;
}

int main(void)
{
    double b[VOLUMES], signals[VOXELS][VOLUMES], parameters[VOXELS * DM_FWDTI_PARAMETERS];
    double f[VOXELS], fa[VOXELS], md[VOXELS];
    dm_vector g[VOLUMES] = {{0}};
    dm_gradients *gradients = NULL;
    make_scheme(b, g);
    for (int v = 0; v < VOXELS; v++)
        for (int i = 0; i < VOLUMES; i++)
            signals[v][i] = signal(0.2 * v, b[i], g[i]);
    dm_status status = dm_gradients_create(VOLUMES, b, (const dm_vector *)g, &gradients);
    if (status == DM_OK)
        status = fit(gradients, signals[0], parameters);
    dm_gradients_destroy(gradients);
    if (status != DM_OK) {
        fprintf(stderr, "%s\n", dm_last_error());
        return 1;
    }
    dm_fwdti_measure(VOXELS, parameters, &(dm_fwdti_measures){.f = f, .fa = fa, .md = md});
    for (int v = 0; v < VOXELS; v++)
        printf("water put in %.2f, found %.3f; tissue: FA %.3f, MD %.2e mm2/s\n", 0.2 * v, f[v],
               fa[v], md[v]);
    return 0;
}
