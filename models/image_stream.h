/*
 * image_stream.h - an image file, open, its header read and its first value next.
 *
 * How far a header's word is believed is decided here. Values are the reader's business.
 */
#ifndef DM_MODELS_IMAGE_STREAM_H
#define DM_MODELS_IMAGE_STREAM_H

#include "models/gzip.h"
#include "models/nifti.h"

typedef struct dmi_image_stream {
    dmi_gzip_in in;
    dmi_nifti header;
} dmi_image_stream;

/* DM_ERR_IO, DM_ERR_FORMAT as dm_volume_read; also when the file is too small for what the header
 * says. `path` must outlive the stream. */
dm_status dmi_image_stream_open(const char *path, dmi_image_stream *stream) DM_NODISCARD;

/* Exactly n bytes of values, of which `before` have been read: fewer are DM_ERR_FORMAT. */
dm_status dmi_image_stream_read(dmi_image_stream *stream, size_t before, size_t n,
                                void *to) DM_NODISCARD;

/* After the last value: is the compressed stream whole? */
dm_status dmi_image_stream_check_end(dmi_image_stream *stream) DM_NODISCARD;

void dmi_image_stream_close(dmi_image_stream *stream);

#endif
