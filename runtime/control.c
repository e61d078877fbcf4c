/*
 * control.c - packs, sends, receives and checks the messages between supervisor and worker.
 *
 * A message is one msgpack map of small integer keys to integers. What arrives is scanned before
 * msgpack-c sees it: that library reserves memory for as many elements as a message announces, so
 * five bytes cost 8 GB. Keeps no state; any thread, driver and worker.
 */
#include "runtime/control.h"

#include <errno.h>
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_DEPTH = 4 };

/* ---- the fields and their keys ---- */

typedef struct field {
    uint8_t key;
    uint8_t bytes;
    bool is_signed;
    size_t offset;
} field;

#define FIELD(key_, name_, signed_)                                                                \
    {                                                                                              \
        key_, sizeof(((dmi_control *)0)->name_), signed_, offsetof(dmi_control, name_)             \
    }

static const field fields[] = {
    FIELD(1, kind, false),       FIELD(2, abi, false),           FIELD(3, functions, false),
    FIELD(4, lane, false),       FIELD(5, segment, false),       FIELD(6, generation, false),
    FIELD(7, bytes, false),      FIELD(8, d_bytes, false),       FIELD(9, inline_bytes, false),
    FIELD(10, cpus, false),      FIELD(11, store_wait_ms, true), FIELD(12, nested_tasks, false)};

enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

/* How many descriptors a message of this kind may carry. */
static bool fds_fit(const dmi_control *message)
{
    switch (message->kind) {
    case DMI_CONTROL_WELCOME:
        return message->fd_count == 7;
    case DMI_CONTROL_HELLO:
    case DMI_CONTROL_WANT:
        return message->fd_count == 0;
    case DMI_CONTROL_SEGMENT:
        return message->fd_count <= 1;
    }
    return false;
}

/* ---- packing ---- */

typedef struct parcel {
    char bytes[DMI_CONTROL_BYTES];
    size_t length;
} parcel;

static int parcel_write(void *data, const char *bytes, size_t length)
{
    parcel *to = data;
    if (length > sizeof to->bytes - to->length)
        return -1;
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    return 0;
}

static uint64_t field_load(const field *f, const dmi_control *message)
{
    const char *at = (const char *)message + f->offset;
    uint32_t narrow;
    uint64_t wide;
    if (f->bytes == sizeof narrow) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static void pack(parcel *to, const dmi_control *message)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, to, parcel_write);
    to->length = 0;
    msgpack_pack_map(&packer, FIELD_COUNT);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        uint64_t value = field_load(&fields[i], message);
        msgpack_pack_uint8(&packer, fields[i].key);
        if (fields[i].is_signed)
            msgpack_pack_int64(&packer, (int64_t)value);
        else
            msgpack_pack_uint64(&packer, value);
    }
}

/* Puts `count` descriptors beside a message's bytes. `room` lives as long as the header. */
typedef union ancillary {
    char bytes[CMSG_SPACE(DMI_CONTROL_FDS * sizeof(int))];
    struct cmsghdr aligned;
} ancillary;

static void attach_fds(struct msghdr *header, ancillary *room, const int *fds, int count)
{
    size_t bytes = (size_t)count * sizeof(int);
    if (count == 0)
        return;
    memset(room, 0, sizeof *room);
    header->msg_control = room->bytes;
    header->msg_controllen = CMSG_SPACE(bytes);
    struct cmsghdr *part = CMSG_FIRSTHDR(header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(part), fds, bytes);
}

static dm_status send_failure(int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK)
        return dmi_error(DM_ERR_TIMEOUT, "the control socket is full: its peer does not read");
    if (error == ETOOMANYREFS || error == EMFILE || error == ENFILE)
        return dmi_error(DM_ERR_FDS, "too many descriptors are in flight: %s", strerror(error));
    if (error == ENOMEM || error == ENOBUFS)
        return dmi_error(DM_ERR_NOMEM, "no memory to send a control message: %s", strerror(error));
    return dmi_error(DM_ERR_SYSTEM, "a control message could not be sent: %s", strerror(error));
}

