/*
 * Files that a user was given: images (.nii, .nii.gz), gradient tables, responses. The first byte says which. They
 * are read or refused, with memory that their size accounts for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dm/models.h"
#include "tests/fuzz/fuzz.h"

static char folder[] = "/tmp/dmrt-fuzz-XXXXXX";

static void clean(void)
{
    rmdir(folder);
}

static const char *file_of(const char *name, const uint8_t *bytes, size_t count)
{
    static char path[4][100];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    FILE *file = fopen(path[turn], "wb");
    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0)
        abort();
    return path[turn];
}

static void read_image(const char *path)
{
    dm_volume *volume;
    if (dm_volume_read(path, &volume) == DM_OK)
        dm_volume_destroy(volume);
    unlink(path);
}

static void read_gradients(const char *bval, const char *bvec)
{
    dm_gradients *gradients;
    if (dm_gradients_read(bval, bvec, &gradients) == DM_OK)
        dm_gradients_destroy(gradients);
    unlink(bval);
    unlink(bvec);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const uint8_t bvals[] = "0 1000 1000\n", bvecs[] = "0 1 0\n0 0 1\n0 0 0\n";
    dm_response response;
    if (folder[sizeof folder - 2] == 'X' && (mkdtemp(folder) == NULL || atexit(clean) != 0))
        abort();
    if (count == 0)
        return 0;
    switch (*bytes++ % 5) {
    case 0:
        read_image(file_of("a.nii", bytes, count - 1));
        break;
    case 1:
        read_image(file_of("a.nii.gz", bytes, count - 1));
        break;
    case 2:
        read_gradients(file_of("bval", bytes, count - 1), file_of("bvec", bvecs, sizeof bvecs - 1));
        break;
    case 3:
        read_gradients(file_of("bval", bvals, sizeof bvals - 1), file_of("bvec", bytes, count - 1));
        break;
    default: {
        const char *path = file_of("response.txt", bytes, count - 1);
        if (dm_response_read(path, &response) != DM_OK)
            response = (dm_response){0};
        unlink(path);
    }
    }
    return 0;
}
