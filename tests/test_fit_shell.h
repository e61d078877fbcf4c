/*
 * test_fit_shell.h - for tests that call programs with files: a folder of the case's own, commands,
 * and diffusion images whose fibres are known in the scanner.
 */
#ifndef TEST_FIT_SHELL_H
#define TEST_FIT_SHELL_H

#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dm/models.h"

static char folder[64];

static inline int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/dm-test-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static inline int end(void **state)
{
    (void)state;
    return chdir("/") == 0 ? nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) : -1;
}

static inline void assert_ok(dm_status status)
{
    if (status != DM_OK)
        fail_msg("%s: %s", dm_status_name(status), dm_last_error());
}

/* The exit status of a command in the case's folder, its output in the file `said`. */
static inline __attribute__((format(printf, 1, 2))) int shell(const char *format, ...)
{
    char command[4096] = "exec >said 2>&1; ";
    const size_t before = strlen(command);
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(command + before, sizeof command - before, format, arguments);
    va_end(arguments);
    assert_true(n > 0 && before + (size_t)n < sizeof command);
    const int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

/* What the last command said. */
static inline const char *last_words(void)
{
    static char text[8192];
    FILE *file = fopen("said", "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static inline void assert_said(const char *words)
{
    if (!strstr(last_words(), words))
        fail_msg("'%s' is not in: %s", words, last_words());
}

#define assert_runs(...)                                                                           \
    do {                                                                                           \
        if (shell(__VA_ARGS__) != 0)                                                               \
            fail_msg("a command failed: %s", last_words());                                        \
    } while (0)

static inline dm_volume *read_image(const char *path)
{
    dm_volume *volume;
    assert_ok(dm_volume_read(path, &volume));
    return volume;
}

/* ---- a grid that lies at an angle ---- */

/* The directions of the voxel axes in the scanner, as columns; with `mirror` the first is reversed. */
static inline void oblique_axes(bool mirror, double axes[3][3])
{
    const double a = 0.5, b = -0.35;
    const double m[3][3] = {
        {cos(b), -sin(b) * cos(a), sin(b) * sin(a)},
        {sin(b), cos(b) * cos(a), -cos(b) * sin(a)},
        {0, sin(a), cos(a)},
    };
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            axes[i][j] = j == 0 && mirror ? -m[i][j] : m[i][j];
}

static inline dm_grid oblique_grid(bool mirror, size_t nx, size_t ny, size_t nz)
{
    dm_grid grid = {
        .shape = {nx, ny, nz}, .pixdim = {1, 2, 2.5f, 3}, .xyzt_units = 10, .sform_code = 1};
    double axes[3][3];
    oblique_axes(mirror, axes);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            grid.sform[i][j] = (float)(axes[i][j] * grid.pixdim[1 + j]);
    return grid;
}

/* A vector of the scanner in the axes of a bvec file, by FSL's rule: along the voxel axes, x
 * reversed where the affine's determinant is positive, which it is without `mirror`. */
static inline void scanner_to_bvec(bool mirror, const double *v, double *out)
{
    double axes[3][3];
    oblique_axes(mirror, axes);
    for (int j = 0; j < 3; j++)
        out[j] = axes[0][j] * v[0] + axes[1][j] * v[1] + axes[2][j] * v[2];
    if (!mirror)
        out[0] = -out[0];
}

#endif
