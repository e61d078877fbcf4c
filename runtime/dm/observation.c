/*
 * observation.c - connects to a program's socket, asks, and keeps the answer. Trusts it no further than
 * its tables go: it may be another program that took the name.
 */
#define _GNU_SOURCE
#include "runtime/dm/observation.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dm/dm.h"

enum { PATIENCE_MS = 10000 };

typedef struct packet {
    struct packet *next;
    uint8_t bytes[DMI_PACKET_MOST];
} packet;

/* ---- lines ---- */

/* What is printed is another program's: no control characters. */
static void make_printable(const dmi_line *line)
{
    size_t count;
    const dmi_line_field *fields = dmi_line_fields(line->kind, &count);
    for (size_t i = 0; i < count; i++) {
        char *text;
        if (!fields[i].is_text)
            continue;
        memcpy(&text, (const char *)&line->totals + fields[i].offset, sizeof text);
        for (; *text; text++)
            if ((unsigned char)*text < ' ' || *text == 0x7f)
                *text = '?';
    }
}

/* Room for one more at the end of a list; NULL: no memory. Doubles at powers of two. */
static void *one_more(void **list, size_t *count, size_t bytes)
{
    if ((*count & (*count - 1)) == 0) {
        void *grown = realloc(*list, (*count ? 2 * *count : 1) * bytes);
        if (grown == NULL)
            return NULL;
        *list = grown;
    }
    return (char *)*list + (*count)++ * bytes;
}

static dm_status keep(void **list, size_t *count, const void *line, size_t bytes)
{
    void *place = one_more(list, count, bytes);
    if (place == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for the answer");
    memcpy(place, line, bytes);
    return DM_OK;
}

static dm_status take_line(observation *o, const dmi_line *line, bool *ended)
{
    make_printable(line);
    switch (line->kind) {
    case DMI_LINE_TROUBLE:
        return dmi_error(line->trouble.status < DM_STATUS_COUNT ? (dm_status)line->trouble.status : DM_ERR_FORMAT,
                         "%s", line->trouble.text);
    case DMI_LINE_TOTALS:
        o->totals = line->totals;
        break;
    case DMI_LINE_WORKER:
        return keep((void **)&o->workers, &o->worker_count, &line->worker, sizeof line->worker);
    case DMI_LINE_OBJECT:
        return keep((void **)&o->objects, &o->object_count, &line->object, sizeof line->object);
    case DMI_LINE_END:
        o->objects_seen = line->end.objects;
        *ended = true;
        break;
    }
    return DM_OK;
}

static dm_status take_packet(observation *o, const uint8_t *at, size_t bytes, bool *ended)
{
    const uint8_t *end = at + bytes;
    dmi_line line;
    while (at < end && !*ended) {
        if (!dmi_line_read(&at, end, &line))
            return dmi_error(DM_ERR_FORMAT, "its answer cannot be read: is it another dmrt than this dm's (%s)?",
                             dm_version());
        DM_TRY(take_line(o, &line, ended));
    }
    return *ended && o->totals.program == NULL ? dmi_error(DM_ERR_FORMAT, "its answer is empty") : DM_OK;
}

/* ---- the socket ---- */

static dm_status has_ended(const program *of)
{
    return dmi_error(DM_ERR_NOT_RUNNING, "program %d has ended, or its session has", (int)of->pid);
}

static dm_status check_peer(int socket, const program *of)
{
    struct ucred who;
    socklen_t bytes = sizeof who;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && (who.uid == of->uid || who.uid == 0))
        return DM_OK;
    return dmi_error(DM_ERR_SYSTEM, "the socket of program %d is not its user's: somebody took its name",
                     (int)of->pid);
}

static dm_status connect_to(int *out, const program *of)
{
    struct sockaddr_un address;
    socklen_t bytes = dmi_observe_address(&address, of->uid, of->pid);
    if (of->uid != geteuid() && geteuid() != 0)
        return dmi_error(DM_ERR_SYSTEM, "program %d is of uid %u, and only that user and root may look at it",
                         (int)of->pid, (unsigned)of->uid);
    *out = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*out < 0)
        return dmi_error(DM_ERR_SYSTEM, "no socket to ask program %d: %s", (int)of->pid, strerror(errno));
    /* A queue that is full must not hold us for ever. */
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(*out, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(*out, (struct sockaddr *)&address, bytes) == 0)
        return check_peer(*out, of);
    if (errno == ECONNREFUSED)
        return has_ended(of);
    return dmi_error(errno == EAGAIN ? DM_ERR_TIMEOUT : DM_ERR_SYSTEM, "program %d cannot be asked: %s",
                     (int)of->pid, errno == EAGAIN ? "too many others ask it" : strerror(errno));
}

