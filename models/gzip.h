/*
 * gzip.h - bytes in and out of compressed files: the door to zlib, which only gzip.c knows.
 *
 * Reading and writing go from the first byte to the last. Pieces are for writing by many hands: each
 * is compressed for itself, and pieces laid end to end, between a head and a tail, are one gzip
 * stream of one member.
 */
#ifndef DM_MODELS_GZIP_H
#define DM_MODELS_GZIP_H

#include "dm/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- reading ---- */

typedef struct dmi_gzip_in {
    const char *path; /* the caller's */
    void *gz;
    size_t file_bytes;
    bool plain; /* not compressed: bytes come as they are; known after the first read */
} dmi_gzip_in;

/* DM_ERR_IO: missing, unreadable, no regular file. */
dm_status dmi_gzip_open(const char *path, dmi_gzip_in *in) DM_NODISCARD;

/* Up to n bytes; *got < n only at the end of the stream. DM_ERR_FORMAT: damaged. */
dm_status dmi_gzip_read(dmi_gzip_in *in, void *to, size_t n, size_t *got) DM_NODISCARD;

/* The checksum stands behind the last byte: it is looked at only when one asks for more. */
dm_status dmi_gzip_check_end(dmi_gzip_in *in) DM_NODISCARD;

void dmi_gzip_close(dmi_gzip_in *in);

/* More bytes than a compressed file of so many can hold. */
bool dmi_gzip_impossible(size_t compressed_bytes, size_t n_bytes);

/* ---- writing ---- */

/* A stream into fd, which stays the caller's. NULL: no memory or descriptor. */
void *dmi_gzip_begin(int fd, bool compressed);
bool dmi_gzip_write(void *gz, const void *bytes, size_t n);
/* False with errno, or 0 in it, if not all bytes have arrived. */
bool dmi_gzip_end(void *gz);

/* ---- pieces ---- */

enum { DMI_GZIP_HEAD_BYTES = 10, DMI_GZIP_TAIL_BYTES = 10 };

/* Of the bytes so far, for the tail. All 0 at first. */
typedef struct dmi_gzip_sum {
    uint32_t crc, length;
} dmi_gzip_sum;

/* Room that n bytes need at worst. */
size_t dmi_gzip_piece_room(size_t n);

/* n bytes into `to`; *crc is theirs. Returns the bytes written; 0: no memory. */
size_t dmi_gzip_piece(const void *bytes, size_t n, void *to, size_t room, uint32_t *crc);

void dmi_gzip_head(unsigned char head[DMI_GZIP_HEAD_BYTES]);
void dmi_gzip_add(dmi_gzip_sum *sum, uint32_t piece_crc, size_t n);
void dmi_gzip_tail(const dmi_gzip_sum *sum, unsigned char tail[DMI_GZIP_TAIL_BYTES]);

#endif
