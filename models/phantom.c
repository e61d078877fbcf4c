/*
 * phantom.c - what a voxel of the phantom is made of, and its signals.
 *
 * Each voxel has a stream of random numbers of its own, so it is the same voxel whoever asks, and in
 * whatever order. Files are phantom_write.c's.
 */
#include "dm/models.h"

#include <math.h>

enum { MOST_FIBRES = 3 };

/* mm2/s. */
static const double FREE_WATER = 3e-3, FIBRE[3] = {1.7e-3, 0.35e-3, 0.25e-3};
static const double GREY[3] = {0.8e-3 * 1.15, 0.8e-3, 0.8e-3 * 0.85};

typedef struct tissue {
    double upto; /* share of the voxels, cumulated */
    int n_fibres;
    bool is_fibre;
    double s0;
    double f_least, f_most; /* free water */
} tissue;

static const tissue tissues[] = {
    {0.12, 1, false, 2200, 0.9, 1.0}, {0.48, 1, false, 1300, 0, 0.3}, {0.76, 1, true, 1000, 0, 0.2},
    {0.95, 2, true, 1000, 0, 0.2},    {1.00, 3, true, 1000, 0, 0.2},
};

typedef struct voxel {
    int n;
    double weight[MOST_FIBRES];
    double d[MOST_FIBRES][6]; /* xx, xy, yy, xz, yz, zz */
    double f, s0;
} voxel;

/* ---- random numbers -------------------------------------------------------------------------- */

/* Steele, Lea, Flood: splitmix64. */
static uint64_t next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* From 0 to below 1. */
static double uniform(uint64_t *state)
{
    return (double)(next(state) >> 11) * 0x1p-53;
}

/* 1 within a tenth. */
static double about_one(uint64_t *state)
{
    return 0.9 + 0.2 * uniform(state);
}

/* Gamma with a whole shape: a sum of exponential ones. */
static double gamma_of(int shape, uint64_t *state)
{
    double sum = 0;
    for (int k = 0; k < shape; k++)
        sum -= log(1 - uniform(state));
    return sum;
}

/* Axes of a frame in any attitude: of a unit quaternion, evenly distributed (Shoemake 1992). */
static void random_frame(uint64_t *state, double axes[3][3])
{
    const double u = uniform(state), a = 2 * M_PI * uniform(state), b = 2 * M_PI * uniform(state);
    const double w = sqrt(u) * cos(b), x = sqrt(1 - u) * sin(a), y = sqrt(1 - u) * cos(a);
    const double z = sqrt(u) * sin(b);
    const double r[3][3] = {
        {1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)},
        {2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)},
        {2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)},
    };
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 3; i++)
            axes[k][i] = r[k][i];
}

/* ---- tissue ---------------------------------------------------------------------------------- */

/* D = sum of e_k a_k a_k^T. */
static void make_tensor(const double evals[3], double axes[3][3], double d[6])
{
    static const int rows[6] = {0, 0, 1, 0, 1, 2}, columns[6] = {0, 1, 1, 2, 2, 2};
    for (int m = 0; m < 6; m++) {
        d[m] = 0;
        for (int k = 0; k < 3; k++)
            d[m] += evals[k] * axes[k][rows[m]] * axes[k][columns[m]];
    }
}

/* The second fibre lies in the plane of the first and its second axis, 45 to 90 degrees away. */
static void turn_to_cross(uint64_t *state, double axes[3][3])
{
    const double angle = M_PI / 4 * (1 + uniform(state));
    for (int i = 0; i < 3; i++) {
        const double a = axes[0][i], b = axes[1][i];
        axes[0][i] = cos(angle) * a + sin(angle) * b;
        axes[1][i] = cos(angle) * b - sin(angle) * a;
    }
}

static void make_fibres(const tissue *t, uint64_t *state, voxel *v)
{
    static const int shapes[MOST_FIBRES] = {6, 5, 4};
    double axes[3][3], total = 0;
    for (int k = 0; k < t->n_fibres; k++) {
        double evals[3];
        const double all = about_one(state);
        for (int e = 0; e < 3; e++)
            evals[e] = t->is_fibre ? FIBRE[e] * about_one(state) : GREY[e] * all;
        if (k == 1)
            turn_to_cross(state, axes);
        else
            random_frame(state, axes);
        make_tensor(evals, axes, v->d[k]);
        total += v->weight[k] = gamma_of(shapes[k], state);
    }
    for (int k = 0; k < t->n_fibres; k++)
        v->weight[k] /= total;
}

static voxel make_voxel(uint64_t *state)
{
    const double kind = uniform(state);
    const tissue *t = tissues;
    while (kind >= t->upto)
        t++;
    voxel v = {.n = t->n_fibres, .s0 = t->s0 * about_one(state)};
    const double u = uniform(state);
    v.f = t->f_least + (t->f_most - t->f_least) * (t->is_fibre ? u * u : u);
    make_fibres(t, state, &v);
    return v;
}

/* ---- signals --------------------------------------------------------------------------------- */

static double pure_signal(const voxel *v, double b, const double *g)
{
    double tissue_signal = 0;
    for (int k = 0; k < v->n; k++) {
        const double *d = v->d[k];
        const double along = d[0] * g[0] * g[0] + d[2] * g[1] * g[1] + d[5] * g[2] * g[2] +
                             2 * (d[1] * g[0] * g[1] + d[3] * g[0] * g[2] + d[4] * g[1] * g[2]);
        tissue_signal += v->weight[k] * exp(-b * along);
    }
    return v->s0 * ((1 - v->f) * tissue_signal + v->f * exp(-b * FREE_WATER));
}

/* The length of s + sigma (n1 + i n2), from the length and the angle of the noise. */
static double with_noise(double s, double sigma, uint64_t *state)
{
    const double length = sigma * sqrt(-2 * log(1 - uniform(state)));
    const double angle = 2 * M_PI * uniform(state);
    return sqrt(fmax(0, s * s + 2 * s * length * cos(angle) + length * length));
}

dm_phantom_settings dm_phantom_defaults(void)
{
    return (dm_phantom_settings){.snr = 25, .type = DM_VOLUME_I16};
}

void dm_phantom_signals(const dm_phantom_settings *settings, const dm_gradients *gradients,
                        size_t n, const size_t *voxels, double *signals)
{
    const double sigma = 1000 / settings->snr;
    for (size_t i = 0; i < n; i++) {
        uint64_t state = settings->seed;
        state = next(&state) ^ voxels[i] * 0xd1342543de82ef95u;
        const voxel v = make_voxel(&state);
        for (size_t t = 0; t < gradients->n_volumes; t++)
            *signals++ =
                with_noise(pure_signal(&v, gradients->b[t], gradients->g[t]), sigma, &state);
    }
}