dm_status dmi_control_send(int socket, const dmi_control *message)
{
    if (message->fd_count < 0 || message->fd_count > DMI_CONTROL_FDS || !fds_fit(message))
        return dmi_error(DM_ERR_INVALID, "a control message of kind %d with %d descriptors",
                         (int)message->kind, message->fd_count);
    parcel packed;
    pack(&packed, message);
    struct iovec part = {packed.bytes, packed.length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    ancillary room;
    attach_fds(&header, &room, message->fds, message->fd_count);
    ssize_t sent;
    do {
        sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? send_failure(errno) : DM_OK;
}

/* ---- looking before unpacking ---- */

typedef struct scanner {
    const uint8_t *at, *end;
    uint64_t open[MAX_DEPTH]; /* elements still to come in each container around */
    int depth;
} scanner;

static size_t left(const scanner *s)
{
    return (size_t)(s->end - s->at);
}

/* A big-endian number of 1, 2, 4 bytes. */
static bool scan_size(scanner *s, unsigned width, uint64_t *size)
{
    if (left(s) < width)
        return false;
    *size = 0;
    for (unsigned i = 0; i < width; i++)
        *size = *size << 8 | *s->at++;
    return true;
}

static bool scan_skip(scanner *s, uint64_t bytes)
{
    if (bytes > left(s))
        return false;
    s->at += bytes;
    return true;
}

/* Every element takes at least a byte, so more elements than bytes left is a lie. */
static bool scan_open(scanner *s, uint64_t elements)
{
    if (elements > left(s) || s->depth == MAX_DEPTH)
        return false;
    s->open[s->depth++] = elements;
    return true;
}

/* str, bin, ext: a length of `width` bytes, then `more` bytes and as many as it says. */
static bool scan_blob(scanner *s, unsigned width, unsigned more)
{
    uint64_t size;
    return scan_size(s, width, &size) && scan_skip(s, size + more);
}

static bool scan_container(scanner *s, unsigned width, unsigned per_element)
{
    uint64_t count;
    return scan_size(s, width, &count) && scan_open(s, count * per_element);
}

/* What follows a first byte from 0xc0 to 0xdf. */
static bool scan_marked(scanner *s, uint8_t mark)
{
    switch (mark) {
    case 0xc0: case 0xc2: case 0xc3:
        return true;
    case 0xc4: case 0xc5: case 0xc6: /* bin 8, 16, 32 */
        return scan_blob(s, 1u << (mark - 0xc4), 0);
    case 0xc7: case 0xc8: case 0xc9: /* ext 8, 16, 32 */
        return scan_blob(s, 1u << (mark - 0xc7), 1);
    case 0xca: case 0xcb: /* float, double */
        return scan_skip(s, 4u << (mark - 0xca));
    case 0xcc: case 0xcd: case 0xce: case 0xcf: /* uint */
        return scan_skip(s, 1u << (mark - 0xcc));
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: /* int */
        return scan_skip(s, 1u << (mark - 0xd0));
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: /* ext of 1 to 16 bytes */
        return scan_skip(s, (1u << (mark - 0xd4)) + 1);
    case 0xd9: case 0xda: case 0xdb: /* str 8, 16, 32 */
        return scan_blob(s, 1u << (mark - 0xd9), 0);
    case 0xdc: case 0xdd: /* array 16, 32 */
        return scan_container(s, 2u << (mark - 0xdc), 1);
    case 0xde: case 0xdf: /* map 16, 32 */
        return scan_container(s, 2u << (mark - 0xde), 2);
    default: /* 0xc1 is no msgpack */
        return false;
    }
}

static bool scan_value(scanner *s)
{
    if (left(s) == 0)
        return false;
    uint8_t mark = *s->at++;
    if (mark < 0x80 || mark >= 0xe0)
        return true;
    if (mark < 0x90)
        return scan_open(s, 2u * (mark & 0x0f));
    if (mark < 0xa0)
        return scan_open(s, mark & 0x0f);
    if (mark < 0xc0)
        return scan_skip(s, mark & 0x1f);
    return scan_marked(s, mark);
}

/* Is this exactly one msgpack value, none of whose announced sizes lies, and not too deep? */
static bool scan(const void *bytes, size_t length)
{
    scanner s = {.at = bytes, .end = (const uint8_t *)bytes + length};
    for (;;) {
        if (!scan_value(&s))
            return false;
        while (s.depth > 0 && s.open[s.depth - 1] == 0)
            s.depth--;
        if (s.depth == 0)
            return left(&s) == 0;
        s.open[s.depth - 1]--;
    }
}

/* ---- unpacking ---- */

static bool field_store(const field *f, dmi_control *message, const msgpack_object *value)
{
    if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER &&
        !(f->is_signed && value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER))
        return false;
    char *at = (char *)message + f->offset;
    uint64_t wide = value->via.u64;
    if (f->is_signed && value->type == MSGPACK_OBJECT_POSITIVE_INTEGER && wide > INT64_MAX)
        return false;
    if (f->bytes == sizeof wide) {
        memcpy(at, &wide, sizeof wide);
        return true;
    }
    uint32_t narrow = (uint32_t)wide;
    memcpy(at, &narrow, sizeof narrow);
    return narrow == wide;
}

static const field *field_of(const msgpack_object *key)
{
    if (key->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return NULL;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].key == key->via.u64)
            return &fields[i];
    }
    return NULL;
}

