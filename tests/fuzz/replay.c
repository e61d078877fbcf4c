/*
 * replay.c - gives a target each file of a folder, and each of its beginnings.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { MOST = 1 << 16, BEGINNINGS = 12 };

static void replay(const char *path)
{
    static uint8_t bytes[MOST];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    for (size_t i = 0; i <= BEGINNINGS; i++) {
        size_t part = count * i / BEGINNINGS;
        uint8_t *copy = malloc(part + 1); /* of its own, so that a sanitizer sees its end */
        uint8_t *exact = realloc(copy, part ? part : 1);
        memcpy(exact, bytes, part);
        LLVMFuzzerTestOneInput(exact, part);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    int files = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        replay(path);
        files++;
    }
    closedir(folder);
    printf("%d files\n", files);
    return files == 0;
}
