/*
 * fwdti_nls.c - the non-linear fit of a voxel: Levenberg and Marquardt from where the linear fit
 * ended (More 1978, with the rules of MINPACK's lmder), S0 and the tensor free.
 *
 *     r_i = s_i - [(1 - f) exp(W_i . x) + f w_i exp(-x6)],   f = (1 + sin(x7 - pi/2)) / 2
 *
 * where w_i is the water's signal with S0 = 1 (Neto Henriques et al. 2017). Scaled by the running
 * maximum of the norms of the Jacobian's columns: as f goes to 0 the last column vanishes, and with
 * its norm of the moment the fit would stall there. The Jacobian is exact where MINPACK's lmdif,
 * DIPY's choice, takes differences; each counts as the 8 evaluations it would have been, so that both
 * give up at the same count.
 */
#include "models/fwdti.h"
#include "models/trust_region.h"

#include <math.h>

enum {
    TENSOR = DMI_FWDTI_TENSOR,
    N = DMI_FWDTI_UNKNOWNS,
    MOST_EVALUATIONS = DM_FWDTI_MAX_EVALUATIONS
};

static const double TOLERANCE = 1.49012e-8; /* of sum of squares and of step, scipy's default */
static const double FIRST_RADIUS = 100;     /* times the length of x, MINPACK's `factor` */

typedef struct search {
    const dm_fwdti *model;
    const dm_fwdti_workspace *w;
    dmi_fwdti_point here, there; /* where it is, and where it tries */
    double scale[N];             /* D */
    double h[N][N], g[N];        /* the normal equations in D x */
    double radius, par, length;  /* of the region; Levenberg's parameter; |D x| */
    int32_t evaluations;
} search;

/* What a step did, and what was to be expected of it, as shares of the sum of squares. */
typedef struct gain {
    double step_length, actual, predicted, slope, ratio;
} gain;

static void evaluate(search *s, dmi_fwdti_point *point)
{
    point->f = (1 - cos(point->x[7])) / 2;
    point->slope = sin(point->x[7]) / 2;
    s->model->sweeps->residuals(s->model, s->w, point);
    s->evaluations++;
}

static double scaled_length(const search *s, const double *x)
{
    double sum = 0;
    for (int k = 0; k < N; k++)
        sum += s->scale[k] * s->scale[k] * x[k] * x[k];
    return sqrt(sum);
}

/* The normal equations where the search is, and the scale, which only grows. */
static void linearise(search *s)
{
    dmi_fwdti_normal normal;
    s->model->sweeps->derivatives(s->model, &s->here, &normal);
    s->evaluations += N;
    double inverse[N];
    for (int k = 0; k < N; k++) {
        s->scale[k] = fmax(s->scale[k], sqrt(normal.h[k][k]));
        if (s->scale[k] == 0)
            s->scale[k] = 1;
        inverse[k] = 1 / s->scale[k];
    }
    for (int j = 0; j < N; j++) {
        s->g[j] = normal.g[j] * inverse[j];
        for (int k = 0; k <= j; k++)
            s->h[j][k] = normal.h[j][k] * inverse[j] * inverse[k];
    }
}

/* x^T H x, from the lower triangle. */
static double form(const search *s, const double *x)
{
    double sum = 0;
    for (int j = 0; j < N; j++) {
        double row = 0.5 * s->h[j][j] * x[j];
        for (int k = 0; k < j; k++)
            row += s->h[j][k] * x[k];
        sum += 2 * row * x[j];
    }
    return sum;
}

/* Try the step (in D x) that the region allows. False if there is none. */
static bool try_step(search *s, bool first, gain *of)
{
    double step[N], sum = 0;
    if (!dmi_trust_region_step(N, s->h[0], s->g, s->radius, &s->par, step))
        return false;
    for (int k = 0; k < N; k++) {
        s->there.x[k] = s->here.x[k] + step[k] / s->scale[k];
        sum += step[k] * step[k];
    }
    of->step_length = sqrt(sum);
    if (!isfinite(sum))
        return false;
    if (first)
        s->radius = fmin(s->radius, of->step_length);
    evaluate(s, &s->there);
    const double linear = form(s, step) / s->here.squares, damped = s->par * sum / s->here.squares;
    of->actual =
        0.01 * s->there.squares < s->here.squares ? 1 - s->there.squares / s->here.squares : -1;
    of->predicted = linear + 2 * damped;
    of->slope = -(linear + damped);
    of->ratio = of->predicted != 0 ? of->actual / of->predicted : 0;
    return true;
}

/* The region for the next step, from how well this one was foreseen. */
static void resize(search *s, const gain *of)
{
    if (of->ratio <= 0.25) {
        double by = of->actual >= 0 ? 0.5 : 0.5 * of->slope / (of->slope + 0.5 * of->actual);
        if (0.01 * s->there.squares >= s->here.squares || by < 0.1)
            by = 0.1;
        s->radius = by * fmin(s->radius, of->step_length / 0.1);
        s->par /= by;
    } else if (s->par == 0 || of->ratio >= 0.75) {
        s->radius = of->step_length / 0.5;
        s->par *= 0.5;
    }
}

static void accept(search *s)
{
    const dmi_fwdti_point former = s->here;
    s->here = s->there;
    s->there = former;
    s->length = scaled_length(s, s->here.x);
}

static bool ended(const search *s, const gain *of)
{
    const bool flat =
        fabs(of->actual) <= TOLERANCE && of->predicted <= TOLERANCE && 0.5 * of->ratio <= 1;
    return flat || s->radius <= TOLERANCE * s->length || s->evaluations >= MOST_EVALUATIONS;
}

static void descend(search *s)
{
    evaluate(s, &s->here);
    for (bool first = true;; first = false) {
        linearise(s);
        if (first) {
            s->length = scaled_length(s, s->here.x);
            s->radius = s->length > 0 ? FIRST_RADIUS * s->length : FIRST_RADIUS;
        }
        if (!(s->here.squares > 0)) /* nothing is left to fit, or NaN */
            return;
        gain of;
        do {
            if (!try_step(s, first, &of))
                return;
            resize(s, &of);
            if (of.ratio >= 1e-4)
                accept(s);
            if (ended(s, &of))
                return;
        } while (!(of.ratio >= 1e-4));
    }
}

bool dmi_fwdti_nls(const dm_fwdti *model, dm_fwdti_workspace *w, double *parameters,
                   int32_t *evaluations)
{
    search s = {.model = model, .w = w};
    s.here.t = w->t[0], s.here.r = w->r[0];
    s.there.t = w->t[1], s.there.r = w->r[1];
    dmi_fwdti_compose(parameters, s.here.x);
    s.here.x[TENSOR] = -log(w->s0);
    s.here.x[7] = asin(2 * parameters[DM_FWDTI_F] - 1) + M_PI / 2;
    descend(&s);
    *evaluations = s.evaluations;
    parameters[DM_FWDTI_F] = s.here.f;
    return dmi_fwdti_decompose(s.here.x, parameters);
}
