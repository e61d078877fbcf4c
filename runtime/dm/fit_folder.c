/*
 * fit_folder.c - see fit_folder.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dm/dm.h"
#include "runtime/dm/fit_folder.h"

char *fit_path(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static dm_status make_one(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return DM_OK;
    int reason = errno;
    struct stat found;
    if (reason == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode))
        return DM_OK;
    return dmi_error(DM_ERR_IO, "%s: %s; a folder to write to was expected", path,
                     strerror(reason == EEXIST ? ENOTDIR : reason));
}

dm_status fit_make_folder(const char *path)
{
    char *part = strdup(path);
    if (!part)
        return dmi_error(DM_ERR_NOMEM, "no memory for a path");
    dm_status status = DM_OK;
    for (char *slash = strchr(part + 1, '/'); *part && slash && status == DM_OK;
         slash = strchr(slash + 1, '/')) {
        *slash = 0;
        status = make_one(part);
        *slash = '/';
    }
    free(part);
    return status == DM_OK ? make_one(path) : status;
}

static dm_status name_files(fit_folder *f, const char *folder)
{
    for (int i = 0; i < f->n; i++) {
        fit_file *file = &f->files[i];
        file->path = fit_path(folder, file->name);
        if (!file->path)
            return dmi_error(DM_ERR_NOMEM, "no memory for a path");
        if (!f->overwrite && access(file->path, F_OK) == 0)
            return dmi_error(DM_ERR_IO, "%s: a file was found here already; give --force to "
                             "replace it, or another --out", file->path);
    }
    return DM_OK;
}

dm_status fit_folder_open(fit_folder *f, const char *path, const dm_grid *grid)
{
    DM_TRY(name_files(f, path));
    if (access(path, F_OK) != 0)
        f->made = strdup(path);
    DM_TRY(fit_make_folder(path));
    if (access(path, W_OK) != 0)
        return dmi_error(DM_ERR_IO, "%s: %s; a folder to write to was expected", path,
                         strerror(errno));
    for (int i = 0; i < f->n; i++) {
        fit_file *file = &f->files[i];
        if (file->n_volumes)
            DM_TRY(dm_map_file_open(grid, file->n_volumes, file->type, file->path, f->overwrite,
                                    &file->map));
    }
    return DM_OK;
}

dm_status fit_folder_finish(const fit_folder *f)
{
    for (int i = 0; i < f->n; i++)
        if (f->files[i].map)
            DM_TRY(dm_map_file_finish(f->files[i].map));
    return DM_OK;
}

dm_status fit_folder_commit(const fit_folder *f)
{
    for (int i = f->n - 1; i >= 0; i--)
        if (f->files[i].map)
            DM_TRY(dm_map_file_commit(f->files[i].map));
    return DM_OK;
}

void fit_folder_print(const fit_folder *f)
{
    for (int i = 0; i < f->n; i++)
        printf("wrote %s\n", f->files[i].path);
}

void fit_folder_fini(fit_folder *f)
{
    for (int i = 0; i < f->n; i++) {
        free(f->files[i].path);
        dm_map_file_destroy(f->files[i].map);
    }
    if (f->made)
        (void)rmdir(f->made); /* refused unless it is empty */
    free(f->made);
    *f = (fit_folder){0};
}
