/*
 * figures.c - see figures.h. The only file that knows cJSON; a `figures` is a cJSON object.
 *
 * cJSON takes NULL for an object everywhere and gives NULL when memory is short, so that is looked
 * for once, in figures_write.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/dm/figures.h"

/* Some value is missing. A command has one set of figures and one thread. */
static bool incomplete;

static cJSON *json_of(figures *f)
{
    return (cJSON *)f;
}

static void expect(const cJSON *added)
{
    if (!added)
        incomplete = true;
}

figures *figures_create(void)
{
    return (figures *)cJSON_CreateObject();
}

void figures_destroy(figures *f)
{
    cJSON_Delete(json_of(f));
}

void figures_number(figures *f, const char *name, double value)
{
    expect(cJSON_AddNumberToObject(json_of(f), name, value));
}

void figures_text(figures *f, const char *name, const char *value)
{
    expect(cJSON_AddStringToObject(json_of(f), name, value));
}

void figures_flag(figures *f, const char *name, bool value)
{
    expect(cJSON_AddBoolToObject(json_of(f), name, value));
}

figures *figures_within(figures *f, const char *name)
{
    cJSON *inner = cJSON_AddObjectToObject(json_of(f), name);
    expect(inner);
    return (figures *)inner;
}

figures *figures_list(figures *f, const char *name)
{
    cJSON *list = cJSON_AddArrayToObject(json_of(f), name);
    expect(list);
    return (figures *)list;
}

figures *figures_item(figures *list)
{
    cJSON *item = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(json_of(list), item)) {
        cJSON_Delete(item);
        item = NULL;
    }
    expect(item);
    return (figures *)item;
}

static dm_status written(const char *text, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    if (!file)
        return dmi_error(DM_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    bool good = fprintf(file, "%s\n", text) > 0 && fflush(file) == 0;
    int reason = errno;
    if (file != stdout && fclose(file) != 0 && good) {
        good = false;
        reason = errno;
    }
    return good ? DM_OK : dmi_error(DM_ERR_IO, "%s: cannot be written: %s", path, strerror(reason));
}

dm_status figures_write(const figures *f, const char *path)
{
    const cJSON *json = (const cJSON *)f;
    char *text = incomplete ? NULL : cJSON_Print(json);
    if (!text)
        return dmi_error(DM_ERR_NOMEM, "no memory for the figures of %s", path);
    dm_status status = written(text, path);
    free(text);
    return status;
}