/* Both sides are one program: each field is there, once, and no other. */
static bool read_map(const msgpack_object *map, dmi_control *message)
{
    if (map->type != MSGPACK_OBJECT_MAP || map->via.map.size != FIELD_COUNT)
        return false;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < FIELD_COUNT; i++) {
        const msgpack_object_kv *entry = &map->via.map.ptr[i];
        const field *f = field_of(&entry->key);
        if (!f || seen & (1u << f->key) || !field_store(f, message, &entry->val))
            return false;
        seen |= 1u << f->key;
    }
    return true;
}

static bool unpack(const char *bytes, size_t length, dmi_control *message)
{
    if (!scan(bytes, length))
        return false;
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    bool good = msgpack_unpack_next(&unpacked, bytes, length, NULL) == MSGPACK_UNPACK_SUCCESS &&
                read_map(&unpacked.data, message);
    msgpack_unpacked_destroy(&unpacked);
    return good;
}

/* ---- receiving ---- */

static void take_fds(struct msghdr *header, dmi_control *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (message->fd_count < DMI_CONTROL_FDS)
                message->fds[message->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

static dm_status refuse(dmi_control *message, dm_status status, const char *why)
{
    for (int i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    memset(message, 0, sizeof *message);
    return dmi_error(status, "control socket: %s", why);
}

static dm_status check(const struct msghdr *header, const char *bytes, size_t length,
                       dmi_control *message)
{
    if (header->msg_flags & MSG_TRUNC)
        return refuse(message, DM_ERR_FORMAT, "a message is too long");
    if (header->msg_flags & MSG_CTRUNC)
        return refuse(message, DM_ERR_FORMAT,
                      "descriptors were lost: a message carried too many, or this process has no "
                      "descriptor left");
    if (length == 0) /* the end, or an empty packet, which no peer of ours sends */
        return refuse(message, DM_ERR_SYSTEM, "the peer has closed it");
    if (!unpack(bytes, length, message))
        return refuse(message, DM_ERR_FORMAT, "a message is not of this protocol");
    if (!fds_fit(message))
        return refuse(message, DM_ERR_FORMAT,
                      "a message is of no known kind or has a wrong number of descriptors");
    return DM_OK;
}

dm_status dmi_control_receive(int socket, dmi_control *message)
{
    char bytes[DMI_CONTROL_BYTES];
    ancillary room;
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = room.bytes,
                            .msg_controllen = sizeof room.bytes};
    memset(message, 0, sizeof *message);
    ssize_t got;
    do {
        got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return dmi_error(DM_ERR_TIMEOUT, "control socket: no message is there");
    if (got < 0)
        return dmi_error(DM_ERR_SYSTEM, "control socket: %s", strerror(errno));
    take_fds(&header, message);
    return check(&header, bytes, (size_t)got, message);
}
