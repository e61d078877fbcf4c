/*
 * image_file.h - what is behind dm_image_file, for signals.c.
 */
#ifndef DM_MODELS_IMAGE_FILE_H
#define DM_MODELS_IMAGE_FILE_H

#include "dm/fit.h"
#include "models/image_stream.h"

struct dm_image_file {
    char *path;
    dmi_nifti header; /* image.n_volumes: those selected */
    size_t n_in_file; /* volumes */
    size_t *volumes;  /* selected, in the order asked */
    size_t *by_place; /* which of them is first, second, .. in the file */
    int fd;           /* to read at any place; -1: it is compressed */
};

/* Any place of it can be read. */
bool dmi_image_file_is_plain(const dm_image_file *file);

/* The values of n voxels from `first` on of a selected volume, in the file's byte order; only of a
 * plain one. DM_ERR_FORMAT if the file has become shorter than it was when it was opened. */
dm_status dmi_image_file_at(const dm_image_file *file, size_t selected, size_t first, size_t n,
                            void *to) DM_NODISCARD;

/* Voxels `first` to `last` of all selected volumes will be read soon. */
void dmi_image_file_expect(const dm_image_file *file, size_t first, size_t last);

/*
 * Once from the first value to the last: `feed` gets, in the order of the file, values of n voxels
 * from `first` on of the selected volume that is at `place` there, in the file's byte order.
 */
typedef dm_status (*dmi_image_feed)(void *context, size_t place, size_t first, size_t n,
                                    const unsigned char *values);
dm_status dmi_image_file_pass(const dm_image_file *file, dmi_image_feed feed,
                              void *context) DM_NODISCARD;

#endif
