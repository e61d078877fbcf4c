/*
 * gradients_read.c - the gradient table from FSL's two text files.
 *
 * The arrangement is settled here; what a table is, in gradients.c.
 */
#include "dm/models.h"
#include "models/table.h"

#include <stdlib.h>

/* Vector i of a table that is 3 x n, or n x 3. */
static void take_vectors(const dmi_table *table, bool by_rows, size_t n, dm_vector *vectors)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 3; k++)
            vectors[i][k] = table->values[by_rows ? k * n + i : i * 3 + k];
}

static dm_status join(const char *bval_path, const dmi_table *bval, const char *bvec_path,
                      const dmi_table *bvec, dm_gradients **gradients)
{
    const size_t n = bval->n_values;
    const bool by_rows = bvec->n_rows == 3 && bvec->n_columns == n;
    if (!by_rows && !(bvec->n_columns == 3 && bvec->n_rows == n))
        return dmi_error(DM_ERR_FORMAT,
                         "%s: found %zu rows%s and %zu numbers in all; %s has %zu b-values, so 3 "
                         "rows of %zu or %zu rows of 3 were expected",
                         bvec_path, bvec->n_rows, bvec->n_columns ? "" : " of unequal length",
                         bvec->n_values, bval_path, n, n, n);
    dm_vector *vectors = calloc(n, sizeof *vectors);
    if (!vectors)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory for %zu vectors", bvec_path, n);
    take_vectors(bvec, by_rows, n, vectors);
    dm_gradients *table = NULL;
    dm_status status = dm_gradients_create(n, bval->values, (const dm_vector *)vectors, &table);
    free(vectors);
    if (status == DM_ERR_INVALID)
        return dmi_error(DM_ERR_FORMAT, "%s, %s: %s", bval_path, bvec_path, dm_last_error());
    if (status == DM_OK)
        *gradients = table;
    return status;
}

dm_status dm_gradients_read(const char *bval_path, const char *bvec_path, dm_gradients **gradients)
{
    if (!bval_path || !bvec_path || !gradients)
        return dmi_error(DM_ERR_INVALID, "gradient table: a NULL argument; name both files");
    dmi_table bval, bvec;
    dm_status status = dmi_table_read(bval_path, &bval);
    if (status != DM_OK)
        return status;
    status = dmi_table_read(bvec_path, &bvec);
    if (status == DM_OK) {
        status = join(bval_path, &bval, bvec_path, &bvec, gradients);
        dmi_table_fini(&bvec);
    }
    dmi_table_fini(&bval);
    return status;
}
