/*
 * gradients.c - the gradient table: which volumes are b0, which directions count.
 *
 * From arrays in memory. The text files are read in gradients_read.c.
 */
#include "dm/models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dm_gradients *allocate(size_t n)
{
    dm_gradients *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->n_volumes = n;
    table->b = calloc(n, sizeof *table->b);
    table->g = calloc(n, sizeof *table->g);
    table->dwi = calloc(n, sizeof *table->dwi);
    if (table->b && table->g && table->dwi)
        return table;
    dm_gradients_destroy(table);
    return NULL;
}

void dm_gradients_destroy(dm_gradients *gradients)
{
    if (!gradients)
        return;
    free(gradients->b);
    free(gradients->g);
    free(gradients->dwi);
    free(gradients);
}

/* Whether (x, y, z) is a direction; `g` gets it with NaN taken as 0. */
static bool take_direction(const double *vector, double *g)
{
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        g[k] = isnan(vector[k]) ? 0 : vector[k];
        sum += g[k] * g[k];
    }
    return fabs(sqrt(sum) - 1) <= DM_UNIT_TOLERANCE;
}

static dm_status take_volume(dm_gradients *table, size_t i, double b, const double *vector)
{
    double g[3];
    if (!isfinite(b) || b < 0)
        return dmi_error(DM_ERR_INVALID,
                         "gradient table: volume %zu has b = %g; b must be 0 or more, in s/mm2", i,
                         b);
    if (take_direction(vector, g)) {
        table->b[i] = b;
        memcpy(table->g[i], g, sizeof g);
    } else if (b > DM_B0_THRESHOLD) {
        return dmi_error(DM_ERR_INVALID,
                         "gradient table: volume %zu has b = %g and the vector (%g, %g, %g) of "
                         "length %g; above b = %g a vector's length must be within %g of 1",
                         i, b, vector[0], vector[1], vector[2],
                         sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2]), DM_B0_THRESHOLD,
                         DM_UNIT_TOLERANCE);
    }
    if (b > DM_B0_THRESHOLD)
        table->dwi[table->n_dwi++] = i;
    return DM_OK;
}

dm_status dm_gradients_create(size_t n, const double *b, const dm_vector *vectors,
                              dm_gradients **gradients)
{
    if (n == 0 || !b || !vectors || !gradients)
        return dmi_error(DM_ERR_INVALID,
                         "gradient table: %zu volumes or a NULL argument; give at least one volume",
                         n);
    dm_gradients *table = allocate(n);
    if (!table)
        return dmi_error(DM_ERR_NOMEM, "gradient table: no memory for %zu volumes", n);
    for (size_t i = 0; i < n; i++) {
        dm_status status = take_volume(table, i, b[i], vectors[i]);
        if (status != DM_OK) {
            dm_gradients_destroy(table);
            return status;
        }
    }
    *gradients = table;
    return DM_OK;
}

static dm_status check_selection(const dm_gradients *gradients, size_t n, const size_t *volumes)
{
    for (size_t i = 0; i < n; i++) {
        if (volumes[i] >= gradients->n_volumes)
            return dmi_error(
                DM_ERR_INVALID,
                "gradient table: volume %zu selected, but there are %zu (counted from 0)",
                volumes[i], gradients->n_volumes);
        for (size_t k = 0; k < i; k++)
            if (volumes[k] == volumes[i])
                return dmi_error(DM_ERR_INVALID,
                                 "gradient table: volume %zu selected twice; name each once",
                                 volumes[i]);
    }
    return DM_OK;
}

dm_status dm_gradients_select(const dm_gradients *gradients, size_t n, const size_t *volumes,
                              dm_gradients **selected)
{
    if (n == 0 || !gradients || !volumes || !selected)
        return dmi_error(DM_ERR_INVALID,
                         "gradient table: selection of %zu volumes or a NULL argument; select at "
                         "least one volume",
                         n);
    dm_status status = check_selection(gradients, n, volumes);
    if (status != DM_OK)
        return status;
    dm_gradients *table = allocate(n);
    if (!table)
        return dmi_error(DM_ERR_NOMEM, "gradient table: no memory for %zu volumes", n);
    for (size_t i = 0; i < n; i++) {
        table->b[i] = gradients->b[volumes[i]];
        memcpy(table->g[i], gradients->g[volumes[i]], sizeof table->g[i]);
        if (table->b[i] > DM_B0_THRESHOLD)
            table->dwi[table->n_dwi++] = i;
    }
    *selected = table;
    return DM_OK;
}
