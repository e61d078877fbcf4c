/*
 * spill.h - bytes that have no room in memory, kept in files until nobody can read them.
 *
 * What is written is a *part*: at most DMI_PART_MOST bytes of one object. A large object is several
 * parts, written and read by several threads at once; many small parts share blocks of the file. Each
 * part has a *ticket*, by which it is read and freed. Nothing is known here of objects, tasks or roles.
 *
 *     write ---> WRITTEN ---- free ----> DEAD ---- tidy, or the next write ----> its blocks are used again,
 *                   |                                                           or given back to the disk
 *                   +--- moved by tidy, when less than half of what shares its blocks is alive
 *
 * Laws: a part is read back as it was written or not at all (checksum of the bytes before any coding);
 * a write that fails leaves nothing; blocks are never shared by a dead part and a new one before the dead
 * one has no reader; live + idle blocks == blocks of the files, as the kernel counts them but for what the
 * file system needs itself.
 *
 * All functions: any thread, at once. Only those that say so make system calls or wait for the disk; no lock
 * is held meanwhile, so who reads, writes or frees never waits for another's disk (but a writer for a file
 * that is being emptied, a millisecond). Each thread in here has a buffer of 5 MiB, which is kept for the next.
 *
 * Who looks for our nameless files finds them among the descriptors: /proc/PID/fd/N -> "DIR/#... (deleted)".
 */
#ifndef DMI_SPILL_H
#define DMI_SPILL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dm/status.h"

typedef struct dmi_spill dmi_spill;

enum { DMI_PART_MOST = 4 << 20 };

typedef enum dmi_spill_policy {
    DMI_SPILL_AUTO,    /* a dead part's blocks are used again or given back, at once */
    DMI_SPILL_SESSION, /* nothing is used again or given back before dmi_spill_scope_end; then all that
                          is dead */
    DMI_SPILL_NEVER    /* nothing is given back before dmi_spill_destroy */
} dmi_spill_policy;

typedef enum dmi_spill_filter {
    DMI_FILTER_BEST, /* what a sample of the bytes says, plane by plane */
    DMI_FILTER_NONE,
    DMI_FILTER_BYTES, /* bytes of equal significance together */
    DMI_FILTER_BITS   /* bits of equal significance together */
} dmi_spill_filter;

typedef struct dmi_spill_settings {
    const char *dirs; /* one, or several with colons between, used in turn */
    dmi_spill_policy policy;
    bool visible; /* named files, in a private directory; else nameless. SESSION, NEVER: always */
    bool allow_memory;    /* a tmpfs or ramfs will do */
    uint64_t limit_bytes; /* on disk; 0: none */
    double fill_limit;    /* of each file system; 0.95: what is written may fill it so far, as df
                             counts; 0: no limit */
    int acceleration;     /* LZ4's; 1 and up */
    dmi_spill_filter filter;
    bool buffered; /* no direct I/O; else where the file system takes it */
} dmi_spill_settings;

typedef struct dmi_part {
    const void *bytes;
    size_t count;
    size_t plain;    /* so many of them, in front, are not elements: kept out of the filter */
    uint8_t element; /* bytes of one: 2, 4, 8; 0 or 1: no filter */
    uint64_t id;     /* whose part it is, and which: must be said again to read it */
    uint32_t ticket; /* set by dmi_spill_write: not 0, or 0 if it failed */
} dmi_part;

/*
 * Check the directories, sweep what dead sessions of this user left in them (a directory of theirs whose lock
 * is free; a file a minute old), remember the settings. No file is made before the first write; then one in
 * each directory. DM_ERR_OPTION: a directory is missing, not writable, or in memory; DM_ERR_SPILL_UNSAFE: it
 * is a link, belongs to another user (but root), or everybody may write there and it is not sticky;
 * DM_ERR_NOMEM, DM_ERR_FDS, DM_ERR_SYSTEM.
 */
dm_status dmi_spill_create(dmi_spill **spill, const dmi_spill_settings *settings);

/*
 * Write `n` parts, each at most DMI_PART_MOST bytes; small ones beside each other share blocks. All or none.
 * Waits for the disk: about once for each DMI_PART_MOST bytes or 1,024 parts. `cancelled`, if not NULL, is
 * looked at for each 256 KiB coded and each MiB written: once true, the write ends with DM_ERR_CANCELLED.
 * DM_ERR_DISK_FULL (space, inodes, quota, file size, fill_limit or limit_bytes, in all directories, though
 * idle blocks were given back: the sentence says which), DM_ERR_IO, DM_ERR_NOMEM, DM_ERR_FDS.
 */
dm_status dmi_spill_write(dmi_spill *spill, dmi_part *parts, size_t n,
                          const atomic_bool *cancelled);

/* Read a part into `to`, `count` bytes, all of it: `count` is what was written. Waits for the disk.
 * DM_ERR_CORRUPT (the sentence names file, offset and what did not fit), DM_ERR_IO, DM_ERR_NOMEM; then `to`
 * may hold anything. Must begin before dmi_spill_free, and may end after it. */
dm_status dmi_spill_read(dmi_spill *spill, uint32_t ticket, uint64_t id, void *to, size_t count);

/* Nobody will read it again. No system call. If it is being read, its blocks wait for that. */
void dmi_spill_free(dmi_spill *spill, uint32_t ticket);

/* Bytes on disk that this ticket's part takes, its share of blocks with whom lives there; 0 for ticket 0. */
size_t dmi_spill_stored(dmi_spill *spill, uint32_t ticket);

/*
 * Give back what is dead and worth it, move what keeps dead neighbours: a bounded piece of that work (a file
 * emptied, 16 MiB punched, or what lives in 16 units of 64 KiB moved: about a millisecond). True if there
 * is more. Waits for the disk. What it could not do is not tried again before something changes. Lone idle
 * blocks are kept while there are eight times as many live ones. Where the file system cannot punch, idle
 * blocks are kept until they are used again or nothing in their file is alive.
 */
bool dmi_spill_tidy(dmi_spill *spill);

/* Is there work for dmi_spill_tidy? No system call. */
bool dmi_spill_untidy(dmi_spill *spill);

/* DMI_SPILL_SESSION: what is dead is for dmi_spill_tidy now. No system call; nothing under other policies. */
void dmi_spill_scope_end(dmi_spill *spill);

typedef struct dmi_spill_stats {
    uint64_t live_raw;    /* bytes of live parts, as they were */
    uint64_t live_stored; /* as they are written */
    uint64_t on_disk;     /* blocks of our files that have disk behind them, as we count them */
    uint64_t written_raw, written_stored, read_raw, read_stored; /* since create */
    uint64_t write_ns, read_ns; /* time inside write and read, all threads added; coding included */
    uint64_t punched;           /* bytes given back while files stayed open */
    uint64_t moved;             /* bytes rewritten because of dead neighbours */
    uint64_t parts;             /* live */
    uint32_t files;
    bool punches; /* the file systems can give blocks back, as far as is known */
    bool direct;  /* all files are read and written past the page cache */
} dmi_spill_stats;

void dmi_spill_stats_get(dmi_spill *spill, dmi_spill_stats *out);

/* Do the laws of its ledger and of its files' blocks hold? Slow. */
bool dmi_spill_is_valid(dmi_spill *spill);

/* Where a ticket's part lies at this moment, for messages: "FILE, bytes A to B". Truncates. */
void dmi_spill_describe(dmi_spill *spill, uint32_t ticket, char *to, size_t room);

/* Close and forget all; nothing is left. No other call may be on its way. NULL is fine. */
void dmi_spill_destroy(dmi_spill *spill);

#endif
