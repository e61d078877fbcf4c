/*
 * response_file.c - a response as a line of text.
 */
#define _GNU_SOURCE /* newlocale */
#include "dm/models.h"
#include "models/output.h"
#include "models/response_check.h"
#include "models/table.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

dm_status dm_response_read(const char *path, dm_response *response)
{
    dmi_table table;
    if (!path || !response)
        return dmi_error(DM_ERR_INVALID, "response: a NULL argument; name a file");
    dm_status status = dmi_table_read(path, &table);
    if (status != DM_OK)
        return status;
    const size_t n = table.n_values, rows = table.n_rows;
    dm_response found = {0};
    if (n == 4 && rows == 1)
        found = (dm_response){{table.values[0], table.values[1], table.values[2]}, table.values[3]};
    dmi_table_fini(&table);
    if (n != 4 || rows != 1)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: found %zu numbers in %zu rows, expected one row of three eigenvalues "
                         "(mm2/s) and S0",
                         path, n, rows);
    status = dmi_response_check(path, &found);
    if (status != DM_OK)
        return status == DM_ERR_INVALID ? DM_ERR_FORMAT : status;
    *response = found;
    return DM_OK;
}

/* 17 digits bring every double back. The locale is switched because a comma would not. */
static int print(const dm_response *r, char *text, size_t room)
{
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return -1;
    locale_t before = uselocale(c_locale);
    const int n = snprintf(text, room, "# three eigenvalues (mm2/s), S0\n%.17g %.17g %.17g %.17g\n",
                           r->evals[0], r->evals[1], r->evals[2], r->s0);
    uselocale(before);
    freelocale(c_locale);
    return n;
}

dm_status dm_response_write(const dm_response *response, const char *path, bool overwrite)
{
    char text[256];
    if (!response || !path)
        return dmi_error(DM_ERR_INVALID,
                         "response: a NULL argument; give a response and a file name");
    const int n = print(response, text, sizeof text);
    if (n < 0)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory to write it", path);
    dmi_output out;
    dm_status status = dmi_output_open(path, overwrite, &out);
    if (status != DM_OK)
        return status;
    if (write(out.fd, text, (size_t)n) == n)
        return dmi_output_commit(&out);
    status = dmi_error(DM_ERR_IO, "%s: writing failed: %s", path, strerror(errno));
    dmi_output_abandon(&out);
    return status;
}
