/*
 * calibration_file.c - a calibration as JSON. What it reads was written by another machine, or by hand: each number is
 * there, is a number, and can be.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/what_would_more_cores_give/model/costs.h"

static const char format_name[] = "dmrt calibration 1";
enum { MOST_BYTES = 64 << 20 };

static const char *wrong(const char *format, ...)
{
    static char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return text;
}

/* ---- reading ---- */

static const cJSON *member(const cJSON *of, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(of, name);
}

static bool read_number(const cJSON *item, double least, double *out)
{
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble < least)
        return false;
    *out = item->valuedouble;
    return true;
}

static bool read_count(const cJSON *item, double least, double most, size_t *out)
{
    double number;
    if (!read_number(item, least, &number) || number > most || number != floor(number))
        return false;
    *out = (size_t)number;
    return true;
}

/* {"value": x, "error": e} */
static const char *read_cost(const cJSON *group, size_t i, costs *value, costs *error)
{
    const cJSON *item = member(group, cost_table[i].name);
    double least = strcmp(cost_table[i].name, "crowd") == 0 ? 1 : 0;
    if (!item)
        return wrong("%s is missing", cost_table[i].name);
    if (!read_number(member(item, "value"), least, cost_at(value, i)) ||
        !read_number(member(item, "error"), 0, cost_at(error, i)))
        return wrong("%s: expected {\"value\", \"error\"}, numbers of at least %g and 0", cost_table[i].name, least);
    return NULL;
}

static const char *read_voxels(const cJSON *list, size_t *n, double **voxels)
{
    const cJSON *item;
    size_t i = 0;
    double sum = 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
        return wrong("voxels_ns: expected a list of numbers");
    *n = (size_t)cJSON_GetArraySize(list);
    *voxels = calloc(*n, sizeof **voxels);
    if (!*voxels)
        return wrong("no memory for %zu voxels", *n);
    cJSON_ArrayForEach(item, list)
    {
        if (!read_number(item, 0, &(*voxels)[i++]))
            return wrong("voxels_ns: number %zu is none, or below 0", i);
        sum += (*voxels)[i - 1];
    }
    return sum > 0 ? NULL : wrong("voxels_ns: all voxels cost nothing");
}

static const char *read_model(const cJSON *root, int m, calibration *c)
{
    const char *why = NULL;
    const cJSON *group = member(member(root, "models"), model_names[m]), *shared = member(root, "shared");
    if (!group || !shared)
        return wrong("models.%s or shared is missing", model_names[m]);
    for (size_t i = 0; i < cost_count && !why; i++)
        why = read_cost(cost_table[i].by_model ? group : shared, i, &c->value[m], &c->error[m]);
    if (!why && (c->value[m].voxel_ns <= 0 || c->value[m].alone_ns <= 0 || c->value[m].memory_b <= 0))
        return wrong("%s: voxel_ns, alone_ns and memory_b must be above 0", model_names[m]);
    if (!why && !read_count(member(group, "n_results"), 1, 1e6, &c->n_results[m]))
        return wrong("%s: n_results must be a number of at least 1", model_names[m]);
    return why ? why : read_voxels(member(group, "voxels_ns"), &c->n_voxels[m], &c->voxels[m]);
}

static void read_text(const cJSON *item, char *out, size_t bytes)
{
    snprintf(out, bytes, "%s", cJSON_IsString(item) ? item->valuestring : "unknown");
}

static const char *read_root(const cJSON *root, calibration *c)
{
    size_t cpus;
    const cJSON *format = member(root, "format");
    if (!cJSON_IsString(format) || strcmp(format->valuestring, format_name) != 0)
        return wrong("not of the format \"%s\"", format_name);
    if (!read_count(member(root, "cpus"), 1, 4096, &cpus))
        return wrong("cpus must be a number from 1 on");
    if (!read_count(member(root, "n_volumes"), 1, 1e6, &c->n_volumes) ||
        !read_count(member(root, "value_bytes"), 1, 8, &c->value_bytes))
        return wrong("n_volumes and value_bytes must be numbers from 1 on");
    c->cpus = (int)cpus;
    read_text(member(root, "machine"), c->machine, sizeof c->machine);
    read_text(member(root, "commit"), c->commit, sizeof c->commit);
    const char *why = NULL;
    for (int m = 0; m < MODELS && !why; m++)
        why = read_model(root, m, c);
    return why;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = file ? calloc(1, MOST_BYTES + 1) : NULL;
    size_t n = text ? fread(text, 1, MOST_BYTES, file) : 0;
    if (file)
        fclose(file);
    if (n != 0)
        return text;
    free(text);
    return NULL;
}

const char *calibration_read(const char *path, calibration *c)
{
    *c = (calibration){0};
    char *text = read_file(path);
    if (!text)
        return wrong("%s: cannot be read, or is empty: %s", path, strerror(errno));
    cJSON *root = cJSON_Parse(text);
    const char *why = root ? read_root(root, c) : "not JSON";
    cJSON_Delete(root);
    free(text);
    if (!why)
        return NULL;
    char said[300];
    snprintf(said, sizeof said, "%s", why);
    return wrong("%s: %s", path, said);
}

/* ---- writing ---- */

static void write_costs(FILE *to, const calibration *c, int m, bool by_model, const char *indent)
{
    costs value = c->value[m], error = c->error[m];
    for (size_t i = 0; i < cost_count; i++)
        if (cost_table[i].by_model == by_model)
            fprintf(to, "%s\"%s\": {\"value\": %.6g, \"error\": %.3g, \"unit\": \"%s\", \"where\": \"%s\", \"how\": "
                    "\"%s\"}%s\n", indent, cost_table[i].name, *cost_at(&value, i), *cost_at(&error, i),
                    cost_table[i].unit, cost_table[i].where, cost_table[i].how,
                    by_model || cost_table[i].at != offsetof(costs, memory_s) ? "," : "");
}

static void write_model(FILE *to, const calibration *c, int m)
{
    fprintf(to, "    \"%s\": {\n", model_names[m]);
    write_costs(to, c, m, true, "      ");
    fprintf(to, "      \"n_results\": %zu,\n      \"voxels_ns\": [", c->n_results[m]);
    for (size_t i = 0; i < c->n_voxels[m]; i++)
        fprintf(to, "%s%.0f", i == 0 ? "" : i % 20 ? "," : ",\n        ", c->voxels[m][i]);
    fprintf(to, "]\n    }%s\n", m + 1 < MODELS ? "," : "");
}

const char *calibration_write(const char *path, const calibration *c)
{
    FILE *to = fopen(path, "w");
    if (!to)
        return wrong("%s: cannot be written: %s", path, strerror(errno));
    fprintf(to, "{\n  \"format\": \"%s\",\n  \"machine\": \"%s\",\n  \"commit\": \"%s\",\n  \"cpus\": %d,\n"
            "  \"n_volumes\": %zu,\n  \"value_bytes\": %zu,\n  \"shared\": {\n", format_name, c->machine, c->commit,
            c->cpus, c->n_volumes, c->value_bytes);
    write_costs(to, c, 0, false, "    ");
    fputs("  },\n  \"models\": {\n", to);
    for (int m = 0; m < MODELS; m++)
        write_model(to, c, m);
    fputs("  }\n}\n", to);
    return fclose(to) == 0 ? NULL : wrong("%s: cannot be written: %s", path, strerror(errno));
}
