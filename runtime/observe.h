/*
 * observe.h - what may be asked of a running program from outside, and what it answers: the book of the
 * observers' protocol, for both sides.
 *
 * A program with a session listens on an abstract SOCK_SEQPACKET socket (runtime/door.h). Whoever connects
 * sends one packet, a request, and is sent packets of *lines* until the end. Both are msgpack values one
 * after the other, as runtime/wire.h writes them: no containers, so no size that lies. A line is its kind,
 * then its fields in the order of the table of its kind: unsigned integers and strings, no other.
 *
 * Reading trusts nothing. Keeps no state; any thread, any process.
 */
#ifndef DMI_OBSERVE_H
#define DMI_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "runtime/wire.h"

enum {
    DMI_OBSERVE_VERSION = 1,    /* changes with the tables of lines */
    DMI_REQUEST_MOST = 64,      /* bytes of a request */
    DMI_PACKET_MOST = 32 << 10, /* bytes of a packet of lines */
    DMI_TOP_MOST = 10000,       /* objects in one answer */
    DMI_TOLD_WORKERS = 4        /* that hold an object, by name; the rest is in the sum */
};

/* The name of the socket: a zero, then "dmrt-UID-PID", both decimal, no zero at the end. */
#define DMI_OBSERVE_PREFIX "dmrt-"
socklen_t dmi_observe_address(struct sockaddr_un *to, uid_t uid, pid_t pid);

/* ---- requests: "dmrt", version, question, top ---- */

typedef enum dmi_question {
    DMI_ASK_STATUS = 1, /* totals, workers, end */
    DMI_ASK_MEMORY      /* totals, workers, the `top` largest objects, end */
} dmi_question;

typedef struct dmi_request {
    dmi_question question;
    uint32_t top;
} dmi_request;

/* The bytes written; `to` has room for DMI_REQUEST_MOST. */
size_t dmi_request_write(const dmi_request *request, uint8_t *to);

/* DM_ERR_FORMAT: not of this protocol. DM_ERR_VERSION: of another version of it. */
dm_status dmi_request_read(const uint8_t *bytes, size_t count, dmi_request *request);

/* ---- lines ---- */

typedef enum dmi_line_kind {
    DMI_LINE_TROUBLE = 1, /* instead of all others, or after them: it did not work. Same in each version */
    DMI_LINE_TOTALS,
    DMI_LINE_WORKER,
    DMI_LINE_OBJECT,
    DMI_LINE_END /* nothing follows */
} dmi_line_kind;

typedef struct dmi_trouble_line {
    uint64_t status; /* a dm_status */
    const char *text;
} dmi_trouble_line;

typedef struct dmi_totals_line {
    const char *program, *version, *engine;
    uint64_t pid;
    uint64_t workers, workers_lost;
    uint64_t tasks_submitted, tasks_done, tasks_failed, tasks_retried;
    uint64_t tasks_waiting; /* for their inputs */
    uint64_t tasks_queued;  /* for a place with a worker */
    uint64_t tasks_placed;  /* with a worker, not finished */
    uint64_t refs, objects;
    uint64_t store_bytes, store_committed, store_used, pinned_bytes; /* as in dm_stats, and so on */
    const char *spill_policy, *spill_dir;
    uint64_t spill_above;
    uint64_t spilled_objects, spilled_bytes, spilling_bytes, disk_bytes;
    uint64_t spilled_total, spilled_stored, restored_total, punched_total;
    uint64_t spill_ns, restore_ns;
    uint64_t objects_lost, spill_files, disk_punches;
} dmi_totals_line;

typedef struct dmi_worker_line {
    uint64_t worker; /* its lane */
    uint64_t pid;    /* 0: none yet, or a thread of the program */
    const char *state;    /* "starting", "idle", "running", "waiting" (in dm_get), "lost" */
    const char *function; /* running, or ran when it began to wait; "" if none */
    uint64_t tasks;       /* placed there, not finished */
} dmi_worker_line;

typedef struct dmi_object_line {
    uint64_t value;      /* the number that messages name it by */
    uint64_t bytes;      /* in memory, header included */
    uint64_t disk_bytes; /* its share of blocks */
    const char *state;   /* "memory", "leaving", "disk", "returning", "both", "being made" */
    const char *made_by; /* a function's name, or "dm_put" */
    uint64_t driver_refs, worker_refs;
    uint64_t views;  /* lent to the driver's program */
    uint64_t tasks;  /* unfinished ones that name it, each as often as it does */
    uint64_t values; /* that are a ref to it */
    uint64_t worker[DMI_TOLD_WORKERS], refs[DMI_TOLD_WORKERS]; /* of worker_refs; refs 0: none */
} dmi_object_line;

typedef struct dmi_end_line {
    uint64_t objects; /* that were there to choose from */
    uint64_t shown;
} dmi_end_line;

/* A line as it was read. Its strings lie in the packet. */
typedef struct dmi_line {
    dmi_line_kind kind;
    union {
        dmi_trouble_line trouble;
        dmi_totals_line totals;
        dmi_worker_line worker;
        dmi_object_line object;
        dmi_end_line end;
    };
} dmi_line;

/* The table of a kind of line: every member of its struct, in order. The names are those of --json; one
 * without a name is an entry of worker[] or refs[]. */
typedef struct dmi_line_field {
    const char *name;
    uint16_t offset;
    bool is_text;
} dmi_line_field;

const dmi_line_field *dmi_line_fields(dmi_line_kind kind, size_t *count);

/* Append a line of this kind; `line` is its struct. False: it does not fit, and nothing was written. */
bool dmi_line_write(dmi_out *out, dmi_line_kind kind, const void *line);

/* The next line of [*at, end). False: that is none. */
bool dmi_line_read(const uint8_t **at, const uint8_t *end, dmi_line *line);

#endif
