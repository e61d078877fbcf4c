/*
 * gzip.c - the one file that knows zlib. Knows nothing of images.
 */
#include "models/gzip.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* gzread and gzwrite take an unsigned. */
enum { MOST_AT_ONCE = 1 << 24 };

/* Level 1: maps of fits are noise to zlib; higher levels cost five times more and gain 2 %. */
enum { LEVEL = 1 };

/* ---- reading --------------------------------------------------------------------------------- */

dm_status dmi_gzip_open(const char *path, dmi_gzip_in *in)
{
    *in = (dmi_gzip_in){.path = path};
    /* O_NONBLOCK: a pipe is refused below, and must not be waited for here. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dmi_error(DM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat about;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return dmi_error(DM_ERR_IO, "%s: not a regular file; expected .nii or .nii.gz", path);
    }
    in->file_bytes = (size_t)about.st_size;
    in->gz = gzdopen(fd, "rb");
    if (!in->gz) {
        close(fd);
        return dmi_error(DM_ERR_NOMEM, "%s: no memory to read it", path);
    }
    gzbuffer(in->gz, 1 << 17);
    return DM_OK;
}

/* Why the stream stopped, as an error: damage found by zlib, or the disk's. */
static dm_status stream_error(const dmi_gzip_in *in)
{
    int code;
    const char *text = gzerror(in->gz, &code);
    if (code == Z_ERRNO)
        return dmi_error(DM_ERR_IO, "%s: reading failed: %s", in->path, strerror(errno));
    return dmi_error(DM_ERR_FORMAT, "%s: the compressed data are damaged: %s; get the file again",
                     in->path, text);
}

dm_status dmi_gzip_read(dmi_gzip_in *in, void *to, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        const size_t ask = n - *got < MOST_AT_ONCE ? n - *got : MOST_AT_ONCE;
        const int count = gzread(in->gz, (char *)to + *got, (unsigned)ask);
        if (count < 0)
            return stream_error(in);
        *got += (size_t)count;
        if ((size_t)count < ask)
            break;
    }
    in->plain = gzdirect(in->gz);
    return DM_OK;
}

dm_status dmi_gzip_check_end(dmi_gzip_in *in)
{
    char more;
    int code = Z_OK;
    if (gzread(in->gz, &more, 1) <= 0)
        gzerror(in->gz, &code);
    return code == Z_OK ? DM_OK : stream_error(in);
}

void dmi_gzip_close(dmi_gzip_in *in)
{
    if (in->gz)
        gzclose_r(in->gz);
    in->gz = NULL;
}

bool dmi_gzip_impossible(size_t compressed_bytes, size_t n_bytes)
{
    /* Deflate's best, 258 bytes in two bits, by zlib's documentation. */
    return n_bytes / 1032 > compressed_bytes;
}

/* ---- writing --------------------------------------------------------------------------------- */

void *dmi_gzip_begin(int fd, bool compressed)
{
    const int copy = dup(fd); /* zlib closes what it is given */
    if (copy < 0)
        return NULL;
    gzFile gz = gzdopen(copy, compressed ? "wb1" : "wbT");
    if (!gz)
        close(copy);
    errno = 0;
    return gz;
}

bool dmi_gzip_write(void *gz, const void *bytes, size_t n)
{
    const char *from = bytes;
    while (n > 0) {
        const unsigned ask = (unsigned)(n < MOST_AT_ONCE ? n : MOST_AT_ONCE);
        if (gzwrite(gz, from, ask) != (int)ask)
            return false;
        from += ask;
        n -= ask;
    }
    return true;
}

bool dmi_gzip_end(void *gz)
{
    return gzclose(gz) == Z_OK;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* A piece ends on a byte, by an empty block (Z_SYNC_FLUSH), and looks back at none before it: so it
 * may follow any other. pigz makes its files in the same way. */
static size_t deflate_piece(z_stream *stream)
{
    if (deflateInit2(stream, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    const int result = deflate(stream, Z_SYNC_FLUSH);
    const bool whole = result == Z_OK && stream->avail_in == 0 && stream->avail_out > 0;
    const size_t n = stream->total_out;
    deflateEnd(stream);
    return whole ? n : 0;
}

size_t dmi_gzip_piece_room(size_t n)
{
    return compressBound(n) + 64;
}

size_t dmi_gzip_piece(const void *bytes, size_t n, void *to, size_t room, uint32_t *crc)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)bytes,
                       .avail_in = (uInt)n,
                       .next_out = to,
                       .avail_out = (uInt)room};
    *crc = (uint32_t)crc32(0, bytes, (uInt)n);
    return deflate_piece(&stream);
}

void dmi_gzip_head(unsigned char head[DMI_GZIP_HEAD_BYTES])
{
    /* RFC 1952: magic, deflate, no name and no time (equal maps are equal files), fastest, Unix. */
    static const unsigned char bytes[DMI_GZIP_HEAD_BYTES] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3};
    memcpy(head, bytes, sizeof bytes);
}

void dmi_gzip_add(dmi_gzip_sum *sum, uint32_t piece_crc, size_t n)
{
    sum->crc = (uint32_t)crc32_combine(sum->crc, piece_crc, (z_off_t)n);
    sum->length += (uint32_t)n; /* the format counts modulo 2^32 */
}

void dmi_gzip_tail(const dmi_gzip_sum *sum, unsigned char tail[DMI_GZIP_TAIL_BYTES])
{
    tail[0] = 3; /* an empty last block */
    tail[1] = 0;
    for (int k = 0; k < 4; k++) {
        tail[2 + k] = (unsigned char)(sum->crc >> 8 * k);
        tail[6 + k] = (unsigned char)(sum->length >> 8 * k);
    }
}