static dm_status receive(int socket, const program *of, uint8_t *to, size_t *bytes)
{
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    int ready = poll(&wait, 1, PATIENCE_MS);
    if (ready == 0)
        return dmi_error(DM_ERR_TIMEOUT, "program %d did not answer within %d s: is it stopped?", (int)of->pid,
                         PATIENCE_MS / 1000);
    ssize_t got = ready < 0 ? -1 : recv(socket, to, DMI_PACKET_MOST, MSG_TRUNC);
    if (got > DMI_PACKET_MOST)
        return dmi_error(DM_ERR_FORMAT, "the answer of program %d has a packet of %zd bytes", (int)of->pid, got);
    *bytes = got > 0 ? (size_t)got : 0;
    return got > 0 ? DM_OK : has_ended(of);
}

static dm_status ask(observation *o, int socket, const program *of, const dmi_request *request)
{
    uint8_t bytes[DMI_REQUEST_MOST];
    bool ended = false;
    size_t count = dmi_request_write(request, bytes);
    if (send(socket, bytes, count, MSG_NOSIGNAL) < 0)
        return has_ended(of);
    while (!ended) {
        packet *p = malloc(sizeof *p);
        if (p == NULL)
            return dmi_error(DM_ERR_NOMEM, "no memory for the answer");
        p->next = o->packets;
        o->packets = p;
        DM_TRY(receive(socket, of, p->bytes, &count));
        DM_TRY(take_packet(o, p->bytes, count, &ended));
    }
    return DM_OK;
}

dm_status observation_init(observation *o, const program *of, const dmi_request *request)
{
    int socket = -1;
    *o = (observation){0};
    dm_status status = connect_to(&socket, of);
    if (status == DM_OK)
        status = ask(o, socket, of, request);
    if (socket >= 0)
        close(socket);
    return status;
}

void observation_finish(observation *o)
{
    while (o->packets != NULL) {
        packet *p = o->packets;
        o->packets = p->next;
        free(p);
    }
    free(o->workers);
    free(o->objects);
    *o = (observation){0};
}

/* ---- figures ---- */

static double over(uint64_t a, uint64_t b)
{
    return b != 0 ? (double)a / (double)b : NAN;
}

double observation_compression(const dmi_totals_line *t)
{
    return over(t->spilled_total, t->spilled_stored);
}

double observation_spill_gb_s(const dmi_totals_line *t)
{
    return over(t->spilled_total, t->spill_ns);
}

double observation_restore_gb_s(const dmi_totals_line *t)
{
    return over(t->restored_total, t->restore_ns);
}

/* All that has a name in the table. */
static void add_line(figures *f, dmi_line_kind kind, const void *line)
{
    size_t count;
    const dmi_line_field *fields = dmi_line_fields(kind, &count);
    for (size_t i = 0; i < count; i++) {
        const char *member = (const char *)line + fields[i].offset, *text;
        uint64_t number;
        if (fields[i].name == NULL)
            continue;
        memcpy(&text, member, sizeof text);
        memcpy(&number, member, sizeof number);
        if (fields[i].is_text)
            figures_text(f, fields[i].name, text);
        else
            figures_number(f, fields[i].name, (double)number);
    }
}

static void add_object(figures *f, const dmi_object_line *line)
{
    add_line(f, DMI_LINE_OBJECT, line);
    figures *holders = figures_list(f, "workers");
    for (int i = 0; i < DMI_TOLD_WORKERS && line->refs[i] != 0; i++) {
        figures *holder = figures_item(holders);
        figures_number(holder, "worker", (double)line->worker[i]);
        figures_number(holder, "refs", (double)line->refs[i]);
    }
}

void observation_to_figures(const observation *o, bool with_objects, figures *f)
{
    figures *totals = figures_within(f, "totals"), *workers = figures_list(f, "workers");
    add_line(totals, DMI_LINE_TOTALS, &o->totals);
    figures_number(totals, "compression_ratio", observation_compression(&o->totals));
    figures_number(totals, "spill_gb_s", observation_spill_gb_s(&o->totals));
    figures_number(totals, "restore_gb_s", observation_restore_gb_s(&o->totals));
    for (size_t i = 0; i < o->worker_count; i++)
        add_line(figures_item(workers), DMI_LINE_WORKER, &o->workers[i]);
    if (!with_objects)
        return;
    figures_number(f, "objects_seen", (double)o->objects_seen);
    figures *objects = figures_list(f, "objects");
    for (size_t i = 0; i < o->object_count; i++)
        add_object(figures_item(objects), &o->objects[i]);
}
