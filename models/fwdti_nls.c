/*
 * fwdti_nls.c - the non-linear fit of a voxel: Levenberg and Marquardt from where the linear fit
 * ended (More 1978, with the rules of MINPACK's lmder), S0 and the tensor free.
 *
 *     r_i = s_i - [(1 - f) exp(W_i . x) + f w_i exp(-x6)],   f = (1 + sin(x7 - pi/2)) / 2
 *
 * where w_i is the water's signal with S0 = 1 (Neto Henriques et al. 2017); on demand over Cholesky
 * factors in place of the tensor, and with f = x7. The sums over volumes know nothing of that: they
 * are by p and f, and the chain rule does the rest. Scaled by the running
 * maximum of the norms of the Jacobian's columns: as f goes to 0 the last column vanishes, and with
 * its norm of the moment the fit would stall there. The Jacobian is exact where MINPACK's lmdif,
 * DIPY's choice, takes differences; each counts as the 8 evaluations it would have been, so that both
 * give up at the same count.
 */
#include "models/fwdti.h"
#include "models/trust_region.h"

#include <math.h>
#include <string.h>

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

/* p, f and its slope, of the unknowns. */
static void take_unknowns(const dm_fwdti_settings *settings, dmi_fwdti_point *point)
{
    const double *u = point->u;
    memcpy(point->x, u, sizeof point->x);
    if (settings->cholesky)
        dmi_fwdti_from_cholesky(u, point->x);
    point->f = settings->f_untransformed ? u[7] : (1 - cos(u[7])) / 2;
    point->slope = settings->f_untransformed ? 1 : sin(u[7]) / 2;
}

static void evaluate(search *s, dmi_fwdti_point *point)
{
    take_unknowns(&s->model->settings, point);
    s->model->sweeps->residuals(s->model, s->w, point);
    s->evaluations++;
}

static double scaled_length(const search *s, const double *u)
{
    double sum = 0;
    for (int k = 0; k < N; k++)
        sum += s->scale[k] * s->scale[k] * u[k] * u[k];
    return sqrt(sum);
}

/* The normal equations where the search is, and the scale, which only grows. */
static void linearise(search *s)
{
    dmi_fwdti_normal normal;
    s->model->sweeps->derivatives(s->model, &s->here, &normal);
    if (s->model->settings.cholesky)
        dmi_fwdti_by_cholesky(s->here.u, &normal);
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
        s->there.u[k] = s->here.u[k] + step[k] / s->scale[k];
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
    s->length = scaled_length(s, s->here.u);
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
            s->length = scaled_length(s, s->here.u);
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

/* The unknowns of the linear fit's parameters. */
static void begin(const dm_fwdti_settings *settings, double s0, const double *parameters, double *u)
{
    const double f = parameters[DM_FWDTI_F];
    double tensor[TENSOR];
    dmi_fwdti_compose(parameters, tensor);
    memcpy(u, tensor, sizeof tensor);
    if (settings->cholesky)
        dmi_fwdti_to_cholesky(tensor, u);
    u[TENSOR] = -log(s0);
    u[7] = settings->f_untransformed ? f : asin(2 * f - 1) + M_PI / 2;
}

bool dmi_fwdti_nls(const dm_fwdti *model, dm_fwdti_workspace *w, double *parameters,
                   int32_t *evaluations)
{
    search s = {.model = model, .w = w};
    s.here.t = w->t[0], s.here.r = w->r[0];
    s.there.t = w->t[1], s.there.r = w->r[1];
    begin(&model->settings, w->s0, parameters, s.here.u);
    descend(&s);
    *evaluations = s.evaluations;
    parameters[DM_FWDTI_F] = s.here.f;
    return dmi_fwdti_decompose(s.here.x, parameters);
}
