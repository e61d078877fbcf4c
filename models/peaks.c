/*
 * peaks.c - the directions in which a density on the 362 directions is greatest.
 *
 * The rule is DIPY's (peak_directions). The neighbours of a direction are those it shares an edge
 * with on the convex hull of all, found once per process.
 */
#include "dm/models.h"

#include <math.h>
#include <pthread.h>

enum { N = DM_SPHERE_COUNT, MOST_NEIGHBOURS = 8, NEAR = 12 };

static unsigned char n_neighbours[N];
static unsigned short neighbours[N][MOST_NEIGHBOURS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ---- the mesh -------------------------------------------------------------------------------- */

static double dot(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* The NEAR directions next to i, the nearest first. */
static void find_near(const dm_vector *v, int i, int near[NEAR])
{
    int count = 0;
    for (int j = 0; j < N; j++) {
        if (j == i)
            continue;
        int at = count < NEAR ? count++ : NEAR;
        for (; at > 0 && dot(v[i], v[j]) > dot(v[i], v[near[at - 1]]); at--)
            if (at < NEAR)
                near[at] = near[at - 1];
        if (at < NEAR)
            near[at] = j;
    }
}

/* Whether i, j, k are a face of the hull: all others on one side of their plane. */
static bool is_face(const dm_vector *v, int i, int j, int k)
{
    const double a[3] = {v[j][0] - v[i][0], v[j][1] - v[i][1], v[j][2] - v[i][2]};
    const double b[3] = {v[k][0] - v[i][0], v[k][1] - v[i][1], v[k][2] - v[i][2]};
    double n[3] = {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
    const double height = dot(n, v[i]);
    for (int m = 0; m < N; m++)
        if (m != i && m != j && m != k && (dot(n, v[m]) > height) == (height > 0))
            return false;
    return true;
}

static void add_neighbour(int i, int j)
{
    for (int k = 0; k < n_neighbours[i]; k++)
        if (neighbours[i][k] == j)
            return;
    if (n_neighbours[i] < MOST_NEIGHBOURS)
        neighbours[i][n_neighbours[i]++] = (unsigned short)j;
}

static void make_mesh(void)
{
    const dm_vector *v = dm_sphere362();
    for (int i = 0; i < N; i++) {
        int near[NEAR];
        find_near(v, i, near);
        for (int a = 0; a < NEAR; a++)
            for (int b = a + 1; b < NEAR; b++)
                if (is_face(v, i, near[a], near[b])) {
                    add_neighbour(i, near[a]);
                    add_neighbour(i, near[b]);
                }
    }
}

/* ---- peaks ----------------------------------------------------------------------------------- */

static bool is_maximum(const double *odf, int i)
{
    bool above = false;
    for (int k = 0; k < n_neighbours[i]; k++) {
        const double other = odf[neighbours[i][k]];
        if (!(odf[i] >= other))
            return false;
        above |= odf[i] > other;
    }
    return above;
}

/* The local maxima, greatest first; of equal ones the first. */
static int find_maxima(const double *odf, int maxima[N])
{
    int count = 0;
    for (int i = 0; i < N; i++) {
        if (!is_maximum(odf, i))
            continue;
        int at = count++;
        for (; at > 0 && odf[i] > odf[maxima[at - 1]]; at--)
            maxima[at] = maxima[at - 1];
        maxima[at] = i;
    }
    return count;
}

static double least(const double *odf)
{
    double m = odf[0];
    for (int i = 1; i < N; i++)
        m = fmin(m, odf[i]);
    return m;
}

static bool is_apart(const dm_vector *taken, int n_taken, const double *direction, double cosine)
{
    for (int k = 0; k < n_taken; k++)
        if (fabs(dot(taken[k], direction)) > cosine)
            return false;
    return true;
}

/* Returns how many were found. */
static int find_peaks(const double *odf, const dm_peak_settings *settings, dm_vector *directions,
                      double *values)
{
    int maxima[N], found = 0;
    const int count = find_maxima(odf, maxima);
    if (count == 0 || odf[maxima[0]] < 0)
        return 0;
    const double floor = fmax(least(odf), 0);
    const double threshold = settings->relative_threshold * (odf[maxima[0]] - floor);
    const double cosine = cos(settings->min_separation * M_PI / 180);
    for (int k = 0; k < count && found < DM_PEAKS; k++) {
        const double *direction = dm_sphere362()[maxima[k]], value = odf[maxima[k]];
        if (value - floor < threshold)
            break;
        if (!is_apart((const dm_vector *)directions, found, direction, cosine))
            continue;
        for (int axis = 0; axis < 3; axis++)
            directions[found][axis] = direction[axis];
        values[found++] = value;
    }
    return found;
}

dm_peak_settings dm_peak_defaults(void)
{
    return (dm_peak_settings){.relative_threshold = 0.5, .min_separation = 25};
}

void dm_peaks(size_t n, const double *odf, const dm_peak_settings *settings, dm_vector *directions,
              double *values)
{
    const dm_peak_settings chosen = settings ? *settings : dm_peak_defaults();
    pthread_once(&once, make_mesh);
    for (size_t i = 0; i < n; i++) {
        double found_values[DM_PEAKS];
        dm_vector *to = directions + i * DM_PEAKS;
        const int found = find_peaks(odf + i * N, &chosen, to, found_values);
        for (int k = 0; k < DM_PEAKS; k++) {
            for (int axis = 0; axis < 3 && k >= found; axis++)
                to[k][axis] = 0;
            if (values)
                values[i * DM_PEAKS + (size_t)k] = k < found ? found_values[k] : 0;
        }
    }
}
