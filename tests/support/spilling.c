/*
 * spilling.c - bytes to spill, and looking at what became of them.
 */
#include "tests/support/spilling.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <sys/stat.h>

/* ---- bytes ---- */

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8 ^ *state << 13;
}

static float number(uint32_t *state, size_t i, spilling_kind kind)
{
    float noise = (float)(next(state) % 64) + (float)(next(state) % 64);
    float smooth = 900.0f + 500.0f * (float)((i / 256) % 7);
    return kind == SPILLING_SIGNALS ? (float)(int)(smooth + noise)
                                    : (smooth + noise * 0.37f) / 3989.0f;
}

void spilling_fill(void *to, size_t bytes, spilling_kind kind, unsigned seed)
{
    uint32_t state = seed * 2654435761u + 1;
    char *at = to;
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t word = kind == SPILLING_ZEROS ? 0 : next(&state);
        if (kind >= SPILLING_SIGNALS) {
            float value = number(&state, i / 4, kind);
            memcpy(&word, &value, 4);
        }
        memcpy(at + i, &word, bytes - i < 4 ? bytes - i : 4);
    }
}

/* ---- directories ---- */

static char directory[64];

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about, (void)type, (void)where;
    return remove(path);
}

static void remove_directory(void)
{
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *spilling_dir(void)
{
    if (directory[0] == 0) {
        strcpy(directory, "/var/tmp/dmrt-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        atexit(remove_directory);
    }
    return directory;
}

int spilling_names(const char *path)
{
    DIR *listing = opendir(path);
    assert_non_null(listing);
    int count = 0;
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(listing);
    return count;
}

/* ---- sessions ---- */

dmi_spill_settings spilling_settings(void)
{
    return (dmi_spill_settings){.dirs = spilling_dir(), .acceleration = 1};
}

dmi_spill *spilling_begin(const dmi_spill_settings *settings)
{
    dmi_spill *spill;
    dmi_spill_settings standard = spilling_settings();
    assert_ok(dmi_spill_create(&spill, settings ? settings : &standard));
    return spill;
}

uint32_t spilling_write(dmi_spill *spill, size_t bytes, spilling_kind kind, unsigned seed)
{
    char *data = malloc(bytes + 1);
    spilling_fill(data, bytes, kind, seed);
    dmi_part part = {.bytes = data, .count = bytes, .element = 4, .id = seed};
    assert_ok(dmi_spill_write(spill, &part, 1, NULL));
    assert_int_not_equal(part.ticket, 0);
    free(data);
    return part.ticket;
}

void spilling_check(dmi_spill *spill, uint32_t ticket, size_t bytes, spilling_kind kind,
                    unsigned seed)
{
    char *expected = malloc(bytes + 1), *found = malloc(bytes + 1);
    spilling_fill(expected, bytes, kind, seed);
    memset(found, 0xa5, bytes + 1);
    assert_ok(dmi_spill_read(spill, ticket, seed, found, bytes));
    if (memcmp(expected, found, bytes) != 0)
        fail_msg("part %u of %zu bytes came back wrong", seed, bytes);
    assert_int_equal((unsigned char)found[bytes], 0xa5);
    free(expected);
    free(found);
}

void spilling_tidy(dmi_spill *spill)
{
    for (int i = 0; dmi_spill_tidy(spill); i++)
        if (i == 1000000)
            fail_msg("tidying never ends");
}

/* ---- files ---- */

static bool is_ours(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = 0;
    return strstr(path, spilling_dir()) == path && strstr(path, "/lock") == NULL;
}

spilling_files spilling_open_files(void)
{
    spilling_files files = {.fd = -1};
    for (int fd = 3; fd < 256; fd++) {
        struct stat about;
        if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode) || !is_ours(fd))
            continue;
        files.count++;
        files.fd = fd;
        files.disk_bytes += (uint64_t)about.st_blocks * 512;
    }
    return files;
}
