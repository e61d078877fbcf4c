/*
 * fwdti_wls.c - the linear fit of a voxel: the fraction of free water by a grid search (fwdti_grid.c), the
 * tensor of each candidate by weighted linear least squares (Hoy et al. 2014, as in Neto Henriques et al.
 * 2017).
 *
 * The sums over volumes are the sweeps'; see fwdti.h for symbols.
 */
#include "models/fwdti.h"
#include "models/symmetric.h"

#include <math.h>
#include <string.h>

enum { TENSOR = DMI_FWDTI_TENSOR, LINEAR = DMI_FWDTI_LINEAR, UNKNOWNS = DMI_FWDTI_UNKNOWNS };

/* Of the largest singular value, which is what numpy's pinv leaves out, and so DIPY. */
static const double CUTOFF = 1e-15;

/* A pivot below this times its diagonal element makes a Cholesky factor lose too many digits. */
static const double LEAST_PIVOT = 1e-10;

bool dmi_fwdti_decompose(const double tensor[TENSOR], double *parameters)
{
    const double matrix[9] = {tensor[0], 0,         0,         tensor[1], tensor[2],
                              0,         tensor[3], tensor[4], tensor[5]};
    if (!dmi_symmetric_eigen(3, 3, matrix, parameters, parameters + 3))
        return false;
    for (int k = 0; k < 3; k++)
        parameters[k] = fmax(parameters[k], 0);
    return true;
}

void dmi_fwdti_compose(const double *parameters, double tensor[TENSOR])
{
    const double *v = parameters + 3;
    int at = 0;
    for (int j = 0; j < 3; j++) {
        for (int k = 0; k <= j; k++) {
            double sum = 0;
            for (int e = 0; e < 3; e++)
                sum += parameters[e] * v[3 * j + e] * v[3 * k + e];
            tensor[at++] = sum;
        }
    }
}

/* The inverse of W^T q W; its pseudo-inverse where the weights leave it singular. */
static bool invert(const double gram[LINEAR][LINEAR], dm_fwdti_workspace *w)
{
    dmi_factor factor;
    double inverse[LINEAR * LINEAR];
    memset(w->inverse, 0, sizeof w->inverse);
    if (dmi_symmetric_factor(LINEAR, LINEAR, gram[0], 0, LEAST_PIVOT, &factor)) {
        for (int j = 0; j < LINEAR; j++) {
            w->inverse[j][j] = 1;
            dmi_factor_solve(&factor, w->inverse[j]);
        }
        return true;
    }
    if (!dmi_symmetric_pseudo_inverse(LINEAR, LINEAR, gram[0], CUTOFF, inverse))
        return false;
    for (int j = 0; j < LINEAR; j++)
        memcpy(w->inverse[j], inverse + j * LINEAR, LINEAR * sizeof(double));
    return true;
}

/* The mean diffusivity of the tensor that has no water beside it. */
static double plain_diffusivity(const dm_fwdti_workspace *w, const double *z)
{
    static const int diagonal[3] = {0, 2, 5};
    double sum = 0;
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < LINEAR; j++)
            sum += w->inverse[diagonal[k]][j] * z[j];
    return sum / 3;
}

bool dmi_fwdti_wls(const dm_fwdti *model, dm_fwdti_workspace *w, double *parameters)
{
    const dm_fwdti_settings *settings = &model->settings;
    double gram[LINEAR][LINEAR], z[UNKNOWNS];
    model->sweeps->weigh(model, w, gram, z);
    if (!invert(gram, w))
        return false;
    const double md = plain_diffusivity(w, z);
    memset(parameters, 0, DM_FWDTI_PARAMETERS * sizeof *parameters);
    if (!(md < settings->mdreg && w->mean > settings->min_signal && w->s0 > settings->min_signal)) {
        parameters[DM_FWDTI_F] = md > settings->mdreg;
        return !isnan(md);
    }
    alignas(64) double p[UNKNOWNS];
    parameters[DM_FWDTI_F] = dmi_fwdti_search(model, w, p);
    return dmi_fwdti_decompose(p, parameters);
}
