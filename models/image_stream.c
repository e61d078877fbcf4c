/*
 * image_stream.c - see image_stream.h. What a header means is nifti.c's.
 */
#include "models/image_stream.h"

static dm_status cut_off(const dmi_image_stream *s, size_t got)
{
    return dmi_error(DM_ERR_FORMAT,
                     "%s: cut off: found %zu bytes of data where the header says %zu; get the file "
                     "again",
                     s->in.path, got, s->header.n_bytes);
}

static dm_status read_header(dmi_image_stream *s)
{
    unsigned char bytes[DMI_NIFTI_HEADER_BYTES];
    size_t got;
    dm_status status = dmi_gzip_read(&s->in, bytes, sizeof bytes, &got);
    if (status != DM_OK)
        return status;
    if (got < sizeof bytes)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: not a NIfTI-1 file: it ends after %zu bytes, a header has %d",
                         s->in.path, got, DMI_NIFTI_HEADER_BYTES);
    return dmi_nifti_parse(s->in.path, bytes, &s->header);
}

static dm_status check_size(const dmi_image_stream *s)
{
    const size_t file_bytes = s->in.file_bytes, offset = s->header.offset;
    if (s->in.plain && (file_bytes < offset || file_bytes - offset < s->header.n_bytes))
        return cut_off(s, file_bytes < offset ? 0 : file_bytes - offset);
    if (!s->in.plain && dmi_gzip_impossible(file_bytes, s->header.n_bytes))
        return dmi_error(DM_ERR_FORMAT,
                         "%s: cut off: the header says %zu bytes of data, more than %zu compressed "
                         "ones can be; get the file again",
                         s->in.path, s->header.n_bytes, file_bytes);
    return DM_OK;
}

static dm_status skip_to_data(dmi_image_stream *s)
{
    char scrap[4096];
    size_t left = s->header.offset - DMI_NIFTI_HEADER_BYTES;
    while (left > 0) {
        const size_t ask = left < sizeof scrap ? left : sizeof scrap;
        size_t got;
        dm_status status = dmi_gzip_read(&s->in, scrap, ask, &got);
        if (status != DM_OK)
            return status;
        if (got < ask)
            return dmi_error(DM_ERR_FORMAT,
                             "%s: the header says that data begin at byte %zu, where the file has "
                             "ended",
                             s->in.path, s->header.offset);
        left -= got;
    }
    return DM_OK;
}

dm_status dmi_image_stream_open(const char *path, dmi_image_stream *stream)
{
    dm_status status = dmi_gzip_open(path, &stream->in);
    if (status != DM_OK)
        return status;
    status = read_header(stream);
    if (status == DM_OK)
        status = check_size(stream);
    if (status == DM_OK)
        status = skip_to_data(stream);
    if (status != DM_OK)
        dmi_image_stream_close(stream);
    return status;
}

dm_status dmi_image_stream_read(dmi_image_stream *stream, size_t before, size_t n, void *to)
{
    size_t got;
    dm_status status = dmi_gzip_read(&stream->in, to, n, &got);
    return status == DM_OK && got < n ? cut_off(stream, before + got) : status;
}

dm_status dmi_image_stream_check_end(dmi_image_stream *stream)
{
    return dmi_gzip_check_end(&stream->in);
}

void dmi_image_stream_close(dmi_image_stream *stream)
{
    dmi_gzip_close(&stream->in);
}
